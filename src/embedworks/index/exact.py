"""Exact search: a scan of codes finds everything that can be among the best, float64 settles the order.

What a code gets wrong is bounded, so keeping every row that can still reach the k-th best and scoring those few again
in float64 gives the order of a float64 brute force, whatever the segments, the filter or the batch are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.index.codes import encode_query
from embedworks.index.snapshot import RowsOfSegment, Snapshot

# Above this many wanted rows a list kept in order costs more than a partition.
_SORTED_LIST = 256

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
    if len(rows) <= k:
        return [settled_ranking(snapshot, query, rows, k) for query in queries]
    parts = snapshot.split(rows)
    scores, slacks = np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=np.float32)
    rankings = []
    for query in queries:
        _scan(snapshot, query, parts, scores, slacks)
        rankings.append(settled_ranking(snapshot, query, rows[_possible(scores, slacks, k)], k))
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
    from embedworks.index.scanning import cosines_of

    scores = np.empty(len(rows))
    for position, places, local in snapshot.split(rows):
        part = np.empty(len(local))
        cosines_of(snapshot.segments[position].vectors, local, query, part)
        scores[places] = part
    return scores


def best_first(snapshot: Snapshot, rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Ranking:
    """Order rows by descending score, equal scores by ascending id, and keep k."""
    if len(rows) > k:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= threshold)
        rows, scores = rows[kept], scores[kept]
    order = np.argsort(-scores, kind="stable")
    rows, scores = rows[order], scores[order]
    if len(rows) > 1 and (scores[1:] == scores[:-1]).any():
        ids = snapshot.ids(rows)
        order = np.array(sorted(range(len(rows)), key=lambda place: (-scores[place], ids[place])), dtype=np.int64)
        rows, scores = rows[order], scores[order]
    return rows[:k], scores[:k]


def _scan(
    snapshot: Snapshot,
    query: NDArray[np.float64],
    parts: list[RowsOfSegment],
    scores: NDArray[np.float32],
    slacks: NDArray[np.float32],
) -> None:
    """Fill in the scores by codes and what each can be off by, both of shape (rows,)."""
    from embedworks.index.scanning import code_scores

    code = encode_query(query)
    for position, places, local in parts:
        codes = snapshot.segments[position].codes
        code_scores(
            codes.values, codes.bounds, local, code.values, code.scale, code.error, scores[places], slacks[places]
        )


def _possible(scores: NDArray[np.float32], slacks: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return where a row may be one of the k best."""
    if k <= _SORTED_LIST:
        from embedworks.index.scanning import possible

        found: NDArray[np.int64] = possible(scores, slacks, k)
        return found
    lowest = scores - slacks
    return np.flatnonzero(scores + slacks >= np.partition(lowest, len(lowest) - k)[len(lowest) - k])
