"""How an index changes: one writer at a time, new files first, then one commit, then left-overs are cleaned away."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import FileOperations, InputError, StorageError
from embedworks.index.calibration import calibrate
from embedworks.index.intake import (
    Columns,
    Strings,
    Texts,
    checked_attributes,
    checked_ids,
    checked_texts,
    checked_vectors,
)
from embedworks.index.manifest import Manifest, PartitionEntry, SegmentEntry, stored_file, type_name
from embedworks.index.partition import PARTITIONED_ROWS, partition_rows
from embedworks.index.postings import build_postings, rearranged_postings, tokenizer
from embedworks.index.segments import SEGMENTS_FOLDER, open_segment, write_array, write_deleted, write_segment
from embedworks.index.snapshot import Snapshot
from embedworks.index.stored_vectors import StoredRows, to_stored

LOCK_NAME = "writer.lock"
PARTITIONS_FOLDER = "partitions"
# Segments of about one size are merged when there are this many, so that n rows never lie in more than about
# 8 log8(n) segments and each row is rewritten at most about log8(n) times.
_MERGE_AT = 8
_ROWS_A_BLOCK = 65_536


@contextmanager
def writer_lock(directory: Path, *, name: str = LOCK_NAME) -> Iterator[None]:
    """Hold the right to write; it ends with the block, or with the process, however that ends.

    Args:
        directory: What is to be written to.
        name: The file whose lock stands for the right.

    Raises:
        StorageError: Another writer holds it, or the index cannot be written to.
    """
    try:
        stream = (directory / name).open("a")
    except OSError as error:
        raise StorageError(f"cannot be written to: {error.strerror}", where=str(directory)) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            mend = "wait until it has finished, then try again"
            raise StorageError("another writer is changing this index", where=str(directory), mend=mend) from error
        yield


def clean(directory: Path, manifest: Manifest, files: FileOperations) -> None:
    """Remove files that no manifest names: those of writes that were cut off, and those replaced by later ones."""
    named = {file.name for file in manifest.stored_files()}
    for folder in (SEGMENTS_FOLDER, PARTITIONS_FOLDER):
        for path in sorted((directory / folder).glob("*")):
            if path.is_dir():
                if not any(name.startswith(f"{folder}/{path.name}/") for name in named):
                    files.remove_tree(path)
                    continue
                for file in sorted(path.iterdir()):
                    if file.relative_to(directory).as_posix() not in named:
                        files.remove(file)
            elif path.relative_to(directory).as_posix() not in named:
                files.remove(path)
    for path in sorted(directory.glob(".tmp-*")):
        files.remove(path)


@dataclass(frozen=True, eq=False)
class NewRows:
    """What a caller wants to add, unchecked; see :meth:`embedworks.index.index.Index.add`."""

    ids: Strings
    vectors: ArrayLike
    texts: Texts | None
    attributes: Columns | None


@dataclass(frozen=True, eq=False)
class Changes:
    """What a caller wants to change of rows that exist, unchecked; see :meth:`embedworks.index.index.Index.update`."""

    ids: Strings
    vectors: ArrayLike | None
    texts: Texts | None
    attributes: Columns | None


def added(
    directory: Path, snapshot: Snapshot, *, new: NewRows, replace: bool, files: FileOperations
) -> Manifest | None:
    """Check new rows and write them as a segment.

    Args:
        directory: The index.
        snapshot: Its last commit.
        new: The rows.
        replace: Whether rows of the same ids are deleted in the same commit.
        files: The file effects.

    Returns:
        The manifest to commit, or None if there are no rows.

    Raises:
        InputError: Something does not fit; nothing has been written.
    """
    manifest = snapshot.manifest
    ids = checked_ids(new.ids)
    texts = checked_texts(new.texts, len(ids))
    columns = checked_attributes(new.attributes, len(ids), manifest.schema)
    vectors = checked_vectors(new.vectors, ids, manifest.dimension)
    if len(ids) == 0:
        return None
    place = snapshot.rows_of(ids)
    existing = place[place >= 0]
    if len(existing) and not replace:
        more = f" (and {len(existing) - 1:,} more)" if len(existing) > 1 else ""
        mend = "leave it out, or pass replace=True to put the new row in its place"
        row = int(np.argmax(place >= 0))
        raise InputError(f"the id {ids[row].as_py()!r}{more} is in the index already", where="ids", mend=mend)
    attributes = _extended(manifest.attributes, columns.schema)
    table = pa.table({"id": ids, "text": texts, **dict(zip(columns.column_names, columns.columns, strict=True))})
    stored = to_stored(vectors, manifest.storage)
    entry = _new_segment(directory, manifest, table, stored, files)
    return manifest.next(segments=(*without_rows(directory, snapshot, existing, files), entry), attributes=attributes)


def updated(directory: Path, snapshot: Snapshot, *, changes: Changes, files: FileOperations) -> Manifest | None:
    """Check new values of some rows and write the rows as a segment; what is not given stays as it is stored.

    Args:
        directory: The index.
        snapshot: Its last commit.
        changes: What to change.
        files: The file effects.

    Returns:
        The manifest to commit, or None if there are no rows.

    Raises:
        InputError: Something does not fit; nothing has been written.
    """
    manifest = snapshot.manifest
    ids = checked_ids(changes.ids)
    place = snapshot.existing(ids, where=str(directory))
    columns = checked_attributes(changes.attributes, len(ids), manifest.schema)
    if changes.texts is changes.vectors is None and columns.num_columns == 0:
        raise InputError("nothing to change is given", where="update", mend="pass vectors, texts or attributes")
    texts = None if changes.texts is None else checked_texts(changes.texts, len(ids))
    if changes.vectors is None:
        stored = snapshot.stored_vectors(place)
    else:
        stored = to_stored(checked_vectors(changes.vectors, ids, manifest.dimension), manifest.storage)
    if len(ids) == 0:
        return None
    table = snapshot.records(place)
    if texts is not None:
        table = table.set_column(1, "text", texts)
    for name in columns.column_names:
        position = table.column_names.index(name) if name in table.column_names else table.num_columns
        table = table.remove_column(position) if position < table.num_columns else table
        table = table.add_column(position, name, columns.column(name))
    entry = _new_segment(directory, manifest, table, stored, files)
    return manifest.next(
        segments=(*without_rows(directory, snapshot, place, files), entry),
        attributes=_extended(manifest.attributes, columns.schema),
    )


def _extended(attributes: dict[str, str], schema: pa.Schema) -> dict[str, str]:
    """Return the attributes of an index after columns came in; one of nulls takes the first type that comes."""
    known = dict(attributes)
    for field in schema:
        if known.get(field.name, "null") == "null":
            known[field.name] = type_name(field.type)
    return known


def _new_segment(
    directory: Path, manifest: Manifest, table: pa.Table, stored: StoredRows, files: FileOperations
) -> SegmentEntry:
    postings = None
    if manifest.lexical is not None:
        postings = build_postings(table.column("text").to_pylist(), tokenizer(manifest.lexical))
    return write_segment(
        directory, rows=table, vectors=[stored], storage=manifest.storage, postings=postings, files=files
    )


def without_rows(
    directory: Path, snapshot: Snapshot, rows: NDArray[np.int64], files: FileOperations
) -> tuple[SegmentEntry, ...]:
    """Write the bitmaps that mark rows as deleted.

    Args:
        directory: The index.
        snapshot: Its last commit.
        rows: Live rows, int64, shape (deleted,).
        files: The file effects.

    Returns:
        The segments of the manifest to commit.
    """
    entries = []
    for position, segment in enumerate(snapshot.segments):
        first, end = snapshot.firsts[position], snapshot.firsts[position + 1]
        ours = rows[(rows >= first) & (rows < end)] - first
        entry = segment.entry
        if len(ours):
            alive = segment.alive.copy()
            alive[ours] = False
            deleted = write_deleted(directory, entry, alive, files)
            entry = SegmentEntry(entry.name, entry.rows, entry.files, deleted, int((~alive).sum()))
        entries.append(entry)
    return tuple(entries)


def compaction_due(snapshot: Snapshot) -> list[str]:
    """Name the segments to merge now: many of one size, or one that is mostly deleted; none if there is no need."""
    sizes: dict[int, list[str]] = {}
    for segment in snapshot.segments:
        entry = segment.entry
        if entry.deleted_rows * 2 > entry.rows:
            return [entry.name]
        tier = int(np.log(max(1, entry.live_rows)) / np.log(_MERGE_AT) + 1e-9)
        sizes.setdefault(tier, []).append(entry.name)
    return next((names for _, names in sorted(sizes.items()) if len(names) >= _MERGE_AT), [])


def compacted(directory: Path, snapshot: Snapshot, names: Sequence[str], files: FileOperations) -> Manifest:
    """Write the live rows of some segments into one new segment.

    Args:
        directory: The index.
        snapshot: Its last commit.
        names: The segments to merge.
        files: The file effects.

    Returns:
        The manifest to commit; the partition is dropped when it was of one of them.
    """
    manifest = snapshot.manifest
    merged = np.concatenate([np.full(entry.rows, entry.name in names) for entry in manifest.segments])
    rows = np.flatnonzero(merged & snapshot.alive)
    kept = tuple(entry for entry in manifest.segments if entry.name not in names)
    if len(rows):
        kept += (_rearranged(directory, snapshot, rows, files),)
    partition = manifest.partition
    if partition is not None and partition.segment in names:
        partition = None
    return manifest.next(segments=kept, partition=partition)


def partition_due(snapshot: Snapshot) -> bool:
    """Say whether enough rows lie outside the partition that making it anew pays."""
    partition = snapshot.manifest.partition
    covered = 0 if partition is None else partition.rows
    outside = snapshot.live_rows - covered
    return outside >= PARTITIONED_ROWS and outside * 2 >= covered


def partitioned(directory: Path, snapshot: Snapshot, files: FileOperations) -> Manifest:
    """Write the live rows into one new segment in the order of the lists of a new partition, and the partition."""
    manifest = snapshot.manifest
    partition, rows = partition_rows(snapshot)
    segment = _rearranged(directory, snapshot, rows, files)
    folder = directory / PARTITIONS_FOLDER / uuid.uuid4().hex[:16]
    files.make_directory(folder)
    arrays: dict[str, NDArray[Any]] = {"means": partition.means, "starts": partition.starts}
    for part, array in arrays.items():
        write_array(folder / f"{part}.npy", [array], files)
    for written in (folder, folder.parent, directory):
        files.sync_directory(written)
    opened = open_segment(directory, segment, manifest, verified=set())
    entry = PartitionEntry(
        files={part: stored_file(directory, folder / f"{part}.npy") for part in arrays},
        segment=segment.name,
        rows=segment.rows,
        lists=len(partition.means),
        calibration=asdict(calibrate(partition, opened.codes, opened.vectors)),
    )
    return manifest.next(segments=(segment,), partition=entry)


def _rearranged(directory: Path, snapshot: Snapshot, rows: NDArray[np.int64], files: FileOperations) -> SegmentEntry:
    """Write some rows into one new segment, in a given order."""
    manifest = snapshot.manifest
    postings = None
    if manifest.lexical is not None:
        parts = [segment.postings for segment in snapshot.segments]
        postings = rearranged_postings([part for part in parts if part is not None], rows)
    blocks = _RowBlocks(snapshot, rows)
    table = pa.concat_tables([snapshot.records(block) for block in blocks.rows])
    return write_segment(
        directory, rows=table, vectors=blocks, storage=manifest.storage, postings=postings, files=files
    )


class _RowBlocks(Sequence[Any]):
    """The stored vectors of some rows, block by block, each copied when it is looked at.

    Args:
        snapshot: Where they are.
        rows: At least one, int64, shape (count,).
    """

    def __init__(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> None:
        self._snapshot = snapshot
        self.rows = [rows[start : start + _ROWS_A_BLOCK] for start in range(0, len(rows), _ROWS_A_BLOCK)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self._snapshot.stored_vectors(self.rows[place])
