"""Bootstrap, Wilcoxon and Holm against closed forms, hand-calculated examples and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.evaluation.significance import holm, paired_bootstrap, resample_counts, wilcoxon_signed_rank
from embedworks.evaluation.statistic import statistic_value
from embedworks.foundation import InputError


def test_resamples_draw_every_unit_equally_often() -> None:
    counts = np.concatenate(list(resample_counts(7, 20_000, seed=1)))
    assert counts.shape == (20_000, 7)
    assert (counts.sum(axis=1) == 7).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.03)
    # Multinomial: variance of one count is n * (1/n) * (1 - 1/n), covariance of two is -1/n.
    covariance = np.cov(counts.T)
    np.testing.assert_allclose(np.diag(covariance), 6 / 7, atol=0.04)
    np.testing.assert_allclose(covariance[~np.eye(7, dtype=bool)], -1 / 7, atol=0.03)


def test_resamples_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resample_counts(5, 300, seed=3)))
    monkeypatch.setattr("embedworks.evaluation.significance._CELLS_AT_ONCE", 35)
    np.testing.assert_array_equal(np.concatenate(list(resample_counts(5, 300, seed=3))), whole)


def test_interval_of_a_mean_equals_the_normal_limit() -> None:
    generator = np.random.default_rng(0)
    baseline = generator.normal(size=400)
    system = baseline + generator.normal(0.2, 0.5, size=400)
    intervals, (difference,) = paired_bootstrap("mean", [[baseline], [system]])
    error = (system - baseline).std() / np.sqrt(400)
    assert difference.difference == pytest.approx((system - baseline).mean())
    assert difference.low == pytest.approx(difference.difference - 1.96 * error, abs=0.1 * error)
    assert difference.high == pytest.approx(difference.difference + 1.96 * error, abs=0.1 * error)
    alone = baseline.std() / np.sqrt(400)
    assert intervals[0].high - intervals[0].low == pytest.approx(2 * 1.96 * alone, rel=0.05)


def test_equal_systems_have_p_one_and_an_empty_interval() -> None:
    values = np.random.default_rng(0).random(50)
    _, (difference,) = paired_bootstrap("mean", [[values], [values.copy()]])
    assert (difference.difference, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_smallest_p_is_set_by_the_resamples() -> None:
    _, (difference,) = paired_bootstrap("mean", [[[0.0] * 30], [[1.0] * 30]], resamples=999)
    assert difference.p == 2 / 1000


@pytest.mark.parametrize("statistic", ["mean", "spearman"])
def test_coverage_and_false_alarms_of_the_paired_bootstrap(statistic: str) -> None:
    """Both systems are equally good in the population: 95 % intervals hold zero, and 5 % of p are below 0.05.

    150 samples of 60 units; with coverage 0.95 the binomial 99.9 % range is 0.89 to 1.
    """
    generator = np.random.default_rng(5)
    covered, alarms, runs = 0, 0, 150
    for run in range(runs):
        gold = generator.normal(size=60)
        shared = gold + generator.normal(size=60)
        columns = [[shared + 0.5 * generator.normal(size=60), gold] for _ in range(2)]
        if statistic == "mean":
            columns = [column[:1] for column in columns]
        _, (difference,) = paired_bootstrap(statistic, columns, resamples=400, seed=run)  # type: ignore[arg-type]
        covered += difference.low <= 0 <= difference.high
        alarms += difference.p < 0.05
    assert covered / runs >= 0.89
    assert alarms / runs <= 0.11


def test_v_measure_intervals_are_centred_and_cover() -> None:
    """Plain percentiles lie too high; shifted ones hold the value, and cover nearly as often as they say.

    100 samples of 300 texts with 10 labels. The limits are narrow by about a sixth (see the page on units and the
    bootstrap), so at least 85 of 100 is asked for, not 95.
    """
    generator = np.random.default_rng(1)

    def sampled() -> list[list[np.ndarray]]:
        labels, hardness = generator.integers(10, size=300), generator.random(300)

        def clustered(noise: float) -> np.ndarray:
            lost = (hardness + generator.random(300)) / 2 < noise
            return np.where(lost, generator.integers(10, size=300), labels)

        return [[labels, clustered(0.4)], [labels, clustered(0.3)]]

    population = [[float(statistic_value("v-measure", columns)[0]) for columns in sampled()] for _ in range(600)]
    truth = float(np.mean([better - worse for worse, better in population]))
    covered, runs = 0, 100
    for run in range(runs):
        intervals, (difference,) = paired_bootstrap("v-measure", sampled(), resamples=200, seed=run)
        assert all(interval.low < interval.value < interval.high for interval in intervals)
        covered += difference.low <= truth <= difference.high
    assert covered / runs >= 0.85


def test_a_better_ranking_is_found() -> None:
    generator = np.random.default_rng(2)
    gold = generator.normal(size=300)
    weak, strong = gold + 2 * generator.normal(size=300), gold + 0.5 * generator.normal(size=300)
    _, (difference,) = paired_bootstrap("spearman", [[weak, gold], [strong, gold]], resamples=1000)
    assert difference.low > 0.2
    assert difference.p < 0.01


def test_v_measure_difference_is_found() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(5, size=400)
    noisy = np.where(generator.random(400) < 0.5, generator.integers(5, size=400), labels)
    cleaner = np.where(generator.random(400) < 0.2, generator.integers(5, size=400), labels)
    _, (difference,) = paired_bootstrap("v-measure", [[labels, noisy], [labels, cleaner]], resamples=500)
    assert difference.low > 0
    assert difference.high < 1


@pytest.mark.parametrize(
    ("systems", "resamples"), [([], 1000), ([[[1.0]]], 1000), ([[[1.0, 2.0]]], 10)], ids=["none", "one unit", "few"]
)
def test_bootstrap_refuses(systems: list, resamples: int) -> None:
    with pytest.raises(InputError):
        paired_bootstrap("mean", systems, resamples=resamples)


def exact_wilcoxon(differences: list[float]) -> float:
    """Enumerate all sign patterns: the share with a rank sum as far from its mean as the one seen."""
    kept = [value for value in differences if value != 0]
    sizes = sorted(abs(value) for value in kept)
    ranks = [sizes.index(abs(value)) + 1 for value in kept]
    middle = sum(ranks) / 2
    seen = abs(sum(rank for rank, value in zip(ranks, kept, strict=True) if value > 0) - middle)
    extreme = sum(
        abs(sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) - middle) >= seen - 1e-9
        for signs in itertools.product([0, 1], repeat=len(kept))
    )
    return extreme / 2 ** len(kept)


@given(
    sizes=st.lists(st.integers(1, 1000), min_size=6, max_size=10, unique=True),
    signs=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_wilcoxon_equals_enumeration(sizes: list[int], signs: list[bool]) -> None:
    differences = [size if sign else -size for size, sign in zip(sizes, signs, strict=False)]
    assert wilcoxon_signed_rank(differences, [0] * len(differences)).p == pytest.approx(exact_wilcoxon(differences))


def test_wilcoxon_leaves_zeros_out_and_refuses_few_pairs() -> None:
    six = wilcoxon_signed_rank([1, 2, 3, 4, 5, 6, 7, 7], [0, 0, 0, 0, 0, 0, 7, 7])
    assert six.pairs == 6
    assert six.p is not None
    assert six.p < 0.05
    five = wilcoxon_signed_rank([1, 2, 3, 4, 5, 7, 7], [0, 0, 0, 0, 0, 7, 7])
    assert five.p is None
    assert "only 5 pairs differ" in five.note
    assert wilcoxon_signed_rank([0.1 + 0.2], [0.3]).pairs == 0, "rounding dust is no difference"


def test_wilcoxon_with_tied_sizes_equals_scipy() -> None:
    from scipy.stats import wilcoxon

    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 4, size=80) / 4, generator.integers(0, 4, size=80) / 4
    expected = wilcoxon(first, second, zero_method="wilcox", alternative="two-sided").pvalue
    assert wilcoxon_signed_rank(first, second).p == pytest.approx(expected)


def test_wilcoxon_refuses_what_does_not_pair() -> None:
    with pytest.raises(InputError, match="differ"):
        wilcoxon_signed_rank([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="not finite"):
        wilcoxon_signed_rank([1.0, np.nan], [1.0, 2.0])


def test_holm_by_hand() -> None:
    # Sorted: .005, .01, .03, .04 times 4, 3, 2, 1 gives .02, .03, .06, .04; made ascending: .02, .03, .06, .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with pytest.raises(InputError):
        holm([1.2])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_stepwise_procedure_rejects(p_values: list[float], level: float) -> None:
    corrected = holm(p_values)
    rejected = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - step) > level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(corrected) if p <= level} == rejected
