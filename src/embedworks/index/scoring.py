"""Compiled scores: of codes, with what each can be off by, and of the rows themselves, in float64.

Each is written once for every kind of code or row there is; which one runs is settled when it is compiled.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import overload

from embedworks.index.byte_products import DIGIT, LARGEST_QUERY, available, digit_product
from embedworks.index.intake import SAFE_SQUARES
from embedworks.index.stored_vectors import LARGEST_LEVEL
from embedworks.index.structures.kernels import compiled, compiled_fast, compiled_into

_LARGEST_WORD = 32_767
_LARGEST_SUM = 2**31 - 2**16
_HALF_UNIT: Final = float(2**112)
_FAST: Final[Any] = {"fastmath": {"reassoc", "contract", "nsz", "arcp"}, "nogil": True, "forceinline": True}
FETCHED_AHEAD: Final = 8
"""Codes on their way from memory while one is scored."""
ROUNDING: Final = 4e-6
"""More than float32 rounding can add to a score made from whole numbers, of rows of length 1."""


@compiled
def unit(vector):  # type: ignore[no-untyped-def]
    """Divide a vector by its length.

    Args:
        vector: float64, shape (d,).

    Returns:
        float64, shape (d,), the bits of :func:`embedworks.index.intake.checked_query`; and whether the vector has a
        length that can be divided by.
    """
    square = 0.0
    divided = np.empty(vector.shape[0])
    for component in range(vector.shape[0]):
        divided[component] = vector[component]
        square += divided[component] * divided[component]
    safe = SAFE_SQUARES[0] < square < SAFE_SQUARES[1]
    length = np.sqrt(square) if safe else 1.0
    for component in range(vector.shape[0]):
        divided[component] /= length
    return divided, safe


@compiled
def query_in_words(query):  # type: ignore[no-untyped-def]
    """Return a query as whole numbers of two bytes.

    Args:
        query: Of length 1, float64, shape (d,).

    Returns:
        int16, shape (d,); what one level stands for; at least the Euclidean distance between the two; 0, which is what
        a product with it has too much.
    """
    levels, scale, missed = _levels(query, _LARGEST_WORD)
    return levels.astype(np.int16), scale, missed, np.int32(0)


@compiled
def query_in_digits(query):  # type: ignore[no-untyped-def]
    """Return a query as whole numbers of two digits of one byte (see ``byte_products``).

    Args:
        query: Of length 1, float64, shape (d,).

    Returns:
        int8, shape (2, d); what one level stands for; at least the Euclidean distance between the two; what a product
        with it has too much.
    """
    levels, scale, missed = _levels(query, LARGEST_QUERY)
    digits = np.empty((2, query.shape[0]), dtype=np.int8)
    total = np.int64(0)
    for component in range(query.shape[0]):
        first = (levels[component] + DIGIT // 2) // DIGIT
        digits[0, component] = np.int8(first)
        digits[1, component] = np.int8(levels[component] - DIGIT * first)
        total += levels[component]
    return digits, scale, missed, np.int32(128 * total)


encode_query: Final[Any] = query_in_digits if available() else query_in_words
"""The form in which codes of whole numbers are scored fastest on this processor."""


@compiled
def _levels(query, most):  # type: ignore[no-untyped-def]
    largest = 0.0
    for component in range(query.shape[0]):
        largest = max(largest, abs(query[component]))
    # A row's code has length at most 127 sqrt(d), the query's 1 / scale and half the root of d more, by which rounding
    # can make it longer: so few levels that no sum leaves 32 bits.
    root = np.sqrt(query.shape[0])
    number = min(most, int((_LARGEST_SUM / (LARGEST_LEVEL * root) - root / 2) * largest))
    scale = largest / max(1, number)
    levels = np.empty(query.shape[0], dtype=np.int32)
    missed = 0.0
    for component in range(query.shape[0]):
        level = np.rint(query[component] / scale)
        levels[component] = np.int32(level)
        missed += (query[component] - scale * level) ** 2
    return levels, scale, np.sqrt(missed) * (1 + 1e-9)


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


def code_product(code: Any, query: Any, surplus: Any) -> Any:
    """Return the inner product of a query and what a code stands for, up to the code's factor and the query's scale."""
    raise NotImplementedError


@overload(code_product, jit_options=_FAST)
def _code_product(code, query, surplus):  # type: ignore[no-untyped-def]
    if code.dtype == types.int8 and query.ndim == 2:

        def of_digits(code, query, surplus):  # type: ignore[no-untyped-def]
            return np.float32(np.int32(digit_product(code, query) - surplus))

        return of_digits
    if code.dtype == types.int8:

        def of_words(code, query, surplus):  # type: ignore[no-untyped-def]
            total = np.int32(0)
            for component in range(query.shape[0]):
                # Numba widens a product of two int32 to int64; cut back, it is one instruction for 32 components.
                product = np.int32(np.int32(code[component]) * np.int32(query[component]))
                total = np.int32(total + product)
            return np.float32(total)

        return of_words

    def of_codewords(code, query, surplus):  # type: ignore[no-untyped-def]
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
    if query.dtype != types.float32:

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


@compiled_into
def code_score(code, factor, query, scale, surplus):  # type: ignore[no-untyped-def]
    """Score a row by its code.

    Args:
        code: Of the row, shape (any,).
        factor: The row's factor, float32.
        query: As :meth:`embedworks.index.codes.Codes.encoded` returns it, like the next two.
        scale: What one unit of the product stands for.
        surplus: What the product has too much.

    Returns:
        float32.
    """
    return np.float32(code_product(code, query, surplus) * (factor * scale))


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
