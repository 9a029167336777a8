"""Exact search: a float32 scan finds everything that can be among the best, float64 settles the order.

The scan's rounding error is bounded, so keeping every row within that bound of the k-th best and scoring those few
again in float64 gives the order of a float64 brute force, whatever the segments, the filter or the batch are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.index.snapshot import Snapshot

# Above this share of a segment's rows, scanning all and dropping some is cheaper than copying the wanted ones together.
_GATHER_SHARE = 0.3
_SCORES_AT_ONCE = 2**24

Ranking = tuple[NDArray[np.int64], NDArray[np.float64]]


def exact_rankings(snapshot: Snapshot, queries: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> list[Ranking]:
    """Find the k rows of highest cosine for each query.

    Args:
        snapshot: Where to search.
        queries: Unit rows, float64, shape (queries, dimension).
        rows: The rows to search among, ascending, int64, shape (candidates,).
        k: How many are wanted.

    Returns:
        For every query the min(k, candidates) best rows and their cosines, best first, ties in the order of the ids.
    """
    if len(rows) == 0 or k == 0:
        return [(np.zeros(0, dtype=np.int64), np.zeros(0)) for _ in queries]
    rankings: list[Ranking] = []
    step = max(1, _SCORES_AT_ONCE // len(rows))
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        for query, scores in zip(block, _scan(snapshot, block.astype(np.float32), rows), strict=True):
            rankings.append(settled_ranking(snapshot, query, rows[_possible(scores, k, query.size)], k))
    return rankings


def settled_ranking(snapshot: Snapshot, query: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> Ranking:
    """Score a few rows in float64 and put them in order, ties by id.

    Args:
        snapshot: Where the rows are.
        query: A unit vector, float64, shape (dimension,).
        rows: Row numbers, int64, shape (candidates,).
        k: How many to keep.

    Returns:
        Rows and cosines, best first.
    """
    return best_first(snapshot, rows, cosines(snapshot, query, rows), k)


def cosines(snapshot: Snapshot, query: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score rows in float64; each row's value does not depend on which others are asked for."""
    # A product summed row by row; a matrix product would round a row differently in different company.
    scores: NDArray[np.float64] = (snapshot.vectors(rows).astype(np.float64) * query).sum(axis=1)
    return scores


def best_first(snapshot: Snapshot, rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Ranking:
    """Order rows by descending score, equal scores by ascending id, and keep k."""
    if len(rows) > k:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= threshold)
        rows, scores = rows[kept], scores[kept]
    ids = snapshot.ids(rows)
    order = sorted(range(len(rows)), key=lambda place: (-scores[place], ids[place]))[:k]
    return rows[order], scores[order]


def _scan(snapshot: Snapshot, queries: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the float32 scores, shape (queries, rows)."""
    borders = np.searchsorted(rows, snapshot.firsts)
    parts = []
    for position, segment in enumerate(snapshot.segments):
        ours = rows[borders[position] : borders[position + 1]] - snapshot.firsts[position]
        if len(ours) == 0:
            continue
        if len(ours) == segment.entry.rows:
            parts.append(queries @ segment.vectors.T)
        elif len(ours) > _GATHER_SHARE * segment.entry.rows:
            parts.append((queries @ segment.vectors.T)[:, ours])
        else:
            parts.append(queries @ segment.vectors[ours].T)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _possible(scores: NDArray[np.float32], k: int, dimension: int) -> NDArray[np.int64]:
    """Return where a score may belong to one of the k best once rounding is undone."""
    if len(scores) <= k:
        return np.arange(len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    # Higham, Accuracy and Stability of Numerical Algorithms, (3.5): |error| <= n u / (1 - n u) for unit vectors, here
    # for the dot product, the rounded query and both the k-th score and the candidate's.
    unit_roundoff = 2.0**-24
    bound = 2.2 * (dimension + 4) * unit_roundoff
    return np.flatnonzero(scores >= threshold - bound)
