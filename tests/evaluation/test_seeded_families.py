"""Family tables over seeds against plain loops, and the cases where a test must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from embedworks.evaluation.result import Result, hash_of
from embedworks.evaluation.seeded_families import SeededRow, compare_seeded
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator


def result(system: str, data_set: str, values: list[float], *, task: str = "retrieval") -> Result:
    return Result(
        system=system,
        data_set=data_set,
        task=task,  # type: ignore[arg-type]
        metrics={"ndcg@10": float(np.mean(values))},
        primary="ndcg@10",
        unit_ids=[str(place) for place in range(len(values))],
        per_unit={"ndcg@10": values},
        data_hash=hash_of([data_set]),
    )


def runs(gains: dict[str, float], *, data_sets: int, seeds: int, units: int = 20) -> dict[str, list[list[Result]]]:
    generator = random_generator(7, "runs", data_sets, seeds)
    base = generator.uniform(0.2, 0.6, size=(data_sets, units))
    noise = {name: generator.normal(0, 0.01, size=(seeds, data_sets, units)) for name in gains}
    return {
        name: [
            [result(name, f"set {d}", (base[d] + gain + noise[name][s, d]).tolist()) for d in range(data_sets)]
            for s in range(seeds)
        ]
        for name, gain in gains.items()
    }


def of(rows: list[SeededRow], system: str) -> SeededRow:
    return next(row for row in rows if row.system == system)


def test_means_spreads_and_p_equal_plain_loops() -> None:
    table = runs({"base": 0.0, "better": 0.1, "same": 0.0}, data_sets=8, seeds=3)
    rows = compare_seeded(table, baseline="base", task="retrieval")
    values = {name: [[r.value for r in run] for run in seeds] for name, seeds in table.items()}
    for name in table:
        per_seed = [sum(run) / len(run) for run in values[name]]
        assert of(rows, name).mean == pytest.approx(sum(per_seed) / 3)
        assert of(rows, name).sd == pytest.approx(np.std(per_seed, ddof=1))
    raw = {}
    for name in ("better", "same"):
        differences = [np.mean(values[name][s]) - np.mean(values["base"][s]) for s in range(3)]
        assert of(rows, name).difference == pytest.approx(np.mean(differences))
        assert of(rows, name).difference_sd == pytest.approx(np.std(differences, ddof=1))
        raw[name] = wilcoxon(np.mean(values[name], axis=0), np.mean(values["base"], axis=0)).pvalue
        assert of(rows, name).wilcoxon_p == pytest.approx(raw[name])
        assert of(rows, name).star == (raw[name] < 0.05)
        assert of(rows, name).interval_over == "data sets"
    lower, higher = sorted(raw, key=raw.__getitem__)
    assert of(rows, lower).wilcoxon_p_holm == pytest.approx(min(1, 2 * raw[lower]))
    assert of(rows, higher).wilcoxon_p_holm == pytest.approx(max(raw[higher], min(1, 2 * raw[lower])))


def test_the_interval_over_data_sets_covers_a_true_gain() -> None:
    better = of(compare_seeded(runs({"base": 0.0, "better": 0.1}, data_sets=8, seeds=2), baseline="base",
                               task="retrieval"), "better")  # fmt: skip
    assert better.low is not None
    assert better.high is not None
    assert 0.09 < better.low < 0.1 < better.high < 0.11
    assert better.bootstrap_p is not None
    assert better.bootstrap_p < 0.01


def test_an_interval_holds_the_spread_over_seeds() -> None:
    table = runs({"base": 0.0, "wild": 0.0}, data_sets=8, seeds=3)
    shifted = [
        [result("wild", r.data_set, [v + shift for v in r.per_unit["ndcg@10"]]) for r in run]
        for run, shift in zip(table["wild"], (-0.2, 0.0, 0.2), strict=True)
    ]
    wild = of(compare_seeded({**table, "wild": shifted}, baseline="base", task="retrieval"), "wild")
    assert wild.low is not None
    assert wild.high is not None
    assert wild.low < -0.15
    assert wild.high > 0.15


def test_with_fewer_than_six_data_sets_there_is_no_star_and_units_are_resampled() -> None:
    table = runs({"base": 0.0, "better": 0.1}, data_sets=2, seeds=3)
    better = of(compare_seeded(table, baseline="base", task="retrieval"), "better")
    assert better.star is None
    assert better.wilcoxon_p is None
    assert better.wilcoxon_p_holm is None
    assert "fewer than 6" in better.note
    assert better.interval_over == "units"
    assert better.low is not None
    assert 0.08 < better.low < 0.1


def test_the_interval_over_units_is_that_of_a_slow_loop() -> None:
    table = runs({"base": 0.0, "other": 0.02}, data_sets=1, seeds=2, units=15)
    row = of(compare_seeded(table, baseline="base", task="retrieval", resamples=2_000), "other")
    difference = np.array(
        [
            np.subtract(table["other"][s][0].per_unit["ndcg@10"], table["base"][s][0].per_unit["ndcg@10"])
            for s in range(2)
        ]
    )
    generator = np.random.default_rng(0)
    means = []
    for _ in range(20_000):
        seeds, units = generator.integers(2, size=2), generator.integers(15, size=15)
        means.append(float(np.mean([difference[s][units] for s in seeds])))
    low, high = np.percentile(means, [2.5, 97.5])
    assert row.low == pytest.approx(low, abs=2e-3)
    assert row.high == pytest.approx(high, abs=2e-3)


def test_equal_systems_differ_by_nothing() -> None:
    table = runs({"base": 0.0}, data_sets=7, seeds=2)
    table["twin"] = [[r.renamed("twin") for r in run] for run in table["base"]]
    twin = of(compare_seeded(table, baseline="base", task="retrieval"), "twin")
    assert twin.difference == pytest.approx(0.0)
    assert twin.bootstrap_p == 1.0
    assert twin.star is None
    assert twin.wilcoxon_p is None


def test_one_seed_has_no_spread_and_a_baseline_alone_is_one_row() -> None:
    (row,) = compare_seeded(runs({"base": 0.0}, data_sets=2, seeds=1), baseline="base", task="retrieval")
    assert row.sd is None
    assert row.difference is None


def test_runs_that_do_not_fit_together_are_refused() -> None:
    table = runs({"base": 0.0, "other": 0.0}, data_sets=2, seeds=2)
    with pytest.raises(InputError, match="no system 'x'"):
        compare_seeded(table, baseline="x", task="retrieval")
    with pytest.raises(InputError, match="1 seeds"):
        compare_seeded({**table, "other": table["other"][:1]}, baseline="base", task="retrieval")
    with pytest.raises(InputError, match="missing"):
        compare_seeded({**table, "other": [run[:1] for run in table["other"]]}, baseline="base", task="retrieval")
    with pytest.raises(InputError, match="no result of task 'sts'"):
        compare_seeded(table, baseline="base", task="sts")
    with pytest.raises(InputError, match="twice"):
        compare_seeded({"base": [[*table["base"][0], table["base"][0][0]]]}, baseline="base", task="retrieval")
