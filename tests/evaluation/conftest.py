"""A small encoder without a model, and small judged data made here."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.data import Corpus, Judged, Labelled, ScoredPairs

DIMENSION = 64


class WordCountEncoder:
    """Counts words into 64 buckets: texts that share words are near."""

    dimension = DIMENSION

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += items
        vectors = np.zeros((len(items), DIMENSION), np.float32)
        for row, text in enumerate(items):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.encode()) % DIMENSION] += 1
        return vectors


@pytest.fixture
def encoder() -> WordCountEncoder:
    return WordCountEncoder()


@pytest.fixture
def judged() -> Judged:
    corpus = Corpus.from_columns(
        ["d3", "d1", "d2", "d4"],
        ["red apple pie", "green pear tart", "red apple pie", "blue plum cake"],
    )
    return Judged.from_columns(
        corpus,
        ["q1", "q2", "q3", "q4"],
        ["apple pie", "pear", "nothing of this", "plum"],
        {"q1": {"d3": 1, "d2": 2}, "q2": {"d1": 1}, "q3": {"d1": 0}},
    )


@pytest.fixture
def scored_pairs() -> ScoredPairs:
    return ScoredPairs.from_columns(
        ["a cat sleeps", "a dog runs", "the sun shines", "it rains"],
        ["a cat sleeps", "a dog eats", "the moon rises", "we go home"],
        [5.0, 3.0, 1.5, 0.0],
    )


@pytest.fixture
def labelled() -> tuple[Labelled, Labelled]:
    """Three labels, each with its own words and some shared ones; 30 training and 12 test texts a label."""
    generator = np.random.default_rng(0)
    words = {"fruit": ["apple", "pear", "plum"], "animal": ["cat", "dog", "cow"], "sky": ["sun", "moon", "star"]}

    def texts(count: int) -> tuple[list[str], list[str]]:
        rows, labels = [], []
        for label, own in words.items():
            for _ in range(count):
                rows.append(" ".join([*generator.choice(own, 2), *generator.choice(["the", "a", "one", "my"], 3)]))
                labels.append(label)
        return rows, labels

    return Labelled.from_columns(*texts(30)), Labelled.from_columns(*texts(12))
