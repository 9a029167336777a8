"""Exactness: densities against plain loops over pairs of queries, and the published values of LIMIT."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.analysis.relevance_graph import RelevanceMatrix, relevance_densities
from embedworks.data import load_data_set
from embedworks.foundation import InputError

RELEVANCE = st.dictionaries(
    st.sampled_from([f"q{number}" for number in range(9)]),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 2), max_size=6),
    min_size=1,
).filter(lambda relevance: any(grade for grades in relevance.values() for grade in grades.values()))


def _brute_force(relevance: dict[str, dict[str, int]]) -> tuple[int, float, float]:
    sets = [{name for name, grade in grades.items() if grade > 0} for grades in relevance.values()]
    sets = [chosen for chosen in sets if chosen]
    edges, strengths = 0, [0.0] * len(sets)
    for (i, first), (j, second) in itertools.combinations(enumerate(sets), 2):
        shared = len(first & second)
        edges += shared > 0
        strengths[i] += shared / len(first | second)
        strengths[j] += shared / len(first | second)
    pairs = len(sets) * (len(sets) - 1) / 2
    return edges, edges / pairs if pairs else 0.0, sum(strengths) / len(strengths)


@given(RELEVANCE)
def test_densities_equal_plain_loops(relevance: dict[str, dict[str, int]]) -> None:
    found = relevance_densities(RelevanceMatrix(relevance))
    edges, density, strength = _brute_force(relevance)
    assert found.edges == edges
    assert found.graph_density == pytest.approx(density, abs=1e-12)
    assert found.average_query_strength == pytest.approx(strength, abs=1e-12)


@given(RELEVANCE, st.integers(0, 3))
def test_the_distinct_matrix_keeps_every_different_row_and_column(
    relevance: dict[str, dict[str, int]], unwanted: int
) -> None:
    whole = RelevanceMatrix(relevance, documents=8 + unwanted)
    distinct = whole.distinct()
    assert len(np.unique(distinct, axis=0)) == len(distinct)
    assert len(np.unique(distinct, axis=1).T) == distinct.shape[1]
    full = np.concatenate([whole.dense(), np.zeros((len(whole.query_ids), 1), bool)], axis=1)
    if whole.documents == len(whole.document_ids):
        full = full[:, :-1]
    assert len(np.unique(full, axis=0)) == len(distinct)
    assert len(np.unique(full, axis=1).T) == distinct.shape[1]


@pytest.mark.parametrize("name", ["limit-small", pytest.param("limit", marks=pytest.mark.slow)])
def test_the_published_densities_of_limit(data_folder: Path, name: str) -> None:
    judged = load_data_set(name)["test"]
    found = relevance_densities(RelevanceMatrix(judged.relevance, documents=len(judged.corpus)))
    assert round(found.graph_density, 6) == 0.085481
    assert round(found.average_query_strength, 4) == 28.4653
    assert found.relevant_documents == 46
    assert json.loads(json.dumps(found.to_json()))["queries"] == 1000


def test_more_queries_than_are_held_at_once() -> None:
    relevance = {f"q{number}": {f"d{number % 7}": 1, f"d{number % 11}": 1} for number in range(1200)}
    found = relevance_densities(RelevanceMatrix(relevance))
    edges, density, strength = _brute_force(relevance)
    assert (found.edges, found.graph_density) == (edges, pytest.approx(density))
    assert found.average_query_strength == pytest.approx(strength)


def test_one_query_has_no_pair() -> None:
    found = relevance_densities(RelevanceMatrix({"q": {"a": 1}}))
    assert (found.edges, found.graph_density, found.average_query_strength) == (0, 0.0, 0.0)


def test_what_says_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no query has a relevant document"):
        RelevanceMatrix({"q": {"a": 0}})
    with pytest.raises(InputError, match="count the whole corpus"):
        RelevanceMatrix({"q": {"a": 1, "b": 1}}, documents=1)
