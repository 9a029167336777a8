"""What all graph searches are made of, compiled: distances, candidate lists, heaps, visited marks.

Rows have length 1, so the squared Euclidean distance of two of them is 2 - 2 <x, y>. Everything runs without the
interpreter's lock. Candidate lists are plain arrays kept in ascending distance; equal distances stand by row number,
so that a search has one answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

_logger = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function whose order of floating-point operations matters."""
    return _compiled(function, fastmath=False)


def compiled_fast(function: Callable[..., Any]) -> Any:
    """Compile sums that may be reordered, so that they use the processor's vector units."""
    return _compiled(function, fastmath={"reassoc", "contract", "nsz", "arcp"})


def compiled_into(function: Callable[..., Any]) -> Any:
    """Compile sums that may be reordered into each place that calls them: a call would cost more than their work."""
    return _compiled(function, fastmath={"reassoc", "contract", "nsz", "arcp"}, forceinline=True)


def _compiled(function: Callable[..., Any], *, fastmath: bool | set[str], forceinline: bool = False) -> Any:
    settings: dict[str, Any] = {
        "nogil": True,
        "boundscheck": False,
        "fastmath": fastmath,
        "forceinline": forceinline,
        "error_model": "numpy",  # a check for zero before each division keeps loops from the vector units
    }
    try:
        return njit(cache=True, **settings)(function)
    except RuntimeError as error:
        # Numba keeps compiled code beside the source or in the person's cache directory, and refuses to go on where it
        # can write to neither. Nothing is compiled before the first call, so nothing else ends here.
        _logger.info("compiled code is not kept for the next start: %s", error)
        return njit(**settings)(function)


@compiled_fast
def dot(left, right):  # type: ignore[no-untyped-def]
    """Return the inner product of two float32 vectors of one length."""
    total = np.float32(0)
    for place in range(left.shape[0]):
        total += left[place] * right[place]
    return total


@compiled
def distance(vectors, row, query):  # type: ignore[no-untyped-def]
    """Return the squared Euclidean distance of a row and a query, both of length 1, never below 0."""
    return max(np.float32(0), np.float32(2) - np.float32(2) * dot(vectors[row], query))


@compiled
def nearer(left_distance, left_row, right_distance, right_row):  # type: ignore[no-untyped-def]
    """Return whether one candidate stands before another: by distance, equal ones by row."""
    return left_distance < right_distance or (left_distance == right_distance and left_row < right_row)


@compiled
def insert(rows, distances, expanded, size, row, row_distance):  # type: ignore[no-untyped-def]
    """Put a candidate into an ascending list, dropping the last one where the list is full.

    Args:
        rows: int32, shape (capacity,).
        distances: float32, shape (capacity,).
        expanded: bool, shape (capacity,); moved along, False for the new one.
        size: Filled entries.
        row: The candidate, not in the list.
        row_distance: Its distance.

    Returns:
        The new size, and the candidate's place, or the capacity where it was not taken.
    """
    capacity = rows.shape[0]
    if size == capacity and not nearer(row_distance, row, distances[size - 1], rows[size - 1]):
        return size, capacity
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if nearer(distances[middle], rows[middle], row_distance, row):
            low = middle + 1
        else:
            high = middle
    last = size if size < capacity else capacity - 1
    for place in range(last, low, -1):
        rows[place], distances[place], expanded[place] = rows[place - 1], distances[place - 1], expanded[place - 1]
    rows[low], distances[low], expanded[low] = row, row_distance, False
    return last + 1, low


@compiled
def push(rows, distances, size, row, row_distance):  # type: ignore[no-untyped-def]
    """Push onto a binary heap whose top is the nearest; returns the new size. The arrays must have room."""
    place = size
    while place > 0:
        parent = (place - 1) // 2
        if not nearer(row_distance, row, distances[parent], rows[parent]):
            break
        rows[place], distances[place] = rows[parent], distances[parent]
        place = parent
    rows[place], distances[place] = row, row_distance
    return size + 1


@compiled
def pop(rows, distances, size):  # type: ignore[no-untyped-def]
    """Remove the top (entry 0, to be read before) of a binary heap; returns the new size."""
    size -= 1
    row, row_distance = rows[size], distances[size]
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and nearer(distances[child + 1], rows[child + 1], distances[child], rows[child]):
            child += 1
        if not nearer(distances[child], rows[child], row_distance, row):
            break
        rows[place], distances[place] = rows[child], distances[child]
        place = child
    rows[place], distances[place] = row, row_distance
    return size


@compiled
def prune(vectors, candidates, distances, count, limit, alpha, kept):  # type: ignore[no-untyped-def]
    """Choose neighbours that lie in different directions.

    A candidate is kept unless some kept one s has alpha * d(s, c) <= d(p, c) (RobustPrune); with alpha = 1 and a strict
    comparison this is HNSW's rule.

    Args:
        vectors: float32, shape (n, d), rows of length 1.
        candidates: Rows in ascending distance to the point p, int32.
        distances: Those distances.
        count: How many candidates there are.
        limit: Most neighbours to keep.
        alpha: Slack, in squared distances; 1 keeps the fewest.
        kept: int32, room for ``limit`` rows; filled.

    Returns:
        The number kept.
    """
    size = 0
    for place in range(count):
        if size == limit:
            break
        row = candidates[place]
        near = True
        for other in range(size):
            between = distance(vectors, kept[other], vectors[row])
            if alpha * between <= distances[place]:
                near = False
                break
        if near:
            kept[size] = row
            size += 1
    return size
