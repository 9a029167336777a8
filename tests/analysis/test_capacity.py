"""Behaviour: the answer for a person's judged data fits what is known of it."""

from __future__ import annotations

import json

import pytest

from embedworks.analysis.capacity import DENSE_STRENGTH, CapacityVerdict, dimensions_to_try, judge_capacity
from embedworks.analysis.critical_size import every_subset
from embedworks.foundation import InputError


def _all_pairs(documents: int) -> dict[str, dict[str, int]]:
    return {
        f"q{row}": {f"d{place}": 1 for place in matrix.nonzero()[0]}
        for row, matrix in enumerate(every_subset(documents, 2))
    }


def test_disjoint_sets_are_no_matter_of_dimension() -> None:
    relevance = {f"q{number}": {f"d{number}": 1, f"e{number}": 2, "other": 0} for number in range(40)}
    found = judge_capacity(relevance, dimension=64, documents=500)
    assert found.verdict is CapacityVerdict.UNLIKELY
    assert found.documents_looked_at == 41, "documents of one query share a vector, and so do all that none wants"
    assert found.bounds.upper == 2
    assert found.free_dimension is not None
    assert found.free_dimension <= 8
    assert str(found.free_dimension) in found.reason


def test_all_pairs_in_too_few_dimensions() -> None:
    found = judge_capacity(_all_pairs(20), dimension=4)
    assert found.verdict is CapacityVerdict.LIKELY
    assert found.free_dimension is None
    assert found.bounds.upper == 4, "in exact arithmetic four would do"
    assert found.upper_margin is not None
    assert 0 < found.upper_margin < found.margin, "but by less than the margin asked for"
    assert max(found.tried) == 4
    assert all(share < 1 for share in found.tried.values())


def test_dense_sets_are_possible_limits_though_free_vectors_fit() -> None:
    found = judge_capacity(_all_pairs(12), dimension=64, documents=1000)
    assert found.densities.average_query_strength > DENSE_STRENGTH
    assert found.verdict is CapacityVerdict.POSSIBLE
    assert found.free_dimension is not None
    assert 4 <= found.free_dimension <= 12
    assert found.tried[found.free_dimension] == 1.0


def test_many_queries_are_judged_by_the_strongest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedworks.analysis.capacity._CELLS", 300)
    dense = {f"dense {name}": grades for name, grades in _all_pairs(6).items()}
    loose = {f"loose {number}": {f"x{number}": 1} for number in range(200)}
    found = judge_capacity({**loose, **dense}, dimension=16)
    assert found.densities.queries == 215
    assert found.queries_looked_at <= 30
    assert found.queries_looked_at * found.documents_looked_at <= 300


def test_the_answer_is_json() -> None:
    document = judge_capacity({"q": {"a": 1, "b": 1}, "r": {"b": 1}}, dimension=10, documents=4).to_json()
    read = json.loads(json.dumps(document, allow_nan=False))
    assert read["densities"]["edges"] == 1
    assert read["published_densities"]["LIMIT"]["graph_density"] == 0.085481
    assert read["verdict"] == "unlikely"


def test_dimensions_ascend_to_the_one_asked_about() -> None:
    assert dimensions_to_try(384)[-3:] == [192, 256, 384]
    assert dimensions_to_try(2) == [2]
    assert dimensions_to_try(1) == [1]
    with pytest.raises(InputError, match="length of your vectors"):
        judge_capacity({"q": {"a": 1}}, dimension=0)
