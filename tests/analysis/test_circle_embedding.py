"""Exactness: the construction ranks every set on top, whatever the set; its margins are those derived for pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from embedworks.analysis.circle_embedding import arcs_of, circle_documents, circle_order, circle_query
from embedworks.analysis.critical_size import every_subset
from embedworks.analysis.ranking_margin import ranking_check
from embedworks.foundation import InputError


def _queries(relevance: np.ndarray, degree: int) -> np.ndarray:
    return np.stack(
        [circle_query(np.flatnonzero(row).tolist(), documents=len(row), degree=degree) for row in relevance]
    )


@pytest.mark.parametrize(("documents", "relevant"), [(3, 1), (40, 1), (4, 2), (46, 2), (12, 3), (10, 4)])
def test_every_subset_is_ranked_on_top_in_twice_as_many_dimensions(documents: int, relevant: int) -> None:
    relevance = every_subset(documents, relevant)
    vectors = circle_documents(documents, degree=relevant)
    assert vectors.shape == (documents, 2 * relevant)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    check = ranking_check(_queries(relevance, relevant), vectors, relevance)
    assert check.solved
    assert check.accuracy == check.queries_right == 1.0


@pytest.mark.parametrize(("documents", "margin"), [(46, 3.0e-5), (200, 8.4e-8)])
def test_the_margins_of_all_pairs(documents: int, margin: float) -> None:
    relevance = every_subset(documents, 2)
    vectors, queries = circle_documents(documents, degree=2), _queries(relevance, 2)
    assert ranking_check(queries, vectors, relevance).margin == pytest.approx(margin, rel=0.01)
    single = ranking_check(queries.astype(np.float32), vectors.astype(np.float32), relevance)
    assert single.solved == (documents == 46), "float32 cannot hold the margin of two hundred documents"
    half = ranking_check(
        queries.astype(np.float16).astype(np.float32), vectors.astype(np.float16).astype(np.float32), relevance
    )
    assert not half.solved


def test_a_thousand_documents_in_float64() -> None:
    generator = np.random.default_rng(0)
    pairs = [generator.choice(1000, 2, replace=False) for _ in range(3000)] + [[0, 500], [0, 1], [0, 2]]
    relevance = np.zeros((len(pairs), 1000), bool)
    relevance[np.arange(len(pairs))[:, None], np.asarray(pairs)] = True
    assert ranking_check(_queries(relevance, 2), circle_documents(1000, degree=2), relevance).solved


@given(st.integers(2, 40), st.data())
@settings(max_examples=150)
def test_random_patterns(documents: int, data: st.DataObject) -> None:
    members = data.draw(st.sets(st.integers(0, documents - 1), min_size=1, max_size=min(5, documents - 1)))
    arcs = arcs_of(sorted(members), documents)
    assert sorted(place % documents for first, length in arcs for place in range(first, first + length)) == sorted(
        members
    )
    # With four arcs and more, the margin of some sets falls below what float64 can tell.
    assume(len(arcs) <= 3)
    relevance = np.zeros((1, documents), bool)
    relevance[0, sorted(members)] = True
    check = ranking_check(_queries(relevance, len(arcs)), circle_documents(documents, degree=len(arcs)), relevance)
    assert check.solved
    assert check.margin > 0


def test_the_closed_form_for_pairs() -> None:
    for first, second in itertools.combinations(range(11), 2):
        a, b = 2 * np.pi * first / 11, 2 * np.pi * second / 11
        expected = np.array([np.cos(a) + np.cos(b), np.sin(a) + np.sin(b), -np.cos(a + b) / 2, -np.sin(a + b) / 2])
        found = circle_query([first, second], documents=11, degree=2)
        if len(arcs_of([first, second], 11)) == 2:
            assert np.allclose(found, expected / np.linalg.norm(expected), atol=1e-12)


def test_scores_are_minus_the_polynomial() -> None:
    members, documents = [1, 5, 8], 13
    angles = 2 * np.pi * np.arange(documents) / documents
    polynomial = np.prod([1 - np.cos(angles - angles[place]) for place in members], axis=0)
    scores = circle_documents(documents, degree=3) @ circle_query(members, documents=documents, degree=3)
    slope, level = np.polyfit(polynomial, scores, 1)
    assert slope < 0
    assert np.allclose(scores, slope * polynomial + level, atol=1e-12)


def test_a_cycle_needs_one_arc_in_any_order() -> None:
    documents = 30
    relevance = np.zeros((documents, documents), bool)
    for row in range(documents):
        relevance[row, [row, (row + 1) % documents, (row + 2) % documents]] = True
    assert circle_order(relevance)[1] == 1
    shuffled = np.repeat(np.eye(12, dtype=bool), 3, axis=1)[:, np.random.default_rng(1).permutation(36)]
    order, arcs = circle_order(shuffled)
    assert arcs == 1
    assert sorted(order.tolist()) == list(range(36))
    placed = shuffled[:, order]
    assert ranking_check(_queries(placed, 1), circle_documents(36, degree=1), placed).solved


def test_the_empty_set_and_the_whole_have_a_query() -> None:
    for members in ([], list(range(5))):
        assert np.linalg.norm(circle_query(members, documents=5, degree=2)) == pytest.approx(1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="raise the degree"):
        circle_query([0, 2, 4], documents=9, degree=2)
    with pytest.raises(InputError, match="not on the circle"):
        circle_query([9], documents=9, degree=2)
    with pytest.raises(InputError, match="at least 1"):
        circle_documents(0, degree=1)


def test_ties_across_the_cut_are_failures() -> None:
    relevance = np.array([[True, False, False]])
    check = ranking_check(np.array([[1.0]]), np.array([[1.0], [1.0], [0.0]]), relevance)
    assert (check.accuracy, check.queries_right, check.margin, check.solved) == (0.0, 0.0, 0.0, False)
    with pytest.raises(InputError, match="do not fit"):
        ranking_check(np.eye(2), np.eye(3), np.eye(2, dtype=bool))
    everything = ranking_check(np.eye(1), np.eye(1), np.ones((1, 1), bool))
    assert everything.margin == np.inf
