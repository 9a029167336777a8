"""Edges added to a built graph so that no row is out of reach: what Vamana makes likely, a promise needs for certain.

Pruning can cut a row off, and does where many rows are equal. A search whose candidate list is not full has then seen
every row that passes: it found k of them if there are k, and what it found is exact. The papers have no such step.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from embedworks.index.structures.kernels import compiled
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.vamana import Adjacency, LabelSets, search_graph
from embedworks.index.structures.vamana_kernels import meets
from embedworks.index.structures.workspace import Workspace, fixed

_NEAR = 32
"""Candidate list of the search for the row that an unreached row is linked from."""


def connect_labels(
    vectors: Vectors, graph: Adjacency, labels: LabelSets, start_of: NDArray[np.int32], *, degree: int
) -> Adjacency:
    """Add edges until a label's start reaches every row that has the label, through such rows alone.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: The graph.
        labels: Labels by row.
        start_of: Start of each label, -1 where no row has it, int32, shape (labels,).
        degree: Out-neighbours from which on a row is passed over as the source of a new edge, if another one is near.

    Returns:
        The graph with the added edges, or itself.
    """
    order = np.argsort(labels.codes, kind="stable")
    members = np.repeat(np.arange(len(vectors)), np.diff(labels.starts))[order]
    bounds = np.searchsorted(labels.codes[order], np.arange(len(start_of) + 1))
    added: dict[tuple[int, int], None] = {}
    workspace = Workspace(len(vectors))
    degrees = np.diff(graph.starts)
    walk = _Walk(graph, labels)
    for code in np.flatnonzero(start_of >= 0):
        start, rows = int(start_of[code]), members[bounds[code] : bounds[code + 1]]
        wanted = fixed(np.array([code], dtype=np.int32))
        walk.restart()
        if walk.spread(start, wanted) == len(rows):
            continue
        for row in rows:
            if walk.reached(row):
                continue
            near = _neighbours(vectors, graph, labels, wanted, start, row, workspace)
            source = next((other for other in near if degrees[other] < degree), near[0])
            added[source, int(row)] = None
            degrees[source] += 1
            walk.spread(row, wanted)
    return _with_edges(graph, added)


def connect_strongly(vectors: Vectors, graph: Adjacency, start: int, *, degree: int) -> Adjacency:
    """Add edges until every row reaches every other.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: The graph.
        start: The row the graph's searches start from.
        degree: As in :func:`connect_labels`.

    Returns:
        The graph with the added edges, or itself.
    """
    labels, wanted = LabelSets.same(len(vectors)), fixed(np.zeros(1, dtype=np.int32))
    graph = connect_labels(vectors, graph, labels, np.array([start], dtype=np.int32), degree=degree)
    walk = _Walk(Adjacency.from_edges(len(vectors), graph.ids, graph.sources), labels)
    walk.restart()
    if walk.spread(start, wanted) == len(vectors):
        return graph
    added: dict[tuple[int, int], None] = {}
    workspace = Workspace(len(vectors))
    for row in range(len(vectors)):
        if not walk.reached(row):
            near = _neighbours(vectors, graph, labels, wanted, start, row, workspace)
            target = next((other for other in near if walk.reached(other)), start)
            added[row, target] = None
            walk.spread(row, wanted)
    return _with_edges(graph, added)


def parts(graph: Adjacency, labels: LabelSets, start_of: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number the parts of a graph that no edge joins, whichever way it points.

    Args:
        graph: The graph.
        labels: Labels by row.
        start_of: Start of each label, -1 where no row has it, int32, shape (labels,).

    Returns:
        The part that each label's start is in, from 0, int32, shape (labels,); -1 where no row has the label.
    """
    sources = np.concatenate([graph.sources, graph.ids])
    walk = _Walk(
        Adjacency.from_edges(len(graph.starts) - 1, sources, np.concatenate([graph.ids, graph.sources])), labels
    )
    nothing = fixed(np.zeros(0, dtype=np.int32))
    part_of = np.full(len(start_of), -1, dtype=np.int32)
    while len(left := np.flatnonzero((start_of >= 0) & (part_of < 0))):
        walk.restart()
        walk.spread(int(start_of[left[0]]), nothing)
        part_of[left[walk.all_reached(start_of[left])]] = part_of.max() + 1
    return part_of


def _neighbours(
    vectors: Vectors,
    graph: Adjacency,
    labels: LabelSets,
    wanted: NDArray[np.int32],
    start: int,
    row: int,
    workspace: Workspace,
) -> list[int]:
    entries = fixed(np.array([start], dtype=np.int32))
    found = search_graph(vectors, vectors[row], graph, labels, wanted, entries, workspace, beam=_NEAR)
    return [int(other) for other in found.rows if other != row]


def _with_edges(graph: Adjacency, added: Iterable[tuple[int, int]]) -> Adjacency:
    pairs = np.array(list(added), dtype=np.int64).reshape(-1, 2)
    if not len(pairs):
        return graph
    sources = np.concatenate([graph.sources, pairs[:, 0]])
    return Adjacency.from_edges(len(graph.starts) - 1, sources, np.concatenate([graph.ids, pairs[:, 1]]))


class _Walk:
    """Marks what can be reached, breadth first."""

    def __init__(self, graph: Adjacency, labels: LabelSets) -> None:
        rows = len(graph.starts) - 1
        self._arrays = graph.starts, graph.ids, fixed(labels.starts), fixed(labels.codes)
        self._queue = np.empty(rows, dtype=np.int32)
        self._marks = np.zeros(rows, dtype=np.int32)
        self._mark = 0

    def restart(self) -> None:
        self._mark += 1

    def reached(self, row: int) -> bool:
        return bool(self._marks[row] == self._mark)

    def all_reached(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        return np.equal(self._marks[rows], self._mark)

    def spread(self, row: int, wanted: NDArray[np.int32]) -> int:
        return int(_spread(*self._arrays, wanted, int(row), self._marks, self._mark, self._queue))


@compiled
def _spread(starts, ids, label_starts, label_codes, wanted, row, marks, mark, queue):  # type: ignore[no-untyped-def]
    marks[row] = mark
    queue[0] = row
    head, tail = 0, 1
    while head < tail:
        node = queue[head]
        head += 1
        for slot in range(starts[node], starts[node + 1]):
            other = ids[slot]
            if marks[other] != mark and (
                wanted.shape[0] == 0 or meets(label_codes, label_starts[other], label_starts[other + 1], wanted)
            ):
                marks[other] = mark
                queue[tail] = other
                tail += 1
    return tail
