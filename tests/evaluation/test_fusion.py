"""Fusion against loops, its limits, and the choice of the weight."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.evaluation.fusion import FUSION_METHODS, FusionMethod, choose_fusion_weight, fuse
from embedworks.evaluation.retrieval_metrics import rank_documents, score_run
from embedworks.foundation import InputError

SCORES = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([-1.0, 0.0, 0.5, 2.0]), max_size=6)


def naive(scores: dict[str, float], document: str, method: str) -> float:
    if not scores:
        return 0.0
    if method == "reciprocal-rank":
        order = rank_documents(scores)
        return 1 / (60 + order.index(document) + 1) if document in scores else 0.0
    values = list(scores.values())
    if method == "min-max":
        if document not in scores:
            return 0.0
        if min(values) == max(values):
            return 1.0
        return (scores[document] - min(values)) / (max(values) - min(values))
    if min(values) == max(values):
        return 0.0
    return float((scores.get(document, min(values)) - np.mean(values)) / np.std(values))


@given(first=SCORES, second=SCORES, method=st.sampled_from(FUSION_METHODS), weight=st.sampled_from([0.0, 0.3, 1.0]))
def test_fusion_equals_the_definition(first: dict, second: dict, method: FusionMethod, weight: float) -> None:
    fused = fuse({"q": first}, {"q": second}, method=method, weight=weight)["q"]
    assert fused.keys() == first.keys() | second.keys()
    for document, score in fused.items():
        expected = weight * naive(first, document, method) + (1 - weight) * naive(second, document, method)
        assert score == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("method", FUSION_METHODS)
def test_whole_weight_keeps_the_order_of_one_run(method: FusionMethod) -> None:
    first, second = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"q": {"c": 30.0, "b": 20.0, "a": 10.0}}
    assert rank_documents(fuse(first, second, method=method, weight=1.0)["q"]) == ["a", "b", "c"]
    assert rank_documents(fuse(first, second, method=method, weight=0.0)["q"]) == ["c", "b", "a"]


def test_a_query_in_one_run_only_is_kept() -> None:
    assert fuse({"q": {"a": 1.0}}, {"r": {"b": 1.0}}, method="min-max", weight=0.25) == {
        "q": {"a": 0.25},
        "r": {"b": 0.75},
    }


@pytest.mark.parametrize("method", FUSION_METHODS)
def test_the_chosen_weight_is_the_best_of_the_grid(method: FusionMethod) -> None:
    generator = np.random.default_rng(1)
    documents = [f"d{number}" for number in range(30)]
    relevance, first, second = {}, {}, {}
    for query in (f"q{number}" for number in range(40)):
        right = str(generator.choice(documents))
        relevance[query] = {right: 1}
        first[query] = {doc: float(generator.normal() + 2.0 * (doc == right)) for doc in documents}
        second[query] = {doc: float(generator.normal() + 1.5 * (doc == right)) for doc in documents}
    choice = choose_fusion_weight(first, second, relevance, method=method, steps=10)
    assert list(choice.curve) == [step / 10 for step in range(11)]
    for weight, value in choice.curve.items():
        fused = fuse(first, second, method=method, weight=weight)
        assert score_run(fused, relevance, metrics=["ndcg@10"]).means["ndcg@10"] == pytest.approx(value)
    assert choice.curve[choice.weight] == max(choice.curve.values())
    assert 0 < choice.weight < 1, "two independent signals are better together"
    assert choice.queries == 40


def test_equally_good_weights_fall_to_the_middle() -> None:
    run = {"q": {"a": 2.0, "b": 1.0}}
    assert choose_fusion_weight(run, run, {"q": {"a": 1}}).weight == 0.5


def test_refuses_bad_settings_and_scores() -> None:
    run = {"q": {"a": 1.0}}
    with pytest.raises(InputError, match=r"weight is 1\.5"):
        fuse(run, run, method="min-max", weight=1.5)
    with pytest.raises(InputError, match="no fusion method"):
        fuse(run, run, method="sum", weight=0.5)  # type: ignore[arg-type]
    for method in FUSION_METHODS:
        with pytest.raises(InputError, match="query 'q'"):
            fuse({"q": {"a": math.nan}}, run, method=method, weight=0.5)
    with pytest.raises(InputError, match="inf"):
        fuse({"q": {"a": math.inf}}, run, method="z-score", weight=0.5)
