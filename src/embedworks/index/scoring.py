"""Compiled scores: of codes, with what each can be off by, and of the rows themselves, in float64.

Each is written once for every kind of code or row there is; which one runs is settled when it is compiled.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import overload

from embedworks.index.prefetch import prefetch_row
from embedworks.index.stored_vectors import LARGEST_LEVEL
from embedworks.index.structures.kernels import compiled, compiled_fast

_QUERY_LEVELS = 32_767
_LARGEST_SUM = 2**31 - 2**16
_HALF_UNIT: Final = float(2**112)
_FAST: Final[Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True}
FETCHED_AHEAD: Final = 8
"""Codes on their way from memory while one is scored."""
ROUNDING: Final = 4e-6
"""More than float32 rounding can add to a score made from whole numbers, of rows of length 1."""


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
    levels = min(_QUERY_LEVELS, int(_LARGEST_SUM / (LARGEST_LEVEL * np.sqrt(query.shape[0])) * largest))
    scale = largest / max(1, levels)
    code = np.empty(query.shape[0], dtype=np.int16)
    missed = 0.0
    for component in range(query.shape[0]):
        level = np.rint(query[component] / scale)
        code[component] = np.int16(level)
        missed += (query[component] - scale * level) ** 2
    return code, scale, np.sqrt(missed) * (1 + 1e-9)


@compiled
def lookup_table(codebooks, query):  # type: ignore[no-untyped-def]
    """Return the inner product of a query with every codeword.

    Args:
        codebooks: float32, shape (parts, 256, 2).
        query: float64, shape (d,), d at most two a part.

    Returns:
        float32, shape (parts, 256).
    """
    parts, words = codebooks.shape[0], codebooks.shape[1]
    table = np.empty((parts, words), dtype=np.float32)
    for part in range(parts):
        first = np.float32(query[2 * part])
        second = np.float32(query[2 * part + 1]) if 2 * part + 1 < query.shape[0] else np.float32(0)
        for word in range(words):
            table[part, word] = codebooks[part, word, 0] * first + codebooks[part, word, 1] * second
    return table


def table_error(parts: int) -> float:
    """Return more than float32 rounding can add to a score of product codes.

    The products of one part sum to at most |q| |y| <= 1 in absolute value, and each sum of so many rounds that often.

    Args:
        parts: Numbers added for a score.
    """
    return (parts + 16) * 2.0**-23


def code_product(code: Any, query: Any) -> Any:
    """Return the inner product of a query and what a code stands for, up to the code's factor and the query's scale."""
    raise NotImplementedError


@overload(code_product, jit_options=_FAST)
def _code_product(code, query):  # type: ignore[no-untyped-def]
    if code.dtype == types.int8:

        def of_whole_numbers(code, query):  # type: ignore[no-untyped-def]
            total = np.int32(0)
            for component in range(query.shape[0]):
                # Numba widens a product of two int32 to int64; cut back, it is one instruction for 32 components.
                product = np.int32(np.int32(code[component]) * np.int32(query[component]))
                total = np.int32(total + product)
            return np.float32(total)

        return of_whole_numbers

    def of_codewords(code, query):  # type: ignore[no-untyped-def]
        total = np.float32(0)
        for part in range(query.shape[0]):
            total += query[part, code[part]]
        return total

    return of_codewords


def code_slack(query: Any, score: Any, error: Any, query_error: Any) -> Any:
    """Return what the score of a code can be off by at most, from the code's error and the query's."""
    raise NotImplementedError


@overload(code_slack, jit_options=_FAST)
def _code_slack(query, score, error, query_error):  # type: ignore[no-untyped-def]
    if query.ndim == 1:

        def of_whole_numbers(query, score, error, query_error):  # type: ignore[no-untyped-def]
            # |<q, x> - <q', x'>| <= |x - x'| + |q - q'| |x'|, and |x'| <= 1 + |x - x'|.
            return error + query_error * (1 + error) + ROUNDING

        return of_whole_numbers

    def of_codewords(query, score, error, query_error):  # type: ignore[no-untyped-def]
        # See product_codes; |y|^2 = 1 - |r|^2. The last term within covers the rounding of the score, and is more than
        # enough while |y|^2 is at least 1/2.
        length = 1 - error * error
        if length < 0.5:
            return error + query_error
        return error * np.sqrt(max(0.0, 1 - score * score / length) + 8 * query_error) + query_error

    return of_codewords


def cosine(row: Any, query: Any) -> Any:
    """Return the cosine of a stored row and a query of length 1, in float64."""
    raise NotImplementedError


@overload(cosine, jit_options=_FAST)
def _cosine(row, query):  # type: ignore[no-untyped-def]
    if row.dtype == types.float32:

        def of_float32(row, query):  # type: ignore[no-untyped-def]
            total = 0.0
            for component in range(query.shape[0]):
                total += np.float64(row[component]) * query[component]
            return total

        return of_float32
    if row.dtype == types.uint16:

        def of_float16(row, query):  # type: ignore[no-untyped-def]
            total = square = 0.0
            for component in range(query.shape[0]):
                # The bits of a float16 at their place in a float32 mean 2^-112 times the number, small ones included.
                half = np.uint32(row[component])
                bits = ((half & np.uint32(0x7FFF)) << np.uint32(13)) | ((half & np.uint32(0x8000)) << np.uint32(16))
                value = np.float64(np.uint32(bits).view(np.float32)) * _HALF_UNIT
                total += value * query[component]
                square += value * value
            return total / np.sqrt(square)

        return of_float16

    def of_int8(row, query):  # type: ignore[no-untyped-def]
        total, square = 0.0, np.int64(0)
        for component in range(query.shape[0]):
            total += np.float64(row[component]) * query[component]
            square += np.int32(row[component]) * np.int32(row[component])
        return total / np.sqrt(np.float64(square))

    return of_int8


@compiled_fast
def code_scores(values, bounds, rows, query, query_scale, query_error, scores, slacks):  # type: ignore[no-untyped-def]
    """Score rows by their codes.

    Args:
        values: Codes, shape (n, any).
        bounds: Factor and error of each row, float32, shape (n, 2).
        rows: Rows to score, int64, shape (count,).
        query: As :meth:`embedworks.index.codes.Codes.encoded` returns it, like the next two.
        query_scale: What one unit of the product stands for.
        query_error: The error of the query.
        scores: Filled with the scores, float32, shape (count,).
        slacks: Filled with what each score can be off by at most, float32, shape (count,).
    """
    count = rows.shape[0]
    for place in range(count):
        if place + FETCHED_AHEAD < count:
            prefetch_row(values, rows[place + FETCHED_AHEAD])
        row = rows[place]
        score = code_product(values[row], query) * (bounds[row, 0] * query_scale)
        scores[place] = score
        slacks[place] = code_slack(query, score, bounds[row, 1], query_error)


@compiled_fast
def cosines_of(vectors, rows, query, scores):  # type: ignore[no-untyped-def]
    """Score rows in float64; a row's value does not depend on which others are asked for.

    Args:
        vectors: float32, int8, or uint16 for the bits of float16, shape (n, d).
        rows: int64, shape (count,).
        query: float64, shape (d,).
        scores: Filled, float64, shape (count,).
    """
    for place in range(rows.shape[0]):
        scores[place] = cosine(vectors[rows[place]], query)
