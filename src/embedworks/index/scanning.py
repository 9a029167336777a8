"""The compiled loops of exact search: scores from codes, the rows that can still win, and their scores in float64."""

from __future__ import annotations

import numpy as np

from embedworks.index.structures.kernels import compiled, compiled_fast

ROUNDING = 4e-6
"""More than float32 rounding can add to a score made from codes of vectors of length 1."""


@compiled_fast
def code_scores(values, bounds, rows, query, query_scale, query_error, scores, slacks):  # type: ignore[no-untyped-def]
    """Score rows by their codes.

    Args:
        values: int8, shape (n, d).
        bounds: Scale and error of each row, float32, shape (n, 2).
        rows: Rows to score, int64, shape (count,).
        query: int16, shape (d,).
        query_scale: What one level of the query stands for.
        query_error: The query's own error.
        scores: Filled with the scores, float32, shape (count,).
        slacks: Filled with what each score can be off by at most, float32, shape (count,).
    """
    components = query.shape[0]
    for place in range(rows.shape[0]):
        row = rows[place]
        code = values[row]
        total = np.int32(0)
        for component in range(components):
            total += np.int32(code[component]) * np.int32(query[component])
        scores[place] = np.float32(total) * (bounds[row, 0] * query_scale)
        # |<q, x> - <q', x'>| <= |x - x'| + |q - q'| |x'|, and |x'| <= 1 + |x - x'|.
        slacks[place] = bounds[row, 1] + query_error * (1 + bounds[row, 1]) + ROUNDING


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


@compiled_fast
def cosines_of(vectors, rows, query, scores):  # type: ignore[no-untyped-def]
    """Score rows in float64; a row's value does not depend on which others are asked for.

    Args:
        vectors: float32, shape (n, d).
        rows: int64, shape (count,).
        query: float64, shape (d,).
        scores: Filled, float64, shape (count,).
    """
    for place in range(rows.shape[0]):
        row = vectors[rows[place]]
        total = 0.0
        for component in range(query.shape[0]):
            total += np.float64(row[component]) * query[component]
        scores[place] = total
