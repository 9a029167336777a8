"""Pre-filtering: the distances of all rows that pass, and nothing else; exact, and the yardstick of every other way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.index.structures.filters import RowFilter
from embedworks.index.structures.kernels import compiled, distance, insert
from embedworks.index.structures.structure import Arrays, Counters, Found, Structure, Vectors, checked_vectors
from embedworks.index.structures.workspace import checked_query, fixed

_LONGEST_LIST = 256
"""Above this many wanted rows it is quicker to sort all distances than to keep a list in order."""


class PreFilter(Structure):
    """Compares the query with every row that passes.

    Example:
        >>> from embedworks.index.structures import Attributes
        >>> import pyarrow as pa
        >>> attributes = Attributes(pa.table({"year": [2024, 2026]}))
        >>> exact = PreFilter.build(np.eye(2, dtype=np.float32))
        >>> exact.search(np.eye(2, dtype=np.float32)[0], 1, attributes.range("year", low=2025), beam=1).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "pre-filter"

    @classmethod
    def build(cls, vectors: Vectors) -> Self:
        """Make it; there is nothing to build.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
        """
        return cls(checked_vectors(vectors))

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows that pass; there is no candidate list."""
        asked = checked_query(query, self.vectors.shape[1], k)
        rows, distances = scan(self.vectors, asked, where.passing, min(k, where.count))
        return Found(rows, distances, Counters(distances=where.count), exact=True)

    def arrays(self) -> Arrays:
        """Return nothing: the vectors are all there is."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return it over the vectors."""
        return cls(vectors)


def scan(
    vectors: Vectors, query: Vectors, rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the k nearest among some rows.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        query: Of length 1, float32, shape (d,).
        rows: The rows to compare, shape (count,).
        k: How many are wanted.

    Returns:
        Rows and squared distances, nearest first, equal ones by row.
    """
    if k > _LONGEST_LIST:
        compared = _distances(fixed(vectors), fixed(query), fixed(rows))
        order = np.lexsort((rows, compared))[:k]
        return rows[order], compared[order]
    best, distances, size = _scan(fixed(vectors), fixed(query), fixed(rows), max(k, 1))
    return best[: min(size, k)].astype(np.int64), distances[: min(size, k)]


@compiled
def _distances(vectors, query, rows):  # type: ignore[no-untyped-def]
    compared = np.empty(rows.shape[0], dtype=np.float32)
    for place in range(rows.shape[0]):
        compared[place] = distance(vectors, rows[place], query)
    return compared


@compiled
def _scan(vectors, query, rows, k):  # type: ignore[no-untyped-def]
    best = np.empty(k, dtype=np.int32)
    distances = np.empty(k, dtype=np.float32)
    unused = np.zeros(k, dtype=np.bool_)
    size = 0
    for row in rows:
        size, _ = insert(best, distances, unused, size, np.int32(row), distance(vectors, row, query))
    return best, distances, size
