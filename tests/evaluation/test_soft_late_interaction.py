"""Soft late interaction and its relatives against loops over every pair of tokens, their limits and their blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.evaluation.late_interaction import late_interaction_run, max_sim_scores
from embedworks.evaluation.soft_late_interaction import (
    mean_vector_scores,
    pooled_target_scores,
    soft_late_interaction_scores,
)
from embedworks.evaluation.token_matrices import unpadded
from embedworks.foundation import InputError, NonFiniteError

Matrix = NDArray[np.floating]
MODULE = "embedworks.evaluation.soft_late_interaction"


def drawn(sizes: list[int], seed: int, *, scale: float = 1.0) -> list[Matrix]:
    generator = np.random.default_rng(seed)
    return [scale * generator.standard_normal((size, 5)) for size in sizes]


def cosine(a: Matrix, b: Matrix) -> float:
    lengths = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(a @ b) / lengths if lengths else 0.0


def softmax(values: list[float], temperature: float) -> list[float]:
    weights = [math.exp((value - max(values)) / temperature) for value in values]
    return [weight / sum(weights) for weight in weights]


def slow_soft(query: Matrix, document: Matrix, temperature: float, attention_on: str, reduction: str) -> float:
    total = 0.0
    for token in query:
        logits = [cosine(token, other) if attention_on == "cosine" else float(token @ other) for other in document]
        for share, other in zip(softmax(logits, temperature), document, strict=True):
            total += share * cosine(token, other)
    return total / len(query) if reduction == "mean" else total


def slow_pooled(query: Matrix, document: Matrix, temperature: float) -> float:
    target = sum(document) / len(document)
    shares = softmax([float(token @ target) for token in query], temperature)
    return sum(share * cosine(token, target) for share, token in zip(shares, query, strict=True))


def slow_mean(query: Matrix, document: Matrix) -> float:
    return cosine(sum(query) / len(query), sum(document) / len(document))


def table(score: Callable[[Matrix, Matrix], float], queries: list[Matrix], documents: list[Matrix]) -> Matrix:
    return np.array([[score(query, document) for document in documents] for query in queries])


QUERIES, DOCUMENTS = drawn([1, 4, 2], 0, scale=2.0), drawn([3, 1, 6, 2], 1, scale=2.0)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("attention_on", ["dot", "cosine"])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_soft_scores_equal_loops(temperature: float, attention_on: str, reduction: str) -> None:
    got = soft_late_interaction_scores(
        QUERIES,
        DOCUMENTS,
        temperature=temperature,
        attention_on=attention_on,  # type: ignore[arg-type]
        reduction=reduction,  # type: ignore[arg-type]
    )
    slow = partial(slow_soft, temperature=temperature, attention_on=attention_on, reduction=reduction)
    np.testing.assert_allclose(got, table(slow, QUERIES, DOCUMENTS), rtol=0, atol=2e-12)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_pooled_targets_and_means_equal_loops(temperature: float) -> None:
    pooled = table(partial(slow_pooled, temperature=temperature), QUERIES, DOCUMENTS)
    got = pooled_target_scores(QUERIES, DOCUMENTS, temperature=temperature)
    np.testing.assert_allclose(got, pooled, rtol=0, atol=2e-12)
    np.testing.assert_allclose(
        mean_vector_scores(QUERIES, DOCUMENTS), table(slow_mean, QUERIES, DOCUMENTS), rtol=0, atol=2e-12
    )


def narrowed(texts: list[Matrix], dtype: type[np.floating]) -> list[Matrix]:
    return [text.astype(dtype) for text in texts]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_vectors_are_computed_in_float32(dtype: type[np.floating]) -> None:
    queries, documents = narrowed(QUERIES, dtype), narrowed(DOCUMENTS, dtype)
    wide = (narrowed(queries, np.float64), narrowed(documents, np.float64))
    for score in (soft_late_interaction_scores, pooled_target_scores, mean_vector_scores):
        got = score(queries, documents)
        np.testing.assert_allclose(got, score(*wide), rtol=0, atol=2e-5)
        assert np.array_equal(got, np.round(got, 6))
    assert np.array_equal(
        soft_late_interaction_scores(queries, wide[1]), soft_late_interaction_scores(queries, documents)
    )


@pytest.mark.parametrize("score", [soft_late_interaction_scores, pooled_target_scores, mean_vector_scores])
@pytest.mark.parametrize(("asked", "targets"), [(1, 1), (3, 4), (100, 100)])
def test_the_blocks_change_nothing(
    score: Callable[..., Matrix], asked: int, targets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score(QUERIES, DOCUMENTS)
    monkeypatch.setattr(f"{MODULE}._QUERY_VECTORS_AT_ONCE", asked)
    monkeypatch.setattr(f"{MODULE}._DOCUMENT_VECTORS_AT_ONCE", targets)
    np.testing.assert_allclose(score(QUERIES, DOCUMENTS), whole, rtol=0, atol=2e-12)


def test_a_temperature_near_zero_is_max_sim_over_the_tokens_of_the_query() -> None:
    expected = max_sim_scores(QUERIES, DOCUMENTS)
    got = soft_late_interaction_scores(QUERIES, DOCUMENTS, temperature=1e-300, attention_on="cosine", reduction="sum")
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


def test_an_infinite_temperature_is_the_mean_over_all_pairs() -> None:
    def mean_of_pairs(query: Matrix, document: Matrix) -> float:
        return sum(cosine(a, b) for a in query for b in document) / len(query) / len(document)

    got = soft_late_interaction_scores(QUERIES, DOCUMENTS, temperature=math.inf)
    np.testing.assert_allclose(got, table(mean_of_pairs, QUERIES, DOCUMENTS), rtol=0, atol=2e-12)


def test_texts_of_one_token_score_their_cosine_by_every_rule() -> None:
    queries, documents = drawn([1, 1], 2), drawn([1, 1, 1], 3)
    expected = table(lambda a, b: cosine(a[0], b[0]), queries, documents)
    for score in (soft_late_interaction_scores, pooled_target_scores, mean_vector_scores):
        np.testing.assert_allclose(score(queries, documents), expected, rtol=0, atol=2e-12)


def test_the_query_comes_first_and_its_length_does_not_count() -> None:
    there, back = soft_late_interaction_scores(QUERIES, QUERIES), soft_late_interaction_scores(QUERIES, QUERIES).T
    assert np.abs(there - back).max() > 1e-3
    twice = [np.concatenate([query, query]) for query in QUERIES]
    np.testing.assert_allclose(
        soft_late_interaction_scores(twice, DOCUMENTS),
        soft_late_interaction_scores(QUERIES, DOCUMENTS),
        rtol=0,
        atol=2e-12,
    )


def test_large_products_and_zero_vectors_stay_finite() -> None:
    large = drawn([3, 2], 4, scale=1e4)
    zero = [np.zeros((2, 5)), np.eye(5)[:1]]
    for texts in (large, narrowed(large, np.float32), zero, narrowed(zero, np.float32)):
        for score in (soft_late_interaction_scores, pooled_target_scores, mean_vector_scores):
            assert np.isfinite(score(texts, texts)).all()
    assert soft_late_interaction_scores(zero, zero)[0, 1] == 0.0


def test_masked_batches_score_as_the_texts_alone() -> None:
    states, mask = np.full((3, 6, 5), 1e6), np.zeros((3, 6), dtype=bool)
    for row, query in enumerate(QUERIES):
        states[row, 6 - len(query) :], mask[row, 6 - len(query) :] = query, True
    got = soft_late_interaction_scores(unpadded(states, mask), DOCUMENTS)
    assert np.array_equal(got, soft_late_interaction_scores(QUERIES, DOCUMENTS))


def test_equal_documents_tie_and_are_ordered_by_id() -> None:
    documents = narrowed([DOCUMENTS[2], *DOCUMENTS, DOCUMENTS[2]], np.float32)
    ids = ["z", "b", "c", "m", "d", "a"]
    run = late_interaction_run(
        ["q"], narrowed(QUERIES[1:2], np.float32), ids, documents, k=6, scores=soft_late_interaction_scores
    )
    order = list(run["q"])
    assert run["q"]["a"] == run["q"]["m"] == run["q"]["z"]
    assert order.index("m") == order.index("a") + 1
    assert order.index("z") == order.index("m") + 1


def test_nothing_gives_nothing() -> None:
    for score in (soft_late_interaction_scores, pooled_target_scores, mean_vector_scores):
        assert score([], DOCUMENTS).shape == (0, 4)
        assert score(QUERIES, []).shape == (3, 0)


def test_what_does_not_fit_is_refused() -> None:
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="give a number above 0"):
            soft_late_interaction_scores(QUERIES, DOCUMENTS, temperature=temperature)
        with pytest.raises(InputError, match="give a number above 0"):
            pooled_target_scores(QUERIES, DOCUMENTS, temperature=temperature)
    with pytest.raises(InputError, match="attention_on 'max' is not known"):
        soft_late_interaction_scores(QUERIES, DOCUMENTS, attention_on="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="reduction 'max' is not known"):
        soft_late_interaction_scores(QUERIES, DOCUMENTS, reduction="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="document 1"):
        mean_vector_scores(QUERIES, [np.ones((1, 5)), np.ones((1, 4))])
    with pytest.raises(NonFiniteError, match="query 2"):
        soft_late_interaction_scores([*QUERIES[:2], np.full((1, 5), np.nan)], DOCUMENTS)
