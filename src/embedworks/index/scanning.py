"""The compiled loops of exact search: scores from codes, the rows that can still win, and their scores in float64."""

from __future__ import annotations

import numpy as np

from embedworks.index.codes import LEVELS
from embedworks.index.structures.kernels import compiled, compiled_fast

_QUERY_LEVELS = 32_767
_LARGEST_SUM = 2**31 - 2**16
# Above this many wanted rows a list kept in order costs more than a partition.
_SORTED_LIST = 256
ROUNDING = 4e-6
"""More than float32 rounding can add to a score made from codes of vectors of length 1."""


@compiled
def best_rows(values, bounds, vectors, rows, query, k):  # type: ignore[no-untyped-def]
    """Find the k rows of highest cosine, exactly.

    Args:
        values: Codes, int8, shape (n, d).
        bounds: Scale and error of each code, float32, shape (n, 2).
        vectors: The rows themselves, float32, shape (n, d).
        rows: The rows to search among, int64, shape (count,).
        query: Of length 1, float64, shape (d,).
        k: At least 1.

    Returns:
        Rows and cosines, best first; more than k where others equal the k-th; and how many were scored in float64.
    """
    places = np.arange(rows.shape[0])
    if rows.shape[0] > k:
        code, scale, error = encode_query(query)
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
def encode_query(query):  # type: ignore[no-untyped-def]
    """Return a query as whole numbers of two bytes, so few levels that no sum of products leaves 32 bits.

    Args:
        query: Of length 1, float64, shape (d,).

    Returns:
        int16, shape (d,); what one level stands for; at least the Euclidean distance between the two.
    """
    largest = 0.0
    for component in range(query.shape[0]):
        largest = max(largest, abs(query[component]))
    # A row's code has length at most 127 sqrt(d), the query's 1 / scale.
    levels = min(_QUERY_LEVELS, int(_LARGEST_SUM / (LEVELS * np.sqrt(query.shape[0])) * largest))
    scale = largest / max(1, levels)
    code = np.empty(query.shape[0], dtype=np.int16)
    missed = 0.0
    for component in range(query.shape[0]):
        level = np.rint(query[component] / scale)
        code[component] = np.int16(level)
        missed += (query[component] - scale * level) ** 2
    return code, scale, np.sqrt(missed) * (1 + 1e-9)


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
