"""Retrieval by encoder, by search function and by ready run give the same figures; ties and odd inputs."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from embedworks.data import Judged
from embedworks.evaluation.lexical import Bm25
from embedworks.evaluation.retrieval import evaluate_retrieval, retrieve
from embedworks.foundation import InputError, NonFiniteError


def test_equal_documents_are_ordered_by_id(encoder, judged: Judged) -> None:
    run = retrieve(encoder, judged, k=2)
    assert list(run["q1"]) == ["d2", "d3"], "both hold the same text; d3 stands first in the corpus"
    result = evaluate_retrieval(encoder, judged, system="words", data_set="toy")
    assert result.unit_ids == ["q1", "q2"]
    assert result.metrics["ndcg@10"] == pytest.approx(1.0)
    assert result.details["queries_without_relevant"] == 2, "q3 has only grade 0, q4 was not judged"
    assert result.details["documents"] == 4


def test_only_queries_that_count_are_encoded(encoder, judged: Judged) -> None:
    retrieve(encoder, judged, k=2)
    assert "plum" not in encoder.encoded
    assert "nothing of this" not in encoder.encoded


def test_run_function_and_encoder_agree(encoder, judged: Judged) -> None:
    run = retrieve(encoder, judged, k=10)

    def search(texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        answers = {"apple pie": run["q1"], "pear": run["q2"]}
        return [list(answers[text].items())[:k] for text in texts]

    by_encoder = evaluate_retrieval(encoder, judged, system="s", k=3)
    by_function = evaluate_retrieval(search, judged, system="s", k=3)
    by_run = evaluate_retrieval(run, judged, system="s", k=3)
    assert by_encoder.per_unit == by_function.per_unit == by_run.per_unit
    assert by_encoder.data_hash == by_run.data_hash
    assert set(by_run.metrics) == {"ndcg@3", "recall@3", "mrr@3", "map@3", "precision@3", "hit@3"}


def test_bm25_is_a_search_function(judged: Judged) -> None:
    engine = Bm25(judged.corpus.ids, judged.corpus.texts)
    assert evaluate_retrieval(engine.search, judged, system="BM25").metrics["ndcg@10"] == pytest.approx(1.0)


def test_queries_without_an_answer_count_as_zero(judged: Judged) -> None:
    result = evaluate_retrieval({"q1": {"d2": 1.0, "d3": 0.5}}, judged, system="half")
    assert result.per_unit["ndcg@10"] == [1.0, 0.0]
    assert result.details["queries_without_answer"] == 1


def test_roles_are_told_apart_where_the_encoder_does(encoder, judged: Judged) -> None:
    asked: dict[str, int] = {}

    def noting(role: str):
        def encode(texts: Sequence[str]) -> np.ndarray:
            asked[role] = len(texts)
            return encoder.encode(texts)

        return encode

    roles = SimpleNamespace(
        dimension=64, encode=noting("item"), encode_query=noting("query"), encode_document=noting("document")
    )
    retrieve(roles, judged, k=1)
    assert asked == {"query": 2, "document": 4}


def test_bad_systems_are_refused(judged: Judged) -> None:
    with pytest.raises(InputError, match="neither an encoder nor a search function"):
        retrieve(SimpleNamespace(encode=len), judged, k=1)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 answers for 2 queries"):
        retrieve(lambda texts, k: [[]], judged, k=1)
    with pytest.raises(InputError, match="twice"):
        retrieve(lambda texts, k: [[("d1", 1.0), ("d1", 0.5)]] * len(texts), judged, k=1)
    with pytest.raises(InputError, match="k is 0"):
        evaluate_retrieval({}, judged, system="s", k=0)
    nan = SimpleNamespace(dimension=2, encode=lambda texts: np.full((len(texts), 2), np.nan))
    with pytest.raises(NonFiniteError):
        retrieve(nan, judged, k=1)
    short = SimpleNamespace(dimension=2, encode=lambda texts: np.zeros((1, 2)))
    with pytest.raises(InputError, match="one vector a text"):
        retrieve(short, judged, k=1)


def test_the_hash_tells_data_apart_and_ignores_row_order(judged: Judged) -> None:
    run = {"q1": {"d2": 1.0}}
    same = Judged(judged.corpus.from_table(judged.corpus.table.take([3, 0, 2, 1])), judged.queries, judged.relevance)
    other = Judged(judged.corpus, judged.queries, {**judged.relevance, "q1": {"d3": 1}})
    first = evaluate_retrieval(run, judged, system="s").data_hash
    assert evaluate_retrieval(run, same, system="s").data_hash == first
    assert evaluate_retrieval(run, other, system="s").data_hash != first
