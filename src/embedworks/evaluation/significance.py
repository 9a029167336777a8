"""Is a difference more than chance: paired bootstrap, Wilcoxon signed-rank, Holm's correction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedworks.evaluation.statistic import Statistic, statistic_value
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

MINIMUM_WILCOXON_PAIRS = 6
"""With fewer pairs that differ, the two-sided p cannot fall below 0.05 (five give 2 / 2**5 = 0.0625)."""

_CELLS_AT_ONCE = 1_000_000  # counts held at once: 8 MB


@dataclass(frozen=True)
class Interval:
    """A value with the limits of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class BootstrapDifference:
    """What a paired bootstrap says of one system against the baseline.

    Args:
        difference: System minus baseline on the units as they are.
        low: Lower limit of the 95 % percentile interval of the difference.
        high: Upper limit.
        p: Two-sided: twice the smaller share of resamples on either side of zero, at least 2 / (resamples + 1).
    """

    difference: float
    low: float
    high: float
    p: float


def resample_counts(units: int, resamples: int, *, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw bootstrap resamples as counts: how often each unit was drawn, with replacement.

    Args:
        units: Number of units n.
        resamples: Number of resamples.
        seed: Seed; the same seed and number of units give the same resamples.

    Yields:
        Blocks of shape (some resamples, n); each row adds up to n.
    """
    generator = random_generator(seed, "paired-bootstrap", units)
    block = max(1, _CELLS_AT_ONCE // units)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(units, size=(rows, units))
        drawn += np.arange(rows)[:, None] * units
        yield np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units).astype(np.float64)


def paired_bootstrap(
    statistic: Statistic, systems: Sequence[Sequence[ArrayLike]], *, resamples: int = 10_000, seed: int = 0
) -> tuple[list[Interval], list[BootstrapDifference]]:
    """Resample the units of several systems together (Efron and Tibshirani 1993, chapters 13 and 16).

    Each resample draws the same units for every system and computes the statistic anew; a correlation or a V-measure
    is computed from the resampled pairs or texts, not averaged over units. Resampled V-measures are shifted so that
    their mean is the observed value (the bootstrap's bias correction, chapter 10).

    Args:
        statistic: How the columns of a system make one value.
        systems: The columns of each system; the first system is the baseline.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        The 95 % percentile interval of each system, and the difference of each system but the first to the first.

    Raises:
        InputError: There is no system, or fewer than 2 units, or fewer than 100 resamples.

    Example:
        >>> intervals, (difference,) = paired_bootstrap("mean", [[[0.1, 0.2, 0.3]], [[0.6, 0.7, 0.8]]])
        >>> round(difference.difference, 6), round(difference.low, 6), difference.p < 0.001
        (0.5, 0.5, True)
    """
    if not systems:
        raise InputError("there is no system", where="paired_bootstrap")
    units = len(np.asarray(systems[0][0]))
    if units < 2:
        raise InputError(f"{units} unit", where="paired_bootstrap", mend="judge at least 2 queries, pairs or texts")
    if resamples < 100:
        raise InputError(f"{resamples} resamples", where="paired_bootstrap", mend="take at least 100")
    observed = [float(statistic_value(statistic, columns)[0]) for columns in systems]
    blocks = [
        np.stack([statistic_value(statistic, columns, counts) for columns in systems])
        for counts in resample_counts(units, resamples, seed=seed)
    ]
    replicates = np.concatenate(blocks, axis=1)  # (systems, resamples)
    if statistic == "v-measure":
        # A text drawn twice agrees with itself, which lifts every replicate (by several points with many labels) and
        # narrows differences; the lift is the bootstrap's own estimate of its bias, and is taken off.
        replicates += (np.asarray(observed) - replicates.mean(axis=1))[:, None]
    intervals = [Interval(value, *_limits(values)) for value, values in zip(observed, replicates, strict=True)]
    differences = []
    for value, values in zip(observed[1:], replicates[1:], strict=True):
        difference = _without_dust(values - replicates[0])
        low, high = _limits(difference)
        differences.append(BootstrapDifference(value - observed[0], low, high, _two_sided_p(difference, resamples)))
    return intervals, differences


def _without_dust(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Set to zero what only the order of float64 sums made different, so that equal systems are equal."""
    return np.where(np.abs(differences) < 1e-12, 0.0, differences)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _two_sided_p(differences: NDArray[np.float64], resamples: int) -> float:
    at_most, at_least = int((differences <= 0).sum()), int((differences >= 0).sum())
    return min(1.0, 2 * (min(at_most, at_least) + 1) / (resamples + 1))


@dataclass(frozen=True)
class Wilcoxon:
    """What a Wilcoxon signed-rank test says, or why it says nothing.

    Args:
        p: Two-sided p; ``None`` when the test was refused.
        pairs: Pairs that differ (ties at zero are left out, as ``zero_method="wilcox"`` does).
        note: Why there is no p, else empty.
    """

    p: float | None
    pairs: int
    note: str = ""


def wilcoxon_signed_rank(first: ArrayLike, second: ArrayLike) -> Wilcoxon:
    """Test whether paired values differ, two-sided (Wilcoxon 1945), through ``scipy.stats.wilcoxon``.

    Args:
        first: One value a unit or data set, shape (n,).
        second: Paired values, shape (n,).

    Returns:
        The p-value; refused with fewer than 6 pairs that differ, where it cannot fall below 0.05.

    Raises:
        InputError: The lengths differ, or a value is not finite.

    Example:
        >>> wilcoxon_signed_rank([1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, 0]).p
        0.03125
        >>> wilcoxon_signed_rank([1, 2, 3], [0, 0, 0]).note
        'only 3 pairs differ; with fewer than 6 the two-sided p cannot fall below 0.05'
    """
    left, right = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise InputError(f"shapes {left.shape} and {right.shape} differ", where="wilcoxon_signed_rank")
    difference = _without_dust(left - right)
    if not np.isfinite(difference).all():
        raise InputError("a value is not finite", where="wilcoxon_signed_rank")
    pairs = int(np.count_nonzero(difference))
    if pairs < MINIMUM_WILCOXON_PAIRS:
        return Wilcoxon(
            None,
            pairs,
            f"only {pairs} pairs differ; with fewer than {MINIMUM_WILCOXON_PAIRS} the two-sided p cannot fall below"
            " 0.05",
        )
    from scipy.stats import wilcoxon

    return Wilcoxon(float(wilcoxon(difference, zero_method="wilcox", alternative="two-sided").pvalue), pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for several tests so that the chance of any false alarm stays below the level (Holm 1979).

    With p sorted ascending, the i-th of m becomes ``max over j <= i of min(1, (m - j + 1) * p_j)``.

    Args:
        p_values: One p a test, each in [0, 1].

    Returns:
        Corrected values in the order given.

    Raises:
        InputError: A value is not in [0, 1].

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("a p-value is not in [0, 1]", where="holm")
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(1.0, values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(stepped)
    corrected[order] = np.maximum.accumulate(stepped)
    return [float(value) for value in corrected]
