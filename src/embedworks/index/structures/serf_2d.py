"""SeRF's segment graph for ranges with two bounds: for each lower bound a segment graph of prefixes, folded together.

A new position p looks for ``ef_max`` candidates, all before it, and makes batches of neighbours from them by HNSW's
rule: the first batch serves all lower bounds up to one of its positions, e; then everything up to e is put away, what
is after e comes back, and the next batch serves the lower bounds after e; the last one serves up to p. With e the
furthest position of the batch the index is smallest (MaxLeap, what the published example takes); with e in the middle
half of the batch at least lies within any range that it serves, and searches need fewer distances. The candidates are
searched in the HNSW that the first batches make.

A step of a search of positions l .. r - 1 reads the batch of the node that serves l, and the later positions that hold
the node in a batch.

Decisions where the paper is silent, or where its code can be bettered:

* A batch that serves l near its end holds few positions from l on. Batches are read on until at least M positions
  within the range were seen (the code: two batches where the node lies near l, one elsewhere).
* Later positions that hold a node are all within every range that holds the node, but for its upper bound. So they
  are kept as the one-dimensional graph keeps its edges: at most 2 M are alive at a time, chosen by HNSW's rule, and
  each has the position that ended its life. Nothing depends on the lower bound, and nothing is lost to it. (The code
  keeps and reads all.)
* Of candidates at one distance the latest is looked at first: it serves the most lower bounds, and equal rows make a
  chain instead of a batch each.
* The middle of a batch is its upper median. A position that holds another in several batches is one later holder.
* Bounds are half-open everywhere. With e the furthest position no candidate is taken into two batches (the code may
  take the last one of a batch again).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.structures.filters import NumberColumn
from embedworks.index.structures.kernels import compiled
from embedworks.index.structures.segment_graph import SegmentGraph, attribute_order, check_settings, chunks
from embedworks.index.structures.segment_graph_kernels import (
    consider,
    edge_lists,
    entries,
    link,
    record,
    search_live,
    stands,
)
from embedworks.index.structures.structure import Arrays, Counters, Vectors, checked_vectors
from embedworks.index.structures.workspace import fixed

Leap = Literal["middle", "furthest"]
_LEAPS: Final = get_args(Leap)


class SegmentGraph2D(SegmentGraph):
    """Answers any range of an attribute, and no filter.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: What :meth:`arrays` returns.
        facts: What :meth:`facts` returns.

    Example:
        >>> from embedworks.index.structures import Attributes
        >>> import pyarrow as pa
        >>> years = Attributes(pa.table({"year": [2026, 2024, 2025]}))
        >>> graph = SegmentGraph2D.build(np.eye(3, dtype=np.float32), years.column("year"), attribute="year")
        >>> here = years.range("year", low=2025, high=2025)
        >>> graph.search(np.eye(3, dtype=np.float32)[0], 1, here, beam=8).rows.tolist()
        [2]
    """

    kind: ClassVar[str] = "serf-2d"

    def __init__(self, vectors: Vectors, graph: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        super().__init__(vectors, facts["attribute"], graph["order"], graph["ordered"])
        self._facts = dict(facts)
        self._graph = tuple(fixed(graph[name]) for name in _ARRAYS)
        self._identity = fixed(np.arange(self.known, dtype=np.int32))

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        values: NumberColumn | NDArray[np.float64],
        *,
        attribute: str,
        neighbours: int = 8,
        ef_construction: int = 100,
        ef_max: int = 500,
        leap: Leap = "middle",
        seed: int = 0,
    ) -> Self:
        """Insert the rows in the order of an attribute.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            values: The attribute by row, NaN for null, shape (n,).
            attribute: Its name.
            neighbours: M; a batch holds at most 2 M (published: 8).
            ef_construction: Candidates looked at for one batch (published: 100).
            ef_max: Candidates for all batches of a row (published: 500).
            leap: The last lower bound that a batch serves: the position in the middle of it, or the furthest one
                (published), which makes a smaller index and slower searches.
            seed: All structures take one; nothing is random here.

        Raises:
            InputError: Values do not fit the rows, or a setting is out of range.
        """
        check_settings(neighbours=neighbours, ef_construction=ef_construction, ef_max=ef_max)
        if ef_max < ef_construction:
            raise InputError(
                f"ef_max is {ef_max}, less than ef_construction {ef_construction}",
                where="settings",
                mend="look for at least as many candidates as one batch looks at",
            )
        if leap not in _LEAPS:
            raise InputError(f"leap is {leap!r}", where="settings", mend=f"choose from {', '.join(_LEAPS)}")
        vectors = checked_vectors(vectors)
        order, ordered = attribute_order(values, len(vectors))
        graph: Arrays = {"order": order, "ordered": ordered}
        graph |= _grow(fixed(vectors[order[: len(ordered)]]), neighbours, ef_construction, ef_max, leap)
        facts = {
            "attribute": attribute,
            "neighbours": neighbours,
            "ef_construction": ef_construction,
            "ef_max": ef_max,
            "leap": leap,
        }
        return cls(vectors, graph, facts)

    def batches(self, position: int) -> list[tuple[int, int, NDArray[np.int32]]]:
        """Return a position's batches: first and last lower bound each serves, and the positions it holds."""
        batch_starts, batch_lasts, held_starts, held, *_ = self._graph
        found, first = [], 0
        for batch in range(batch_starts[position], batch_starts[position + 1]):
            last = int(batch_lasts[batch])
            found.append((first, last, held[held_starts[batch] : held_starts[batch + 1]]))
            first = last + 1
        return found

    def neighbours(self, position: int, *, left: int, right: int) -> NDArray[np.int32]:
        """Return the neighbours that a search of positions left .. right - 1 reads at one of them."""
        block, visited = np.empty(self._room, dtype=np.int32), np.zeros(right - left, dtype=np.bool_)
        count, _ = _adjacent(position, left, right, self._graph, self._facts["neighbours"], visited, block)
        return block[:count]

    @property
    def _room(self) -> int:
        # fewer than M from the first batches, then a whole one; those that hold the node; or the three starts
        return 5 * int(self._facts["neighbours"]) + 3

    def _walk(
        self, query: Vectors, left: int, right: int, beam: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], Counters]:
        settings = (left, right, beam, self._facts["neighbours"], self._room)
        positions, distances, *cost = _search(self.vectors, self.order, self._identity, self._graph, query, *settings)
        return positions, distances, Counters(*cost)

    def arrays(self) -> Arrays:
        """Return the order, the batches by position, and the later positions that hold each one."""
        return super().arrays() | dict(zip(_ARRAYS, self._graph, strict=True))

    def facts(self) -> dict[str, Any]:
        """Return the attribute and the settings."""
        return dict(self._facts)

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return what :meth:`arrays` and :meth:`facts` describe, over the same vectors."""
        return cls(vectors, arrays, facts)


_ARRAYS = (
    "batch_starts",  # where each position's batches begin, int64, shape (known + 1,)
    "batch_lasts",  # last lower bound that each batch serves, int32, shape (batches,)
    "held_starts",  # where each batch's positions begin, int64, shape (batches + 1,)
    "held",  # positions in batches, int32
    "holder_starts",  # where the later positions that hold each one begin, int64, shape (known + 1,)
    "holders",  # those positions, the longest-lived edges first, int32
    "holder_ends",  # position whose insertion ended each edge, the number of positions where none did, int32
)


def _grow(placed: Vectors, neighbours: int, ef_construction: int, ef_max: int, leap: Leap) -> Arrays:
    """Insert all positions; returns the arrays of the graph."""
    count, cap = len(placed), 2 * neighbours
    # The graph that candidates are searched in, and the holders of each position that are alive.
    live, holding = (
        (np.zeros((count, cap), np.int32), np.zeros((count, cap), np.float32), np.zeros(count, np.int32))
        for _ in range(2)
    )
    identity = np.arange(count, dtype=np.int32)
    settings = (ef_construction, ef_max, leap == "middle")
    parts = [_insert(placed, identity, live, holding, start, stop, *settings) for start, stop in chunks(count)]
    counts, lasts, sizes, held, dropped = (
        np.concatenate(arrays) if arrays else np.empty(0, np.int32)
        for arrays in ([part[index] for part in parts] for index in range(5))
    )
    holders, _, holders_counts = holding
    kept = np.arange(cap) < holders_counts[:, None]
    alive = np.column_stack([np.nonzero(kept)[0], holders[kept], np.full(int(kept.sum()), count)]).astype(np.int32)
    edges = np.concatenate([dropped.reshape(-1, 3), alive])
    lists = edge_lists(edges[:, 0], edges[:, 1], edges[:, 2], count)
    arrays = (_offsets(counts), lasts, _offsets(sizes), held, *lists)
    return dict(zip(_ARRAYS, arrays, strict=True))


def _offsets(sizes: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


@compiled
def _insert(vectors, identity, growing, holding, start, stop, ef_construction, ef_max, middle):  # type: ignore[no-untyped-def]
    """Insert positions start .. stop - 1.

    Returns:
        Batches by position; last lower bound and size of each batch; positions held; edges from a position to one that
        holds it that ended: source, target, position that ended it.
    """
    live, live_distances, live_counts = growing
    holders, holders_distances, holders_counts = holding
    cap = live.shape[1]
    rows, distances, expanded = np.empty(ef_max, np.int32), np.empty(ef_max, np.float32), np.empty(ef_max, np.bool_)
    visited, block = np.empty(live.shape[0], np.bool_), np.empty(cap + 3, np.int32)
    chosen, chosen_distances = np.empty(cap, np.int32), np.empty(cap, np.float32)
    others, others_distances = np.empty(cap + 1, np.int32), np.empty(cap + 1, np.float32)
    unused = np.empty(cap + 1, np.bool_)
    linked = np.zeros(live.shape[0], np.int32)  # the last position that holds each one
    room = (stop - start) * ef_max  # a candidate ends one batch at most, and, leaping to the furthest, is held once
    counts = np.zeros(stop - start, np.int32)
    lasts, sizes, held = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    dropped = np.empty((room * 2, 3), np.int32)
    batches, filled, lost = 0, 0, 0
    for position in range(max(start, 1), stop):
        size = search_live(
            vectors, identity, identity, live, live_counts, position, rows, distances, expanded, visited, block
        )
        _latest_first(rows, distances, size)
        latest = rows[:size].max()
        last = -1
        while last < position:
            count = _batch(vectors, rows, distances, size, last, ef_construction, chosen, chosen_distances)
            first_batch = last == -1
            end = np.sort(chosen[:count])[count // 2] if middle else chosen[:count].max()
            last = end if end < latest else position
            lasts[batches], sizes[batches] = last, count
            batches += 1
            counts[position - start] += 1
            if filled + count > held.shape[0]:
                longer = np.empty(held.shape[0] * 2 + count, np.int32)
                longer[:filled] = held[:filled]
                held = longer
            held[filled : filled + count] = chosen[:count]
            filled += count
            if lost + count * cap > dropped.shape[0]:
                more = np.empty((dropped.shape[0] * 2 + count * cap, 3), np.int32)
                more[:lost] = dropped[:lost]
                dropped = more
            for place in range(count):
                source = chosen[place]
                if linked[source] == position:
                    continue
                linked[source] = position
                looked = link(
                    vectors, source, position, chosen_distances[place],
                    holders, holders_distances, holders_counts, others, others_distances, unused,
                )  # fmt: skip
                lost = record(source, position, holders[source], holders_counts[source], others, looked, dropped, lost)
            if first_batch:
                live[position, :count], live_distances[position, :count] = chosen[:count], chosen_distances[:count]
                live_counts[position] = count
                for place in range(count):
                    link(
                        vectors, chosen[place], position, chosen_distances[place],
                        live, live_distances, live_counts, others, others_distances, unused,
                    )  # fmt: skip
    return counts, lasts[:batches].copy(), sizes[:batches].copy(), held[:filled].copy(), dropped[:lost].copy()


@compiled
def _latest_first(rows, distances, size):  # type: ignore[no-untyped-def]
    """Turn around what stands at one distance, in ascending order of positions."""
    start = 0
    while start < size:
        stop = start + 1
        while stop < size and distances[stop] == distances[start]:
            stop += 1
        for offset in range((stop - start) // 2):
            low, high = start + offset, stop - 1 - offset
            rows[low], rows[high] = rows[high], rows[low]
        start = stop


@compiled
def _batch(vectors, rows, distances, size, last, scanned, chosen, chosen_distances):  # type: ignore[no-untyped-def]
    """Choose from the candidates after position ``last``, looking at ``scanned`` of them; returns how many."""
    count, looked = 0, 0
    for place in range(size):
        row = rows[place]
        if row <= last:
            continue
        if count == chosen.shape[0] or looked == scanned:
            break
        looked += 1
        if stands(vectors, row, distances[place], chosen, chosen_distances, count):
            chosen[count], chosen_distances[count] = row, distances[place]
            count += 1
    return count


@compiled
def _adjacent(position, left, right, graph, neighbours, visited, block):  # type: ignore[no-untyped-def]
    """Write the unvisited neighbours within positions left .. right - 1, and mark them.

    Returns:
        How many there are, and how many edges lead outside.
    """
    batch_starts, batch_lasts, held_starts, held, holder_starts, holders, holder_ends = graph
    count, rejected, seen = 0, 0, 0
    for batch in range(batch_starts[position], batch_starts[position + 1]):
        if batch_lasts[batch] < left:
            continue
        if seen >= neighbours:
            break
        for index in range(held_starts[batch], held_starts[batch + 1]):
            row = held[index]
            if row < left:
                rejected += 1
                continue
            seen += 1
            if not visited[row - left]:
                visited[row - left] = True
                block[count] = row
                count += 1
    for index in range(holder_starts[position], holder_starts[position + 1]):
        if holder_ends[index] < right:  # edges stand by the ends of their lives, the longest-lived first
            break
        row = holders[index]
        if row >= right:
            rejected += 1
        elif not visited[row - left]:
            visited[row - left] = True
            block[count] = row
            count += 1
    return count, rejected


@compiled
def _search(vectors, order, identity, graph, query, left, right, beam, neighbours, room):  # type: ignore[no-untyped-def]
    """Search positions left .. right - 1; returns positions, distances, and the three counters."""
    rows, distances, expanded = np.empty(beam, np.int32), np.empty(beam, np.float32), np.empty(beam, np.bool_)
    visited, block = np.zeros(right - left, np.bool_), np.empty(room, np.int32)
    count = entries(left, right, identity, visited, block)
    compared, hops, rejected = count, 0, 0
    size, place = consider(vectors, order, query, block, count, rows, distances, expanded, 0, 0)
    while place < size:
        if expanded[place]:
            place += 1
            continue
        expanded[place] = True
        count, outside = _adjacent(rows[place], left, right, graph, neighbours, visited, block)
        hops, compared, rejected = hops + 1, compared + count, rejected + outside
        size, place = consider(vectors, order, query, block, count, rows, distances, expanded, size, place)
    return rows[:size], distances[:size], compared, hops, rejected
