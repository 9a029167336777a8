"""Exactness: every pattern is what it says, texts hold exactly their items; the published sets load as published."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedworks.data import load_data_set
from embedworks.data.judged import Judged
from embedworks.data.limit import (
    LIMIT_PATTERNS,
    dense_documents,
    generate_limit,
    item_of,
    limit_items,
    relevance_pattern,
)
from embedworks.data.person_names import person_names
from embedworks.foundation import InputError

ITEMS = [f"Thing {number}" for number in range(200)]


def _listed(judged: Judged) -> dict[str, list[str]]:
    """Read every document's items back from its sentence."""
    found = {}
    for name, text in zip(judged.corpus.ids, judged.corpus.texts, strict=True):
        assert text.startswith(f"{name} likes ")
        assert text.endswith(".")
        first, last = text.removeprefix(f"{name} likes ")[:-1].rsplit(" and ", 1)
        found[name] = [*first.split(", "), last]
    return found


@pytest.mark.parametrize("pattern", LIMIT_PATTERNS)
@pytest.mark.parametrize("relevant", [1, 2, 3])
def test_exactly_the_relevant_documents_list_the_item_of_a_query(pattern, relevant: int) -> None:
    judged = generate_limit(
        ITEMS, pattern=pattern, queries=40, documents=130, relevant=relevant, items_per_document=45, seed=2
    )
    listed = _listed(judged)
    assert len(judged.query_ids) == 40
    assert all(len(set(items)) == len(items) == 45 for items in listed.values())
    for query, text in zip(judged.query_ids, judged.query_texts, strict=True):
        holders = {name for name, items in listed.items() if item_of(text) in items}
        assert holders == set(judged.relevance[query])
        assert len(holders) == relevant


@given(
    st.sampled_from(LIMIT_PATTERNS),
    st.integers(1, 30),
    st.integers(1, 4),
    st.integers(0, 60),
    st.integers(0, 5),
)
@settings(max_examples=150)
def test_patterns(pattern, queries: int, relevant: int, spare: int, seed: int) -> None:
    documents = max(queries * relevant, dense_documents(queries, relevant=relevant)) + spare
    rows = relevance_pattern(pattern, queries=queries, documents=documents, relevant=relevant, seed=seed)
    assert rows.shape == (queries, relevant)
    assert rows.min() >= 0
    assert rows.max() < documents
    assert all(len(set(row)) == relevant for row in rows.tolist())
    degrees = Counter(rows.ravel().tolist())
    if pattern == "disjoint":
        assert set(degrees.values()) == {1}
    if pattern == "dense":
        used = dense_documents(queries, relevant=relevant)
        assert rows.tolist() == [list(row) for row in itertools.combinations(range(used), relevant)][:queries]
    if pattern == "cycle":
        assert all((row[place] + 1) % documents == row[place + 1] for row in rows for place in range(relevant - 1))


def test_the_smallest_dense_set_has_46_documents() -> None:
    assert dense_documents(1000) == 46
    assert dense_documents(1035) == 46
    assert dense_documents(1036) == 47
    assert dense_documents(1, relevant=3) == 3


def test_a_set_is_drawn_from_its_seed_and_not_from_the_order_of_the_items() -> None:
    first = generate_limit(ITEMS, queries=20, documents=30, seed=5)
    again = generate_limit(ITEMS[::-1], queries=20, documents=30, seed=5)
    other = generate_limit(ITEMS, queries=20, documents=30, seed=6)
    assert first.corpus == again.corpus
    assert first.query_texts == again.query_texts
    assert first.query_texts != other.query_texts
    assert first.corpus.ids != other.corpus.ids


def test_only_the_place_of_query_items_depends_on_the_pattern() -> None:
    sets = {
        pattern: generate_limit(ITEMS, pattern=pattern, queries=30, documents=80, seed=1)
        for pattern in ("dense", "cycle")
    }
    dense, cycle = sets["dense"], sets["cycle"]
    assert dense.query_texts == cycle.query_texts
    assert dense.corpus.ids == cycle.corpus.ids
    assert dense.corpus.texts[31:] == cycle.corpus.texts[31:], "documents that no query wants are the same"
    assert dense.corpus.texts[:9] != cycle.corpus.texts[:9]


def test_names_are_different_to_the_last() -> None:
    names = person_names(100_000, seed=0)
    assert len(set(names)) == 100_000
    with pytest.raises(InputError, match="make fewer documents"):
        person_names(10**7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": 201}, "200 items for 201 queries"),
        ({"queries": 180, "documents": 50}, "20 items are no query's"),
        ({"queries": 100, "documents": 15, "items_per_document": 5}, "relevant to 14 queries"),
        ({"pattern": "disjoint", "documents": 39}, "needs 40"),
        ({"documents": 6}, "needs 7"),
        ({"pattern": "sparse"}, "choose from random, cycle"),
        ({"queries": 0}, "ask for 1 each"),
        ({"items_per_document": 1}, "at least 2"),
    ],
)
def test_what_cannot_be_made_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate_limit(ITEMS, **{"queries": 20, "documents": 100, **changes})


def test_items_must_differ() -> None:
    with pytest.raises(InputError, match="stands twice"):
        generate_limit(["a", "a"], queries=1, documents=2)
    with pytest.raises(InputError, match="ITEM"):
        item_of("Whom do they like?")


def test_limit_small_as_published(data_folder: Path) -> None:
    judged = load_data_set("limit-small")["test"]
    assert isinstance(judged, Judged)
    assert len(judged.corpus) == 46
    assert len(judged.query_ids) == 1000
    listed = _listed(judged)
    assert {len(items) for items in listed.values()} <= {45, 46}, "Fish and Chips ends a list now and then"
    for query, text in zip(judged.query_ids, judged.query_texts, strict=True):
        holders = {
            name
            for name, text_of in zip(judged.corpus.ids, judged.corpus.texts, strict=True)
            if f" {item_of(text)}" in text_of.replace(",", " ").replace(".", " ")
        }
        assert set(judged.relevance[query]) <= holders
    degrees = Counter(document for grades in judged.relevance.values() for document in grades)
    assert (min(degrees.values()), max(degrees.values())) == (37, 45)


def test_limit_is_completed_to_fifty_thousand_documents(data_folder: Path) -> None:
    judged = load_data_set("limit")["test"]
    assert isinstance(judged, Judged)
    assert len(judged.corpus) == 50_000
    assert len(judged.query_ids) == 1000
    asked = {query: item_of(text) for query, text in zip(judged.query_ids, judged.query_texts, strict=True)}
    relevant = {document for grades in judged.relevance.values() for document in grades}
    assert len(relevant) == 46
    text_of = dict(zip(judged.corpus.ids, judged.corpus.texts, strict=True))
    for query, grades in judged.relevance.items():
        assert all(asked[query] in text_of[document] for document in grades)
    words = set(asked.values())
    some = np.random.default_rng(0).choice([name for name in judged.corpus.ids if name not in relevant], 300)
    for name in some:
        listed = set(text_of[name].removeprefix(f"{name} likes ")[:-1].replace(" and ", ", ").split(", "))
        assert not listed & words, "a document that no query wants lists no query's item"
    assert len(limit_items()) == 1448
