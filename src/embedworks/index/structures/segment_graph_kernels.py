"""Compiled parts that both segment graphs of SeRF are built from: the growing one-layer HNSW, and a step of a search.

Rows stand in the order of an attribute, so that a row is known by its position. The growing graph keeps, for each
position, at most twice M neighbours with their distances; after p insertions it is the HNSW of positions 0 .. p - 1.

Decisions where the papers are silent:

* There are no upper layers. A search of positions l .. r - 1, while building too, starts at l, l + w / 3 and
  l + 2 w / 3 with w = r - l, each once, and these three may be answers.
* A kept neighbour at distance 0 from the point drops only others at distance 0: otherwise two equal rows would keep
  each other and nothing else, and be cut off.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.index.structures.kernels import compiled, distance, insert


@compiled
def consider(vectors, order, query, block, count, rows, distances, expanded, size, place):  # type: ignore[no-untyped-def]
    """Compare some positions with the query and put them into the candidate list.

    Args:
        vectors: float32, shape (n, d), rows of length 1.
        order: Row of each position, int32.
        query: float32, shape (d,).
        block: Positions that were not compared before, int32.
        count: How many of them.
        rows: Candidate list, positions, int32, shape (beam,).
        distances: Their distances, ascending.
        expanded: Whether their neighbours were read.
        size: Filled entries of the list.
        place: First entry that may not be expanded.

    Returns:
        The new size and the new place.
    """
    for index in range(count):
        row_distance = distance(vectors, order[block[index]], query)
        size, taken = insert(rows, distances, expanded, size, block[index], row_distance)
        place = min(place, taken)
    return size, place


@compiled
def entries(left, right, firsts, visited, block):  # type: ignore[no-untyped-def]
    """Write where a search of positions left .. right - 1 starts, and mark it visited.

    Args:
        left: First position.
        right: Position after the last.
        firsts: The position that stands for each one in the graph, int32.
        visited: bool, one for each position from ``left`` on.
        block: int32, room for 3; filled.

    Returns:
        How many there are.
    """
    count = 0
    for third in range(3):
        position = firsts[left + (right - left) * third // 3]
        if not visited[position - left]:
            visited[position - left] = True
            block[count] = position
            count += 1
    return count


@compiled
def choose(vectors, candidates, distances, count, limit, kept, kept_distances):  # type: ignore[no-untyped-def]
    """Keep candidates by HNSW's rule: c stays iff d(c, p) < d(c, s) for all kept s, until ``limit`` are kept.

    Args:
        vectors: float32, shape (n, d), rows of length 1.
        candidates: Rows in ascending distance to the point p, int32; not the array ``kept``.
        distances: Those distances.
        count: How many candidates there are.
        limit: Most neighbours to keep.
        kept: int32, room for ``limit`` rows; filled.
        kept_distances: float32, likewise.

    Returns:
        The number kept.
    """
    size = 0
    for place in range(count):
        if size == limit:
            break
        if stands(vectors, candidates[place], distances[place], kept, kept_distances, size):
            kept[size], kept_distances[size] = candidates[place], distances[place]
            size += 1
    return size


@compiled
def stands(vectors, row, row_distance, kept, kept_distances, size):  # type: ignore[no-untyped-def]
    """Return whether no kept neighbour drops a candidate."""
    for place in range(size):
        if kept_distances[place] == 0 and row_distance > 0:
            continue
        if distance(vectors, kept[place], vectors[row]) <= row_distance:
            return False
    return True


@compiled
def link(vectors, source, target, between, live, live_distances, counts, rows, distances, unused):  # type: ignore[no-untyped-def]
    """Add the edge source -> target to a growing list of neighbours, choosing anew where it is full.

    Args:
        vectors: float32, shape (n, d), in the order of the attribute.
        source: A position.
        target: The position just inserted.
        between: Their distance.
        live: Neighbours, int32, shape (n, cap).
        live_distances: Their distances, float32, shape (n, cap).
        counts: Filled entries by position, int32, shape (n,).
        rows: Scratch, int32, shape (cap + 1,).
        distances: Scratch, float32, shape (cap + 1,).
        unused: Scratch, bool, shape (cap + 1,).

    Returns:
        How many of the cap + 1 candidates, now in ``rows``, were looked at to choose anew: 0 where there was room.
    """
    cap = live.shape[1]
    filled = counts[source]
    if filled < cap:
        live[source, filled], live_distances[source, filled] = target, between
        counts[source] = filled + 1
        return 0
    size, _ = insert(rows, distances, unused, 0, np.int32(target), between)
    for place in range(filled):
        size, _ = insert(rows, distances, unused, size, live[source, place], live_distances[source, place])
    counts[source] = choose(vectors, rows, distances, size, cap, live[source], live_distances[source])
    return size


@compiled
def record(source, position, kept, count, looked_at, looked, dropped, lost):  # type: ignore[no-untyped-def]
    """Write down the edges that :func:`link` dropped.

    Args:
        source: The position whose list was chosen anew.
        position: The one just inserted; where it was not let in, it had no life that could end.
        kept: Neighbours of the source now, int32, a subsequence of those looked at.
        count: How many of them.
        looked_at: Candidates that were looked at, int32.
        looked: How many of them.
        dropped: int32, shape (room, 3): source, target, position that ended the edge.
        lost: Filled rows of ``dropped``.

    Returns:
        The rows filled then.
    """
    stays = 0
    for index in range(looked):
        if stays < count and kept[stays] == looked_at[index]:
            stays += 1
        elif looked_at[index] != position:
            dropped[lost, 0], dropped[lost, 1], dropped[lost, 2] = source, looked_at[index], position
            lost += 1
    return lost


@compiled
def search_live(vectors, identity, firsts, live, counts, known, rows, distances, expanded, visited, block):  # type: ignore[no-untyped-def]
    """Find the neighbours of position ``known`` among the positions before it, in the growing graph.

    Args:
        vectors: float32, shape (n, d), in the order of the attribute.
        identity: 0 .. n - 1, int32.
        firsts: The position that stands for each one in the graph, int32, shape (n,).
        live: Neighbours, int32, shape (n, cap).
        counts: Filled entries by position, int32, shape (n,).
        known: How many positions were inserted.
        rows: The candidate list, int32, shape (beam,); filled.
        distances: Their distances, float32, shape (beam,); filled, ascending.
        expanded: Scratch, bool, shape (beam,).
        visited: Scratch, bool, shape (n,).
        block: Scratch, int32, room for cap and for 3.

    Returns:
        The number of candidates.
    """
    visited[:known] = False
    query = vectors[known]
    count = entries(0, known, firsts, visited, block)
    size, place = consider(vectors, identity, query, block, count, rows, distances, expanded, 0, 0)
    while place < size:
        if expanded[place]:
            place += 1
            continue
        expanded[place] = True
        position = rows[place]
        count = 0
        for index in range(counts[position]):
            neighbour = live[position, index]
            if not visited[neighbour]:
                visited[neighbour] = True
                block[count] = neighbour
                count += 1
        size, place = consider(vectors, identity, query, block, count, rows, distances, expanded, size, place)
    return size


def edge_lists(
    sources: NDArray[np.int32], targets: NDArray[np.int32], ends: NDArray[np.int32], positions: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Lay edges out by source, those that live longest first, so that a search stops at the first dead one.

    Args:
        sources: Positions, shape (edges,).
        targets: Positions, shape (edges,).
        ends: Position whose insertion ended each edge, ``positions`` where none did, shape (edges,).
        positions: How many positions there are.

    Returns:
        Where each position's edges begin, shape (positions + 1,); targets and ends in that layout.
    """
    layout = np.lexsort((targets, -ends, sources))
    starts = np.zeros(positions + 1, dtype=np.int64)
    np.cumsum(np.bincount(sources, minlength=positions), out=starts[1:])
    return starts, targets[layout], ends[layout]
