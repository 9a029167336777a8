"""The forms in which rows of length 1 are kept, and how each is read back.

A row of float16 or int8 stands for its direction: what is read is that row divided by its length, so every stored row
has length 1 again and its inner product with a query is a cosine. A row that is read and stored again keeps its bits.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError

Storage: TypeAlias = Literal["float32", "float16", "int8", "pq"]
"""``pq`` keeps float16 rows on the disk and product codes, half a byte a component, for what is scanned."""
StoredRows: TypeAlias = NDArray[Any]
"""Rows as they are kept: float32, float16 or int8, shape (n, d)."""

_KINDS: Final[dict[str, np.dtype[Any]]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "int8": np.dtype(np.int8),
    "pq": np.dtype(np.float16),
}
LARGEST_LEVEL: Final = 127
_ROWS_AT_ONCE = 8_192


def checked_storage(storage: object) -> Storage:
    """Return the name of a storage, or refuse it."""
    for known in get_args(Storage):
        if storage == known:
            name: Storage = known
            return name
    raise InputError(f"{storage!r} is unknown", where="storage", mend=f"use {', '.join(get_args(Storage))}")


def stored_kind(storage: str) -> np.dtype[Any]:
    """Return the type of a component on the disk."""
    return _KINDS[storage]


def to_stored(rows: NDArray[np.floating[Any]], storage: str) -> StoredRows:
    """Return rows as they are kept.

    Args:
        rows: Of length 1, float32 or float64, shape (n, d).
        storage: One of :data:`Storage`.

    Returns:
        Shape (n, d). For int8, the largest component of each row is 127.

    Example:
        >>> to_stored(np.array([[0.6, -0.8]]), "int8").tolist()
        [[95, -127]]
    """
    kind = stored_kind(storage)
    if kind != np.int8:
        return rows.astype(kind, copy=False)
    levels = np.empty(rows.shape, dtype=np.int8)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE].astype(np.float64)
        levels[start : start + len(part)] = np.rint(part * (LARGEST_LEVEL / np.abs(part).max(axis=1, keepdims=True)))
    return levels


def read_rows(stored: StoredRows) -> NDArray[np.float64]:
    """Return the rows that stored ones stand for, exactly.

    Args:
        stored: float32, float16 or int8, shape (n, d).

    Returns:
        float64, shape (n, d), each row of length 1.

    Example:
        >>> read_rows(np.array([[3, -4]], dtype=np.int8)).tolist()
        [[0.6, -0.8]]
    """
    rows = stored.astype(np.float64)
    if stored.dtype != np.float32:
        rows /= np.sqrt(np.einsum("rd,rd->r", rows, rows))[:, np.newaxis]
    return rows


def read_as_float32(stored: StoredRows) -> NDArray[np.float32]:
    """Return the rows that stored ones stand for, rounded to float32; float32 rows are not copied.

    Args:
        stored: float32, float16 or int8, shape (n, d).
    """
    if stored.dtype == np.float32:
        return stored
    rows = np.empty(stored.shape, dtype=np.float32)
    for start in range(0, len(stored), _ROWS_AT_ONCE):
        rows[start : start + _ROWS_AT_ONCE] = read_rows(stored[start : start + _ROWS_AT_ONCE])
    return rows


def as_compiled(stored: StoredRows) -> NDArray[Any]:
    """Return the view of stored rows that compiled code reads: float16 as its 16 bits, which numba does not know."""
    return stored.view(np.uint16) if stored.dtype == np.float16 else stored
