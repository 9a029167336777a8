"""Q, the rank-sum test and the permutation test: against SciPy, against counting, and under a known truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from embedworks.analysis import (
    compare_corpora,
    depth_permutation_test,
    depth_rank_test,
    depths_paired,
    q_score,
    q_score_pooled,
    rank_sum,
)
from embedworks.analysis.depth import DISTANCES, Distance
from embedworks.foundation import InputError

_few = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=6)


def _cloud(rows: int, *, seed: int, spread: float = 1.0, centre: float = 1.0, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width)) * spread + centre


@given(_few, _few)
def test_q_counts_pairs_with_ties_half(reference: list[float], other: list[float]) -> None:
    counted = sum((a < b) + 0.5 * (a == b) for a in reference for b in other) / (len(reference) * len(other))
    assert q_score(reference, other) == pytest.approx(counted)
    assert q_score(reference, other) + q_score(other, reference) == pytest.approx(1.0)


@given(_few, _few)
def test_pooled_q_is_what_the_released_code_prints(reference: list[float], other: list[float]) -> None:
    pool = reference + other
    printed = np.mean([sum(value < b for value in pool) / len(pool) for b in other])
    assert q_score_pooled(reference, other) == pytest.approx(printed)


def test_pooled_q_is_shrunken_as_derived() -> None:
    generator = np.random.default_rng(0)
    reference, other = generator.random(300), generator.random(200) - 0.4
    q = q_score(reference, other)
    # without ties: (m Q + (n - 1) / 2) / (m + n)
    assert q_score_pooled(reference, other) == pytest.approx((300 * q + 199 / 2) / 500)
    assert q < q_score_pooled(reference, other) < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_statistic_and_p_are_those_of_scipy(seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference = np.round(generator.standard_normal(80), 1)  # with ties
    other = np.round(generator.standard_normal(70) - 0.2 * seed, 1)
    found = rank_sum(reference, other)
    one_sided = stats.ranksums(reference, other, alternative="greater")
    assert found.w == pytest.approx(one_sided.statistic)
    assert found.p_one_sided == pytest.approx(one_sided.pvalue)
    assert found.p_two_sided == pytest.approx(stats.ranksums(reference, other).pvalue)
    assert found.exact_p_one_sided is None


@given(_few, _few)
def test_exact_p_counts_every_way_to_deal_the_mid_ranks(reference: list[float], other: list[float]) -> None:
    ranks = stats.rankdata(reference + other)
    observed = ranks[: len(reference)].sum()
    sums = [sum(chosen) for chosen in combinations(ranks, len(reference))]
    high, low = np.mean(np.array(sums) >= observed - 1e-9), np.mean(np.array(sums) <= observed + 1e-9)
    found = rank_sum(reference, other)
    assert found.exact_p_one_sided == pytest.approx(high)
    assert found.exact_p_two_sided == pytest.approx(min(1.0, 2 * min(high, low)))


@pytest.mark.parametrize(("m", "n"), [(1, 1), (50, 50), (60, 40), (97, 3)])
def test_exact_p_equals_scipy_without_ties(m: int, n: int) -> None:
    values = np.random.default_rng(m).standard_normal(m + n)
    found = rank_sum(values[:m], values[m:])
    for side, p in (("greater", found.exact_p_one_sided), ("two-sided", found.exact_p_two_sided)):
        assert p == pytest.approx(stats.mannwhitneyu(values[:m], values[m:], alternative=side, method="exact").pvalue)


def test_all_depths_equal() -> None:
    found = rank_sum([1.0] * 5, [1.0] * 7)
    assert (found.w, found.p_one_sided, found.p_two_sided) == (0.0, 0.5, 1.0)
    assert (found.exact_p_one_sided, found.exact_p_two_sided) == (pytest.approx(1.0), pytest.approx(1.0))
    assert q_score([1.0], [1.0]) == 0.5


@pytest.mark.parametrize("wrong", [[], [[1.0]], [np.nan], [np.inf]])
def test_what_is_no_set_of_depths_is_refused(wrong: list) -> None:
    for call in (q_score, q_score_pooled, rank_sum):
        with pytest.raises(InputError):
            call(wrong, [1.0])
        with pytest.raises(InputError):
            call([1.0], wrong)


def test_an_outlying_corpus_is_found_and_both_directions_differ() -> None:
    tight, wide = _cloud(200, seed=1, spread=0.5), _cloud(200, seed=2, spread=1.5)
    found = compare_corpora(tight, wide)
    outlying, concentrated = found.second_in_first, found.first_in_second
    assert outlying.q < 0.1
    assert outlying.rank_sum.p_one_sided < 1e-20
    # seen from the wide corpus the tight one sits at the centre: only the two-sided p speaks
    assert concentrated.q > 0.9
    assert concentrated.rank_sum.p_one_sided > 0.999
    assert concentrated.rank_sum.p_two_sided < 1e-20
    assert len(outlying.reference_depths) == len(outlying.other_depths) == 200
    assert outlying.q < outlying.q_pooled < 0.5


def test_a_difference_across_the_mean_alone_is_not_seen() -> None:
    """The blind spot: depth sees only the component along the mean."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((800, 2))
    along, first, second = np.ones((400, 1)) * 3, np.zeros((400, 1)), np.zeros((400, 1))
    reference = np.hstack([along, noise[:400, :1], first, noise[:400, 1:] * 0])
    other = np.hstack([along, second, noise[400:, :1], noise[400:, 1:] * 0])
    test = depth_rank_test(reference, other)
    assert abs(test.q - 0.5) < 0.06
    assert test.rank_sum.p_two_sided > 0.01


def _direct_permutation(reference: np.ndarray, other: np.ndarray, distance, seed: int, count: int) -> list[float]:
    from embedworks.foundation.randomness import random_generator

    pool, m = np.concatenate([reference, other]), len(reference)
    generator = random_generator(seed, "depth permutations")
    dealt = []
    for _ in range(count):
        chosen = np.zeros(len(pool), bool)
        chosen[generator.permutation(len(pool))[:m]] = True
        dealt.append(q_score(*depths_paired(pool[chosen], pool[~chosen], distance=distance)))
    return dealt


@pytest.mark.parametrize(
    "distance",
    ["cosine", "chord", Distance("own", 2.5, lambda a, b: 0.5 + DISTANCES["chord"].between(a, b))],
    ids=["cosine", "chord", "own"],
)
def test_the_permutation_test_computes_every_depth_again(distance) -> None:
    reference, other = _cloud(12, seed=1), _cloud(9, seed=2, spread=1.5)
    found = depth_permutation_test(reference, other, distance=distance, permutations=99, seed=3)
    dealt = np.array(_direct_permutation(reference, other, distance, 3, 99))
    low, high = (1 + (dealt <= found.q + 1e-12).sum()) / 100, (1 + (dealt >= found.q - 1e-12).sum()) / 100
    assert found.q == pytest.approx(depth_rank_test(reference, other, distance=distance).q)
    assert found.p_one_sided == pytest.approx(low)
    assert found.p_two_sided == pytest.approx(min(1.0, 2 * min(low, high)))


@pytest.mark.filterwarnings("ignore::embedworks.analysis.DuplicateRowsWarning")  # the few directions repeat
@pytest.mark.parametrize("distance", ["cosine", "chord", "angular"])
def test_the_permutation_test_ties_what_is_equal(distance) -> None:
    # vectors of few directions, equal and opposite ones among them, so that nearly every pair of depths may tie
    generator = np.random.default_rng(4)
    for seed in range(3):
        pool = generator.integers(-1, 2, (8, 2)).astype(float)
        pool[(pool == 0).all(axis=1)] = 1.0
        found = depth_permutation_test(pool[:4], pool[4:], distance=distance, permutations=4000, seed=seed)
        every = []
        for rows in combinations(range(8), 4):
            rest = [row for row in range(8) if row not in rows]
            every.append(q_score(*depths_paired(pool[list(rows)], pool[rest], distance=distance)))
        assert found.q == every[0], "the first choice is the corpora as they are"
        assert found.p_one_sided == pytest.approx(np.mean(np.array(every) <= found.q + 1e-12), abs=0.03)


@pytest.mark.parametrize("distance", ["cosine", "chord", "angular"])
def test_rows_that_are_all_equally_far_apart_tie_however_they_are_dealt(distance) -> None:
    corners = np.eye(9) - 0.03
    found = depth_permutation_test(corners[:4], corners[4:], distance=distance, permutations=99)
    assert (found.q, found.p_one_sided, found.p_two_sided) == (0.5, 1.0, 1.0)


def test_the_permutation_test_keeps_its_level_and_finds_a_difference() -> None:
    ps = [
        depth_permutation_test(_cloud(25, seed=seed), _cloud(25, seed=1000 + seed), permutations=99).p_one_sided
        for seed in range(200)
    ]
    # 200 p-values that are uniform: between 1 and 21 below 0.05 but for a chance of 1 in 1,000
    assert 1 <= sum(p <= 0.05 for p in ps) <= 21
    wide = depth_permutation_test(_cloud(40, seed=1), _cloud(40, seed=2, spread=3.0))
    assert wide.p_one_sided == wide.p_two_sided / 2 == 0.001


def test_the_permutation_test_refuses_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from embedworks.analysis import depth_comparison

    with pytest.raises(InputError, match="at least 19"):
        depth_permutation_test(_cloud(5, seed=1), _cloud(5, seed=2), permutations=5)
    monkeypatch.setattr(depth_comparison, "MOST_ROWS_ALL_PAIRS", 9)
    with pytest.raises(InputError, match="at most 9 rows"):
        depth_permutation_test(_cloud(5, seed=1), _cloud(5, seed=2), distance="chord")
    assert depth_permutation_test(_cloud(5, seed=1), _cloud(5, seed=2)).permutations == 999


def test_the_rank_sum_keeps_its_level_under_a_true_null() -> None:
    rejected = [depth_rank_test(_cloud(60, seed=s), _cloud(60, seed=5000 + s)).rank_sum.p_one_sided < 0.05
                for s in range(400)]  # fmt: skip
    assert 0.02 <= np.mean(rejected) <= 0.08
