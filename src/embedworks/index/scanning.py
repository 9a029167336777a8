"""The compiled scan of exact search: scores from codes, the rows that can still win, and their scores in float64."""

from __future__ import annotations

import numpy as np

from embedworks.index.scoring import code_scores, cosines_of, encode_query
from embedworks.index.structures.kernels import compiled

# Sorting and partitioning by NumPy's names would take ten seconds to compile; the heap below takes half of one.


@compiled
def best_of_codes(values, bounds, vectors, rows, query, k):  # type: ignore[no-untyped-def]
    """Find the k rows of highest cosine over codes of whole numbers, in one call.

    Args:
        values: Codes, int8, shape (n, d).
        bounds: As in :func:`best_rows`, like the next three.
        vectors: The rows themselves.
        rows: The rows to search among.
        query: Of length 1, float64, shape (d,).
        k: At least 1.

    Returns:
        Rows and cosines, best first; how many were scored in float64; whether two of them are equal.
    """
    code, scale, error = encode_query(query)
    best, scores, settled = best_rows(values, bounds, vectors, rows, query, code, scale, error, k)
    tied = False
    for place in range(1, scores.shape[0]):
        tied = tied or scores[place] == scores[place - 1]
    return best, scores, settled, tied


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
    order = falling(exact)
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
    lower = np.empty(count, dtype=np.float32)
    for place in range(count):
        lower[place] = scores[place] - slacks[place]
    threshold = np.float32(-np.inf)
    if count >= k:
        sure = np.arange(k)  # the places of the k best lower bounds, the least one first
        for root in range(k // 2 - 1, -1, -1):
            sift_down(sure, lower, root, k)
        threshold = lower[sure[0]]
        for place in range(k, count):
            if lower[place] > threshold:
                sure[0] = place
                sift_down(sure, lower, 0, k)
                threshold = lower[sure[0]]
    kept = np.empty(count, dtype=np.int64)
    number = 0
    for place in range(count):
        if scores[place] + slacks[place] >= threshold:
            kept[number] = place
            number += 1
    return kept[:number].copy()


@compiled
def falling(scores):  # type: ignore[no-untyped-def]
    """Return the places of scores in falling order, int64, shape (count,); equal ones in any."""
    order = np.arange(scores.shape[0])
    for root in range(scores.shape[0] // 2 - 1, -1, -1):
        sift_down(order, scores, root, scores.shape[0])
    for size in range(scores.shape[0] - 1, 0, -1):
        order[0], order[size] = order[size], order[0]
        sift_down(order, scores, 0, size)
    return order


@compiled
def sift_down(heap, scores, root, size):  # type: ignore[no-untyped-def]
    """Let a place sink in a heap of places, the lowest score first, until no child's is lower.

    Args:
        heap: Places, int64, shape (at least size,).
        scores: Of all places, shape (count,).
        root: Where the place stands.
        size: How much of the heap counts.
    """
    sinking = heap[root]
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and scores[heap[child + 1]] < scores[heap[child]]:
            child += 1
        if scores[sinking] <= scores[heap[child]]:
            break
        heap[root] = heap[child]
        root = child
    heap[root] = sinking
