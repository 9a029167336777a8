"""Vamana, and its form for labels; what is compiled stands in ``vamana_kernels``.

Papers: DiskANN (NeurIPS 2019), algorithms 1 to 3; Filtered-DiskANN (WWW 2023), algorithms 1 to 4. The two are one code
here: plain Vamana is the form for labels where every row has the same label.

All distances are squared Euclidean, so ``alpha`` compares squares, as in DiskANN's code: 1.2 here is the papers' 1.095
(its square root). Unlike that code, RobustPrune makes one pass with the final alpha, as the papers write it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, progress_bar
from embedworks.index.structures.structure import Counters, Found, Vectors
from embedworks.index.structures.vamana_kernels import greedy_search, insert_rows, prune_rows
from embedworks.index.structures.workspace import Workspace, fixed

_SLACK: Final = 1.3
"""How far a list may grow above its degree before it is pruned, as in DiskANN's code."""
_AT_ONCE: Final = 1024
"""Rows inserted between two looks at the progress bar, and at Ctrl-C."""

Rule = Literal["paper", "code"]


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Sets of labels by row, as the kernels read them.

    Args:
        starts: Where each row's labels begin in ``codes``, int64, shape (n + 1,).
        codes: Numbers of the labels, ascending within a row, int32.
    """

    starts: NDArray[np.int64]
    codes: NDArray[np.int32]

    @classmethod
    def same(cls, rows: int) -> LabelSets:
        """Return sets in which every row has label 0 and no other."""
        return cls(fixed(np.arange(rows + 1, dtype=np.int64)), fixed(np.zeros(rows, dtype=np.int32)))


@dataclass(frozen=True, eq=False)
class Adjacency:
    """A directed graph.

    Args:
        starts: Where each node's out-neighbours begin in ``ids``, int64, shape (n + 1,).
        ids: The out-neighbours, int32, shape (edges,).
    """

    starts: NDArray[np.int64]
    ids: NDArray[np.int32]

    def of(self, node: int) -> NDArray[np.int32]:
        """Return a node's out-neighbours."""
        return self.ids[self.starts[node] : self.starts[node + 1]]

    @property
    def sources(self) -> NDArray[np.int64]:
        """The node each edge leaves, int64, shape (edges,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @classmethod
    def from_edges(cls, rows: int, sources: NDArray[Any], targets: NDArray[Any]) -> Adjacency:
        """Return the graph of some edges; those of one node keep their order."""
        order = np.argsort(sources, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(sources, minlength=rows))]).astype(np.int64)
        return cls(fixed(starts), fixed(targets[order].astype(np.int32)))


def medoid(vectors: Vectors) -> int:
    """Return the row with the least sum of squared distances to all rows, the first of equal ones."""
    return int(np.argmax(vectors @ vectors.sum(axis=0, dtype=np.float64).astype(np.float32)))


def check_settings(*, alpha: float, **counts: int) -> None:
    """Refuse settings that no graph can be built with.

    Raises:
        InputError: A count is below 1, or alpha is below 1.
    """
    for name, value in counts.items():
        if value < 1:
            raise InputError(f"{name} is {value}", where="settings", mend="give at least 1")
    if not (np.isfinite(alpha) and alpha >= 1):
        raise InputError(f"alpha is {alpha}", where="settings", mend="give a number of at least 1; 1.2 is usual")


def vamana(
    vectors: Vectors,
    start: int,
    order: NDArray[np.int64],
    *,
    degree: int,
    beam: int,
    alpha: float,
) -> Adjacency:
    """Build a Vamana graph (DiskANN, algorithm 3, with one pass over the rows).

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        start: The row every search starts from.
        order: The rows in order of insertion, int64, shape (n,).
        degree: Most out-neighbours of a row (R).
        beam: Size of the candidate list of the searches (L).
        alpha: RobustPrune's factor, on squared distances.

    Returns:
        The graph.
    """
    labels = LabelSets.same(len(vectors))
    starts = np.array([start], dtype=np.int32)
    return filtered_vamana(vectors, labels, starts, order, degree=degree, beam=beam, alpha=alpha)


def filtered_vamana(
    vectors: Vectors,
    labels: LabelSets,
    start_of: NDArray[np.int32],
    order: NDArray[np.int64],
    *,
    degree: int,
    beam: int,
    alpha: float,
    rule: Rule = "paper",
    progress: bool = False,
) -> Adjacency:
    """Build a FilteredVamana graph (Filtered-DiskANN, algorithm 4).

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        labels: Labels by row, at least one each.
        start_of: The row a search for a label starts from, int32, shape (labels,).
        order: The rows in order of insertion, int64, shape (n,).
        degree: Most out-neighbours of a row (R).
        beam: Size of the candidate list of the searches (L).
        alpha: RobustPrune's factor, on squared distances.
        rule: Which rows FilteredRobustPrune may drop; see ``vamana_kernels.robust_prune``.
        progress: Whether to show a bar.

    Returns:
        The graph; not every row of a label need be reachable from its start.
    """
    rows = len(vectors)
    room = max(int(_SLACK * degree), degree + 1)
    ids = np.full(rows * room, -1, dtype=np.int32)
    begins = np.arange(rows, dtype=np.int64) * room
    ends = begins.copy()
    marks = np.zeros(rows, dtype=np.int32)
    graph = (fixed(vectors), fixed(labels.starts), fixed(labels.codes), fixed(start_of), ids, begins, ends)
    with progress_bar("linking rows", rows, unit="rows", enabled=progress) as advance:
        for first in range(0, rows, _AT_ONCE):
            part = fixed(order[first : first + _AT_ONCE])
            insert_rows(*graph, part, marks, first, room, degree, beam, float(alpha), rule == "code")
            advance(len(part))
    prune_rows(*graph, degree, float(alpha), rule == "code", False)
    return packed(ids, begins, ends)


def prune_graph(
    vectors: Vectors, labels: LabelSets, graph: Adjacency, *, degree: int, alpha: float, rule: Rule
) -> Adjacency:
    """Prune every row's out-neighbours to a degree (the last step of StitchedVamana: algorithm 5, lines 4 and 5)."""
    ids, begins, ends = graph.ids.copy(), graph.starts[:-1].copy(), graph.starts[1:].copy()
    nowhere = fixed(np.zeros(0, dtype=np.int32))
    label_arrays = (fixed(labels.starts), fixed(labels.codes))
    prune_rows(fixed(vectors), *label_arrays, nowhere, ids, begins, ends, degree, float(alpha), rule == "code", True)
    return packed(ids, begins, ends)


def search_graph(
    vectors: Vectors,
    query: Vectors,
    graph: Adjacency,
    labels: LabelSets,
    wanted: NDArray[np.int32],
    entries: NDArray[np.int32],
    workspace: Workspace,
    *,
    beam: int,
) -> Found:
    """Search a graph for the rows nearest to a query.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        query: Of length 1, float32, shape (d,).
        graph: The graph.
        labels: Labels by row.
        wanted: Only rows with one of these labels are looked at, ascending; all rows where it is empty.
        entries: Rows to start from, which pass.
        workspace: Marks for the rows.
        beam: Size of the candidate list, at least 1.

    Returns:
        The whole candidate list; ``exact`` says that it was not full, so that every row within reach is in it.
    """
    beam = min(beam, len(vectors) + 1)
    rows = np.empty(beam, dtype=np.int32)
    distances = np.empty(beam, dtype=np.float32)
    size, _, computed, hops, rejected = greedy_search(
        fixed(vectors),
        fixed(query),
        graph.ids,
        graph.starts[:-1],
        graph.starts[1:],
        fixed(labels.starts),
        fixed(labels.codes),
        fixed(wanted),
        fixed(entries),
        rows,
        distances,
        np.empty(beam, dtype=np.bool_),
        workspace.seen,
        workspace.stamps(1),
        np.empty(0, dtype=np.int32),
        np.empty(0, dtype=np.float32),
    )
    counters = Counters(int(computed), int(hops), int(rejected))
    return Found(rows[:size].astype(np.int64), distances[:size], counters, exact=size < beam)


def best_passing(searches: Sequence[Found], k: int, mask: NDArray[np.bool_]) -> Found:
    """Return the k nearest that some searches found and that pass; a filter may be narrower than its form says.

    Args:
        searches: What was found; a row may be found more than once.
        k: How many are wanted.
        mask: Which rows pass, bool, shape (n,).

    Returns:
        Rows by distance, equal ones by row; exact where all searches are.
    """
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *(found.rows for found in searches)])
    distances = np.concatenate([np.zeros(0, dtype=np.float32), *(found.distances for found in searches)])
    if len(searches) > 1:
        rows, first = np.unique(rows, return_index=True)
        order = np.argsort(distances[first], kind="stable")
        rows, distances = rows[order], distances[first][order]
    keep = np.flatnonzero(mask[rows])[:k]
    counters = sum((found.counters for found in searches), Counters())
    return Found(rows[keep], distances[keep], counters, exact=all(found.exact for found in searches))


def packed(ids: NDArray[np.int32], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> Adjacency:
    """Return the graph whose node i has the out-neighbours ids[begins[i]:ends[i]], without the gaps between them."""
    counts = ends - begins
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    places = np.repeat(begins - starts[:-1], counts) + np.arange(starts[-1])
    return Adjacency(fixed(starts), fixed(ids[places]))
