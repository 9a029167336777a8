"""SeRF's segment graph for half-bounded ranges: every prefix of the order has its HNSW, and all of them are one graph.

Rows are inserted in the order of the attribute into a one-layer HNSW. An edge lives from the later of its two ends
until the insertion that drops it, so the edges alive after r insertions are the HNSW of the first r rows, edge for
edge: nothing is lost, and nothing is searched that fails the filter.

Decisions where the paper is silent:

* A row equal to an earlier one is no node: it hangs on the first of its equals and is found with it. In a graph of
  bounded degree, many equal rows would cut each other off.
* The upper bound is exclusive in positions (the published code is exclusive here and inclusive in two dimensions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.structures.filters import NumberColumn, Range, RowFilter
from embedworks.index.structures.kernels import compiled
from embedworks.index.structures.segment_graph import (
    SegmentGraph,
    attribute_order,
    check_settings,
    chunks,
)
from embedworks.index.structures.segment_graph_kernels import (
    choose,
    consider,
    edge_lists,
    entries,
    link,
    record,
    search_live,
)
from embedworks.index.structures.structure import Arrays, Counters, Vectors, checked_vectors
from embedworks.index.structures.workspace import fixed


class SegmentGraph1D(SegmentGraph):
    """Answers ranges without a lower bound (or, built so, without an upper one), and no filter.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: What :meth:`arrays` returns.
        facts: What :meth:`facts` returns.

    Example:
        >>> from embedworks.index.structures import Attributes
        >>> import pyarrow as pa
        >>> years = Attributes(pa.table({"year": [2026, 2024, 2025]}))
        >>> graph = SegmentGraph1D.build(np.eye(3, dtype=np.float32), years.column("year"), attribute="year")
        >>> graph.search(np.eye(3, dtype=np.float32)[0], 1, years.range("year", high=2025), beam=8).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "serf-1d"

    def __init__(self, vectors: Vectors, graph: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
        super().__init__(vectors, facts["attribute"], graph["order"], graph["ordered"])
        self._facts = dict(facts)
        self._starts = fixed(graph["edge_starts"])
        self._targets = fixed(graph["edge_targets"])
        self._ends = fixed(graph["edge_ends"])
        self._firsts = fixed(graph["equal_first"])
        self._nexts = fixed(graph["equal_next"])

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        values: NumberColumn | NDArray[np.float64],
        *,
        attribute: str,
        bounded: Literal["above", "below"] = "above",
        neighbours: int = 8,
        ef_construction: int = 100,
        seed: int = 0,
    ) -> Self:
        """Insert the rows in the order of an attribute.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            values: The attribute by row, NaN for null, shape (n,).
            attribute: Its name.
            bounded: Where ranges have their bound: "above" for (-inf, high], "below" for [low, inf).
            neighbours: M, the neighbours a row chooses; a row keeps at most 2 M (published: 8).
            ef_construction: Size of the candidate list while building (published: 100).
            seed: All structures take one; nothing is random here.

        Raises:
            InputError: Values do not fit the rows, or a setting is out of range.
        """
        check_settings(neighbours=neighbours, ef_construction=ef_construction)
        if bounded not in ("above", "below"):
            raise InputError(f"bounded is {bounded!r}", where="settings", mend="choose 'above' or 'below'")
        vectors = checked_vectors(vectors)
        sign = 1 if bounded == "above" else -1
        column = values if isinstance(values, NumberColumn) else NumberColumn(np.asarray(values, dtype=np.float64))
        order, ordered = attribute_order(NumberColumn(sign * column.values), len(vectors))
        placed = fixed(vectors[order[: len(ordered)]])
        firsts, nexts = _equal_rows(placed)
        starts, targets, ends = _grow(placed, firsts, neighbours, ef_construction)
        graph: Arrays = {
            "order": order,
            "ordered": ordered,
            "edge_starts": starts,
            "edge_targets": targets,
            "edge_ends": ends,
            "equal_first": firsts,
            "equal_next": nexts,
        }
        facts = {
            "attribute": attribute,
            "bounded": bounded,
            "neighbours": neighbours,
            "ef_construction": ef_construction,
        }
        return cls(vectors, graph, facts)

    def interval(self, where: RowFilter) -> tuple[int, int]:
        """Return the half-open interval of positions that pass a supported filter, nulls apart."""
        if self._facts["bounded"] == "below" and isinstance(where.form, Range):  # the order is that of -value
            where = RowFilter(where.mask, Range(self.attribute, -where.form.high, -where.form.low))
        return super().interval(where)

    def supports(self, where: RowFilter) -> bool:
        """Return whether it is a range of the attribute that nothing fails at its open side, or no filter."""
        return super().supports(where) and self.interval(where)[0] == 0

    def neighbours(self, position: int, *, right: int) -> NDArray[np.int32]:
        """Return the neighbours of a position in the graph of positions 0 .. right - 1, the longest-lived first."""
        block = np.empty(self._room, dtype=np.int32)
        visited = np.zeros(right, dtype=np.bool_)
        count, _ = _alive(position, right, self._starts, self._targets, self._ends, visited, block)
        return block[:count]

    @property
    def _room(self) -> int:
        return 2 * int(self._facts["neighbours"]) + 3  # neighbours alive at one time, or the three starts

    def _walk(
        self, query: Vectors, left: int, right: int, beam: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], Counters]:
        graph = (self._firsts, self._nexts, self._starts, self._targets, self._ends)
        positions, distances, *cost = _search(self.vectors, self.order, *graph, query, right, beam, self._room)
        return positions, distances, Counters(*cost)

    def arrays(self) -> Arrays:
        """Return the order, the edges by position with the ends of their lives, and which rows are equal."""
        return super().arrays() | {
            "edge_starts": self._starts,
            "edge_targets": self._targets,
            "edge_ends": self._ends,
            "equal_first": self._firsts,
            "equal_next": self._nexts,
        }

    def facts(self) -> dict[str, Any]:
        """Return the attribute and the settings."""
        return dict(self._facts)

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return what :meth:`arrays` and :meth:`facts` describe, over the same vectors."""
        return cls(vectors, arrays, facts)


def _equal_rows(placed: Vectors) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the first position with the same row, and the next one (the number of positions where there is none)."""
    count = len(placed)
    if count == 0:
        return np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)
    whole = np.dtype((np.void, placed.dtype.itemsize * placed.shape[1]))
    _, index, inverse = np.unique(placed.view(whole).ravel(), return_index=True, return_inverse=True)
    firsts = index[inverse].astype(np.int32)
    nexts = np.full(count, count, dtype=np.int32)
    together = np.argsort(firsts, kind="stable")  # equal rows side by side, each group ascending
    same = firsts[together[1:]] == firsts[together[:-1]]
    nexts[together[:-1][same]] = together[1:][same]
    return firsts, nexts


def _grow(
    placed: Vectors, firsts: NDArray[np.int32], neighbours: int, ef: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Insert all positions; returns where each one's edges begin, their targets, and their ends."""
    count, cap = len(placed), 2 * neighbours
    live = np.zeros((count, cap), dtype=np.int32)
    live_distances = np.zeros((count, cap), dtype=np.float32)
    counts = np.zeros(count, dtype=np.int32)
    identity = np.arange(count, dtype=np.int32)
    dropped = [
        _insert(placed, identity, firsts, live, live_distances, counts, start, stop, ef)
        for start, stop in chunks(count)
    ]
    kept = np.arange(cap) < counts[:, None]
    alive = np.column_stack([np.nonzero(kept)[0], live[kept], np.full(int(kept.sum()), count)]).astype(np.int32)
    edges = np.concatenate([*dropped, alive])
    return edge_lists(edges[:, 0], edges[:, 1], edges[:, 2], count)


@compiled
def _insert(vectors, identity, firsts, live, live_distances, counts, start, stop, ef):  # type: ignore[no-untyped-def]
    """Insert positions start .. stop - 1; returns the dropped edges: source, target, position that dropped it."""
    cap = live.shape[1]
    neighbours = cap // 2
    rows, distances, expanded = np.empty(ef, np.int32), np.empty(ef, np.float32), np.empty(ef, np.bool_)
    visited, block = np.empty(live.shape[0], np.bool_), np.empty(cap + 3, np.int32)
    chosen, chosen_distances = np.empty(neighbours, np.int32), np.empty(neighbours, np.float32)
    others, others_distances = np.empty(cap + 1, np.int32), np.empty(cap + 1, np.float32)
    unused = np.empty(cap + 1, np.bool_)
    dropped = np.empty(((stop - start) * neighbours * cap, 3), np.int32)
    lost = 0
    for position in range(start, stop):
        if position == 0 or firsts[position] != position:
            continue
        size = search_live(vectors, identity, firsts, live, counts, position, rows, distances, expanded, visited, block)
        count = choose(vectors, rows, distances, size, neighbours, chosen, chosen_distances)
        for place in range(count):
            live[position, place], live_distances[position, place] = chosen[place], chosen_distances[place]
        counts[position] = count
        for place in range(count):
            source = chosen[place]
            looked = link(
                vectors, source, position, chosen_distances[place], live, live_distances, counts, others,
                others_distances, unused,
            )  # fmt: skip
            lost = record(source, position, live[source], counts[source], others, looked, dropped, lost)
    return dropped[:lost].copy()


@compiled
def _alive(position, right, starts, targets, ends, visited, block):  # type: ignore[no-untyped-def]
    """Write the unvisited neighbours in the graph of the first ``right`` positions, and mark them.

    Returns:
        How many there are, and how many edges lead beyond.
    """
    count, rejected = 0, 0
    for index in range(starts[position], starts[position + 1]):
        if ends[index] < right:  # edges stand by the ends of their lives, the longest-lived first
            break
        target = targets[index]
        if target >= right:
            rejected += 1
        elif not visited[target]:
            visited[target] = True
            block[count] = target
            count += 1
    return count, rejected


@compiled
def _search(vectors, order, firsts, nexts, starts, targets, ends, query, right, beam, room):  # type: ignore[no-untyped-def]
    """Search the graph of the first ``right`` positions; returns positions, distances, and the three counters."""
    rows, distances, expanded = np.empty(beam, np.int32), np.empty(beam, np.float32), np.empty(beam, np.bool_)
    visited, block = np.zeros(right, np.bool_), np.empty(room, np.int32)
    count = entries(0, right, firsts, visited, block)
    compared, hops, rejected = count, 0, 0
    size, place = consider(vectors, order, query, block, count, rows, distances, expanded, 0, 0)
    while place < size:
        if expanded[place]:
            place += 1
            continue
        expanded[place] = True
        count, beyond = _alive(rows[place], right, starts, targets, ends, visited, block)
        hops, compared, rejected = hops + 1, compared + count, rejected + beyond
        size, place = consider(vectors, order, query, block, count, rows, distances, expanded, size, place)
    found, found_distances = np.empty(beam, np.int32), np.empty(beam, np.float32)
    filled = 0
    for index in range(size):
        position = rows[index]
        while position < right and filled < beam:
            found[filled], found_distances[filled] = position, distances[index]
            filled += 1
            position = nexts[position]
    return found[:filled], found_distances[:filled], compared, hops, rejected
