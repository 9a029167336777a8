"""Systems over a family of data sets: a plain mean, and a Wilcoxon test that pairs the data sets' scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from embedworks.evaluation.compare import LEVEL, format_p, metric_label
from embedworks.evaluation.result import Result
from embedworks.evaluation.significance import holm, wilcoxon_signed_rank
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class FamilyRow:
    """One system over a family of data sets; fields about the difference are ``None`` for the baseline.

    Args:
        system: Name of the system.
        mean: Plain mean of the metric over the data sets, as a fraction.
        difference: Mean minus the baseline's.
        wins: Data sets on which the system is above the baseline.
        losses: Data sets on which it is below.
        p: Two-sided p of the Wilcoxon signed-rank test over data sets; ``None`` where it was refused.
        p_holm: The same, corrected over the systems tested.
        note: Why there is no p, else empty.
        significant: Whether ``p`` is below 0.05, as papers without a correction star it; ``False`` without a p.
        significant_holm: Whether ``p_holm`` is below 0.05.
    """

    system: str
    mean: float
    difference: float | None = None
    wins: int | None = None
    losses: int | None = None
    p: float | None = None
    p_holm: float | None = None
    note: str = ""
    significant: bool | None = None
    significant_holm: bool | None = None


@dataclass(frozen=True)
class FamilyComparison:
    """Systems compared with a baseline over a family of data sets.

    Args:
        family: Name of the family, such as ``"sts"``.
        metric: The metric compared.
        baseline: Name of the system the others are compared with.
        data_sets: Names of the data sets, in the order of the baseline.
        rows: One row a system, in the order given.
    """

    family: str
    metric: str
    baseline: str
    data_sets: list[str]
    rows: list[FamilyRow]

    def to_json(self) -> dict[str, Any]:
        """Return a document of JSON types."""
        return asdict(self)

    def render(self) -> Table:
        """Return a table for the terminal; means in points, a star where the uncorrected p is below 0.05."""
        from rich.table import Table

        table = Table(
            title=f"{self.family}: mean {metric_label(self.metric)} over {len(self.data_sets)} data sets",
            caption=f"differences to {self.baseline}; Wilcoxon signed-rank over data sets; * p below 0.05",
        )
        table.add_column("system")
        for header in ("points", "difference", "better on", "p", "p (Holm)"):
            table.add_column(header, justify="right", no_wrap=True)
        for row in self.rows:
            cells = [row.system, f"{100 * row.mean:.2f}"]
            if row.difference is None:
                cells += ["baseline", "", "", ""]
            else:
                star = "*" if row.significant else ""
                better = f"{row.wins} of {len(self.data_sets)}"
                cells += [f"{100 * row.difference:+.2f}{star}", better, format_p(row.p), format_p(row.p_holm)]
            table.add_row(*cells)
        return table


def compare_family(
    runs: Sequence[Sequence[Result]], *, family: str, metric: str | None = None, task: str | None = None
) -> FamilyComparison:
    """Compare systems over many data sets, as Tang and Yang 2024 (arXiv 2409.02727) do for a family of tasks.

    Args:
        runs: The results of each system over the same data sets; the first system is the baseline.
        family: Name of the family.
        metric: The metric; the primary one of the first result by default.
        task: Take only results of this task; all by default.

    Returns:
        Means, raw and Holm-corrected p. With fewer than 6 data sets that differ there is no p and no star.

    Raises:
        InputError: Fewer than 2 systems, a data set missing in one of them, or data that differ.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} system", where="compare_family", mend="give at least two")
    chosen = [[result for result in run if task is None or result.task == task] for run in runs]
    if not chosen[0]:
        raise InputError("the first system has no result", where=f"family {family!r}", mend="evaluate it first")
    names = [_one_system(run, family) for run in chosen]
    if len(set(names)) != len(names):
        raise InputError("two runs carry the same system name", where=f"family {family!r}", mend="rename one of them")
    metric = metric or chosen[0][0].primary
    tables: list[dict[tuple[str, str], Result]] = [
        {(result.task, result.data_set): result for result in run} for run in chosen
    ]
    for table, run, name in zip(tables, chosen, names, strict=True):
        if len(table) != len(run):
            raise InputError("a data set stands twice", where=f"family {family!r}, system {name!r}")
    values = [_values(table, tables[0], metric, name) for table, name in zip(tables, names, strict=True)]
    tests = [wilcoxon_signed_rank(column, values[0]) for column in values[1:]]
    tested = [index for index, test in enumerate(tests) if test.p is not None]
    corrected = dict(zip(tested, holm([test.p for test in tests if test.p is not None]), strict=True))
    means = [sum(column) / len(column) for column in values]
    rows = [FamilyRow(names[0], means[0])]
    for index, test in enumerate(tests):
        p_holm = corrected.get(index)
        pairs = list(zip(values[index + 1], values[0], strict=True))
        rows.append(
            FamilyRow(
                system=names[index + 1],
                mean=means[index + 1],
                difference=means[index + 1] - means[0],
                wins=sum(ours > theirs for ours, theirs in pairs),
                losses=sum(ours < theirs for ours, theirs in pairs),
                p=test.p,
                p_holm=p_holm,
                note=test.note,
                significant=test.p is not None and test.p < LEVEL,
                significant_holm=p_holm is not None and p_holm < LEVEL,
            )
        )
    return FamilyComparison(
        family=family, metric=metric, baseline=names[0], data_sets=[key[1] for key in tables[0]], rows=rows
    )


def _one_system(run: Sequence[Result], family: str) -> str:
    names = {result.system for result in run}
    if len(names) != 1:
        raise InputError(
            f"a run holds {len(names)} systems", where=f"family {family!r}", mend="give one list of results a system"
        )
    return names.pop()


def _values(
    table: dict[tuple[str, str], Result], baseline: dict[tuple[str, str], Result], metric: str, name: str
) -> list[float]:
    for key in (*baseline, *table):
        if key not in table or key not in baseline:
            raise InputError(
                f"{key[0]} on {key[1]!r} is not in all runs", where=f"system {name!r}", mend="evaluate it there too"
            )
    for key, result in baseline.items():
        if table[key].data_hash != result.data_hash:
            raise InputError(f"the judged data of {key[1]!r} differ", where=f"system {name!r}", mend="run it again")
        if metric not in table[key].metrics:
            raise InputError(f"{key[1]!r} has no {metric!r}", where=f"system {name!r}", mend="choose another metric")
    return [table[key].metrics[metric] for key in baseline]
