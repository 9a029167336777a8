"""Two-sample tests that see what depth cannot: a classifier, energy distance, maximum mean discrepancy.

Depth looks at one direction alone, the corpus' mean; two corpora that differ in any other direction have equal depths.
These look at the whole vectors, and say less about what the difference is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.analysis.depth import DISTANCES
from embedworks.analysis.depth_comparison import q_score, rank_sum
from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

MOST_ROWS = 12_000
"""Rows of both corpora together up to which all pairs are held in memory."""

_PERMUTATIONS_AT_ONCE = 256
_INVERSE_PENALTY = 10.0  # components of unit vectors are near 0.05, so the usual 1.0 holds the weights too small


@dataclass(frozen=True)
class TwoSample:
    """What a two-sample test says; a small p speaks against equal distributions."""

    statistic: float
    """The test's statistic; what it is stands with the test."""
    p: float
    """p-value against equal distributions."""


def classifier_test(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> TwoSample:
    """Test whether a logistic regression can tell the corpora apart (Lopez-Paz and Oquab 2017).

    Fitted on a random half of each corpus; the held-out halves' scores are independent given the fit, so their
    rank-sum test is valid. Rows of the two corpora must not be paired (a text and its altered copy): give other texts.

    Args:
        first: Shape (m, d), m at least 4.
        second: Shape (n, d), n at least 4.
        seed: Seed of the halves.

    Returns:
        ``statistic``: area under the ROC curve on the held-out halves, 0.5 by chance; ``p``: one-sided against 0.5.

    Raises:
        InputError: A matrix cannot be used or has fewer than 4 rows.
    """
    from sklearn.linear_model import LogisticRegression

    ours, theirs = _two(first, second, least=4, most=None)
    halves = []
    for number, rows in enumerate((ours, theirs)):
        order = random_generator(seed, "classifier halves", number).permutation(len(rows))
        halves.append((rows[order[: len(rows) // 2]], rows[order[len(rows) // 2 :]]))
    fitted = np.concatenate([halves[0][0], halves[1][0]])
    labels = np.repeat([0, 1], [len(halves[0][0]), len(halves[1][0])])
    model = LogisticRegression(C=_INVERSE_PENALTY, class_weight="balanced", max_iter=1000).fit(fitted, labels)
    score_ours, score_theirs = (model.decision_function(held_out) for _, held_out in halves)
    test = rank_sum(score_theirs, score_ours)  # against the second corpus scoring higher
    p = test.p_one_sided if test.exact_p_one_sided is None else test.exact_p_one_sided
    return TwoSample(q_score(score_ours, score_theirs), p)


def energy_test(first: ArrayLike, second: ArrayLike, *, permutations: int = 499, seed: int = 0) -> TwoSample:
    """Energy distance between the corpora on the unit sphere (Szekely and Rizzo 2004), with a permutation p.

    Args:
        first: Shape (m, d), m at least 2.
        second: Shape (n, d), n at least 2.
        permutations: How often rows are dealt out anew.
        seed: Seed of the dealing.

    Returns:
        ``statistic``: ``2 E|X - Y| - E|X - X'| - E|Y - Y'|`` over all pairs (V-statistic), at least 0.

    Raises:
        InputError: A matrix cannot be used, or there are more than 12,000 rows in all.
    """

    def negative_distance(pool: NDArray[np.float64]) -> NDArray[np.float64]:
        return -DISTANCES["chord"].between(pool, pool)

    return _kernel_test(first, second, negative_distance, permutations, seed)


def mmd_test(first: ArrayLike, second: ArrayLike, *, permutations: int = 499, seed: int = 0) -> TwoSample:
    """Squared maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012), with a permutation p.

    Args:
        first: Shape (m, d), m at least 2.
        second: Shape (n, d), n at least 2.
        permutations: How often rows are dealt out anew.
        seed: Seed of the dealing.

    Returns:
        ``statistic``: the biased estimate, at least 0; the kernel's width is the median distance of the pooled rows.

    Raises:
        InputError: A matrix cannot be used, or there are more than 12,000 rows in all.
    """

    def gaussian(pool: NDArray[np.float64]) -> NDArray[np.float64]:
        squared = DISTANCES["cosine"].between(pool, pool) * 2.0
        median = float(np.median(squared[np.triu_indices(len(pool), 1)]))
        kernel: NDArray[np.float64] = np.exp(-squared / (2.0 * (median or 1.0)))
        return kernel

    return _kernel_test(first, second, gaussian, permutations, seed)


def divergence_frontier(first: ArrayLike, second: ArrayLike, *, seed: int = 0) -> float:
    """Area under the divergence frontier of two corpora, in the manner of MAUVE (Pillutla et al. 2021).

    Pooled unit rows are clustered by k-means into a tenth as many cells as the smaller corpus has rows (at least 2, at
    most 500); with p and q the cells' shares (each cell's count plus 1/2) and ``r = t p + (1 - t) q``, the curve of
    ``(exp(-5 KL(q|r)), exp(-5 KL(p|r)))`` over t from 0 to 1 is integrated. It comes without a p-value.

    Args:
        first: Shape (m, d), m at least 4.
        second: Shape (n, d), n at least 4.
        seed: Seed of k-means.

    Returns:
        0 to 1; 1 where the two histograms are equal.

    Raises:
        InputError: A matrix cannot be used or has fewer than 4 rows.
    """
    from sklearn.cluster import KMeans

    ours, theirs = _two(first, second, least=4, most=None)
    cells = int(np.clip(min(len(ours), len(theirs)) // 10, 2, 500))
    pool = np.concatenate([ours, theirs])
    cell = KMeans(cells, n_init=3, random_state=seed).fit_predict(pool)
    p, q = (
        (np.bincount(part, minlength=cells) + 0.5) / (len(part) + 0.5 * cells)
        for part in (cell[: len(ours)], cell[len(ours) :])
    )
    weights = np.linspace(0.0, 1.0, 101)[1:-1, None]
    mixed = weights * p + (1 - weights) * q  # (99, cells)
    x = np.exp(-5 * (q * np.log(q / mixed)).sum(axis=1))
    y = np.exp(-5 * (p * np.log(p / mixed)).sum(axis=1))
    x, y = np.concatenate([[1.0], x, [0.0]]), np.concatenate([[0.0], y, [1.0]])
    order = np.lexsort((-y, x))
    return float(np.trapezoid(y[order], x[order]))


def _two(
    first: ArrayLike, second: ArrayLike, *, least: int, most: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ours, theirs = UnitRows(first, name="first corpus"), UnitRows(second, name="second corpus")
    if ours.dimension != theirs.dimension:
        raise InputError(
            f"one has {ours.dimension} columns and the other {theirs.dimension}",
            where="two corpora",
            mend="encode both with the same model",
        )
    for rows in (ours, theirs):
        if rows.rows < least:
            raise InputError(f"has {rows.rows} rows", where=rows.name, mend=f"give at least {least}")
    if most is not None and ours.rows + theirs.rows > most:
        raise InputError(f"{ours.rows + theirs.rows} rows in all", mend=f"sample at most {most}")
    return ours.whole(), theirs.whole()


def _kernel_test(
    first: ArrayLike,
    second: ArrayLike,
    kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    permutations: int,
    seed: int,
) -> TwoSample:
    """Mean of the kernel within each corpus less twice the mean between them, and its permutation p."""
    if permutations < 19:
        raise InputError(f"{permutations} permutations cannot give p = 0.05", mend="take at least 19")
    ours, theirs = _two(first, second, least=2, most=MOST_ROWS)
    pool = np.concatenate([ours, theirs])
    m, n = len(ours), len(theirs)
    values = kernel(pool)  # (N, N)
    row_sums, total = values.sum(axis=1), float(values.sum())

    def statistics(in_first: NDArray[np.float64]) -> NDArray[np.float64]:
        within = np.einsum("pi,pi->p", in_first @ values, in_first)  # sums over pairs of the first corpus
        across = in_first @ row_sums - within
        other = total - within - 2 * across
        result: NDArray[np.float64] = within / m**2 + other / n**2 - 2 * across / (m * n)
        return result

    observed = float(statistics(np.repeat([1.0, 0.0], [m, n])[None, :])[0])
    generator = random_generator(seed, "two-sample permutations")
    at_least = 0
    for start in range(0, permutations, _PERMUTATIONS_AT_ONCE):
        dealt = np.zeros((min(_PERMUTATIONS_AT_ONCE, permutations - start), m + n))
        for row in dealt:
            row[generator.permutation(m + n)[:m]] = 1.0
        at_least += int((statistics(dealt) >= observed - 1e-12).sum())
    return TwoSample(max(0.0, observed), (1 + at_least) / (permutations + 1))
