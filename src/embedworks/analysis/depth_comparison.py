"""Do two corpora follow one distribution? Liu and Singh's Q, the rank-sum test on depths, and its permutation forms.

``Q(F, G) = Pr[D(X, F) <= D(Y, F)]`` for X from F and Y from G: 1/2 where F = G, below where G is more outlying with
respect to F, above where G is more concentrated around F's centre (Liu and Singh 1993; arXiv 2310.15010, section 4).
Not symmetric: ask in both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.analysis.depth import DECIMALS, DISTANCES, Distance, DistanceName, depths_paired, find_distance
from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

EXACT_UP_TO = 100
"""Depths of both corpora together up to which the rank-sum's exact distribution is computed."""

MOST_ROWS_ALL_PAIRS = 12_000
"""Rows of both corpora together up to which all pairs of distances are held in memory (1.2 GB)."""

_PERMUTATIONS_AT_ONCE = 64


@dataclass(frozen=True)
class RankSum:
    """Wilcoxon's rank-sum test that depths of the reference corpus are not larger than those of the other."""

    w: float
    """The statistic in standard deviations: positive where the other corpus is more outlying."""
    p_one_sided: float
    """Against Q < 1/2, normal approximation, as published."""
    p_two_sided: float
    """Against Q != 1/2, normal approximation; the only one that sees a corpus concentrated at the centre."""
    exact_p_one_sided: float | None
    """From the exact distribution of mid-ranks; None above 100 depths."""
    exact_p_two_sided: float | None
    """Twice the smaller exact tail; None above 100 depths."""


@dataclass(frozen=True)
class DepthTest:
    """One corpus against a reference corpus."""

    reference_depths: NDArray[np.float64]
    """Depths of the reference corpus in itself, each row left out, shape (m,)."""
    other_depths: NDArray[np.float64]
    """Depths of the other corpus in the reference corpus, shape (n,)."""
    q: float
    """The estimate of Q: the share of pairs in which the other corpus' text is the deeper one, ties half."""
    q_pooled: float
    """The released code's figure, shrunken towards 1/2; see :func:`q_score_pooled`."""
    rank_sum: RankSum
    """The test on the two sets of depths."""


@dataclass(frozen=True)
class PermutationTest:
    """A test by dealing the rows out anew and computing all depths again."""

    q: float
    """The estimate of Q on the corpora as they are."""
    p_one_sided: float
    """Against Q < 1/2."""
    p_two_sided: float
    """Twice the smaller tail, at most 1."""
    permutations: int
    """How often rows were dealt out."""


@dataclass(frozen=True)
class CorpusComparison:
    """Two corpora compared in both directions."""

    second_in_first: DepthTest
    """The second corpus with respect to the first."""
    first_in_second: DepthTest
    """The first corpus with respect to the second."""


def q_score(reference_depths: ArrayLike, other_depths: ArrayLike) -> float:
    """Estimate Q: the share of pairs in which the other corpus' depth is larger, ties counted half.

    This is the Mann-Whitney statistic divided by m n.

    Args:
        reference_depths: Depths of the reference corpus, shape (m,).
        other_depths: Depths of the other corpus with respect to the reference corpus, shape (n,).

    Returns:
        0 to 1.

    Raises:
        InputError: A set of depths is empty, not one-dimensional or not finite.

    Example:
        >>> q_score([1.0, 2.0, 3.0], [2.0, 0.5])
        0.25
    """
    reference, other = _two_sets(reference_depths, other_depths)
    ordered = np.sort(reference)
    below, up_to = np.searchsorted(ordered, other, side="left"), np.searchsorted(ordered, other, side="right")
    return float((below.sum() + up_to.sum()) / (2 * len(reference) * len(other)))


def q_score_pooled(reference_depths: ArrayLike, other_depths: ArrayLike) -> float:
    """Return what the code released with the paper calls Q: the mean share of all m + n depths below one of G's.

    Without ties its expectation is ``(m Q + (n - 1) / 2) / (m + n)``, nearer to 1/2 than Q. Use it only beside
    figures that were made with that code.

    Args:
        reference_depths: As in :func:`q_score`.
        other_depths: As in :func:`q_score`.

    Raises:
        InputError: As in :func:`q_score`.

    Example:
        >>> q_score_pooled([1.0, 2.0, 3.0], [2.0, 0.5])
        0.2
    """
    reference, other = _two_sets(reference_depths, other_depths)
    ordered = np.sort(np.concatenate([reference, other]))
    return float(np.searchsorted(ordered, other, side="left").sum() / (len(other) * len(ordered)))


def rank_sum(reference_depths: ArrayLike, other_depths: ArrayLike) -> RankSum:
    """Test whether the reference corpus' depths are larger (Wilcoxon 1945), with mid-ranks for ties.

    The statistic and the approximate p are those of ``scipy.stats.ranksums(reference, other)``. The exact p is the
    share of all ways to deal out the mid-ranks that give as extreme a sum; it treats depths as exchangeable, as the
    published test does. :func:`depth_permutation_test` does not.

    Args:
        reference_depths: As in :func:`q_score`.
        other_depths: As in :func:`q_score`.

    Raises:
        InputError: As in :func:`q_score`.

    Example:
        >>> test = rank_sum([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
        >>> round(test.w, 4), round(test.p_one_sided, 4), test.exact_p_one_sided
        (1.964, 0.0248, 0.05)
    """
    from scipy.special import ndtr

    reference, other = _two_sets(reference_depths, other_depths)
    m, n = len(reference), len(other)
    w = m * n * (0.5 - q_score(reference, other)) / np.sqrt(m * n * (m + n + 1) / 12)
    exact = _exact_p(reference, other) if m + n <= EXACT_UP_TO else (None, None)
    return RankSum(float(w), float(ndtr(-w)), float(min(1.0, 2 * ndtr(-abs(w)))), *exact)


def depth_rank_test(
    reference: ArrayLike,
    other: ArrayLike,
    *,
    distance: DistanceName | Distance = "cosine",
    progress: bool = False,
) -> DepthTest:
    """Test whether a corpus is more outlying than a reference corpus (arXiv 2310.15010, section 4).

    Args:
        reference: The corpus F, shape (m, d), m at least 2; about 500 texts give a stable Q.
        other: The corpus G, shape (n, d), of the same encoder.
        distance: As in :func:`embedworks.analysis.depth.depths`.
        progress: As in :func:`embedworks.analysis.depth.depths`.

    Raises:
        InputError: A matrix or the distance cannot be used.
    """
    ours, theirs = depths_paired(reference, other, distance=distance, progress=progress)
    return DepthTest(ours, theirs, q_score(ours, theirs), q_score_pooled(ours, theirs), rank_sum(ours, theirs))


def compare_corpora(
    first: ArrayLike,
    second: ArrayLike,
    *,
    distance: DistanceName | Distance = "cosine",
    progress: bool = False,
) -> CorpusComparison:
    """Run :func:`depth_rank_test` in both directions, as neither says what the other says.

    Args:
        first: Shape (m, d), m at least 2.
        second: Shape (n, d), n at least 2.
        distance: As in :func:`embedworks.analysis.depth.depths`.
        progress: As in :func:`embedworks.analysis.depth.depths`.

    Raises:
        InputError: A matrix or the distance cannot be used.
    """
    return CorpusComparison(
        second_in_first=depth_rank_test(first, second, distance=distance, progress=progress),
        first_in_second=depth_rank_test(second, first, distance=distance, progress=progress),
    )


def depth_permutation_test(
    reference: ArrayLike,
    other: ArrayLike,
    *,
    distance: DistanceName | Distance = "cosine",
    permutations: int = 999,
    seed: int = 0,
) -> PermutationTest:
    """Test F = G by dealing the pooled rows out anew and computing every depth again.

    The rank-sum test takes the depths as independent, which they are not: all of them share one mean. This test is
    exact whatever their dependence.

    Args:
        reference: The corpus F, shape (m, d), m at least 2.
        other: The corpus G, shape (n, d).
        distance: Cosine needs only means; any other holds all pairs, so at most 12,000 rows in all.
        permutations: How often to deal out; p is at least 1 / (permutations + 1).
        seed: Seed of the dealing.

    Raises:
        InputError: A matrix or the distance cannot be used, or there are too many rows or too few permutations.
    """
    if permutations < 19:
        raise InputError(f"{permutations} permutations cannot give p = 0.05", mend="take at least 19")
    chosen = find_distance(distance)
    ours, theirs = UnitRows(reference, name="reference corpus"), UnitRows(other, name="other corpus")
    observed = depth_rank_test(reference, other, distance=chosen).q
    m = ours.rows
    pool = np.concatenate([ours.whole(), theirs.whole()])  # (N, d)
    if chosen is not DISTANCES["cosine"] and len(pool) > MOST_ROWS_ALL_PAIRS:
        raise InputError(
            f"{len(pool)} rows in all; {chosen.name} distance needs all pairs",
            where="permutation test",
            mend=f"sample at most {MOST_ROWS_ALL_PAIRS} rows, or take cosine distance",
        )
    pairs = None if chosen is DISTANCES["cosine"] else chosen.checked(pool, pool)
    if pairs is not None:
        np.fill_diagonal(pairs, 0.0)
    generator = random_generator(seed, "depth permutations")
    dealt = []
    for start in range(0, permutations, _PERMUTATIONS_AT_ONCE):
        chosen_rows = np.zeros((min(_PERMUTATIONS_AT_ONCE, permutations - start), len(pool)))  # (P, N)
        for row in chosen_rows:
            row[generator.permutation(len(pool))[:m]] = 1.0
        # mean distance of every row to the m chosen, itself left out: (P, N)
        means = m - (chosen_rows @ pool) @ pool.T if pairs is None else chosen_rows @ pairs.T
        means /= m - chosen_rows
        for is_reference, row in zip(chosen_rows.astype(bool), np.round(means, DECIMALS), strict=True):
            dealt.append(q_score(-row[is_reference], -row[~is_reference]))
    qs = np.array(dealt)
    low = (1 + int((qs <= observed + 1e-12).sum())) / (permutations + 1)
    high = (1 + int((qs >= observed - 1e-12).sum())) / (permutations + 1)
    return PermutationTest(observed, low, min(1.0, 2 * min(low, high)), permutations)


def _two_sets(reference: ArrayLike, other: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    checked = []
    for name, values in (("reference depths", reference), ("other depths", other)):
        array = np.asarray(values, np.float64)
        if array.ndim != 1 or len(array) == 0 or not np.isfinite(array).all():
            raise InputError(f"shape {array.shape}, or a value is not finite", where=name, mend="give one depth a text")
        checked.append(array)
    return checked[0], checked[1]


def _exact_p(reference: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Exact tails of the sum of the reference's mid-ranks, by counting subsets of each size and sum.

    Twice the mid-ranks are whole numbers, so the number of subsets with each sum follows from adding one depth at a
    time (a knapsack). Counts are held as shares of all subsets of a size, so that they stay near 1.
    """
    pooled = np.concatenate([reference, other])
    ordered = np.sort(pooled)
    doubled = np.searchsorted(ordered, pooled, side="left") + np.searchsorted(ordered, pooled, side="right") + 1
    size, total = len(reference), int(doubled.sum())
    # ways[k, s]: share of the subsets of size k of the depths seen so far whose doubled ranks add up to s
    ways = np.zeros((size + 1, total + 1))
    ways[0, 0] = 1.0
    for seen, rank in enumerate(doubled.tolist(), start=1):
        for k in range(min(size, seen), 0, -1):
            # C(seen, k) = C(seen - 1, k) + C(seen - 1, k - 1)
            ways[k] *= (seen - k) / seen
            ways[k, rank:] += ways[k - 1, : total + 1 - rank] * (k / seen)
    shares, observed = ways[size], int(doubled[:size].sum())
    high, low = min(1.0, float(shares[observed:].sum())), min(1.0, float(shares[: observed + 1].sum()))
    return high, min(1.0, 2 * min(high, low))
