"""Exact search: a scan of codes finds everything that can be among the best, float64 settles the order.

What a code gets wrong is bounded, so keeping every row that can still reach the k-th best and scoring those few again
in float64 gives the order of a float64 brute force, whatever the segments, the filter or the batch are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.index.answers import Cost
from embedworks.index.snapshot import Snapshot

Ranking = tuple[NDArray[np.int64], NDArray[np.float64]]


def exact_rankings(
    snapshot: Snapshot, queries: NDArray[np.float64], rows: NDArray[np.int64], k: int, *, cost: Cost
) -> list[Ranking]:
    """Find the k rows of highest cosine for each query.

    Args:
        snapshot: Where to search.
        queries: Unit rows, float64, shape (queries, dimension).
        rows: The rows to search among, ascending, int64, shape (candidates,).
        k: How many are wanted.
        cost: What it takes is added here.

    Returns:
        For every query the min(k, candidates) best rows and their cosines, best first, ties in the order of the ids.
    """
    from embedworks.index.scanning import best_rows

    if len(rows) == 0 or k == 0:
        return [(np.zeros(0, dtype=np.int64), np.zeros(0)) for _ in queries]
    parts = snapshot.split(rows)
    rankings = []
    for query in queries:
        found = []
        for position, _, local in parts:
            segment = snapshot.segments[position]
            codes = segment.codes
            best, scores, settled = best_rows(
                codes.values, codes.bounds, segment.compiled, local, query, codes.encoded(query), k
            )
            cost.codes += len(local) if settled < len(local) else 0
            cost.vectors += settled
            found.append((best + snapshot.firsts[position] if position else best, scores))
        best, scores = found[0] if len(found) == 1 else (np.concatenate(part) for part in zip(*found, strict=True))
        rankings.append(best_first(snapshot, best, scores, k))
    return rankings


def cosines(snapshot: Snapshot, query: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score rows in float64; each row's value does not depend on which others are asked for."""
    from embedworks.index.scoring import cosines_of

    scores = np.empty(len(rows))
    for position, places, local in snapshot.split(rows):
        part = np.empty(len(local))
        cosines_of(snapshot.segments[position].compiled, local, query, part)
        scores[places] = part
    return scores


def best_first(snapshot: Snapshot, rows: NDArray[np.int64], scores: NDArray[np.float64], k: int) -> Ranking:
    """Order rows by descending score, equal scores by ascending id, and keep k."""
    falling = scores[1:] <= scores[:-1]
    if not falling.all():
        order = np.argsort(-scores, kind="stable")
        rows, scores = rows[order], scores[order]
    if len(rows) > k > 0:
        end = int(np.searchsorted(-scores, -scores[k - 1], side="right"))  # those that equal the k-th stay for now
        rows, scores = rows[:end], scores[:end]
    if len(rows) > 1 and (scores[1:] == scores[:-1]).any():
        ids = snapshot.ids(rows)
        order = np.array(sorted(range(len(rows)), key=lambda place: (-scores[place], ids[place])), dtype=np.int64)
        rows, scores = rows[order], scores[order]
    return rows[:k], scores[:k]
