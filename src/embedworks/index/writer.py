"""How an index changes: one writer at a time, new files first, then one commit, then left-overs are cleaned away."""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import FileOperations, InputError, StorageError
from embedworks.index.calibration import calibrate
from embedworks.index.graph import GRAPH_KIND, GRAPH_ROWS, Graph, build_graph
from embedworks.index.intake import (
    Columns,
    Strings,
    Texts,
    checked_attributes,
    checked_ids,
    checked_texts,
    checked_vectors,
)
from embedworks.index.manifest import GraphEntry, Manifest, SegmentEntry, stored_file, type_name
from embedworks.index.postings import build_postings, merged_postings, tokenizer
from embedworks.index.segments import SEGMENTS_FOLDER, Segment, write_array, write_deleted, write_segment
from embedworks.index.snapshot import Snapshot
from embedworks.index.stored_vectors import StoredRows, read_as_float32, to_stored

LOCK_NAME = "writer.lock"
GRAPHS_FOLDER = "graphs"
# Segments of about one size are merged when there are this many, so that n rows never lie in more than about
# 8 log8(n) segments and each row is rewritten at most about log8(n) times.
_MERGE_AT = 8


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
    for folder in (SEGMENTS_FOLDER, GRAPHS_FOLDER):
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
        The manifest to commit; the graph is dropped when it covered one of them.
    """
    manifest = snapshot.manifest
    merged = [segment for segment in snapshot.segments if segment.entry.name in names]
    kept = tuple(segment.entry for segment in snapshot.segments if segment.entry.name not in names)
    if any(segment.alive.any() for segment in merged):
        postings = None
        if manifest.lexical is not None:
            parts = [(segment.postings, np.flatnonzero(segment.alive)) for segment in merged]
            postings = merged_postings([(part, rows) for part, rows in parts if part is not None])
        rows = pa.concat_tables([segment.rows.filter(pa.array(segment.alive)) for segment in merged])
        vectors = [_live_vectors(segment) for segment in merged]
        entry = write_segment(
            directory, rows=rows, vectors=vectors, storage=manifest.storage, postings=postings, files=files
        )
        kept += (entry,)
    graph = manifest.graph
    if graph is not None and graph.segment in names:
        graph = None
    return manifest.next(segments=kept, graph=graph)


def graph_due(snapshot: Snapshot) -> bool:
    """Say whether enough rows lie outside the graph that building it anew pays."""
    graph = snapshot.manifest.graph
    covered = 0 if graph is None else graph.rows
    outside = sum(segment.entry.rows for segment in snapshot.segments) - covered
    return outside >= GRAPH_ROWS and outside * 2 >= covered


def with_graph(directory: Path, snapshot: Snapshot, files: FileOperations) -> Manifest:
    """Build and write the graph over the only segment, and return the manifest to commit."""
    manifest = snapshot.manifest
    (segment,) = snapshot.segments
    layers = build_graph(read_as_float32(segment.vectors))
    folder = directory / GRAPHS_FOLDER / uuid.uuid4().hex[:16]
    files.make_directory(folder)
    for part, array in layers.arrays().items():
        write_array(folder / f"{part}.npy", [array], files)
    for written in (folder, folder.parent, directory):
        files.sync_directory(written)
    entry = GraphEntry(
        kind=GRAPH_KIND,
        files={part: stored_file(directory, folder / f"{part}.npy") for part in layers.arrays()},
        segment=segment.entry.name,
        rows=segment.entry.rows,
        entry=layers.entry,
        calibration=asdict(calibrate(Graph(layers.arrays(), layers.entry, segment.codes), segment.vectors)),
    )
    return manifest.next(graph=entry)


def _live_vectors(segment: Segment) -> StoredRows:
    return segment.vectors if segment.alive.all() else segment.vectors[segment.alive]
