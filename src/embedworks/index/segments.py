"""Segments: the rows of one commit, in files that are written once, checked when opened, and mapped into memory."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation import FileOperations, StorageError
from embedworks.index.codes import Codes, encode_rows
from embedworks.index.manifest import Manifest, SegmentEntry, StoredFile, check_file, stored_file
from embedworks.index.postings import Postings

SEGMENTS_FOLDER = "segments"
_WRITE_BYTES = 64 * 2**20
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Segment:
    """An opened segment.

    Args:
        entry: What the manifest says of it.
        rows: id, text and attributes, as a table whose columns are those of the index.
        vectors: float32, shape (rows, dimension), mapped from the file, each row of length 1.
        codes: The same rows in one byte a component, mapped.
        alive: Which rows have not been deleted, shape (rows,).
        postings: The lexical side, when the index has one.
    """

    entry: SegmentEntry
    rows: pa.Table
    vectors: NDArray[np.float32]
    codes: Codes
    alive: NDArray[np.bool_]
    postings: Postings | None


def write_segment(
    directory: Path,
    *,
    rows: pa.Table,
    vectors: Sequence[NDArray[np.float32]],
    postings: Postings | None,
    files: FileOperations,
) -> SegmentEntry:
    """Write the files of a new segment and flush them; no reader sees them before a manifest names them.

    Args:
        directory: The index.
        rows: Columns id and text, and the attributes.
        vectors: Blocks of float32 rows that follow each other, each of shape (any, dimension).
        postings: The lexical side, when the index has one.
        files: The file effects.

    Returns:
        The entry to put into the manifest.
    """
    name = f"{SEGMENTS_FOLDER}/{uuid.uuid4().hex[:16]}"
    folder = directory / name
    files.make_directory(folder)
    write_array(folder / "vectors.npy", vectors, files)
    coded = [encode_rows(block) for block in vectors]
    write_array(folder / "codes.npy", [values for values, _ in coded], files)
    write_array(folder / "bounds.npy", [bounds for _, bounds in coded], files)
    _write_table(folder / "rows.arrow", rows, files)
    parts = {"vectors": "vectors.npy", "codes": "codes.npy", "bounds": "bounds.npy", "rows": "rows.arrow"}
    if postings is not None:
        _write_table(folder / "terms.arrow", pa.table({"term": postings.terms}), files)
        write_array(folder / "starts.npy", [postings.starts], files)
        write_array(folder / "entries.npy", [postings.entries], files)
        write_array(folder / "lengths.npy", [postings.lengths], files)
        parts |= {"terms": "terms.arrow", "starts": "starts.npy", "entries": "entries.npy", "lengths": "lengths.npy"}
    files.sync_directory(folder)
    files.sync_directory(folder.parent)
    files.sync_directory(directory)
    stored = {part: stored_file(directory, folder / file) for part, file in parts.items()}
    return SegmentEntry(name=name, rows=rows.num_rows, files=stored)


def write_deleted(directory: Path, entry: SegmentEntry, alive: NDArray[np.bool_], files: FileOperations) -> StoredFile:
    """Write a segment's bitmap of deleted rows beside its files, under a new name."""
    path = directory / entry.name / f"deleted-{uuid.uuid4().hex[:16]}.npy"
    write_array(path, [np.packbits(~alive)], files)
    files.sync_directory(path.parent)
    return stored_file(directory, path)


def open_segment(directory: Path, entry: SegmentEntry, manifest: Manifest, *, verified: set[StoredFile]) -> Segment:
    """Map a segment's files into memory after checking them.

    Args:
        directory: The index.
        entry: The segment.
        manifest: The manifest that names it.
        verified: Files that this process has written or checked already; what is checked here is added.

    Returns:
        The segment.

    Raises:
        StorageError: A file is truncated, altered or not what the manifest says; it is named.
        FileNotFoundError: A file is missing.
    """
    paths = {part: check_file(directory, file, verified=verified) for part, file in entry.files.items()}
    vectors = open_array(paths["vectors"], np.dtype(np.float32), (entry.rows, manifest.dimension))
    values = open_array(paths["codes"], np.dtype(np.int8), (entry.rows, manifest.dimension))
    bounds = open_array(paths["bounds"], np.dtype(np.float32), (entry.rows, 2))
    rows = _aligned(_open_table(paths["rows"], entry.rows), manifest.schema, paths["rows"])
    postings = None
    if manifest.lexical is not None:
        terms = _open_table(paths["terms"], None).column("term").combine_chunks()
        starts = open_array(paths["starts"], np.dtype(np.int64), (len(terms) + 1,))
        entries = open_array(paths["entries"], np.dtype(np.int32), (2, int(starts[-1])))
        lengths = open_array(paths["lengths"], np.dtype(np.int32), (entry.rows,))
        postings = Postings(terms, starts, entries, lengths)
    return Segment(entry, rows, vectors, Codes(values, bounds), _alive(directory, entry, verified), postings)


def reopened_segment(directory: Path, segment: Segment, entry: SegmentEntry, *, verified: set[StoredFile]) -> Segment:
    """Return an opened segment at a later commit, in which more of its rows may have been deleted."""
    if entry == segment.entry:
        return segment
    return replace(segment, entry=entry, alive=_alive(directory, entry, verified))


def _alive(directory: Path, entry: SegmentEntry, verified: set[StoredFile]) -> NDArray[np.bool_]:
    if entry.deleted is None:
        return np.ones(entry.rows, dtype=np.bool_)
    path = check_file(directory, entry.deleted, verified=verified)
    bits = open_array(path, np.dtype(np.uint8), ((entry.rows + 7) // 8,))
    return ~np.unpackbits(bits, count=entry.rows).astype(np.bool_)


def write_array(path: Path, blocks: Sequence[NDArray[Any]], files: FileOperations) -> None:
    """Write blocks of rows as one .npy file, in pieces, so that memory stays that of a piece."""
    first = blocks[0]
    shape = (sum(len(block) for block in blocks), *first.shape[1:])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(first.dtype), "fortran_order": False, "shape": shape}
    )
    pending = bytearray(header.getvalue())
    begun = False
    for block in blocks:
        rows_a_piece = max(1, _WRITE_BYTES // max(1, block[:1].nbytes))
        for start in range(0, len(block), rows_a_piece):
            pending += np.ascontiguousarray(block[start : start + rows_a_piece]).tobytes()
            if len(pending) >= _WRITE_BYTES:
                (files.append if begun else files.write)(path, bytes(pending))
                begun, pending = True, bytearray()
    if pending:
        (files.append if begun else files.write)(path, bytes(pending))


def open_array(path: Path, dtype: np.dtype[Any], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Map an .npy file read-only, and refuse one whose header says something else than expected (None: anything)."""
    try:
        # NumPy cannot map an array without elements.
        empty = 0 in shape
        array: NDArray[Any] = np.asarray(np.load(path, mmap_mode=None if empty else "r", allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise StorageError("is no readable array", where=str(path), mend="restore it from a copy") from error
    fits = array.ndim == len(shape) and all(want in (None, have) for have, want in zip(array.shape, shape, strict=True))
    if array.dtype != dtype or not fits:
        raise StorageError(
            f"holds {array.dtype} of shape {array.shape}, the manifest says {dtype} of shape {shape}",
            where=str(path),
            mend="restore it from a copy",
        )
    return array


def _write_table(path: Path, table: pa.Table, files: FileOperations) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_BATCH_ROWS)
    files.write(path, memoryview(sink.getvalue()))


def _open_table(path: Path, rows: int | None) -> pa.Table:
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all()
        table.validate()
    except (pa.ArrowException, OSError) as error:
        raise StorageError("is no readable table", where=str(path), mend="restore it from a copy") from error
    if rows is not None and table.num_rows != rows:
        raise StorageError(f"holds {table.num_rows} rows, the manifest says {rows}", where=str(path))
    return table


def _aligned(table: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    """Give a segment's rows every column of the index; attributes it never had are null."""
    wanted = [pa.field("id", pa.string()), pa.field("text", pa.string()), *schema]
    columns = []
    for column in wanted:
        if column.name not in table.column_names:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, column.type)], column.type))
            continue
        values = table.column(column.name)
        if values.type != column.type:
            if not pa.types.is_null(values.type):
                raise StorageError(f"column {column.name!r} is {values.type}, not {column.type}", where=str(path))
            values = pa.chunked_array([pa.nulls(table.num_rows, column.type)], column.type)
        columns.append(values)
    return pa.table(columns, schema=pa.schema(wanted))
