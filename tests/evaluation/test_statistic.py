"""Statistics of counted units equal the library's statistic of copied units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.evaluation.statistic import Statistic, statistic_value

UNITS = 9
VALUES = st.lists(st.sampled_from([0.0, 0.1, 0.1000001, 0.5, 2.0, -3.0]), min_size=UNITS, max_size=UNITS)
GROUPS = st.lists(st.integers(0, 3), min_size=UNITS, max_size=UNITS)
COUNTS = st.lists(st.integers(0, 3), min_size=UNITS, max_size=UNITS).filter(lambda counts: sum(counts) >= 2)


def copied(values: list[float], counts: list[int]) -> np.ndarray:
    return np.repeat(np.asarray(values, float), counts)


@given(first=VALUES, second=VALUES, counts=st.lists(COUNTS, min_size=1, max_size=3))
def test_correlations_equal_scipy_on_copied_units(
    first: list[float], second: list[float], counts: list[list[int]]
) -> None:
    from scipy import stats

    weights = np.asarray(counts, float)
    pearson = statistic_value("pearson", [first, second], weights)
    spearman = statistic_value("spearman", [first, second], weights)
    mean = statistic_value("mean", [first], weights)
    for row, drawn in enumerate(counts):
        left, right = copied(first, drawn), copied(second, drawn)
        assert mean[row] == pytest.approx(left.mean(), abs=1e-12)
        if len(set(left)) < 2 or len(set(right)) < 2:
            assert pearson[row] == spearman[row] == 0
        else:
            assert spearman[row] == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-9)
            assert pearson[row] == pytest.approx(stats.pearsonr(left, right).statistic, abs=1e-7)


@given(labels=GROUPS, clusters=GROUPS, others=GROUPS, counts=st.lists(COUNTS, min_size=1, max_size=3))
def test_v_measure_equals_scikit_learn_on_copied_units(
    labels: list[int], clusters: list[int], others: list[int], counts: list[list[int]]
) -> None:
    from sklearn.metrics import v_measure_score

    found = statistic_value("v-measure", [labels, clusters, others], np.asarray(counts, float))
    for row, drawn in enumerate(counts):
        expected = [
            v_measure_score(np.repeat(labels, drawn), np.repeat(groups, drawn)) for groups in (clusters, others)
        ]
        assert found[row] == pytest.approx(np.mean(expected), abs=1e-9)


@pytest.mark.parametrize("statistic", ["mean", "pearson", "spearman", "v-measure"])
def test_without_counts_every_unit_counts_once(statistic: Statistic) -> None:
    columns = [[0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0, 2.0]]
    once = statistic_value(statistic, columns)
    assert once.tolist() == statistic_value(statistic, columns, np.ones((1, 4))).tolist()


def test_a_constant_large_column_correlates_with_nothing() -> None:
    assert statistic_value("pearson", [[0.1 + 1e6] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]]).tolist() == [0.0]
