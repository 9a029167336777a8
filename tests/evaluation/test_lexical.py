"""BM25 against the formula in float64, word by word."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from embedworks.evaluation.lexical import Bm25
from embedworks.foundation import InputError

# Lucene's English stop words that occur in the texts below.
STOP_WORDS = {"the", "of", "in", "and", "is", "to", "at"}
WORDS = ["wing", "flow", "heat", "shock", "layer", "the", "of", "in", "Pressure", "x", "at", "boundary2", "is"]


def words_of(text: str) -> list[str]:
    return [word for word in re.findall(r"\w\w+", text.lower()) if word not in STOP_WORDS]


def naive_scores(query: str, texts: list[str], k1: float, b: float) -> list[float]:
    documents = [words_of(text) for text in texts]
    mean_length = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in words_of(query):
            holding = sum(word in other for other in documents)
            idf = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
            frequency = document.count(word)
            score += idf * frequency / (frequency + k1 * (1 - b + b * len(document) / mean_length))
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (1.2, 0.0)])
def test_scores_and_order_equal_the_formula(k1: float, b: float) -> None:
    generator = np.random.default_rng(7)
    texts = [" ".join(generator.choice(WORDS, generator.integers(3, 12))) for _ in range(40)]
    texts[5] = texts[30]  # equal documents: the lower id comes first
    ids = [f"d{number:02}" for number in generator.permutation(40)]
    queries = ["wing flow", "heat heat layer unknown", "pressure of the boundary2"]
    engine = Bm25(ids, texts, k1=k1, b=b)
    for query, answer in zip(queries, engine.search(queries, 100), strict=True):
        scores = dict(zip(ids, naive_scores(query, texts, k1, b), strict=True))
        expected = sorted((name for name in ids if scores[name] > 1e-12), key=lambda name: (-scores[name], name))
        found = dict(answer)
        assert found == pytest.approx({name: scores[name] for name in expected}, rel=1e-6)
        # Order by the found scores, so that sums that differ in the last bit do not decide.
        assert [name for name, _ in answer] == sorted(found, key=lambda name: (-found[name], name))
        assert engine.search([query], 3)[0] == answer[:3]


def test_queries_without_a_known_word_find_nothing() -> None:
    engine = Bm25(["a", "b"], ["red apple", "green pear"])
    assert engine.search(["the", "", "unknown", "apple"], 5)[:3] == [[], [], []]


def test_a_corpus_without_words_finds_nothing() -> None:
    assert Bm25(["a"], ["of the"]).search(["the apple"], 5) == [[]]


def test_refuses_an_empty_corpus_and_wrong_lengths() -> None:
    with pytest.raises(InputError):
        Bm25([], [])
    with pytest.raises(InputError):
        Bm25(["a"], ["one", "two"])


def test_stop_words_count_where_they_are_kept() -> None:
    texts = ["the wing", "a wing", "flow of heat"]
    assert Bm25(["a", "b", "c"], texts).search(["the"], 3) == [[]]
    ((found,),) = Bm25(["a", "b", "c"], texts, stop_words=False).search(["the"], 3)
    mean_length = (2 + 1 + 3) / 3
    expected = math.log(1 + 2.5 / 1.5) / (1 + 1.5 * (0.25 + 0.75 * 2 / mean_length))
    assert found == ("a", pytest.approx(expected))
