"""Intervals over seeds, and verdicts on claims that a value lies within limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedworks.methods._report import FEWEST_SEEDS, Verdict, verdict_of_difference


@dataclass(frozen=True)
class OverSeeds:
    """A value over independent seeds: mean, spread, and a t-interval of the mean."""

    mean: float
    sd: float
    low: float
    high: float
    p: float
    """Two-sided p of the t-test against zero."""
    seeds: int


def over_seeds(values: Sequence[float]) -> OverSeeds:
    """Summarise one value a seed by Student's t.

    Args:
        values: At least two values.

    Example:
        >>> summary = over_seeds([0.1, 0.2, 0.3])
        >>> round(summary.mean, 3), round(summary.low, 3), round(summary.high, 3), round(summary.p, 3)
        (0.2, -0.048, 0.448, 0.074)
    """
    from scipy.special import stdtr, stdtrit

    array = np.asarray(values, np.float64)
    n, mean, sd = len(array), float(array.mean()), float(array.std(ddof=1))
    error = sd / n**0.5
    half = float(stdtrit(n - 1, 0.975)) * error
    p = (0.0 if mean else 1.0) if error == 0 else 2 * float(stdtr(n - 1, -abs(mean) / error))
    return OverSeeds(mean, sd, mean - half, mean + half, p, n)


def verdict_within(summary: OverSeeds, low: float, high: float) -> Verdict:
    """Judge a claim that a value lies within limits: shown where its whole 95 % interval does.

    Args:
        summary: The value over seeds.
        low: Lower limit claimed.
        high: Upper limit claimed.

    Example:
        >>> verdict_within(over_seeds([0.51, 0.50, 0.49]), 0.4, 0.6).value
        'shown'
    """
    if summary.seeds < FEWEST_SEEDS:
        return Verdict.NOT_RESOLVABLE
    if low <= summary.low and summary.high <= high:
        return Verdict.SHOWN
    if summary.high < low or summary.low > high:
        return Verdict.NOT_SHOWN
    return Verdict.NOT_RESOLVABLE


def verdict_of_gain(summary: OverSeeds, *, at_least: float = 0.0) -> Verdict:
    """Judge a claimed gain over seeds; fewer than three resolve nothing.

    Args:
        summary: The gain over seeds.
        at_least: Claimed size.
    """
    if summary.seeds < FEWEST_SEEDS:
        return Verdict.NOT_RESOLVABLE
    return verdict_of_difference(summary.mean, (summary.low, summary.high), summary.p, at_least=at_least)
