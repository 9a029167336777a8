"""Comparisons: what is refused, what is paired, and what the tables say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rich.console import Console

from embedworks.evaluation.compare import compare, compare_runs
from embedworks.evaluation.families import compare_family
from embedworks.evaluation.result import Result
from embedworks.evaluation.significance import holm, paired_bootstrap, wilcoxon_signed_rank
from embedworks.foundation import InputError


def make(system: str, values, *, data_set: str = "d", ids=None, data_hash: str = "h") -> Result:
    values = [float(value) for value in values]
    return Result(
        system=system,
        data_set=data_set,
        task="retrieval",
        metrics={"ndcg@10": sum(values) / len(values)},
        primary="ndcg@10",
        unit_ids=ids or [f"q{row}" for row in range(len(values))],
        per_unit={"ndcg@10": values},
        data_hash=data_hash,
    )


@pytest.fixture
def three() -> list[Result]:
    generator = np.random.default_rng(0)
    base = generator.random(200)
    return [
        make("base", base),
        make("same", np.clip(base + generator.normal(0, 0.05, 200), 0, 1)),
        make("better", np.clip(base + generator.normal(0.1, 0.1, 200), 0, 1)),
    ]


def text_of(table) -> str:
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_every_figure_is_what_the_tests_alone_say(three: list[Result]) -> None:
    compared = compare(three, resamples=2000, seed=3)
    columns = [[result.per_unit["ndcg@10"]] for result in three]
    intervals, differences = paired_bootstrap("mean", columns, resamples=2000, seed=3)
    wilcoxons = [wilcoxon_signed_rank(column[0], columns[0][0]).p for column in columns[1:]]
    assert [row.system for row in compared.rows] == ["base", "same", "better"]
    for row, interval in zip(compared.rows, intervals, strict=True):
        assert (row.value, row.low, row.high) == (interval.value, interval.low, interval.high)
    for row, difference, p_holm, wilcoxon, wilcoxon_holm in zip(
        compared.rows[1:], differences, holm([d.p for d in differences]), wilcoxons, holm(wilcoxons), strict=True
    ):
        assert (row.difference, row.p, row.p_holm) == (difference.difference, difference.p, p_holm)
        assert (row.wilcoxon_p, row.wilcoxon_p_holm) == (wilcoxon, wilcoxon_holm)
        assert row.significant == (p_holm < 0.05)
    assert compared.row("better").significant
    assert compared.rows[0].difference is None
    json.dumps(compared.to_json(), allow_nan=False)


def test_another_baseline_turns_the_sign(three: list[Result]) -> None:
    there, back = compare(three[:2], resamples=200), compare(three[:2], baseline="same", resamples=200)
    assert back.baseline == "same"
    assert back.row("base").difference == -there.row("same").difference  # type: ignore[operator]
    assert back.row("base").difference_low == pytest.approx(-there.row("same").difference_high)  # type: ignore[operator]
    assert [row.system for row in back.rows] == ["base", "same"]


def test_units_are_paired_by_id_not_by_row() -> None:
    first, second = make("a", [0.1, 0.5, 0.9]), make("b", [1.0, 0.2, 0.6], ids=["q2", "q0", "q1"])
    row = compare([first, second], resamples=200).row("b")
    assert row.difference == pytest.approx(0.1)
    assert row.difference_low == pytest.approx(0.1)


def test_render_shows_points_and_stars(three: list[Result]) -> None:
    shown = text_of(compare(three, resamples=1000).render())
    assert "nDCG@10 over 200 units" in shown
    assert "*" in next(line for line in shown.splitlines() if "better" in line)
    assert "baseline" in next(line for line in shown.splitlines() if "base" in line and "│" in line and "%" not in line)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make("b", [0.1, 0.2], data_set="e"), "is not retrieval on 'd'"),
        (make("b", [0.1, 0.2], ids=["q0", "x"]), "unit 'q1' is missing in 'b'"),
        (make("b", [0.1, 0.2, 0.3]), "unit 'q2' is missing in 'a'"),
        (make("b", [0.1, 0.2], data_hash="i"), "another SHA-256"),
        (make("a", [0.1, 0.2]), "carry the system name 'a'"),
    ],
)
def test_what_does_not_compare_is_refused(other: Result, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare([make("a", [0.3, 0.4]), other])


def test_unknown_metric_baseline_and_a_single_result_are_refused(three: list[Result]) -> None:
    with pytest.raises(InputError, match="'speed'"):
        compare(three, metric="speed")
    with pytest.raises(InputError, match="no system 'x'"):
        compare(three, baseline="x")
    with pytest.raises(InputError, match="at least two"):
        compare(three[:1])
    with pytest.raises(InputError, match="no system 'x'"):
        compare(three, resamples=100).row("x")


def test_runs_are_compared_where_they_share_data_sets() -> None:
    first = [make("m", [0.1, 0.2], data_set=name) for name in ("x", "y", "z")]
    second = [make("m", [0.3, 0.1], data_set=name) for name in ("y", "x")]
    compared = compare_runs([first, second], resamples=100)
    assert [comparison.data_set for comparison in compared] == ["x", "y"]
    assert [row.system for row in compared[0].rows] == ["m", "m (2)"]
    with pytest.raises(InputError, match="share no task"):
        compare_runs([first, [make("n", [0.1, 0.2], data_set="w")]])
    with pytest.raises(InputError, match="stands twice"):
        compare_runs([first, [second[0], second[0]]])


def family(system: str, values) -> list[Result]:
    return [make(system, [value, value], data_set=f"set{row}") for row, value in enumerate(values)]


def test_family_pairs_data_sets() -> None:
    base = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    above = [value + 0.01 * (row + 1) for row, value in enumerate(base)]
    mixed = [value + 0.01 * (row + 1) * (-1) ** row for row, value in enumerate(base)]
    compared = compare_family([family("base", base), family("above", above), family("mixed", mixed)], family="toy")
    _, up, both = compared.rows
    assert (up.wins, up.losses, up.p) == (7, 0, 2 / 2**7)
    assert up.p_holm == pytest.approx(2 * 2 / 2**7)
    assert up.significant
    assert up.significant_holm
    assert (both.wins, both.losses, both.significant) == (4, 3, False)
    assert up.difference == pytest.approx(0.04)
    assert "7 of 7" in text_of(compared.render())
    json.dumps(compared.to_json(), allow_nan=False)


def test_family_of_five_never_has_a_star() -> None:
    compared = compare_family([family("base", [0.1] * 5), family("up", [0.2, 0.3, 0.4, 0.5, 0.6])], family="toy")
    row = compared.rows[1]
    assert (row.p, row.p_holm, row.significant) == (None, None, False)
    assert "only 5 pairs differ" in row.note


def test_family_refuses_a_missing_data_set_and_mixed_systems() -> None:
    base, other = family("base", [0.1, 0.2]), family("other", [0.1])
    with pytest.raises(InputError, match="'set1' is not in all runs"):
        compare_family([base, other], family="toy")
    with pytest.raises(InputError, match="holds 2 systems"):
        compare_family([base + other, base], family="toy")
    with pytest.raises(InputError, match="same system name"):
        compare_family([base, base], family="toy")
    with pytest.raises(InputError, match="no result"):
        compare_family([base, family("other", [0.1, 0.2])], family="toy", task="sts")
