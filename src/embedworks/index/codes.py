"""Codes of one byte a component, with a proven bound on what they get wrong.

A scan over codes reads a quarter of the bytes; the bound says which rows can still be among the best, so that after
exact scores for those few the answer is that of a scan over the vectors themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 8_192
LEVELS = 127


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
        scales = (np.abs(rows).max(axis=1) / LEVELS).astype(np.float32)
        levels = np.rint(rows / np.where(scales > 0, scales, 1)[:, np.newaxis])
        values[part] = np.clip(levels, -LEVELS, LEVELS)
        missed = np.sqrt(((rows - scales[:, np.newaxis].astype(np.float64) * values[part]) ** 2).sum(axis=1))
        bounds[part, 0] = scales
        bounds[part, 1] = np.nextafter(missed.astype(np.float32), np.float32(np.inf))
    return values, bounds
