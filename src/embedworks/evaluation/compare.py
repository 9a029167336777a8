"""Several systems on the same data: who is better, by how much, and is it more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from embedworks.evaluation.result import Result
from embedworks.evaluation.significance import holm, paired_bootstrap, wilcoxon_signed_rank
from embedworks.evaluation.statistic import Statistic
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from rich.table import Table

LEVEL = 0.05
"""Level of significance of a star."""


@dataclass(frozen=True)
class ComparisonRow:
    """One system of a comparison; fields about the difference are ``None`` for the baseline.

    Args:
        system: Name of the system.
        value: The metric, as a fraction.
        low: Lower limit of its 95 % bootstrap interval.
        high: Upper limit.
        difference: System minus baseline.
        difference_low: Lower limit of the 95 % paired bootstrap interval of the difference.
        difference_high: Upper limit.
        p: Two-sided p of the paired bootstrap.
        p_holm: The same, corrected over the systems of the comparison.
        wilcoxon_p: Two-sided p of the Wilcoxon signed-rank test over units; ``None`` where it was refused.
        wilcoxon_p_holm: The same, corrected over the systems tested.
        wilcoxon_note: Why there is no Wilcoxon p, else empty.
        significant: Whether ``p_holm`` is below 0.05.
    """

    system: str
    value: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    wilcoxon_p: float | None = None
    wilcoxon_p_holm: float | None = None
    wilcoxon_note: str = ""
    significant: bool | None = None


@dataclass(frozen=True)
class Comparison:
    """Systems compared with a baseline, unit by unit, on one data set.

    Args:
        data_set: Name of the data set.
        task: Kind of task.
        metric: The metric compared.
        statistic: How the metric is computed from the units.
        units: Number of queries, pairs or texts.
        baseline: Name of the system the others are compared with.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        rows: One row a system, in the order given.
    """

    data_set: str
    task: str
    metric: str
    statistic: Statistic
    units: int
    baseline: str
    resamples: int
    seed: int
    rows: list[ComparisonRow]

    def row(self, system: str) -> ComparisonRow:
        """Return the row of a system.

        Raises:
            InputError: There is no such system.
        """
        for row in self.rows:
            if row.system == system:
                return row
        raise InputError(
            f"there is no system {system!r}",
            where=f"comparison on {self.data_set}",
            mend=f"choose from: {', '.join(row.system for row in self.rows)}",
        )

    def to_json(self) -> dict[str, Any]:
        """Return a document of JSON types."""
        return asdict(self)

    def render(self) -> Table:
        """Return a table for the terminal; values in points (times 100), a star where Holm's p is below 0.05."""
        from rich.table import Table

        table = Table(
            title=f"{self.data_set}: {metric_label(self.metric)} over {self.units:,} units",
            caption=f"differences to {self.baseline}; p by paired bootstrap ({self.resamples:,} resamples) and by"
            " Wilcoxon, both after Holm; * bootstrap p below 0.05",
        )
        table.add_column("system")
        for header in ("points", "difference", "95 % interval", "p", "Wilcoxon p"):
            table.add_column(header, justify="right", no_wrap=True)
        for row in self.rows:
            cells = [row.system, f"{100 * row.value:.2f}"]
            if row.difference is None or row.difference_low is None or row.difference_high is None:
                cells += ["baseline", "", "", ""]
            else:
                cells += [
                    f"{100 * row.difference:+.2f}{'*' if row.significant else ''}",
                    f"{100 * row.difference_low:+.2f} to {100 * row.difference_high:+.2f}",
                    format_p(row.p_holm),
                    format_p(row.wilcoxon_p_holm),
                ]
            table.add_row(*cells)
        return table


def compare(
    results: Sequence[Result],
    *,
    metric: str | None = None,
    baseline: str | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> Comparison:
    """Compare systems on the same units with a baseline.

    The paired bootstrap draws the same units for all systems and computes the metric anew. The Wilcoxon signed-rank
    test pairs the units' values; for correlations and V-measure a unit has no value of its own, so it is left out.

    Args:
        results: One result a system, all on the same data.
        metric: A metric all of them have; the primary one of the first by default.
        baseline: Name of the system to compare with; the first by default.
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Returns:
        A row a system.

    Raises:
        InputError: Fewer than 2 results, a name twice, or another data set, task, unit or data in one of them.
    """
    _check_same_data(results)
    names = [result.system for result in results]
    chosen = names[0] if baseline is None else baseline
    if chosen not in names:
        raise InputError(f"there is no system {chosen!r}", where="compare", mend=f"choose from: {', '.join(names)}")
    first = results[names.index(chosen)]
    metric = metric or first.primary
    statistic = first.statistic_of(metric)
    others = [result for result in results if result is not first]
    columns = {result.system: _aligned_columns(result, first, metric) for result in results}
    intervals, differences = paired_bootstrap(
        statistic, [columns[result.system] for result in (first, *others)], seed=seed, resamples=resamples
    )
    corrected = holm([difference.p for difference in differences])
    rows = {first.system: ComparisonRow(first.system, intervals[0].value, intervals[0].low, intervals[0].high)}
    no_unit_value = f"{metric_label(metric)} is not a mean over units"
    tests = [
        wilcoxon_signed_rank(columns[result.system][0], columns[first.system][0]) if statistic == "mean" else None
        for result in others
    ]
    tested = [index for index, test in enumerate(tests) if test is not None and test.p is not None]
    wilcoxon_corrected = dict(zip(tested, holm([tests[index].p for index in tested]), strict=True))  # type: ignore[union-attr,misc]
    for index, (result, interval, difference) in enumerate(zip(others, intervals[1:], differences, strict=True)):
        test = tests[index]
        rows[result.system] = ComparisonRow(
            system=result.system,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            difference=difference.difference,
            difference_low=difference.low,
            difference_high=difference.high,
            p=difference.p,
            p_holm=corrected[index],
            wilcoxon_p=None if test is None else test.p,
            wilcoxon_p_holm=wilcoxon_corrected.get(index),
            wilcoxon_note=no_unit_value if test is None else test.note,
            significant=corrected[index] < LEVEL,
        )
    return Comparison(
        data_set=first.data_set,
        task=first.task,
        metric=metric,
        statistic=statistic,
        units=len(first.unit_ids),
        baseline=first.system,
        resamples=resamples,
        seed=seed,
        rows=[rows[name] for name in names],
    )


def compare_runs(
    runs: Sequence[Sequence[Result]], *, metric: str | None = None, seed: int = 0, resamples: int = 10_000
) -> list[Comparison]:
    """Compare runs over every task and data set that all of them share; the first run is the baseline.

    Args:
        runs: The results of each run, one system a run. Where two runs carry the same system name, the later one is
            numbered.
        metric: A metric all results have; each data set's primary one by default.
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Returns:
        One comparison a shared task and data set, in the order of the first run.

    Raises:
        InputError: Fewer than 2 runs, nothing shared, or results that cannot be compared.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} run", where="compare", mend="give at least two")
    tables: list[dict[tuple[str, str], Result]] = []
    for number, run in enumerate(runs, start=1):
        table: dict[tuple[str, str], Result] = {}
        for result in run:
            key = (result.task, result.data_set)
            if key in table:
                raise InputError(
                    f"{result.task} on {result.data_set!r} stands twice",
                    where=f"run {number}",
                    mend="give one system a run",
                )
            taken = {earlier[key].system for earlier in tables if key in earlier}
            table[key] = result.renamed(f"{result.system} ({number})") if result.system in taken else result
        tables.append(table)
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    if not shared:
        raise InputError(
            "the runs share no task and data set", where="compare", mend="evaluate all systems on the same data"
        )
    return [compare([table[key] for table in tables], metric=metric, seed=seed, resamples=resamples) for key in shared]


def metric_label(metric: str) -> str:
    """Return a metric's name as people write it.

    Example:
        >>> metric_label("ndcg@10"), metric_label("v-measure")
        ('nDCG@10', 'V-measure')
    """
    short, separator, depth = metric.partition("@")
    written = {
        "ndcg": "nDCG",
        "recall": "recall",
        "mrr": "MRR",
        "map": "MAP",
        "precision": "precision",
        "hit": "hit rate",
        "spearman": "Spearman",
        "pearson": "Pearson",
        "accuracy": "accuracy",
        "v-measure": "V-measure",
    }
    return f"{written.get(short, short)}{separator}{depth}"


def format_p(p: float | None) -> str:
    """Return a p-value as people write it, a dash where there is none.

    Example:
        >>> format_p(0.0002), format_p(0.0312), format_p(None)
        ('<0.001', '0.031', '–')
    """
    if p is None:
        return "–"  # noqa: RUF001 - the dash of tables
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _check_same_data(results: Sequence[Result]) -> None:
    if len(results) < 2:
        raise InputError(f"{len(results)} result", where="compare", mend="give at least two systems")
    first = results[0]
    names: set[str] = set()
    for result in results:
        where = f"{result.system!r} against {first.system!r}"
        if result.system in names:
            raise InputError(
                f"two results carry the system name {result.system!r}", where="compare", mend="rename one of them"
            )
        names.add(result.system)
        if (result.task, result.data_set) != (first.task, first.data_set):
            raise InputError(
                f"{result.task} on {result.data_set!r} is not {first.task} on {first.data_set!r}",
                where=where,
                mend="compare results of the same task on the same data set",
            )
        here, there = set(result.unit_ids), set(first.unit_ids)
        for unit in first.unit_ids:
            if unit not in here:
                raise InputError(f"unit {unit!r} is missing in {result.system!r}", where=where, mend="run it again")
        for unit in result.unit_ids:
            if unit not in there:
                raise InputError(f"unit {unit!r} is missing in {first.system!r}", where=where, mend="run it again")
        if result.data_hash != first.data_hash:
            raise InputError(
                "the judged data differ (another SHA-256) though the units carry the same ids",
                where=where,
                mend="evaluate both on the same version of the data",
            )


def _aligned_columns(result: Result, first: Result, metric: str) -> list[list[float]]:
    """Return the columns of a metric in the unit order of the baseline."""
    columns = result.columns_of(metric)
    if result.unit_ids == first.unit_ids:
        return columns
    row_of = {unit: row for row, unit in enumerate(result.unit_ids)}
    order = [row_of[unit] for unit in first.unit_ids]
    return [[column[row] for row in order] for column in columns]
