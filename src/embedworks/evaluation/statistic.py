"""Statistics of weighted units: a mean, a correlation or a V-measure over units that count several times or not at all.

A bootstrap resample is a whole number of times each unit was drawn. Computing the statistic from these counts instead
of from copied units turns sorting and copying into sums over arrays, for thousands of resamples at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Statistic = Literal["mean", "spearman", "pearson", "v-measure"]


def statistic_value(
    statistic: Statistic, columns: Sequence[ArrayLike], counts: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Compute a statistic for several resamples of the same units.

    Args:
        statistic: ``mean`` of one column; ``spearman`` or ``pearson`` of two columns; ``v-measure`` of a column of
            label numbers and one or more columns of cluster numbers, averaged over the latter.
        columns: One array of n values each.
        counts: How often each unit counts, shape (resamples, n), whole numbers with at least one above zero a row;
            ``None`` is every unit once.

    Returns:
        One value a resample, shape (resamples,). A correlation with a constant column is 0.

    Example:
        >>> statistic_value("mean", [[1.0, 4.0]], np.array([[1.0, 1.0], [2.0, 0.0]])).tolist()
        [2.5, 1.0]
    """
    arrays = [np.asarray(column, np.float64) for column in columns]
    if counts is None:
        counts = np.ones((1, len(arrays[0])))
    if statistic == "mean":
        return weighted_mean(arrays[0], counts)
    if statistic == "pearson":
        return weighted_pearson(arrays[0], arrays[1], counts)
    if statistic == "spearman":
        return weighted_spearman(arrays[0], arrays[1], counts)
    of_seeds = np.stack([weighted_v_measure(arrays[0], clusters, counts) for clusters in arrays[1:]])
    return np.asarray(of_seeds.mean(axis=0), np.float64)


def weighted_mean(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of values that count several times; shapes (n,) and (resamples, n) to (resamples,)."""
    return np.asarray((counts @ values) / counts.sum(axis=1), np.float64)


def weighted_pearson(
    first: NDArray[np.float64], second: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pearson correlation of units that count several times.

    Args:
        first: Values, shape (n,) or (resamples, n).
        second: Values, shape (n,) or (resamples, n).
        counts: Shape (resamples, n).

    Returns:
        Shape (resamples,); 0 where a column is constant.
    """
    total = counts.sum(axis=1, keepdims=True)
    left = first - (counts * first).sum(axis=1, keepdims=True) / total
    right = second - (counts * second).sum(axis=1, keepdims=True) / total
    covariance = (counts * left * right).sum(axis=1)
    spread_left, spread_right = (counts * left**2).sum(axis=1), (counts * right**2).sum(axis=1)
    # A constant column leaves rounding dust instead of zero; its squared length shows it.
    dust_left = 1e-24 * (counts * first**2).sum(axis=1)
    dust_right = 1e-24 * (counts * second**2).sum(axis=1)
    constant = (spread_left <= dust_left) | (spread_right <= dust_right)
    scale = np.sqrt(np.where(constant, 1.0, spread_left) * np.where(constant, 1.0, spread_right))
    return np.where(constant, 0.0, np.clip(covariance / scale, -1.0, 1.0))


def weighted_spearman(
    first: NDArray[np.float64], second: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Spearman correlation of units that count several times, ranks of equal values averaged.

    Args:
        first: Values, shape (n,).
        second: Values, shape (n,).
        counts: Shape (resamples, n).

    Returns:
        Shape (resamples,); 0 where a column is constant.
    """
    return weighted_pearson(_weighted_ranks(first, counts), _weighted_ranks(second, counts), counts)


def _weighted_ranks(values: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average ranks within the resample: what stands below, plus half of one more than what is equal."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))
    in_group = np.add.reduceat(counts[:, order], starts, axis=1)  # (resamples, distinct values)
    ranks = np.cumsum(in_group, axis=1) - in_group + (in_group + 1) / 2
    return ranks[:, group]


def weighted_v_measure(
    labels: NDArray[np.float64], clusters: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """V-measure (Rosenberg and Hirschberg 2007, beta 1) of units that count several times.

    ``2 * I(label; cluster) / (H(label) + H(cluster))``, which is the harmonic mean of homogeneity and completeness.

    Args:
        labels: Label numbers, shape (n,).
        clusters: Cluster numbers, shape (n,).
        counts: Shape (resamples, n).

    Returns:
        Shape (resamples,); 1 where one label meets one cluster.
    """
    label_numbers = np.unique(labels, return_inverse=True)[1]
    cluster_numbers = np.unique(clusters, return_inverse=True)[1]
    cells = np.unique(label_numbers * (int(cluster_numbers.max()) + 1) + cluster_numbers, return_inverse=True)[1]
    total = counts.sum(axis=1)
    label_entropy, cluster_entropy, joint_entropy = (
        _weighted_entropy(groups, counts, total) for groups in (label_numbers, cluster_numbers, cells)
    )
    both = label_entropy + cluster_entropy
    shared = np.maximum(both - joint_entropy, 0.0)
    return np.where(both > 0, 2 * shared / np.where(both > 0, both, 1.0), 1.0)


def _weighted_entropy(
    groups: NDArray[np.intp], counts: NDArray[np.float64], total: NDArray[np.float64]
) -> NDArray[np.float64]:
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(int(groups.max()) + 1))
    sizes = np.add.reduceat(counts[:, order], starts, axis=1)
    # Counts are whole numbers no larger than the total, so x * log(x) is read from a table: a logarithm for each of
    # some ten million cells would take most of the bootstrap's time.
    numbers = np.arange(1, int(total.max()) + 1, dtype=np.float64)
    table = np.concatenate([[0.0], numbers * np.log(numbers)])
    return np.asarray(np.log(total) - table[sizes.astype(np.intp)].sum(axis=1) / total, np.float64)
