"""What every structure for filtered search has in common: how it is asked, what it answers, what it counts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.structures.filters import RowFilter

Vectors = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Counters:
    """What a search cost, in units that do not depend on the machine."""

    distances: int = 0
    """Stored vectors that were compared with the query."""
    hops: int = 0
    """Nodes whose neighbours were read."""
    rejected: int = 0
    """Candidates that failed the filter."""

    def __add__(self, other: Counters) -> Counters:
        return Counters(self.distances + other.distances, self.hops + other.hops, self.rejected + other.rejected)


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Args:
        rows: Rows, nearest first, equal distances by row, int64, shape (found,) with found <= k.
        distances: Their squared Euclidean distances, float32, shape (found,).
        counters: What it cost.
        exact: Whether the structure proves that these are the k nearest that pass.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    counters: Counters
    exact: bool = False

    def padded(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and distances at length k: -1 and infinity stand where nothing was found."""
        rows = np.full(k, -1, dtype=np.int64)
        distances = np.full(k, np.inf, dtype=np.float32)
        rows[: len(self.rows)], distances[: len(self.rows)] = self.rows, self.distances
        return rows, distances


class Structure(ABC):
    """A way of finding the nearest rows that pass a filter; vectors have length 1 and stay outside of it.

    A subclass is built by its own ``build(vectors, ...)`` class method, and is kept as arrays and facts.
    """

    kind: ClassVar[str]
    """Name in the registry and in stored files."""
    may_violate: ClassVar[bool] = False
    """Whether a row that fails the filter can be returned."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = vectors

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.vectors)

    def supports(self, where: RowFilter) -> bool:
        """Return whether filters of this form can be answered."""
        return True

    @abstractmethod
    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Find the k nearest rows that pass.

        Args:
            query: A vector of length 1, float32, shape (d,).
            k: How many rows are wanted, at least 1.
            where: The filter, one that this structure supports.
            beam: Size of the candidate list (the papers' ef or L); what has no such list does not look at it.

        Returns:
            At most k rows, fewer where the search found no more.

        Raises:
            InputError: The filter has a form the structure does not support.
        """

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what is stored, beside the vectors."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return the settings and small facts that are stored as JSON."""

    @classmethod
    @abstractmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return what :meth:`arrays` and :meth:`facts` describe, over the same vectors."""

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, beside the vectors."""
        return sum(array.nbytes for array in self.arrays().values())

    def refuse_unsupported(self, where: RowFilter) -> None:
        """Raise where the filter has a form this structure does not answer."""
        if not self.supports(where):
            raise InputError(
                f"{self.kind} answers no filter of the form {where.form.describe()}",
                where="where",
                mend="leave the choice to the planner",
            )


def checked_vectors(vectors: NDArray[Any]) -> Vectors:
    """Return rows as contiguous float32, refusing what is empty, not finite or not of length 1.

    Args:
        vectors: Shape (n, d).

    Raises:
        InputError: A row cannot be used; it is named.
    """
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise InputError(f"the shape is {vectors.shape}", where="vectors", mend="pass at least one row")
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.einsum("ij,ij->i", rows, rows)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))
    if len(wrong):
        raise InputError("its length is not 1", where=f"vectors, row {wrong[0]}", mend="normalise the rows")
    return rows
