"""Segments: the rows of one commit, in files that are written once, checked when opened, and mapped into memory."""

from __future__ import annotations

import io
import mmap
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation import FileOperations, StorageError
from embedworks.index.codes import Codes, encode_rows
from embedworks.index.manifest import Manifest, SegmentEntry, StoredFile, check_file, stored_file
from embedworks.index.postings import Postings
from embedworks.index.product_codes import CODED_ROWS, CODEWORDS, COMPONENTS, product_codes
from embedworks.index.stored_vectors import Storage, StoredRows, as_compiled, stored_kind

SEGMENTS_FOLDER = "segments"
_WRITE_BYTES = 64 * 2**20
_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Segment:
    """An opened segment.

    Args:
        entry: What the manifest says of it.
        rows: id, text and attributes, as a table whose columns are those of the index.
        vectors: The vectors as they are stored, mapped from the file, shape (rows, dimension).
        codes: The same rows in short, mapped; those of int8 rows are the rows themselves.
        alive: Which rows have not been deleted, shape (rows,).
        postings: The lexical side, when the index has one.
    """

    entry: SegmentEntry
    rows: pa.Table
    vectors: StoredRows
    codes: Codes
    alive: NDArray[np.bool_]
    postings: Postings | None

    @cached_property
    def compiled(self) -> NDArray[Any]:
        """The vectors as compiled code reads them."""
        return as_compiled(self.vectors)


def write_segment(
    directory: Path,
    *,
    rows: pa.Table,
    vectors: Sequence[StoredRows],
    storage: Storage,
    postings: Postings | None,
    files: FileOperations,
) -> SegmentEntry:
    """Write the files of a new segment and flush them; no reader sees them before a manifest names them.

    Args:
        directory: The index.
        rows: Columns id and text, and the attributes.
        vectors: Blocks of rows that follow each other, as they are stored, each of shape (any, dimension).
        storage: How the index stores vectors.
        postings: The lexical side, when the index has one.
        files: The file effects.

    Returns:
        The entry to put into the manifest.
    """
    name = f"{SEGMENTS_FOLDER}/{uuid.uuid4().hex[:16]}"
    folder = directory / name
    files.make_directory(folder)
    write_array(folder / "vectors.npy", vectors, files)
    parts = {"vectors": "vectors.npy", "bounds": "bounds.npy", "rows": "rows.arrow"}
    if storage == "pq" and rows.num_rows >= CODED_ROWS:
        values, bounds, codebooks = product_codes(vectors)
        write_array(folder / "codes.npy", [values], files)
        write_array(folder / "bounds.npy", [bounds], files)
        write_array(folder / "codebooks.npy", [codebooks], files)
        parts |= {"codes": "codes.npy", "codebooks": "codebooks.npy"}
    else:
        coded = [encode_rows(block) for block in vectors]
        write_array(folder / "bounds.npy", [errors for _, errors in coded], files)
        if storage != "int8":
            write_array(folder / "codes.npy", [whole for whole, _ in coded], files)
            parts |= {"codes": "codes.npy"}
    _write_table(folder / "rows.arrow", rows, files)
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


def open_segment(
    directory: Path, entry: SegmentEntry, manifest: Manifest, *, verified: set[StoredFile], in_memory: bool = False
) -> Segment:
    """Map a segment's files into memory after checking them.

    Args:
        directory: The index.
        entry: The segment.
        manifest: The manifest that names it.
        verified: Files that this process has written or checked already; what is checked here is added.
        in_memory: Whether vectors and codes are read into memory instead of mapped.

    Returns:
        The segment.

    Raises:
        StorageError: A file is truncated, altered or not what the manifest says; it is named.
        FileNotFoundError: A file is missing.
    """
    paths = {part: check_file(directory, file, verified=verified) for part, file in entry.files.items()}
    shape = (entry.rows, manifest.dimension)
    vectors = open_array(paths["vectors"], stored_kind(manifest.storage), shape, scattered="codes" in paths)
    rows = _aligned(_open_table(paths["rows"], entry.rows), manifest.schema, paths["rows"])
    postings = None
    if manifest.lexical is not None:
        terms = _open_table(paths["terms"], None).column("term").combine_chunks()
        starts = open_array(paths["starts"], np.dtype(np.int64), (len(terms) + 1,))
        entries = open_array(paths["entries"], np.dtype(np.int32), (2, int(starts[-1])))
        lengths = open_array(paths["lengths"], np.dtype(np.int32), (entry.rows,))
        postings = Postings(terms, starts, entries, lengths)
    if in_memory:
        vectors = _copied(vectors)
    codes = _open_codes(paths, vectors)
    if in_memory:
        values = vectors if codes.values is vectors else _copied(codes.values)
        codes = replace(codes, values=values, bounds=_copied(codes.bounds))
    return Segment(entry, rows, vectors, codes, _alive(directory, entry, verified), postings)


def _copied(mapped: NDArray[Any]) -> NDArray[Any]:
    array = np.array(mapped)
    array.setflags(write=False)
    return array


def _open_codes(paths: dict[str, Path], vectors: StoredRows) -> Codes:
    count, dimension = vectors.shape
    bounds = open_array(paths["bounds"], np.dtype(np.float32), (count, 2))
    if "codes" not in paths:
        return Codes(vectors, bounds)
    if "codebooks" not in paths:
        return Codes(open_array(paths["codes"], np.dtype(np.int8), (count, dimension)), bounds)
    parts = -(-dimension // COMPONENTS)
    values = open_array(paths["codes"], np.dtype(np.uint8), (count, parts))
    codebooks = open_array(paths["codebooks"], np.dtype(np.float32), (parts, CODEWORDS, COMPONENTS))
    return Codes(values, bounds, codebooks)


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


def open_array(
    path: Path, dtype: np.dtype[Any], shape: tuple[int | None, ...], *, scattered: bool = False
) -> NDArray[Any]:
    """Map an .npy file read-only, and refuse one whose header says something else than expected.

    Args:
        path: The file.
        dtype: What it must hold.
        shape: Of what shape; None stands for any size.
        scattered: Whether single rows are read here and there, so that the system reads no neighbours along.

    Raises:
        StorageError: It holds something else, or cannot be read.
    """
    try:
        # NumPy cannot map an array without elements.
        empty = 0 in shape
        loaded = np.load(path, mmap_mode=None if empty else "r", allow_pickle=False)
        if scattered and isinstance(loaded, np.memmap):
            loaded._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
        array: NDArray[Any] = np.asarray(loaded)
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
