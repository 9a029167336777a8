"""Vamana, and its form for labels: GreedySearch, RobustPrune, and the insertion of rows one by one.

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
from embedworks.index.structures.kernels import compiled, distance, insert
from embedworks.index.structures.structure import Counters, Found, Vectors
from embedworks.index.structures.workspace import Workspace, fixed

_SLACK: Final = 1.3
"""How far a list may grow above its degree before it is pruned, as in DiskANN's code."""
_MOST_CANDIDATES: Final = 750
"""Most candidates of one RobustPrune, as in DiskANN's code."""
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
        rule: Which rows FilteredRobustPrune may drop; see :func:`robust_prune`.
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
            _insert_rows(*graph, part, marks, first, room, degree, beam, float(alpha), rule == "code")
            advance(len(part))
    _prune_rows(*graph, degree, float(alpha), rule == "code", False)
    return packed(ids, begins, ends)


def prune_graph(
    vectors: Vectors, labels: LabelSets, graph: Adjacency, *, degree: int, alpha: float, rule: Rule
) -> Adjacency:
    """Prune every row's out-neighbours to a degree (the last step of StitchedVamana: algorithm 5, lines 4 and 5)."""
    ids, begins, ends = graph.ids.copy(), graph.starts[:-1].copy(), graph.starts[1:].copy()
    nowhere = fixed(np.zeros(0, dtype=np.int32))
    label_arrays = (fixed(labels.starts), fixed(labels.codes))
    _prune_rows(fixed(vectors), *label_arrays, nowhere, ids, begins, ends, degree, float(alpha), rule == "code", True)
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


@compiled
def meets(codes, first, last, wanted):  # type: ignore[no-untyped-def]
    """Return whether two ascending lists of labels, codes[first:last] and wanted, have one in common."""
    place = 0
    while first < last and place < wanted.shape[0]:
        if codes[first] == wanted[place]:
            return True
        if codes[first] < wanted[place]:
            first += 1
        else:
            place += 1
    return False


@compiled
def may_drop(starts, codes, row, other, kept, strict):  # type: ignore[no-untyped-def]
    """Return whether a kept neighbour serves every label for which ``row`` needs ``other`` as one.

    The paper asks F_row & F_other <= F_kept, its code (strict) F_other <= F_kept.
    """
    mine, theirs = starts[row], starts[kept]
    for place in range(starts[other], starts[other + 1]):
        code = codes[place]
        if not strict:
            while mine < starts[row + 1] and codes[mine] < code:
                mine += 1
            if mine == starts[row + 1]:
                return True
            if codes[mine] != code:
                continue
        while theirs < starts[kept + 1] and codes[theirs] < code:
            theirs += 1
        if theirs == starts[kept + 1] or codes[theirs] != code:
            return False
    return True


@compiled
def greedy_search(  # type: ignore[no-untyped-def]
    vectors,
    query,
    ids,
    begins,
    ends,
    label_starts,
    label_codes,
    wanted,
    entries,
    rows,
    distances,
    expanded,
    marks,
    mark,
    path_rows,
    path_distances,
):
    """Search a graph for the rows nearest to a query (DiskANN algorithm 1, Filtered-DiskANN algorithm 1).

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        query: Of length 1, float32, shape (d,).
        ids: Out-neighbours of all rows, int32.
        begins: Where a row's out-neighbours begin, int64, shape (n,).
        ends: Where they end, int64, shape (n,).
        label_starts: Where a row's labels begin, int64, shape (n + 1,).
        label_codes: Labels, ascending within a row, int32.
        wanted: Only rows with one of these labels are looked at, int32, ascending; all rows where it is empty.
        entries: Rows to start from, int32; they are not checked.
        rows: The candidate list, int32, shape (L,); filled.
        distances: Their squared distances, float32, shape (L,); filled.
        expanded: Work space, bool, shape (L,).
        marks: Work space that never holds ``mark``, int32, shape (n,).
        mark: What to mark visited rows with.
        path_rows: The nearest of the expanded rows, int32; filled. Room for none is allowed.
        path_distances: Their squared distances, float32.

    Returns:
        Sizes of the candidate list and of the path, and counts of distances, hops and rejected rows.
    """
    size, path, computed, hops, rejected = 0, 0, 0, 0, 0
    unused = np.empty(path_rows.shape[0], dtype=np.bool_)
    for entry in entries:
        if marks[entry] != mark:
            marks[entry] = mark
            computed += 1
            size, _ = insert(rows, distances, expanded, size, entry, distance(vectors, entry, query))
    place = 0
    while place < size:
        if expanded[place]:
            place += 1
            continue
        expanded[place] = True
        hops += 1
        node = rows[place]
        if path_rows.shape[0] > 0:
            path, _ = insert(path_rows, path_distances, unused, path, node, distances[place])
        place += 1
        for slot in range(begins[node], ends[node]):
            row = ids[slot]
            if marks[row] == mark:
                continue
            marks[row] = mark
            if wanted.shape[0] > 0 and not meets(label_codes, label_starts[row], label_starts[row + 1], wanted):
                rejected += 1
                continue
            computed += 1
            size, taken = insert(rows, distances, expanded, size, row, distance(vectors, row, query))
            place = min(place, taken)
    return size, path, computed, hops, rejected


@compiled
def robust_prune(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, row, candidates, distances, count, degree, alpha, strict, kept
):
    """Choose a row's out-neighbours (DiskANN algorithm 2; FilteredRobustPrune, Filtered-DiskANN algorithm 3).

    Going outwards, a candidate c of p is dropped if some kept s has alpha * d(s, c) <= d(p, c) and :func:`may_drop`
    allows it.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        label_starts: Where a row's labels begin, int64, shape (n + 1,).
        label_codes: Labels, int32.
        row: p.
        candidates: Other rows, each once, int32, in ascending distance to p.
        distances: Those squared distances, float32.
        count: How many there are.
        degree: Most to keep (R).
        alpha: The factor, on squared distances.
        strict: The code's condition on labels in place of the paper's.
        kept: int32, room for ``degree`` rows; filled.

    Returns:
        The number kept.
    """
    size = 0
    for place in range(count):
        if size == degree:
            break
        candidate = candidates[place]
        wanted = True
        for other in range(size):
            if (
                may_drop(label_starts, label_codes, row, candidate, kept[other], strict)
                and alpha * distance(vectors, kept[other], vectors[candidate]) <= distances[place]
            ):
                wanted = False
                break
        if wanted:
            kept[size] = candidate
            size += 1
    return size


@compiled
def _prune_list(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, ids, begins, ends, row, degree, alpha, strict, kept
):
    count = ends[row] - begins[row]
    candidates = np.empty(count, dtype=np.int32)
    distances = np.empty(count, dtype=np.float32)
    unused = np.empty(count, dtype=np.bool_)
    size = 0
    for slot in range(begins[row], ends[row]):
        near = distance(vectors, ids[slot], vectors[row])
        size, _ = insert(candidates, distances, unused, size, ids[slot], near)
    size = robust_prune(
        vectors, label_starts, label_codes, row, candidates, distances, size, degree, alpha, strict, kept
    )
    ids[begins[row] : begins[row] + size] = kept[:size]
    ends[row] = begins[row] + size


@compiled
def _prune_rows(  # type: ignore[no-untyped-def]
    vectors, label_starts, label_codes, start_of, ids, begins, ends, degree, alpha, strict, everywhere
):
    kept = np.empty(degree, dtype=np.int32)
    for row in range(begins.shape[0]):
        if everywhere or ends[row] - begins[row] > degree:
            _prune_list(vectors, label_starts, label_codes, ids, begins, ends, row, degree, alpha, strict, kept)


@compiled
def _insert_rows(  # type: ignore[no-untyped-def]
    vectors,
    label_starts,
    label_codes,
    start_of,
    ids,
    begins,
    ends,
    order,
    marks,
    mark,
    room,
    degree,
    beam,
    alpha,
    strict,
):
    rows = np.empty(beam, dtype=np.int32)
    distances = np.empty(beam, dtype=np.float32)
    expanded = np.empty(beam, dtype=np.bool_)
    path_rows = np.empty(_MOST_CANDIDATES, dtype=np.int32)
    path_distances = np.empty(_MOST_CANDIDATES, dtype=np.float32)
    unused = np.empty(_MOST_CANDIDATES, dtype=np.bool_)
    kept = np.empty(degree, dtype=np.int32)
    for step in range(order.shape[0]):
        row = np.int32(order[step])
        wanted = label_codes[label_starts[row] : label_starts[row + 1]]
        _, count, _, _, _ = greedy_search(
            vectors,
            vectors[row],
            ids,
            begins,
            ends,
            label_starts,
            label_codes,
            wanted,
            start_of[wanted],
            rows,
            distances,
            expanded,
            marks,
            mark + step + 1,
            path_rows,
            path_distances,
        )
        # The candidates are the path and the neighbours that a start may have before its turn, without the row itself.
        for slot in range(begins[row], ends[row]):
            known = False
            for place in range(count):
                known = known or path_rows[place] == ids[slot]
            if not known:
                near = distance(vectors, ids[slot], vectors[row])
                count, _ = insert(path_rows, path_distances, unused, count, ids[slot], near)
        for place in range(count):
            if path_rows[place] == row:
                path_rows[place : count - 1] = path_rows[place + 1 : count].copy()
                path_distances[place : count - 1] = path_distances[place + 1 : count].copy()
                count -= 1
                break
        size = robust_prune(
            vectors, label_starts, label_codes, row, path_rows, path_distances, count, degree, alpha, strict, kept
        )
        ids[begins[row] : begins[row] + size] = kept[:size]
        ends[row] = begins[row] + size
        for slot in range(begins[row], ends[row]):
            other = ids[slot]
            present = False
            for place in range(begins[other], ends[other]):
                present = present or ids[place] == row
            if present:
                continue
            ids[ends[other]] = row
            ends[other] += 1
            if ends[other] - begins[other] == room:
                _prune_list(vectors, label_starts, label_codes, ids, begins, ends, other, degree, alpha, strict, kept)
