"""Rows of a matrix scaled to length 1 in float64, block by block: a memory-mapped file is never copied whole."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

BLOCK_ROWS = 1024
"""Rows scaled at once: 3 MB at 384 columns, which stays in the cache between the steps."""

_SAFE_LENGTHS = (1e-140, 1e140)  # outside, the squares of a row underflow or overflow


class UnitRows:
    """A checked matrix of vectors whose rows are read as unit vectors.

    One pass over the matrix checks every row and keeps its length, the mean of the unit rows and a fingerprint of the
    row; all sums are float64.

    Args:
        vectors: Shape (n, d), real numbers of any width; rows need no particular length, but none may be zero.
        name: What messages call the matrix.

    Raises:
        InputError: It is no matrix of finite real numbers with at least one row, or a row is zero.

    Example:
        >>> rows = UnitRows([[3.0, 4.0], [0.0, 2.0]], name="vectors")
        >>> rows.mean.round(6).tolist(), rows.block(0, 1).tolist()
        ([0.3, 0.9], [[0.6, 0.8]])
    """

    def __init__(self, vectors: ArrayLike, *, name: str) -> None:
        self._vectors = _matrix(vectors, name)
        self.name = name
        self.rows, self.dimension = map(int, self._vectors.shape)
        self._lengths = np.empty(self.rows)
        self._fingerprints = np.empty(self.rows, np.uint64)
        total = np.zeros(self.dimension)
        weights = random_generator(0, "fingerprint of rows").integers(0, 2**63, self.dimension, dtype=np.uint64)
        weights |= np.uint64(1)  # odd, so that a change in one component alone always shows
        for start, stop in self._ranges(BLOCK_ROWS):
            block = self._vectors[start:stop].astype(np.float64)
            block += 0.0  # makes -0.0 and 0.0 the same bits
            bits = block.view(np.uint64)
            # numbers of few digits (float16, integers) have their low bits 0, which multiplying would leave 0
            self._fingerprints[start:stop] = np.einsum("ij,j->i", bits ^ (bits >> np.uint64(32)), weights)
            lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
            if not ((lengths > _SAFE_LENGTHS[0]) & (lengths < _SAFE_LENGTHS[1])).all():
                lengths = _careful_lengths(block, first_row=start, name=name)
            self._lengths[start:stop] = lengths
            if (lengths < _SAFE_LENGTHS[0]).any():  # the inverse of so small a length may overflow
                total += (block / lengths[:, None]).sum(axis=0)
            else:
                total += (1.0 / lengths) @ block
        self.mean: NDArray[np.float64] = total / self.rows
        """Mean of the unit rows, shape (d,)."""

    def __len__(self) -> int:
        return self.rows

    def block(self, start: int, stop: int) -> NDArray[np.float64]:
        """Return the unit rows from ``start`` to before ``stop``, shape (stop - start, d)."""
        block: NDArray[np.float64] = self._vectors[start:stop].astype(np.float64)
        block /= self._lengths[start:stop, None]
        return block

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield the first row's number and the unit rows of every block.

        Args:
            rows: Rows a block.
        """
        for start, stop in self._ranges(rows):
            yield start, self.block(start, stop)

    def whole(self) -> NDArray[np.float64]:
        """Return all unit rows, shape (n, d)."""
        return self.block(0, self.rows)

    def dots(self, direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the dot product of every unit row with one vector.

        Args:
            direction: Shape (d,).

        Returns:
            Shape (n,).
        """
        products = np.empty(self.rows)
        for start, stop in self._ranges(BLOCK_ROWS):
            block = self._vectors[start:stop].astype(np.float64)
            products[start:stop] = (block @ direction) / self._lengths[start:stop]
        return products

    @cached_property
    def duplicate_share(self) -> float:
        """Share of rows that repeat an earlier row exactly."""
        return float(self.rows - len(np.unique(self._fingerprints))) / self.rows

    def _ranges(self, rows: int) -> Iterator[tuple[int, int]]:
        for start in range(0, self.rows, rows):
            yield start, min(start + rows, self.rows)


def _matrix(vectors: ArrayLike, name: str) -> NDArray[np.generic]:
    try:
        matrix = np.asarray(vectors)
    except ValueError as error:
        raise InputError(
            f"is no matrix ({error})", where=name, mend="give one vector a row, all of one width"
        ) from None
    if matrix.ndim != 2:
        raise InputError(f"has shape {matrix.shape}", where=name, mend="give one vector a row, shape (n, d)")
    if matrix.dtype.kind not in "fiu":
        raise InputError(f"holds {matrix.dtype} values", where=name, mend="give real numbers")
    if 0 in matrix.shape:
        raise InputError(f"is empty, shape {matrix.shape}", where=name, mend="give at least one vector")
    return matrix


def _careful_lengths(block: NDArray[np.float64], *, first_row: int, name: str) -> NDArray[np.float64]:
    """Return lengths of rows whose squares may leave the range of float64; refuse what has no direction."""
    largest = np.abs(block).max(axis=1)
    if not np.isfinite(largest).all():
        row = first_row + int(np.argmin(np.isfinite(largest)))
        raise InputError("holds NaN or infinity", where=f"{name}, row {row}", mend="remove the row, or encode it again")
    if (largest == 0).any():
        row = first_row + int(np.argmin(largest))
        raise InputError("is zero and has no direction", where=f"{name}, row {row}", mend="remove the row")
    scaled = block / largest[:, None]
    with np.errstate(over="ignore"):  # what overflows is refused below
        lengths: NDArray[np.float64] = largest * np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    if not np.isfinite(lengths).all():
        row = first_row + int(np.argmin(np.isfinite(lengths)))
        raise InputError("is too long for float64", where=f"{name}, row {row}", mend="scale the vectors down")
    return lengths
