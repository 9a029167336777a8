"""Systems trained from several seeds, over families of data sets: means, their spread, and what is more than chance.

The rules of arXiv 2409.02727 and of what its reviewers missed: the family's score is the plain mean over data sets; a
Wilcoxon signed-rank test pairs the data sets; raw and Holm-corrected p stand side by side; and where fewer than six
data sets differ, no p of that test can fall below 0.05, so there is no star.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.result import Result
from embedworks.evaluation.significance import (
    MINIMUM_WILCOXON_PAIRS,
    holm,
    resample_counts,
    wilcoxon_signed_rank,
)
from embedworks.evaluation.statistic import statistic_value
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

SeededRuns = Mapping[str, Sequence[Sequence[Result]]]
"""System name to the results of each seed, the seeds in the same order for every system."""

_LEVEL = 0.05


@dataclass(frozen=True)
class SeededRow:
    """One system on one family; scores are fractions. Fields about the difference are None for the baseline."""

    family: str
    """Task of the data sets."""
    system: str
    """Name of the system."""
    data_sets: int
    """Number of data sets."""
    mean: float
    """Mean over seeds of the mean over data sets."""
    sd: float | None
    """Standard deviation of the latter over seeds; None with one seed."""
    difference: float | None = None
    """Mean minus the baseline's."""
    difference_sd: float | None = None
    """Standard deviation over seeds of the difference, paired by seed."""
    low: float | None = None
    """Lower end of the 95 % bootstrap interval of the difference."""
    high: float | None = None
    """Upper end."""
    interval_over: str = ""
    """What the bootstrap resamples with the seeds: ``"data sets"`` from six on, else ``"units"`` (queries, texts)."""
    bootstrap_p: float | None = None
    """Two-sided p of that bootstrap."""
    bootstrap_p_holm: float | None = None
    """The same, corrected over the systems."""
    wilcoxon_p: float | None = None
    """Two-sided p of the Wilcoxon test over data sets of seed means; None where it was refused."""
    wilcoxon_p_holm: float | None = None
    """The same, corrected over the systems."""
    star: bool | None = None
    """Whether the raw Wilcoxon p is below 0.05; None where it was refused."""
    note: str = ""
    """Why there is no Wilcoxon p, else empty."""


def compare_seeded(
    runs: SeededRuns, *, baseline: str, task: str, resamples: int = 1_000, seed: int = 0
) -> list[SeededRow]:
    """Compare systems with a baseline on one family, averaged over training seeds.

    Args:
        runs: Results of every system and seed over the same data sets.
        baseline: Name of the system the others are compared with.
        task: The results' task; its primary metric is compared.
        resamples: Bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        A row a system, the baseline first.

    Raises:
        InputError: The baseline is missing, or a system has other seeds or data sets than the baseline.
    """
    if baseline not in runs:
        raise InputError(f"there is no system {baseline!r}", where="compare_seeded", mend=f"choose from {list(runs)}")
    tables = {name: [_by_data_set(run, task) for run in seeds] for name, seeds in runs.items()}
    names = list(tables[baseline][0]) if tables[baseline] else []
    _check_same(tables, baseline, names, task)
    scores = {
        name: np.array([[run[data_set].value for data_set in names] for run in seeds])  # (seeds, data sets)
        for name, seeds in tables.items()
    }
    rows = [SeededRow(task, baseline, len(names), *_mean_and_spread(scores[baseline].mean(axis=1)))]
    others = [name for name in tables if name != baseline]
    if not others:
        return rows
    over = "data sets" if len(names) >= MINIMUM_WILCOXON_PAIRS else "units"
    if over == "data sets":
        of_seed = {name: _over_data_sets(scores[name] - scores[baseline], resamples, seed) for name in others}
    else:
        of_seed = _over_units(tables, baseline, names, resamples, seed)
    weights = _seed_weights(len(scores[baseline]), resamples, seed)
    replicates = {name: (weights * of_seed[name]).sum(axis=0) for name in others}
    bootstrap = [_two_sided_p(replicates[name]) for name in others]
    bootstrap_holm = holm(bootstrap)
    tests = [wilcoxon_signed_rank(scores[name].mean(axis=0), scores[baseline].mean(axis=0)) for name in others]
    tested = [place for place, test in enumerate(tests) if test.p is not None]
    corrected = dict(zip(tested, holm([test.p for test in tests if test.p is not None]), strict=True))
    for place, (name, test) in enumerate(zip(others, tests, strict=True)):
        mean, sd = _mean_and_spread(scores[name].mean(axis=1))
        difference, difference_sd = _mean_and_spread((scores[name] - scores[baseline]).mean(axis=1))
        low, high = np.percentile(replicates[name], [2.5, 97.5])
        rows.append(
            SeededRow(
                family=task,
                system=name,
                data_sets=len(names),
                mean=mean,
                sd=sd,
                difference=difference,
                difference_sd=difference_sd,
                low=float(low),
                high=float(high),
                interval_over=over,
                bootstrap_p=bootstrap[place],
                bootstrap_p_holm=bootstrap_holm[place],
                wilcoxon_p=test.p,
                wilcoxon_p_holm=corrected.get(place),
                star=None if test.p is None else test.p < _LEVEL,
                note=test.note,
            )
        )
    return rows


def _by_data_set(run: Sequence[Result], task: str) -> dict[str, Result]:
    chosen = [result for result in run if result.task == task]
    table = {result.data_set: result for result in chosen}
    if len(table) != len(chosen):
        raise InputError("a data set stands twice in a run", where=f"compare_seeded, task {task!r}")
    return table


def _check_same(
    tables: Mapping[str, Sequence[Mapping[str, Result]]], baseline: str, names: Sequence[str], task: str
) -> None:
    if not names:
        raise InputError(f"the baseline has no result of task {task!r}", where="compare_seeded", mend="judge it first")
    reference = tables[baseline][0]
    for system, seeds in tables.items():
        if len(seeds) != len(tables[baseline]):
            raise InputError(
                f"{len(seeds)} seeds, and the baseline has {len(tables[baseline])}",
                where=f"compare_seeded, system {system!r}",
                mend="train every system from the same seeds",
            )
        for run in seeds:
            for name in {*names, *run}:
                if name not in run or name not in reference or run[name].data_hash != reference[name].data_hash:
                    raise InputError(
                        f"{name!r} is missing somewhere, or its data differ",
                        where=f"compare_seeded, system {system!r}",
                        mend="judge every system on the same data",
                    )


def _mean_and_spread(values: NDArray[np.float64]) -> tuple[float, float | None]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _seed_weights(seeds: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """Draw training seeds with replacement, the same for every system: weights of shape (seeds, resamples)."""
    drawn = random_generator(seed, "training seeds").integers(seeds, size=(resamples, seeds))
    counts = np.stack([(drawn == place).sum(axis=1) for place in range(seeds)])
    weights: NDArray[np.float64] = counts / seeds
    return weights


def _over_data_sets(differences: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Resample data sets; differences of shape (seeds, data sets) to replicates of shape (seeds, resamples)."""
    counts = np.concatenate(list(resample_counts(differences.shape[1], resamples, seed=seed)))
    replicates: NDArray[np.float64] = differences @ counts.T / differences.shape[1]
    return replicates


def _over_units(
    tables: Mapping[str, Sequence[Mapping[str, Result]]],
    baseline: str,
    names: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, NDArray[np.float64]]:
    """Resample the units of each data set, the same ones for every system and seed: (seeds, resamples) a system."""
    means = {system: np.zeros((len(seeds), resamples)) for system, seeds in tables.items()}
    for place, data_set in enumerate(names):
        units = len(tables[baseline][0][data_set].unit_ids)
        start = 0
        for counts in resample_counts(units, resamples, seed=seed + place):
            part = slice(start, start + len(counts))
            start += len(counts)
            for system, seeds in tables.items():
                for number, run in enumerate(seeds):
                    result = run[data_set]
                    columns = result.columns_of(result.primary)
                    means[system][number, part] += statistic_value(result.statistic, columns, counts) / len(names)
    return {system: values - means[baseline] for system, values in means.items() if system != baseline}


def _two_sided_p(replicates: NDArray[np.float64]) -> float:
    # Sums in another order leave dust where two systems are equal.
    rounded = np.where(np.abs(replicates) < 1e-12, 0.0, replicates)
    smaller = min(int((rounded <= 0).sum()), int((rounded >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(rounded) + 1))
