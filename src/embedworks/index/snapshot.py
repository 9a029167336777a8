"""A consistent view of an index at one commit: every file opened, mapped and checked, nothing of it ever changing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.calibration import Calibration
from embedworks.index.columns import Columns
from embedworks.index.manifest import Manifest, PartitionEntry, StoredFile, check_file, read_manifest
from embedworks.index.masks import select
from embedworks.index.partition import Partition
from embedworks.index.planner import Plan
from embedworks.index.postings import TermScorer
from embedworks.index.segments import Segment, open_array, open_segment, reopened_segment
from embedworks.index.stored_vectors import StoredRows, read_as_float32, stored_kind
from embedworks.index.where import parse_where

_ATTEMPTS = 5
_SAMPLED_ROWS = 1_000
# What filters let pass is remembered: at the most a byte and a row number for every row.
_MOST_REMEMBERED, _FEWEST_REMEMBERED = 64, 4
_REMEMBERED_BYTES, _BYTES_A_ROW = 256 * 2**20, 9


RowsOfSegment = tuple[int, slice | NDArray[np.int64], NDArray[np.int64]]
"""A segment's position, the places of its rows among those asked for, and their numbers within the segment."""


@dataclass(frozen=True, eq=False)
class Passing:
    """The live rows that pass a filter.

    Args:
        mask: Which rows pass, bool, shape (rows,), read-only.
        rows: Their numbers, ascending, int64, shape (count,), read-only.
        list_starts: The rows at which the lists of the partition begin, and the row after the last, int64, shape
            (lists + 1,); a single number where there is none.
        over: In words, how many rows pass of how many.
        plans: What the planner chose for them, by number of hits and wanted recall.
    """

    mask: NDArray[np.bool_]
    rows: NDArray[np.int64]
    list_starts: NDArray[np.int64]
    over: str
    plans: dict[tuple[int, float], Plan] = field(default_factory=dict)

    @classmethod
    def of(cls, mask: NDArray[np.bool_], rows: NDArray[np.int64], snapshot: Snapshot, *, filtered: bool) -> Passing:
        """Return what a mask and the rows it lets pass say of an index."""
        over = f"{snapshot.live_rows:,} rows"
        if filtered or len(rows) < snapshot.live_rows:
            over = f"{len(rows):,} of {over}"
        mask.setflags(write=False)
        rows.setflags(write=False)
        return cls(mask, rows, snapshot.list_starts, over)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where the rows of each list begin among :attr:`rows`, and where those of the last end."""
        return self.rows.searchsorted(self.list_starts)

    @cached_property
    def count(self) -> int:
        """How many rows pass."""
        return len(self.rows)

    def without(self, row: int, snapshot: Snapshot) -> Passing:
        """Return the same without one row."""
        mask = self.mask.copy()
        mask[row] = False
        return Passing.of(mask, np.flatnonzero(mask), snapshot, filtered=True)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An index at one commit. Rows are numbered through all segments, deleted ones included.

    Args:
        manifest: The commit.
        segments: Its segments in order.
        partition: The lists that the rows of one of them stand in, when there are any.
    """

    manifest: Manifest
    segments: tuple[Segment, ...]
    partition: Partition | None

    @cached_property
    def partitioned(self) -> int:
        """The position of the segment whose rows stand in lists; 0 where there is none."""
        entry = self.manifest.partition
        names = [segment.entry.name for segment in self.segments]
        return 0 if entry is None else names.index(entry.segment)

    @cached_property
    def list_starts(self) -> NDArray[np.int64]:
        """The rows at which lists begin, and the row after the last, int64, shape (lists + 1,)."""
        if self.partition is None:
            return np.zeros(1, dtype=np.int64)
        return np.asarray(self.partition.starts + self.firsts[self.partitioned])

    @cached_property
    def calibration(self) -> Calibration | None:
        """What searching the lists costs."""
        entry = self.manifest.partition
        return None if entry is None else Calibration.from_document(entry.calibration)

    @cached_property
    def table(self) -> pa.Table:
        """The id, text and attributes of all rows, without copying."""
        schema = pa.schema([("id", pa.string()), ("text", pa.string()), *self.manifest.schema])
        return pa.concat_tables([schema.empty_table(), *(segment.rows for segment in self.segments)])

    @cached_property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows have not been deleted, shape (rows,)."""
        return np.concatenate([np.zeros(0, dtype=np.bool_), *(segment.alive for segment in self.segments)])

    @cached_property
    def live_rows(self) -> int:
        """How many rows have not been deleted."""
        return int(self.alive.sum())

    @cached_property
    def firsts(self) -> NDArray[np.int64]:
        """The number of each segment's first row, and the number of all rows, int64, shape (segments + 1,)."""
        return np.cumsum([0, *(segment.entry.rows for segment in self.segments)], dtype=np.int64)

    @cached_property
    def names(self) -> dict[str, pa.DataType]:
        """Every name that a filter may use, with its type."""
        return {field.name: field.type for field in self.table.schema}

    @cached_property
    def columns(self) -> Columns:
        """The columns of the table as filters want them."""
        return Columns(self.table)

    @cached_property
    def _filters(self) -> Any:
        fitting = _REMEMBERED_BYTES // (_BYTES_A_ROW * max(1, self.table.num_rows))

        def passing(where: str | None) -> Passing:
            if where is None:
                return Passing.of(self.alive.copy(), np.flatnonzero(self.alive), self, filtered=False)
            mask, rows = select(parse_where(where, self.names), self.columns).both()
            if self.live_rows < len(mask):
                mask, rows = mask & self.alive, rows.compress(self.alive[rows])
            return Passing.of(mask, rows, self, filtered=True)

        return lru_cache(max(_FEWEST_REMEMBERED, min(_MOST_REMEMBERED, fitting)))(passing)

    def passing(self, where: str | None) -> Passing:
        """Return which live rows pass a filter; the last few filters are remembered."""
        found: Passing = self._filters(where)
        return found

    @cached_property
    def _sample(self) -> NDArray[np.int64]:
        rows = random_generator(0, "sample for estimates").choice(
            self.table.num_rows, size=min(_SAMPLED_ROWS, self.table.num_rows), replace=False
        )
        return np.sort(rows[self.alive[rows]])

    def estimated_share(self, where: str | None) -> float:
        """Return which share of the live rows a filter is expected to let pass, from a sample of them."""
        if where is None:
            return 1.0
        passing = select(parse_where(where, self.names), self.columns).among(self._sample)
        return float(passing.mean()) if len(passing) else 0.0

    @cached_property
    def terms(self) -> TermScorer:
        """The lexical side."""
        settings = self.manifest.lexical
        assert settings is not None
        postings = [segment.postings for segment in self.segments if segment.postings is not None]
        return TermScorer(postings, self.alive, settings)

    @cached_property
    def _batches(self) -> list[pa.RecordBatch]:
        return list(self.table.to_batches())

    @cached_property
    def _batch_firsts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(batch.num_rows for batch in self._batches)], dtype=np.int64)

    def records(self, rows: NDArray[np.int64], *, columns: list[str] | None = None) -> pa.Table:
        """Copy some rows of the table, at a cost that depends on them alone.

        Arrow's own take on a table of several chunks joins the chunks first, which copies every text of the index.

        Args:
            rows: Row numbers in any order, int64, shape (wanted,).
            columns: Names of the columns, all of them unless given.

        Returns:
            The rows in their order.
        """
        owner = np.searchsorted(self._batch_firsts, rows, side="right") - 1
        schema = (
            self.table.schema if columns is None else pa.schema([self.table.schema.field(name) for name in columns])
        )
        parts, places = [schema.empty_table()], []
        for position in np.unique(owner):
            ours = np.flatnonzero(owner == position)
            batch = self._batches[position].select(schema.names)
            parts.append(pa.Table.from_batches([batch.take(pa.array(rows[ours] - self._batch_firsts[position]))]))
            places.append(ours)
        joined = pa.concat_tables(parts)
        if len(places) <= 1:
            return joined
        return joined.take(pa.array(np.argsort(np.concatenate(places))))

    def ids(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of some rows, in their order."""
        names: list[str] = self.records(rows, columns=["id"]).column("id").to_pylist()
        return names

    def split(self, rows: NDArray[np.int64]) -> list[RowsOfSegment]:
        """Return rows by the segments they are in.

        Args:
            rows: Row numbers in any order, int64, shape (wanted,).
        """
        if len(self.segments) == 1:
            return [(0, slice(None), rows)]
        owner = np.searchsorted(self.firsts, rows, side="right") - 1
        if len(rows) and (owner[1:] >= owner[:-1]).all():
            borders = np.searchsorted(owner, np.arange(len(self.segments) + 1))
            places = [slice(int(start), int(end)) for start, end in pairwise(borders)]
            found = [(position, place, rows[place] - self.firsts[position]) for position, place in enumerate(places)]
            return [part for part in found if len(part[2])]
        chosen = [(int(position), np.flatnonzero(owner == position)) for position in np.unique(owner)]
        return [(position, place, rows[place] - self.firsts[position]) for position, place in chosen]

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Copy the vectors of some rows.

        Args:
            rows: Row numbers in any order, int64, shape (wanted,).

        Returns:
            float32, shape (wanted, dimension), each row of length 1.
        """
        return read_as_float32(self.stored_vectors(rows))

    def stored_vectors(self, rows: NDArray[np.int64]) -> StoredRows:
        """Copy the vectors of some rows as they are stored.

        Args:
            rows: Row numbers in any order, int64, shape (wanted,).

        Returns:
            float32, float16 or int8, shape (wanted, dimension).
        """
        copied = np.empty((len(rows), self.manifest.dimension), dtype=stored_kind(self.manifest.storage))
        for position, places, local in self.split(rows):
            copied[places] = self.segments[position].vectors[local]
        return copied

    def existing(self, ids: pa.Array, *, where: str) -> NDArray[np.int64]:
        """Find live rows by their ids, and refuse an id that none has.

        Args:
            ids: Distinct strings.
            where: What the error names.

        Raises:
            InputError: An id is not in the index.
        """
        rows = self.rows_of(ids)
        if len(rows) and rows.min() < 0:
            missing = ids[int(np.argmin(rows))].as_py()
            raise InputError(f"there is no row with the id {missing!r}", where=where, mend="check the id")
        return rows

    def rows_of(self, ids: pa.Array) -> NDArray[np.int64]:
        """Find live rows by their ids.

        Args:
            ids: Distinct strings.

        Returns:
            Row numbers in the order of the ids, -1 for an id that no live row has, int64, shape (ids,).
        """
        found = np.full(len(ids), -1, dtype=np.int64)
        place = pc.fill_null(pc.index_in(self.table.column("id"), value_set=ids), -1).to_numpy()
        rows = np.flatnonzero((place >= 0) & self.alive)
        found[place[rows]] = rows
        return found


def open_snapshot(
    directory: Path, *, verified: set[StoredFile], previous: Snapshot | None = None, in_memory: bool = False
) -> Snapshot:
    """Open the last commit of an index.

    Args:
        directory: The index.
        verified: Files that this process has checked already; what is checked here is added.
        previous: An earlier commit of the same index; what it has open is used again.
        in_memory: Whether vectors and codes are read into memory instead of mapped.

    Returns:
        The snapshot.

    Raises:
        StorageError: Something is missing, truncated or altered; the file is named.
    """
    for _ in range(_ATTEMPTS):
        manifest = read_manifest(directory)
        try:
            return _opened(directory, manifest, verified, previous, in_memory=in_memory)
        except FileNotFoundError as error:
            # A writer may have compacted and cleaned between our reading the manifest and opening its files.
            if read_manifest(directory).generation == manifest.generation:
                mend = "restore it from a copy, or build the index again"
                raise StorageError("is missing", where=str(error.filename), mend=mend) from error
    raise StorageError("changes faster than it can be opened", where=str(directory), mend="try again")


def _opened(
    directory: Path, manifest: Manifest, verified: set[StoredFile], previous: Snapshot | None, *, in_memory: bool
) -> Snapshot:
    known: dict[str, Segment] = {}
    if previous is not None and previous.manifest.schema == manifest.schema:
        known = {segment.entry.name: segment for segment in previous.segments}
    segments = tuple(
        reopened_segment(directory, known[entry.name], entry, verified=verified)
        if entry.name in known
        else open_segment(directory, entry, manifest, verified=verified, in_memory=in_memory)
        for entry in manifest.segments
    )
    entry = manifest.partition
    if entry is None:
        return Snapshot(manifest, segments, None)
    if previous is not None and previous.manifest.partition == entry:
        return Snapshot(manifest, segments, previous.partition)
    paths = {part: check_file(directory, file, verified=verified) for part, file in entry.files.items()}
    return Snapshot(manifest, segments, _open_partition(paths, entry, manifest.dimension))


def _open_partition(paths: dict[str, Path], entry: PartitionEntry, dimension: int) -> Partition:
    means = open_array(paths["means"], np.dtype(np.float32), (entry.lists, dimension))
    starts = open_array(paths["starts"], np.dtype(np.int64), (entry.lists + 1,))
    # Compiled code reads wherever a list begins.
    if starts[0] != 0 or starts[-1] != entry.rows or (np.diff(starts) < 1).any():
        raise StorageError("names rows that do not exist", where=str(paths["starts"]), mend="build the index again")
    return Partition(means, starts)
