"""An inverted file: rows by the nearest of some centres; a query looks through the rows of the centres next to it.

Sivic and Zisserman, "Video Google" (2003), as faiss keeps it, with the filter inside the scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, StorageError
from embedworks.index.structures.filters import RowFilter
from embedworks.index.structures.kernels import compiled, distance, insert
from embedworks.index.structures.structure import Arrays, Counters, Found, Structure, Vectors, checked_vectors
from embedworks.index.structures.workspace import checked_query, fixed

ROUNDS = 10
"""Rounds of k-means."""


class InvertedFile(Structure):
    """Lists of rows by nearest centre; the filter is asked before a distance is computed.

    The beam is the number of lists that are looked through (faiss's nprobe). Where fewer than k rows pass in them, the
    next nearest lists follow, so k come back where k pass. Distances to centres are counted with those to rows.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        centres: Of length 1, float32, shape (lists, d).
        starts: Where each list begins in ``members``, int64, shape (lists + 1,).
        members: Rows by list, ascending within one, int32, shape (n,).

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"year": [2024, 2026]}))
        >>> lists = InvertedFile.build(np.eye(2, dtype=np.float32), lists=2)
        >>> lists.search(np.eye(2, dtype=np.float32)[0], 1, attributes.range("year", low=2025), beam=1).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "ivf"

    def __init__(
        self, vectors: Vectors, centres: Vectors, starts: NDArray[np.int64], members: NDArray[np.int32]
    ) -> None:
        super().__init__(fixed(vectors))
        self.centres, self.starts, self.members = fixed(centres), fixed(starts), fixed(members)

    @classmethod
    def build(cls, vectors: Vectors, *, lists: int | None = None, seed: int = 0) -> Self:
        """Find the centres by k-means and give each row to the nearest.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            lists: How many centres; without a number 4 times the square root of n, as faiss advises.
            seed: Of k-means.

        Raises:
            InputError: A row cannot be used, or there are fewer rows than lists asked for.
        """
        rows = checked_vectors(vectors)
        number = min(len(rows), round(4 * len(rows) ** 0.5)) if lists is None else lists
        if not 1 <= number <= len(rows):
            raise InputError(
                f"{number} lists of {len(rows)} rows", where="ivf", mend="ask for at least one, and no more than rows"
            )
        import faiss

        # Centres of length 1 put cells and queries in one order; faiss warns of few points per centre on small sets.
        means = faiss.Kmeans(
            rows.shape[1], number, niter=ROUNDS, seed=seed, spherical=True, min_points_per_centroid=1, verbose=False
        )
        means.train(rows)
        centres = np.array(means.centroids, dtype=np.float32)
        _, nearest = faiss.knn(rows, centres, 1, metric=faiss.METRIC_INNER_PRODUCT)
        list_of = nearest[:, 0]
        starts = np.zeros(number + 1, dtype=np.int64)
        np.cumsum(np.bincount(list_of, minlength=number), out=starts[1:])
        return cls(rows, centres, starts, np.argsort(list_of, kind="stable").astype(np.int32))

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows that pass in the nearest ``beam`` lists, or in as many as it takes to find k."""
        asked = checked_query(query, self.vectors.shape[1], k)
        wanted = min(k, where.count)
        if wanted == 0:
            return Found(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), Counters(), exact=True)
        centre_distances = 2 - 2 * (self.centres @ asked)
        order = np.argsort(centre_distances, kind="stable")
        rows, distances, compared, opened, rejected = _scan_lists(
            self.vectors, self.starts, self.members, fixed(order), asked, fixed(where.mask), wanted, beam
        )
        counters = Counters(distances=len(order) + compared, hops=opened, rejected=rejected)
        return Found(rows.astype(np.int64), distances, counters, exact=opened == len(order))

    def arrays(self) -> Arrays:
        """Return centres and lists."""
        return {"centres": self.centres, "starts": self.starts, "members": self.members}

    def facts(self) -> dict[str, Any]:
        """Return nothing: the arrays say all."""
        return {}

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return the lists over the vectors."""
        if len(arrays["members"]) != len(vectors) or len(arrays["starts"]) != len(arrays["centres"]) + 1:
            raise StorageError("lists and rows do not fit", where="ivf", mend="build the structure again")
        return cls(vectors, arrays["centres"], arrays["starts"], arrays["members"])


@compiled
def _scan_lists(vectors, starts, members, order, query, mask, k, probes):  # type: ignore[no-untyped-def]
    best = np.empty(k, dtype=np.int32)
    distances = np.empty(k, dtype=np.float32)
    unused = np.zeros(k, dtype=np.bool_)
    size, compared, opened, rejected = 0, 0, 0, 0
    for which in order:
        if opened >= probes and size == k:
            break
        opened += 1
        for place in range(starts[which], starts[which + 1]):
            row = members[place]
            if not mask[row]:
                rejected += 1
                continue
            compared += 1
            size, _ = insert(best, distances, unused, size, row, distance(vectors, row, query))
    return best[:size], distances[:size], compared, opened, rejected
