"""Which texts stand for a corpus: the centre-outward order, and examples for few-shot classification.

The deepest texts are the most central ones (arXiv 2310.15010, section 5); beside them stand the choices they have to
beat: random ones, cluster representatives, the nearest to the centroid, the least outlying by their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.analysis.depth import Distance, DistanceName, depths
from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

Strategy = Literal["deepest", "most-outlying", "random", "centroid", "k-means", "local-outlier-factor"]

_Choice = Callable[[NDArray[np.float64], int, DistanceName | Distance, int], NDArray[np.intp]]


def centre_outward_order(text_depths: ArrayLike) -> NDArray[np.intp]:
    """Return the rows from the most central to the most outlying; the first is the corpus' median.

    Args:
        text_depths: Depths, shape (m,); of equal depths the earlier row comes first.

    Returns:
        Row numbers, shape (m,).

    Raises:
        InputError: The depths are not one-dimensional or not finite.

    Example:
        >>> centre_outward_order([1.0, 1.8, 1.0, 1.2]).tolist()
        [1, 3, 0, 2]
    """
    values = np.asarray(text_depths, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"shape {values.shape}, or a value is not finite", where="depths")
    return np.argsort(-values, kind="stable")


def select_examples(
    vectors: ArrayLike,
    k: int,
    *,
    strategy: Strategy = "deepest",
    group_by: Sequence[str] | None = None,
    distance: DistanceName | Distance = "cosine",
    seed: int = 0,
) -> NDArray[np.intp]:
    """Choose k texts that stand for a corpus, or k for each of its classes.

    Args:
        vectors: Shape (m, d).
        k: How many; of each class where ``group_by`` is given.
        strategy: ``deepest`` or ``most-outlying`` by depth, ``random``, ``centroid`` (largest cosine to the mean
            vector, which is ``deepest`` under cosine distance), ``k-means`` (the row nearest each of k centres, the
            largest cluster first), ``local-outlier-factor`` (the smallest factor).
        group_by: The class of each row, shape (m,): depths are then computed within each class. None: whole pool.
        distance: Distance of the depths.
        seed: Seed of ``random`` and ``k-means``.

    Returns:
        Row numbers, shape (k,), or (classes * k,) with the classes in sorted order; the first choice comes first.

    Raises:
        InputError: There are fewer than k rows, in all or in a class, or an argument cannot be used.

    Example:
        >>> points = [[1.0, 0.0], [1.0, 0.1], [1.0, 0.9], [0.0, 1.0], [0.1, 1.0], [-0.3, 1.0]]
        >>> select_examples(points, 1, group_by=list("aaabbb")).tolist()
        [1, 3]
    """
    if strategy not in _CHOICES:
        raise InputError(f"no strategy is named {strategy!r}", mend=f"choose from: {', '.join(_CHOICES)}")
    if k < 1:
        raise InputError(f"k is {k}", where="select_examples", mend="give at least 1")
    rows = UnitRows(vectors, name="vectors")
    members: list[tuple[str, NDArray[np.intp]]] = [("the pool", np.arange(rows.rows))]
    if group_by is not None:
        labels = np.asarray(group_by)
        if labels.shape != (rows.rows,):
            raise InputError(f"{len(labels)} classes for {rows.rows} rows", where="group_by", mend="give one a row")
        members = [(f"class {label!s}", np.flatnonzero(labels == label)) for label in np.unique(labels)]
    unit = rows.whole()
    chosen = []
    for name, group in members:
        if len(group) < k:
            raise InputError(f"has {len(group)} rows, {k} are wanted", where=name, mend="take a smaller k")
        if len(group) == 1:
            chosen.append(group)
            continue
        chosen.append(group[_CHOICES[strategy](unit[group], k, distance, seed)])
    return np.concatenate(chosen)


def _deepest(unit: NDArray[np.float64], k: int, distance: DistanceName | Distance, _seed: int) -> NDArray[np.intp]:
    return centre_outward_order(depths(unit, distance=distance))[:k]


def _most_outlying(
    unit: NDArray[np.float64], k: int, distance: DistanceName | Distance, _seed: int
) -> NDArray[np.intp]:
    return centre_outward_order(-depths(unit, distance=distance))[:k]


def _random(unit: NDArray[np.float64], k: int, _distance: DistanceName | Distance, seed: int) -> NDArray[np.intp]:
    return random_generator(seed, "random examples", len(unit)).permutation(len(unit))[:k]


def _centroid(unit: NDArray[np.float64], k: int, _distance: DistanceName | Distance, _seed: int) -> NDArray[np.intp]:
    return centre_outward_order(np.round(unit @ unit.mean(axis=0), 12))[:k]


def _cluster_representatives(
    unit: NDArray[np.float64], k: int, _distance: DistanceName | Distance, seed: int
) -> NDArray[np.intp]:
    from sklearn.cluster import KMeans

    clusters = KMeans(k, n_init=4, random_state=seed).fit(unit)
    gaps = ((unit - clusters.cluster_centers_[clusters.labels_]) ** 2).sum(axis=1)
    nearest = []
    for number in np.argsort(-np.bincount(clusters.labels_, minlength=k), kind="stable"):
        within = np.flatnonzero(clusters.labels_ == number)
        if len(within):  # equal rows can leave k-means with an empty cluster
            nearest.append(int(within[np.argmin(gaps[within])]))
    spare = [row for row in range(len(unit)) if row not in set(nearest)]
    return np.array(nearest + spare[: k - len(nearest)], np.intp)


def _least_outlying_by_neighbours(
    unit: NDArray[np.float64], k: int, _distance: DistanceName | Distance, _seed: int
) -> NDArray[np.intp]:
    from sklearn.neighbors import LocalOutlierFactor

    # 20 is the library's default; of a small class half, as an outlier would else be everybody's neighbour
    model = LocalOutlierFactor(n_neighbors=min(20, max(1, len(unit) // 2))).fit(unit)
    return centre_outward_order(model.negative_outlier_factor_)[:k]


_CHOICES: Mapping[str, _Choice] = MappingProxyType(
    {
        "deepest": _deepest,
        "most-outlying": _most_outlying,
        "random": _random,
        "centroid": _centroid,
        "k-means": _cluster_representatives,
        "local-outlier-factor": _least_outlying_by_neighbours,
    }
)
