"""Exactness: bounds never contradict each other or a solution; known matrices have known bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedworks.analysis.circle_embedding import circle_documents, circle_order, circle_query
from embedworks.analysis.critical_size import every_subset
from embedworks.analysis.ranking_margin import ranking_check
from embedworks.analysis.sign_rank import _fewest_dimensions, dimension_bounds
from embedworks.foundation import InputError


@given(arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 9))))
@settings(max_examples=200)
def test_lower_bounds_stay_below_upper_bounds(relevance: np.ndarray) -> None:
    bounds = dimension_bounds(relevance)
    assert bounds.lower <= bounds.upper
    assert 1 <= bounds.sign_rank_lower <= bounds.sign_rank_upper
    assert bounds.sign_rank_lower - 1 <= bounds.upper
    order, arcs = circle_order(relevance)
    placed = relevance[:, order]
    queries = np.stack([circle_query(np.flatnonzero(row).tolist(), documents=len(row), degree=arcs) for row in placed])
    documents = circle_documents(relevance.shape[1], degree=arcs)
    assert ranking_check(queries, documents, placed).solved, "what the upper bound promises is there"


def test_bounds_do_not_see_repetition() -> None:
    relevance = every_subset(7, 2)
    repeated = np.repeat(np.repeat(relevance, 3, axis=0), 2, axis=1)
    assert dimension_bounds(repeated) == dimension_bounds(relevance)


def test_a_hadamard_matrix_needs_many_dimensions() -> None:
    hadamard = np.array([[1]])
    for _ in range(6):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    bounds = dimension_bounds(hadamard > 0)
    assert bounds.sign_rank_lower >= 8, "Forster: the root of 64"
    assert bounds.lower >= 7


def test_all_subsets_of_points_need_as_many_dimensions_as_points() -> None:
    # 2^n sets of n points are shattered by halfspaces only from n - 1 dimensions on.
    every = np.array([[bool(number >> place & 1) for place in range(5)] for number in range(32)])
    bounds = dimension_bounds(every)
    assert (bounds.lower, bounds.upper) == (4, 4)


@pytest.mark.parametrize(("sets", "points", "expected"), [(1, 5, 0), (2, 5, 0), (3, 5, 1), (12, 5, 1), (13, 5, 2)])
def test_covers_count(sets: int, points: int, expected: int) -> None:
    assert _fewest_dimensions(sets, points) == expected


def test_a_matrix_that_ranks_nothing_needs_no_dimension() -> None:
    assert dimension_bounds(np.ones((3, 4), bool)).upper == 0
    assert dimension_bounds(np.array([[True, True], [False, False]])).upper == 0
    with pytest.raises(InputError, match="give"):
        dimension_bounds(np.zeros((0, 3), bool))
