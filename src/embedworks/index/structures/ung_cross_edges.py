"""UNG's edges between groups: from every row to the nearest rows of the groups that its group leads to."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import progress_bar
from embedworks.index.structures.kernels import compiled, distance, insert
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.ung_label_graph import LabelGroups
from embedworks.index.structures.vamana import Adjacency
from embedworks.index.structures.vamana_kernels import greedy_search
from embedworks.index.structures.workspace import fixed

_AT_ONCE: Final = 256
"""Rows linked between two looks at the progress bar, and at Ctrl-C."""


def cross_edges(
    vectors: Vectors,
    inside: Adjacency,
    groups: LabelGroups,
    medoids: NDArray[np.int32],
    *,
    degree: int,
    beam: int,
    progress: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Link rows to rows of the minimal supersets of their set of labels (UNG, cross-group edges).

    A row's candidates are the ``degree`` nearest rows that a search finds in each superset; of all of them the nearest
    ``degree`` are linked. A group that leads to a superset by no such edge gets the ``degree`` nearest pairs of a row
    and its nearest row there. Groups of at most ``beam`` rows are compared whole, which a search would come to.

    Args:
        vectors: Rows of length 1, those of a group lying together, float32, shape (n, d).
        inside: Edges within the groups, over the same rows.
        groups: The groups, in the same order.
        medoids: The row at which each group's graph is entered, int32, shape (groups,).
        degree: Edges of a row, and of a pair of groups that has none (delta).
        beam: Size of the candidate list of the searches (L).
        progress: Whether to show a bar.

    Returns:
        Sources and targets of the edges, int64.
    """
    up_starts, up = groups.navigating_graph()
    rows, marks, nothing = fixed(vectors), np.zeros(len(vectors), dtype=np.int32), fixed(np.empty(0, dtype=np.int32))
    place_group = np.repeat(np.arange(len(groups)), np.diff(groups.member_starts))
    sources, targets = [], []
    mark = 0
    with progress_bar("linking groups", len(vectors), unit="rows", enabled=progress) as advance:
        for group in range(len(groups)):
            first, last = groups.member_starts[group : group + 2].tolist()
            above = up[up_starts[group] : up_starts[group + 1]]
            best = np.full((last - first, degree), -1, dtype=np.int32)
            pairs = np.full((len(above), degree, 2), -1, dtype=np.int32)
            pair_distances = np.full((len(above), degree), np.inf, dtype=np.float32)
            for begin in range(first, last if len(above) else first, _AT_ONCE):
                end = min(begin + _AT_ONCE, last)
                _link_rows(
                    rows,
                    inside.ids,
                    inside.starts[:-1],
                    inside.starts[1:],
                    fixed(groups.member_starts),
                    fixed(above),
                    fixed(medoids),
                    nothing,
                    begin,
                    end,
                    beam,
                    marks,
                    mark,
                    best[begin - first : end - first],
                    pairs,
                    pair_distances,
                )
                mark += (end - begin) * len(above)
                if mark > np.iinfo(np.int32).max // 2:
                    marks[:], mark = 0, 0
            linked = best >= 0
            places = np.arange(first, last).repeat(linked.sum(axis=1))
            reached = np.unique(place_group[best[linked]])
            missing = pairs[~np.isin(above, reached)].reshape(-1, 2)
            missing = missing[missing[:, 0] >= 0]
            sources += [places, missing[:, 0].astype(np.int64)]
            targets += [best[linked].astype(np.int64), missing[:, 1].astype(np.int64)]
            advance(last - first)
    return np.concatenate(sources), np.concatenate(targets)


@compiled
def _link_rows(  # type: ignore[no-untyped-def]
    vectors,
    ids,
    begins,
    ends,
    member_starts,
    above,
    medoids,
    nothing,
    begin,
    end,
    beam,
    marks,
    mark,
    best,
    pairs,
    pair_distances,
):
    degree = best.shape[1]
    rows = np.empty(beam, dtype=np.int32)
    distances = np.empty(beam, dtype=np.float32)
    expanded = np.empty(beam, dtype=np.bool_)
    near = np.empty(degree, dtype=np.float32)
    no_rows = np.empty(0, dtype=np.int32)
    no_distances = np.empty(0, dtype=np.float32)
    for row in range(begin, end):
        found = 0
        for edge in range(above.shape[0]):
            group = above[edge]
            size = 0
            mark += 1
            if member_starts[group + 1] - member_starts[group] <= beam:
                for other in range(member_starts[group], member_starts[group + 1]):
                    far = distance(vectors, other, vectors[row])
                    size, _ = insert(rows, distances, expanded, size, np.int32(other), far)
            else:
                size, _, _, _, _ = greedy_search(
                    vectors,
                    vectors[row],
                    ids,
                    begins,
                    ends,
                    begins,
                    nothing,
                    nothing,
                    medoids[group : group + 1],
                    rows,
                    distances,
                    expanded,
                    marks,
                    mark,
                    no_rows,
                    no_distances,
                )
            for place in range(min(size, degree)):
                found, _ = insert(best[row - begin], near, expanded, found, rows[place], distances[place])
            _keep_pair(pairs[edge], pair_distances[edge], row, rows[0], distances[0])


@compiled
def _keep_pair(pairs, distances, row, other, far):  # type: ignore[no-untyped-def]
    """Keep the nearest pairs, ascending; of equally distant ones the first that came."""
    place = distances.shape[0]
    while place > 0 and far < distances[place - 1]:
        place -= 1
        if place + 1 < distances.shape[0]:
            distances[place + 1] = distances[place]
            pairs[place + 1] = pairs[place]
    if place < distances.shape[0]:
        distances[place], pairs[place, 0], pairs[place, 1] = far, row, other
