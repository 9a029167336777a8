"""Titles of arXiv papers in disjoint groups, and the alterations whose effect on depth is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.data import load_data_set
from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

FIELD, OTHER_FIELD = "cs.CV", "cs.CL"
MIXED_SHARE = 0.2
"""Share of the other field in the mixed group."""


@dataclass(frozen=True)
class Papers:
    """The papers of the arXiv set, in the order of the file."""

    titles: list[str]
    """Shape (n,)."""
    fields: list[str]
    """Primary category of each paper."""
    vectors: NDArray[np.float16]
    """MiniLM vectors of title and abstract, shape (n, 384), in the same order."""


@dataclass(frozen=True)
class Groups:
    """Groups of titles for one seed; no paper stands in two of them, nor in a group of another seed."""

    field: list[str]
    """The reference corpus."""
    same_field: list[str]
    """As many others of the same field: a true null."""
    other_field: list[str]
    """As many of the other field."""
    mixed: list[str]
    """Four fifths of the same field, one fifth of the other."""
    source: list[str]
    """As many further titles of the same field, to be altered."""


def read_papers() -> Papers:
    """Read the arXiv set.

    Raises:
        StorageError: It is neither in the folder of the data sets nor in the cache, or it is damaged.
    """
    parts: dict[str, Any] = dict(load_data_set("arxiv-abstracts-2025-26"))
    table = parts["papers"].table
    return Papers(table["title"].to_pylist(), table["primary"].to_pylist(), parts["minilm"])


def disjoint_groups(papers: Papers, *, seeds: int, size: int) -> list[Groups]:
    """Deal the titles of two fields into disjoint groups, one set of groups a seed.

    Args:
        papers: The papers.
        seeds: Number of sets.
        size: Titles a group.

    Raises:
        InputError: There are too few titles.
    """
    foreign = round(MIXED_SHARE * size)
    needed = {FIELD: 4 * size - foreign, OTHER_FIELD: size + foreign}
    dealt: dict[str, list[list[str]]] = {}
    for name, each in needed.items():
        # distinct titles, so that no two groups share one
        titles = list(dict.fromkeys(t for t, field in zip(papers.titles, papers.fields, strict=True) if field == name))
        if len(titles) < seeds * each:
            raise InputError(f"{len(titles)} titles, {seeds * each} are needed", where=name, mend="take fewer seeds")
        order = random_generator(0, "depth groups", name).permutation(len(titles))
        dealt[name] = [[titles[row] for row in order[seed * each : (seed + 1) * each]] for seed in range(seeds)]
    return [
        Groups(
            field=own[:size],
            same_field=own[size : 2 * size],
            other_field=other[:size],
            mixed=own[2 * size : 3 * size - foreign] + other[size:],
            source=own[3 * size - foreign :],
        )
        for own, other in zip(dealt[FIELD], dealt[OTHER_FIELD], strict=True)
    ]


def shuffled_words(titles: Sequence[str], *, seed: int) -> list[str]:
    """Put the words of each title in random order."""
    generator = random_generator(seed, "shuffled words")
    return [" ".join(generator.permutation(title.split()).tolist()) for title in titles]


def dropped_words(titles: Sequence[str], *, seed: int, share: float = 0.3) -> list[str]:
    """Leave each word out with a probability, keeping at least one."""
    generator = random_generator(seed, "dropped words")
    altered = []
    for title in titles:
        words = np.array(title.split())
        kept = generator.random(len(words)) >= share
        kept[generator.integers(len(words))] = True
        altered.append(" ".join(words[kept].tolist()))
    return altered


def first_clauses(titles: Sequence[str]) -> list[str]:
    """Cut each title at its first colon, comma, dash or question mark; one that has none keeps its first half."""
    cut = []
    for title in titles:
        places = [place for mark in (": ", ", ", " - ", "? ") if (place := title.find(mark)) > 0]
        words = title.split()
        cut.append(title[: min(places)] if places else " ".join(words[: max(1, len(words) // 2)]))
    return cut


def in_a_template(titles: Sequence[str]) -> list[str]:
    """Put each title into one fixed sentence, as careless synthesis does."""
    return [f"In this paper, we introduce a new approach to the following problem: {title}" for title in titles]


def sampled_by_word_pairs(titles: Sequence[str], *, count: int, seed: int) -> list[str]:
    """Sample texts from a bigram model of the titles: synthetic text that is right word by word.

    Args:
        titles: What to learn from.
        count: How many to sample.
        seed: Seed of the draws.
    """
    following: dict[str, list[str]] = defaultdict(list)
    for title in titles:
        words = ["", *title.split(), ""]  # the empty word stands at either end
        for word, after in pairwise(words):
            following[word].append(after)
    generator = random_generator(seed, "word pairs")
    sampled: list[str] = []
    while len(sampled) < count:
        words, word = [], ""
        while len(words) < 40:
            word = following[word][generator.integers(len(following[word]))]
            if not word:
                break
            words.append(word)
        sampled.append(" ".join(words))
    return sampled


def sampled_word_by_word(titles: Sequence[str], *, count: int, seed: int) -> list[str]:
    """Sample texts of the titles' lengths, every word drawn from all words of all titles by itself.

    Args:
        titles: What to learn from.
        count: How many to sample.
        seed: Seed of the draws.
    """
    words = [title.split() for title in titles]
    all_words = [word for of_title in words for word in of_title]
    generator = random_generator(seed, "word by word")
    lengths = [len(words[row]) for row in generator.integers(len(words), size=count)]
    return [" ".join(all_words[place] for place in generator.integers(len(all_words), size=n)) for n in lengths]


def class_rows(papers: Papers, *, classes: int) -> dict[str, NDArray[np.intp]]:
    """Return the rows of the largest primary categories, the largest first."""
    fields = np.array(papers.fields)
    names, counts = np.unique(fields, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")][:classes]
    return {str(name): np.flatnonzero(fields == name) for name in largest}
