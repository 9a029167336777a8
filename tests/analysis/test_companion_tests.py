"""The companions see what depth cannot, keep their level, and equal a computation with loops."""

from __future__ import annotations

import numpy as np
import pytest

from embedworks.analysis import classifier_test, depth_rank_test, divergence_frontier, energy_test, mmd_test
from embedworks.foundation import InputError


def _cloud(rows: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    cloud = np.random.default_rng(seed).standard_normal((rows, 6))
    cloud[:, 0] += 4
    cloud[:, 1] += shift * np.where(np.arange(rows) % 2, 1, -1)
    return cloud


def _sideways(rows: int, *, seed: int, side: int) -> np.ndarray:
    """A cloud off the common axis to one side: both sides lie equally far from the pooled mean."""
    return np.random.default_rng(seed).standard_normal((rows, 6)) * 0.3 + [4, side, 0, 0, 0, 0]


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_energy_distance_is_that_of_the_definition() -> None:
    x, y = _unit(_cloud(7, seed=1)), _unit(_cloud(5, seed=2, shift=2))
    between = np.mean([np.linalg.norm(a - b) for a in x for b in y])
    within = [np.mean([np.linalg.norm(a - b) for a in z for b in z]) for z in (x, y)]
    assert energy_test(x * 3, y, permutations=19).statistic == pytest.approx(2 * between - sum(within), abs=1e-12)


def test_mmd_is_that_of_the_definition() -> None:
    x, y = _unit(_cloud(7, seed=1)), _unit(_cloud(6, seed=2, shift=2))
    pool = np.concatenate([x, y])
    median = np.median([((pool[i] - pool[j]) ** 2).sum() for i in range(13) for j in range(i)])

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * median)))

    means = [np.mean([kernel(a, b) for a in left for b in right]) for left, right in ((x, x), (y, y), (x, y))]
    assert mmd_test(x, y, permutations=19).statistic == pytest.approx(means[0] + means[1] - 2 * means[2], abs=1e-12)


@pytest.mark.parametrize("test", [energy_test, mmd_test, classifier_test])
def test_the_level_is_kept_under_a_true_null(test) -> None:
    options = {} if test is classifier_test else {"permutations": 99}
    ps = [test(_cloud(30, seed=seed), _cloud(30, seed=900 + seed), **options).p for seed in range(100)]
    assert sum(p <= 0.05 for p in ps) <= 12  # 100 uniform values: more than 12 once in 700


def test_they_see_a_shift_across_the_mean_that_depth_does_not() -> None:
    pool = np.concatenate([_sideways(150, seed=1, side=1), _sideways(150, seed=2, side=-1)])
    other = np.concatenate([_sideways(290, seed=3, side=1), _sideways(10, seed=4, side=-1)])
    assert depth_rank_test(pool, other).rank_sum.p_two_sided > 1e-4
    for test in (energy_test, mmd_test, classifier_test):
        assert test(pool, other).p < 0.01


def test_the_classifier_scores_the_held_out_halves_alone() -> None:
    # more columns than rows: fitted rows are told apart perfectly, and only held-out rows show that nothing is there
    generator = np.random.default_rng(0)
    aucs = [
        classifier_test(generator.standard_normal((20, 300)), generator.standard_normal((20, 300)), seed=s).statistic
        for s in range(20)
    ]
    assert 0.4 < np.mean(aucs) < 0.6
    assert classifier_test(_sideways(20, seed=1, side=1), _sideways(20, seed=2, side=-1)).statistic == 1.0


def test_the_frontier_falls_as_corpora_part() -> None:
    near = divergence_frontier(_cloud(200, seed=1), _cloud(200, seed=2))
    far = divergence_frontier(_sideways(200, seed=1, side=1), _sideways(200, seed=2, side=-1))
    assert 0.85 < near <= 1
    assert 0 <= far < 0.2
    assert divergence_frontier(_cloud(50, seed=1), _cloud(50, seed=1)) == pytest.approx(1.0)


@pytest.mark.parametrize("test", [energy_test, mmd_test, classifier_test, divergence_frontier])
def test_bad_input_is_refused(test) -> None:
    with pytest.raises(InputError, match="same model"):
        test(np.eye(5, 6) + 1, np.eye(5, 7) + 1)
    with pytest.raises(InputError, match="has 1 rows"):
        test(np.ones((1, 6)), np.eye(5, 6) + 1)


def test_too_few_permutations_and_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from embedworks.analysis import companion_tests

    with pytest.raises(InputError, match="at least 19"):
        energy_test(_cloud(5, seed=1), _cloud(5, seed=2), permutations=3)
    monkeypatch.setattr(companion_tests, "MOST_ROWS", 9)
    with pytest.raises(InputError, match="at most 9"):
        mmd_test(_cloud(5, seed=1), _cloud(5, seed=2))


def test_equal_rows_throughout() -> None:
    rows = np.ones((6, 3))
    for test in (energy_test, mmd_test):
        assert test(rows, rows, permutations=19).p == 1.0
