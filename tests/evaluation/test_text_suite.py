"""The suite judges by the same protocols as the single functions, and encodes each text once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.data import STS_CLEAN_OF_STSB, Corpus, Judged, Labelled, ScoredPairs
from embedworks.evaluation import (
    evaluate_classification,
    evaluate_clustering,
    evaluate_retrieval,
    evaluate_sts,
)
from embedworks.evaluation.text_suite import TextSuite
from embedworks.foundation.randomness import random_generator


class Hashing:
    """Encodes a text by its letters, and counts what it was asked for."""

    dimension = 26

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        self.asked += items
        counts = np.zeros((len(items), 26), np.float32)
        for row, text in enumerate(items):
            for letter in text:
                if letter.isalpha():
                    counts[row, ord(letter.lower()) - 97] += 1
        return counts + 0.01


def words(count: int, seed: int) -> list[str]:
    generator = random_generator(seed, "words")
    return ["".join(map(chr, generator.integers(97, 123, size=12))) for _ in range(count)]


@pytest.fixture
def suite() -> TextSuite:
    a, b = words(20, 1), words(20, 2)
    texts, labels = words(60, 3), [f"label {place % 3}" for place in range(60)]
    corpus = Corpus.from_columns([f"d{place}" for place in range(12)], words(12, 4))
    relevance = {"q0": {"d3": 1, "d4": 0}, "q1": {"d5": 2}, "q2": {"d6": 0}}
    return TextSuite(
        sts={
            "one": ScoredPairs.from_columns(a, b, list(range(20))),
            "two": ScoredPairs.from_columns(b, a, list(range(20))),
        },
        labelled={
            "classes": (
                Labelled.from_columns(texts[:30], labels[:30]),
                Labelled.from_columns(texts[30:], labels[30:]),
            )
        },
        judged={"search": Judged.from_columns(corpus, ["q0", "q1", "q2"], words(3, 5), relevance)},
        draws=2,
        clusterings=2,
    )


def test_results_are_those_of_the_single_protocols(suite: TextSuite) -> None:
    results = {(result.task, result.data_set): result for result in suite.judge(Hashing(), system="s")}
    train, test = suite.labelled["classes"]
    expected = [
        evaluate_sts(Hashing(), suite.sts["one"], system="s", data_set="one"),
        evaluate_sts(Hashing(), suite.sts["two"], system="s", data_set="two"),
        evaluate_classification(Hashing(), train, test, system="s", data_set="classes", draws=2),
        evaluate_clustering(Hashing(), test, system="s", data_set="classes", seeds=2),
        evaluate_retrieval(Hashing(), suite.judged["search"], system="s", data_set="search"),
    ]
    assert len(results) == len(expected)
    for result in expected:
        found = results[result.task, result.data_set]
        assert found.metrics == pytest.approx(result.metrics)
        assert found.data_hash == result.data_hash


def test_each_text_is_encoded_once(suite: TextSuite) -> None:
    encoder = Hashing()
    suite.judge(encoder, system="s")
    assert len(encoder.asked) == len(set(encoder.asked))
    assert set(suite.texts()) <= set(encoder.asked)


def test_a_sample_is_smaller_and_keeps_what_is_relevant(suite: TextSuite) -> None:
    small = suite.sample(sets=1, pairs=5, labels=2, queries=1, documents=2)
    assert list(small.sts) == ["one"]
    assert small.sts["one"].a == suite.sts["one"].a[:5]
    train, test = small.labelled["classes"]
    assert set(train.labels) == set(test.labels) == {"label 0", "label 1"}
    judged = small.judged["search"]
    assert judged.query_ids == ["q0"]
    assert set(judged.corpus.ids) == {"d0", "d1", "d3"}
    assert judged.relevance == {"q0": {"d3": 1}}
    assert small.judge(Hashing(), system="s")


def test_twelve_sets_are_clean_of_sts_b() -> None:
    assert len(set(STS_CLEAN_OF_STSB)) == 12
    assert not any(part in name for name in STS_CLEAN_OF_STSB for part in ("MSRpar", "headlines", "images", "deft"))
