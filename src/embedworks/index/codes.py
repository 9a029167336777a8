"""Codes of one byte a component, with a proven bound on what they get wrong.

A scan over codes reads a quarter of the bytes; the bound says which rows can still be among the best, so that after
exact scores for those few the answer is that of a scan over the vectors themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 8_192
_LEVELS = 127
_QUERY_LEVELS = 32_767
_LARGEST_SUM = 2**31 - 2**16


@dataclass(frozen=True, eq=False)
class Codes:
    """Vectors as whole numbers: row i is about ``bounds[i, 0] * values[i]``.

    Args:
        values: int8, shape (n, d).
        bounds: float32, shape (n, 2): what one level of the row stands for, and at least the Euclidean distance between
            the row and what its code stands for.
    """

    values: NDArray[np.int8]
    bounds: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class QueryCode:
    """A query as whole numbers of two bytes: about ``scale * values``.

    Args:
        values: int16, shape (d,); no sum of products with a row's code leaves 32 bits.
        scale: What one level stands for.
        error: At least the Euclidean distance between the query and what its code stands for.
    """

    values: NDArray[np.int16]
    scale: float
    error: float


def encode_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the codes of some rows.

    Args:
        vectors: float32, shape (n, d).

    Returns:
        Values and bounds, as in :class:`Codes`.

    Example:
        >>> values, bounds = encode_rows(np.array([[0.6, -0.8]], dtype=np.float32))
        >>> values.tolist()
        [[95, -127]]
        >>> bool(np.linalg.norm(values * bounds[:, :1] - [[0.6, -0.8]]) <= bounds[0, 1] < 0.002)
        True
    """
    values = np.empty(vectors.shape, dtype=np.int8)
    bounds = np.empty((len(vectors), 2), dtype=np.float32)
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = vectors[start : start + _ROWS_AT_ONCE].astype(np.float64)
        part = slice(start, start + len(rows))
        scales = (np.abs(rows).max(axis=1) / _LEVELS).astype(np.float32)
        levels = np.rint(rows / np.where(scales > 0, scales, 1)[:, np.newaxis])
        values[part] = np.clip(levels, -_LEVELS, _LEVELS)
        missed = np.sqrt(((rows - scales[:, np.newaxis].astype(np.float64) * values[part]) ** 2).sum(axis=1))
        bounds[part, 0] = scales
        bounds[part, 1] = np.nextafter(missed.astype(np.float32), np.float32(np.inf))
    return values, bounds


def encode_query(query: NDArray[Any]) -> QueryCode:
    """Return the code of a query.

    Args:
        query: A vector of length 1, float64, shape (d,).
    """
    # A row's code has length at most 127 sqrt(d), so this many levels keep every sum of products within 32 bits.
    levels = min(_QUERY_LEVELS, int(_LARGEST_SUM / (_LEVELS * np.sqrt(query.size)) * float(np.abs(query).max())))
    scale = float(np.abs(query).max()) / max(1, levels)
    values = np.rint(query / scale).astype(np.int16)
    return QueryCode(values, scale, float(np.linalg.norm(query - scale * values)) * (1 + 1e-9))
