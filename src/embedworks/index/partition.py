"""The approximate side: rows in lists by the nearest of some centres, found by spherical k-means.

Sivic and Zisserman, "Video Google: A Text Retrieval Approach to Object Matching in Videos" (2003); Dhillon and Modha,
"Concept Decompositions for Large Sparse Text Data using Clustering" (2001). The rows of a list stand together in their
segment, so the rows that pass a filter, ascending, are in the order of the lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.codes import encode_rows

if TYPE_CHECKING:
    from embedworks.index.snapshot import Snapshot

PARTITIONED_ROWS: Final = 20_000
"""Fewer rows are scanned in a quarter of a millisecond."""
_ROUNDS: Final = 10
_SAMPLED_A_LIST: Final = 256
_ROWS_AT_ONCE: Final = 16_384

Lists = tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Partition:
    """Lists of rows, and where each lies.

    Args:
        means: The mean of each list's rows, which are of length 1, float32, shape (lists, d).
        starts: Where each list begins, and the number of rows, int64, shape (lists + 1,).
    """

    means: NDArray[np.float32]
    starts: NDArray[np.int64]

    @cached_property
    def compiled(self) -> Lists:
        """Codes of the means, their bounds, and the root mean square distance of each list's rows from their mean."""
        squares = np.einsum("ld,ld->l", self.means, self.means, dtype=np.float64)
        values, bounds = encode_rows(np.asarray(self.means))
        return values, bounds, np.sqrt(np.maximum(0.0, 1.0 - squares)).astype(np.float32)


def partition_rows(snapshot: Snapshot, *, seed: int = 0) -> tuple[Partition, NDArray[np.int64]]:
    """Put the live rows of an index into lists, about as many as the square root of their number.

    Args:
        snapshot: The index.
        seed: Of k-means.

    Returns:
        The lists, and the rows in their order, those of a list ascending, int64, shape (live rows,).
    """
    import faiss

    rows = np.flatnonzero(snapshot.alive)
    number = max(1, round(len(rows) ** 0.5))
    random = random_generator(seed, "partition")
    sample = np.sort(random.choice(rows, size=min(len(rows), _SAMPLED_A_LIST * number), replace=False))
    dimension = snapshot.manifest.dimension
    # faiss warns of few points per centre on small sets.
    means = faiss.Kmeans(
        dimension, number, niter=_ROUNDS, seed=seed, spherical=True, min_points_per_centroid=1, verbose=False
    )
    means.train(snapshot.vectors(sample))
    centres = means.centroids
    assert centres is not None
    list_of = np.empty(len(rows), dtype=np.int64)
    sums = np.zeros((number, dimension))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        block = snapshot.vectors(rows[start : start + _ROWS_AT_ONCE])
        _, nearest = faiss.knn(block, centres, 1, metric=faiss.METRIC_INNER_PRODUCT)
        list_of[start : start + len(block)] = nearest[:, 0]
        order = np.argsort(nearest[:, 0], kind="stable")
        present, firsts = np.unique(nearest[order, 0], return_index=True)
        sums[present] += np.add.reduceat(block[order].astype(np.float64), firsts, axis=0)
    sizes = np.bincount(list_of, minlength=number)
    held = sizes > 0
    starts = np.concatenate([[0], np.cumsum(sizes[held])]).astype(np.int64)
    found = Partition((sums[held] / sizes[held, np.newaxis]).astype(np.float32), starts)
    return found, rows[np.argsort(list_of, kind="stable")]
