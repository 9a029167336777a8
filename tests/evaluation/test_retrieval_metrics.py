"""Ranked-retrieval metrics against loops that spell the definitions out, against ranx and against trec_eval."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedworks.evaluation.retrieval_metrics import RETRIEVAL_METRICS, rank_documents, score_run
from embedworks.foundation import InputError

DOCUMENTS = [f"d{number}" for number in range(8)]
# Few distinct scores, so that most runs hold ties.
RUNS = st.dictionaries(
    st.sampled_from(["q0", "q1", "q2"]),
    st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([0.0, 0.25, 0.5, 1.0, -2.0]), max_size=8),
    max_size=3,
)
RELEVANCE = st.dictionaries(
    st.sampled_from(["q0", "q1", "q2"]),
    st.dictionaries(st.sampled_from([*DOCUMENTS, "unseen"]), st.integers(0, 3), max_size=6),
    min_size=1,
    max_size=3,
).filter(lambda relevance: any(grade > 0 for grades in relevance.values() for grade in grades.values()))


def oracle(scores: dict[str, float], grades: dict[str, int], k: int) -> dict[str, float]:
    """The definitions, one loop each, no shared parts."""
    ranked: list[str] = []
    left = dict(scores)
    while left:
        best = None
        for document in left:
            if best is None or left[document] > left[best] or (left[document] == left[best] and document < best):
                best = document
        assert best is not None
        ranked.append(best)
        del left[best]
    relevant = {document for document in grades if grades[document] > 0}
    dcg, ideal_dcg, found, precision_sum, reciprocal = 0.0, 0.0, 0, 0.0, 0.0
    for position in range(k):
        if position < len(ranked):
            dcg += grades.get(ranked[position], 0) / (math.log(position + 2) / math.log(2))
            if ranked[position] in relevant:
                found += 1
                precision_sum += found / (position + 1)
                if found == 1:
                    reciprocal = 1 / (position + 1)
        ordered = sorted(grades.values())[::-1]
        if position < len(ordered):
            ideal_dcg += ordered[position] / (math.log(position + 2) / math.log(2))
    return {
        "ndcg": dcg / ideal_dcg,
        "recall": found / len(relevant),
        "mrr": reciprocal,
        "map": precision_sum / len(relevant),
        "precision": found / k,
        "hit": 1.0 if found else 0.0,
    }


@given(run=RUNS, relevance=RELEVANCE, k=st.sampled_from([1, 2, 3, 5, 10, 100]))
def test_every_metric_equals_the_loops(run: dict, relevance: dict, k: int) -> None:
    scores = score_run(run, relevance, metrics=[f"{name}@{k}" for name in RETRIEVAL_METRICS])
    counted = [query for query, grades in relevance.items() if any(grade > 0 for grade in grades.values())]
    assert scores.query_ids == counted
    assert scores.queries_without_relevant == len(relevance) - len(counted)
    assert scores.queries_without_answer == sum(not run.get(query) for query in counted)
    for row, query in enumerate(counted):
        expected = oracle(run.get(query, {}), relevance[query], k)
        for name in RETRIEVAL_METRICS:
            assert scores.per_query[f"{name}@{k}"][row] == pytest.approx(expected[name], abs=1e-12)


def ready_for_peers(run: dict, relevance: dict) -> tuple[dict, dict]:
    """Give both peers what they agree on: no query without answer or relevant document, ties already broken.

    Neither defines the order of ties as we do (trec_eval takes the higher id, ranx the order of its sort), so the
    scores are replaced by our ranks.
    """
    both = [
        query for query, grades in relevance.items() if run.get(query) and any(grade > 0 for grade in grades.values())
    ]
    ranked = {query: rank_documents(run[query]) for query in both}
    return (
        {query: {doc: float(len(docs) - rank) for rank, doc in enumerate(docs)} for query, docs in ranked.items()},
        {query: relevance[query] for query in both},
    )


@pytest.mark.slow  # ranx compiles its metrics for half a minute
@given(run=RUNS, relevance=RELEVANCE, k=st.sampled_from([1, 3, 10]))
@settings(max_examples=50)
def test_every_metric_equals_ranx(run: dict, relevance: dict, k: int) -> None:
    ranx = pytest.importorskip("ranx")
    peer_run, peer_relevance = ready_for_peers(run, relevance)
    if not peer_run:
        return
    names = {
        "ndcg": "ndcg",
        "recall": "recall",
        "mrr": "mrr",
        "map": "map",
        "precision": "precision",
        "hit": "hit_rate",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's own notes while ranx compiles
        peer = ranx.evaluate(
            ranx.Qrels(peer_relevance),
            ranx.Run(peer_run),
            [f"{name}@{k}" for name in names.values()],
            return_mean=False,
        )
    order = list(peer_relevance)
    ours = score_run({query: run[query] for query in order}, peer_relevance, metrics=[f"{name}@{k}" for name in names])
    sorted_queries = sorted(order)  # ranx sorts queries by id
    for name, peer_name in names.items():
        by_query = dict(zip(sorted_queries, peer[f"{peer_name}@{k}"], strict=True))
        expected = [by_query[query] for query in order]
        assert ours.per_query[f"{name}@{k}"] == pytest.approx(expected, abs=1e-9), name


@given(run=RUNS, relevance=RELEVANCE, k=st.sampled_from([1, 3, 10]))
@settings(max_examples=50)
def test_every_metric_equals_trec_eval(run: dict, relevance: dict, k: int) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    peer_run, peer_relevance = ready_for_peers(run, relevance)
    if not peer_run:
        return
    names = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut", "precision": "P", "hit": "success"}
    evaluator = pytrec_eval.RelevanceEvaluator(peer_relevance, {f"{name}.{k}" for name in names.values()})
    peer = evaluator.evaluate(peer_run)
    ours = score_run(run, peer_relevance, metrics=[f"{name}@{k}" for name in names])
    for row, query in enumerate(peer_relevance):
        for name, peer_name in names.items():
            assert ours.per_query[f"{name}@{k}"][row] == pytest.approx(peer[query][f"{peer_name}_{k}"], abs=1e-9), name


def test_hand_calculated() -> None:
    run = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}
    relevance = {"q": {"b": 2, "c": 1, "missing": 1}}
    means = score_run(run, relevance, metrics=[f"{name}@10" for name in RETRIEVAL_METRICS]).means
    assert means["ndcg@10"] == pytest.approx((2 / math.log2(3) + 1 / 2) / (2 + 1 / math.log2(3) + 1 / 2))
    assert means["recall@10"] == pytest.approx(2 / 3)
    assert means["mrr@10"] == 0.5
    assert means["map@10"] == pytest.approx((1 / 2 + 2 / 3) / 3)
    assert means["precision@10"] == pytest.approx(0.2)
    assert means["hit@10"] == 1.0


@given(scores=st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([0.0, 1.0]), min_size=1), seed=st.randoms())
def test_the_order_of_a_run_does_not_matter(scores: dict, seed) -> None:
    shuffled = list(scores.items())
    seed.shuffle(shuffled)
    assert rank_documents(dict(shuffled)) == rank_documents(scores)


def test_nan_scores_are_refused_with_their_place() -> None:
    with pytest.raises(InputError, match=r"query 'q'.*document 'a' is NaN"):
        score_run({"q": {"a": math.nan}}, {"q": {"a": 1}}, metrics=["ndcg@10"])


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@-1", "speed@10", "ndcg@ten"])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no retrieval metric"):
        score_run({}, {"q": {"a": 1}}, metrics=[name])


def test_judgements_without_any_relevant_document_are_refused() -> None:
    with pytest.raises(InputError, match="no query has a relevant document"):
        score_run({"q": {"a": 1.0}}, {"q": {"a": 0}}, metrics=["ndcg@10"])
