"""The compiled scan of exact search: scores from codes, the rows that can still win, and their scores in float64."""

from __future__ import annotations

import numpy as np

from embedworks.index.scoring import code_scores, cosines_of
from embedworks.index.structures.kernels import compiled

# Above this many wanted rows a list kept in order costs more than a partition.
_SORTED_LIST = 256


@compiled
def best_rows(values, bounds, vectors, rows, query, code, scale, error, k):  # type: ignore[no-untyped-def]
    """Find the k rows of highest cosine, exactly.

    Args:
        values: Codes, shape (n, any).
        bounds: Factor and error of each code, float32, shape (n, 2).
        vectors: The rows themselves, float32, int8, or uint16 for the bits of float16, shape (n, d).
        rows: The rows to search among, int64, shape (count,).
        query: Of length 1, float64, shape (d,).
        code: The query as :meth:`embedworks.index.codes.Codes.encoded` returns it, like the next two.
        scale: What one unit of its product with a code stands for.
        error: Its error.
        k: At least 1.

    Returns:
        Rows and cosines, best first; more than k where others equal the k-th; and how many were scored in float64.
    """
    places = np.arange(rows.shape[0])
    if rows.shape[0] > k:
        scores = np.empty(rows.shape[0], dtype=np.float32)
        slacks = np.empty(rows.shape[0], dtype=np.float32)
        code_scores(values, bounds, rows, code, scale, error, scores, slacks)
        places = possible(scores, slacks, k)
    candidates = rows[places]
    exact = np.empty(candidates.shape[0])
    cosines_of(vectors, candidates, query, exact)
    order = np.argsort(-exact)
    count = min(k, order.shape[0])
    while count < order.shape[0] and exact[order[count]] == exact[order[count - 1]]:
        count += 1
    return candidates[order[:count]], exact[order[:count]], candidates.shape[0]


@compiled
def possible(scores, slacks, k):  # type: ignore[no-untyped-def]
    """Return the places that can belong to the k best: those that can reach what k others reach for sure.

    Args:
        scores: float32, shape (count,).
        slacks: float32, shape (count,).
        k: At least 1.

    Returns:
        int64, ascending.
    """
    count = scores.shape[0]
    if k > _SORTED_LIST:
        lowest = np.partition(scores - slacks, count - k)[count - k] if count > k else np.float32(-np.inf)
        return np.flatnonzero(scores + slacks >= lowest)
    sure = np.empty(k, dtype=np.float32)  # the k best lower bounds, best first
    size = 0
    for place in range(count):
        lower = scores[place] - slacks[place]
        if size == k and lower <= sure[k - 1]:
            continue
        spot = size if size < k else k - 1
        while spot > 0 and sure[spot - 1] < lower:
            sure[spot] = sure[spot - 1]
            spot -= 1
        sure[spot] = lower
        size = min(size + 1, k)
    threshold = sure[k - 1] if size == k else np.float32(-np.inf)
    kept = np.empty(count, dtype=np.int64)
    number = 0
    for place in range(count):
        if scores[place] + slacks[place] >= threshold:
            kept[number] = place
            number += 1
    return kept[:number].copy()
