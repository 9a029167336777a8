"""Short codes of rows, with a proven bound on what each gets wrong.

A scan over codes reads a fraction of the bytes; the bound says which rows can still be among the best, so that after
exact scores for those few the answer is that of a scan over the rows themselves. There are two kinds: whole numbers of
one byte a component, and product codes (see ``product_codes``) of one byte for two components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.index.stored_vectors import LARGEST_LEVEL, StoredRows, read_rows

_ROWS_AT_ONCE = 8_192

EncodedQuery = tuple[NDArray[Any], float, float, int]
"""A query as codes are scored with it, what one unit of that score stands for, the error this adds, and what a product
with it has too much."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Rows in short: row i is about ``bounds[i, 0]`` times what its code stands for.

    Args:
        values: Whole numbers, int8, shape (n, d); or numbers of codewords, uint8, shape (n, parts).
        bounds: float32, shape (n, 2): the factor, and at least the Euclidean distance between the row and what its code
            stands for.
        codebooks: The codewords of product codes, float32, shape (parts, 256, 2); None for whole numbers.
    """

    values: NDArray[Any]
    bounds: NDArray[np.float32]
    codebooks: NDArray[np.float32] | None = None

    def encoded(self, query: NDArray[np.float64]) -> EncodedQuery:
        """Return a query as these codes are scored with it.

        Args:
            query: Of length 1, float64, shape (d,).
        """
        from embedworks.index.scoring import encode_query, lookup_table, table_error

        if self.codebooks is None:
            code: EncodedQuery = encode_query(query)
            return code
        return lookup_table(self.codebooks, query), 1.0, table_error(len(self.codebooks)), 0


def encode_rows(stored: StoredRows) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the codes of some rows, one byte a component; those of int8 rows are the rows themselves.

    Args:
        stored: float32, float16 or int8, shape (n, d).

    Returns:
        Values and bounds, as in :class:`Codes`.

    Example:
        >>> values, bounds = encode_rows(np.array([[0.6, -0.8]], dtype=np.float32))
        >>> values.tolist()
        [[95, -127]]
        >>> bool(np.linalg.norm(values * bounds[:, :1] - [[0.6, -0.8]]) <= bounds[0, 1] < 0.002)
        True
    """
    whole = stored.dtype == np.int8
    values = stored if whole else np.empty(stored.shape, dtype=np.int8)
    bounds = np.empty((len(stored), 2), dtype=np.float32)
    for start in range(0, len(stored), _ROWS_AT_ONCE):
        rows = read_rows(stored[start : start + _ROWS_AT_ONCE])
        part = slice(start, start + len(rows))
        if whole:
            scales = (1 / np.linalg.norm(values[part].astype(np.float64), axis=1)).astype(np.float32)
        else:
            scales = (np.abs(rows).max(axis=1) / LARGEST_LEVEL).astype(np.float32)
            levels = np.rint(rows / np.where(scales > 0, scales, 1)[:, np.newaxis])
            values[part] = np.clip(levels, -LARGEST_LEVEL, LARGEST_LEVEL)
        meant = scales[:, np.newaxis].astype(np.float64) * values[part]
        bounds[part, 0] = scales
        bounds[part, 1] = rounded_up(np.sqrt(((rows - meant) ** 2).sum(axis=1)))
    return values, bounds


def rounded_up(errors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 numbers that are not below the given ones."""
    return np.nextafter(errors.astype(np.float32), np.float32(np.inf))
