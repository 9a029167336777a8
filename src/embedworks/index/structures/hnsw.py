"""HNSW: the graph that knows nothing of filters, and the searches of it that post-filter and in-filter rest on.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs" (2018). Rows are inserted in their order by one thread, so one seed gives one graph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, progress_bar
from embedworks.index.structures.kernels import compiled, distance, insert, nearer, pop, prune, push
from embedworks.index.structures.layers import LayeredGraph, draw_levels, go_down, nearest_in_layer, upper_starts
from embedworks.index.structures.structure import Counters, Vectors
from embedworks.index.structures.workspace import Workspace, fixed

DEGREE = 16
"""The papers' M: neighbours a new row takes in every layer; twice as many may be had in layer 0."""
CONSTRUCTION_BEAM = 200
"""The papers' efConstruction, as published in hnswlib."""
_ROWS_AT_A_TIME = 1000


def build_hnsw(
    vectors: Vectors,
    *,
    degree: int = DEGREE,
    construction_beam: int = CONSTRUCTION_BEAM,
    seed: int = 0,
    progress: bool = False,
) -> LayeredGraph:
    """Build the graph over rows of length 1 (algorithms 1 and 4 of the paper).

    Args:
        vectors: float32, shape (n, d), n at least 1.
        degree: The papers' M; a list holds at most M rows, in layer 0 at most 2 M.
        construction_beam: Size of the candidate list while building.
        seed: Of the levels.
        progress: Whether to show a bar.

    Returns:
        The graph.

    Raises:
        InputError: A setting is out of range.
    """
    if degree < 2 or construction_beam < degree:
        raise InputError(
            f"degree is {degree}, construction beam {construction_beam}",
            where="HNSW",
            mend="take a degree of at least 2 and a beam no smaller",
        )
    levels = draw_levels(len(vectors), degree, seed)
    starts = upper_starts(levels)
    links = np.full((len(vectors), 2 * degree), -1, dtype=np.int32)
    upper = np.full((int(starts[-1]), degree), -1, dtype=np.int32)
    seen = np.zeros(len(vectors), dtype=np.int32)
    entry, stamp = 0, 0
    with progress_bar("building the graph", len(vectors), unit="rows", enabled=progress) as advance:
        for first in range(1, len(vectors), _ROWS_AT_A_TIME):
            last = min(first + _ROWS_AT_A_TIME, len(vectors))
            entry, stamp = _insert_rows(
                fixed(vectors), first, last, levels, links, upper, starts, entry, construction_beam, seen, stamp
            )
            advance(last - first)
    return LayeredGraph(levels, links, upper, int(entry))


@compiled
def _insert_rows(vectors, first, last, levels, links, upper, starts, entry, beam, seen, stamp):  # type: ignore[no-untyped-def]
    degree = upper.shape[1]
    rows = np.empty(beam, dtype=np.int32)
    distances = np.empty(beam, dtype=np.float32)
    expanded = np.empty(beam, dtype=np.bool_)
    kept = np.empty(links.shape[1], dtype=np.int32)
    shrunk = (
        np.empty(links.shape[1] + 1, dtype=np.int32),
        np.empty(links.shape[1] + 1, dtype=np.float32),
        np.empty(links.shape[1] + 1, dtype=np.bool_),
    )
    for row in range(first, last):
        top, level = np.int64(levels[entry]), np.int64(levels[row])
        rows[0], distances[0], _, _ = go_down(vectors, upper, starts, vectors[row], entry, top, level)
        size = 1
        for layer in range(min(top, level), -1, -1):
            lists = links if layer == 0 else upper
            stamp += 1
            size = nearest_in_layer(
                vectors, lists, layer - 1, starts, vectors[row], rows, distances, expanded, size, seen, stamp
            )
            number = prune(vectors, rows, distances, size, degree, np.float32(1), kept)
            line = row if layer == 0 else starts[row] + layer - 1
            for place in range(number):
                lists[line, place] = kept[place]
            place = 0
            for which in range(number):
                while rows[place] != kept[which]:
                    place += 1
                other = kept[which]
                other_line = other if layer == 0 else starts[other] + layer - 1
                _link_back(vectors, lists[other_line], other, row, distances[place], shrunk)
        if level > top:
            entry = row
    return entry, stamp


@compiled
def _link_back(vectors, line, row, new, new_distance, shrunk):  # type: ignore[no-untyped-def]
    """Add a neighbour to a row's list; where the list is full, choose again among all by the same rule."""
    width = line.shape[0]
    if line[width - 1] < 0:
        place = width - 1
        while place > 0 and line[place - 1] < 0:
            place -= 1
        line[place] = new
        return
    candidates, distances, unused = shrunk
    candidates[0], distances[0] = new, new_distance
    size = 1
    for place in range(width):
        other = line[place]
        size, _ = insert(
            candidates[: width + 1],
            distances[: width + 1],
            unused[: width + 1],
            size,
            other,
            distance(vectors, other, vectors[row]),
        )
    number = prune(vectors, candidates, distances, size, width, np.float32(1), line)
    for place in range(number, width):
        line[place] = -1


def search_hnsw(
    graph: LayeredGraph,
    vectors: Vectors,
    query: Vectors,
    mask: NDArray[np.bool_],
    beam: int,
    workspace: Workspace,
) -> tuple[NDArray[np.int32], NDArray[np.float32], Counters]:
    """Walk over all rows and keep those that pass, until the beam is full of rows nearer than what is left to visit.

    This is hnswlib's rule for filters; with a mask of ones it is the HNSW search.

    Args:
        graph: The graph.
        vectors: float32, shape (n, d).
        query: float32, shape (d,), read-only.
        mask: Which rows pass, bool, shape (n,).
        beam: The papers' ef.
        workspace: Of the structure.

    Returns:
        At most ``beam`` rows that pass and their distances, ascending, and what it cost.
    """
    rows, distances, compared, hops, rejected = _search(
        fixed(vectors),
        *graph.read_only,
        graph.entry,
        graph.top,
        query,
        fixed(mask),
        beam,
        workspace.seen,
        workspace.stamps(1),
        workspace.open_rows,
        workspace.open_distances,
    )
    return rows, distances, Counters(distances=compared, hops=hops, rejected=rejected)


@compiled
def _search(vectors, links, upper, starts, entry, top, query, mask, beam, seen, stamp, open_rows, open_distances):  # type: ignore[no-untyped-def]
    row, row_distance, compared, hops = go_down(vectors, upper, starts, query, entry, top, 0)
    fresh = np.empty(links.shape[1], dtype=np.int32)
    # The heap's top is the nearest; with the signs turned it is the furthest, which is what a full beam gives up.
    best_rows = np.empty(beam + 1, dtype=np.int32)
    best_distances = np.empty(beam + 1, dtype=np.float32)
    size = 0
    rejected = 0
    seen[row] = stamp
    waiting = push(open_rows, open_distances, 0, np.int32(row), row_distance)
    if mask[row]:
        size = push(best_rows, best_distances, size, np.int32(-row), -row_distance)
    else:
        rejected += 1
    while waiting > 0:
        row, row_distance = open_rows[0], open_distances[0]
        if size == beam and nearer(-best_distances[0], -best_rows[0], row_distance, row):
            break
        waiting = pop(open_rows, open_distances, waiting)
        hops += 1
        count = 0
        for place in range(links.shape[1]):
            other = links[row, place]
            if other < 0:
                break
            if seen[other] != stamp:
                seen[other] = stamp
                fresh[count] = other
                count += 1
        compared += count
        for place in range(count):
            other = fresh[place]
            other_distance = distance(vectors, other, query)
            if not mask[other]:
                rejected += 1
            if size == beam and not nearer(other_distance, other, -best_distances[0], -best_rows[0]):
                continue
            waiting = push(open_rows, open_distances, waiting, other, other_distance)
            if mask[other]:
                if size == beam:
                    size = pop(best_rows, best_distances, size)
                size = push(best_rows, best_distances, size, np.int32(-other), -other_distance)
    rows = np.empty(size, dtype=np.int32)
    distances = np.empty(size, dtype=np.float32)
    while size > 0:
        rows[size - 1], distances[size - 1] = -best_rows[0], -best_distances[0]
        size = pop(best_rows, best_distances, size)
    return rows, distances, compared, hops, rejected
