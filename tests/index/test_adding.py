"""A corpus goes into an index that exists as a whole or not at all, and before its vectors are made if it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.data import Corpus
from embedworks.foundation import InputError
from embedworks.index import Index, add_corpus


@pytest.fixture
def index(index_path: Path) -> Index:
    made = Index.create(index_path, dimension=2)
    made.add(["a", "b"], np.eye(2), texts=["red ink", "blue ink"], attributes={"year": [2024, 2025]})
    return made


def never_made() -> NDArray[np.float32]:
    raise AssertionError("vectors were made for rows that cannot come in")


def test_new_rows_come_in_with_their_attributes(index: Index) -> None:
    corpus = Corpus.from_columns(
        ["c", "d"], ["green paint", "grey paint"], {"year": [2026, None], "wet": [True, False]}
    )
    assert add_corpus(index, corpus, lambda: np.ones((2, 2), np.float32)) == (2, 0)
    first, last = Index.open(index.path).get(["a", "d"])
    assert first.attributes == {"year": 2024, "wet": None}
    assert (last.text, last.attributes) == ("grey paint", {"year": None, "wet": False})


def test_a_known_id_is_refused_or_replaced(index: Index) -> None:
    corpus = Corpus.from_columns(["c", "b", "a"], ["green paint", "blue paint", "red paint"])
    generation = index.listing().generation
    with pytest.raises(
        InputError, match=r"^more\.csv: the id '[ab]' \(and 1 more\) is in the index already; .*--replace"
    ):
        add_corpus(index, corpus, never_made, source="more.csv")
    assert index.listing().generation == generation
    assert add_corpus(index, corpus, -np.ones((3, 2)), replace=True) == (3, 2)
    assert [item.text for item in index.get(["a", "b", "c"])] == ["red paint", "blue paint", "green paint"]
    assert index.get(["a"])[0].attributes == {"year": None}, "a replaced row keeps nothing of the old one"


def test_what_another_process_added_is_known(index: Index) -> None:
    Index.open(index.path).add(["c"], [[1, 1]])
    with pytest.raises(InputError, match="'c' is in the index already"):
        add_corpus(index, Corpus.from_columns(["c"], ["green paint"]), never_made)


def test_what_is_added_while_vectors_are_made_is_refused_too(index: Index) -> None:
    def meanwhile() -> NDArray[np.float32]:
        Index.open(index.path).add(["c"], [[1, 1]])
        return np.ones((1, 2), np.float32)

    with pytest.raises(InputError, match="'c' is in the index already"):
        add_corpus(index, Corpus.from_columns(["c"], ["green paint"]), meanwhile)
    assert Index.open(index.path).get(["c"])[0].text is None


@pytest.mark.parametrize(
    ("attributes", "message"), [({"year": ["soon"]}, "whole number"), ({"score": [1]}, "reserved")]
)
def test_attributes_that_do_not_fit_are_refused(index: Index, attributes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_corpus(index, Corpus.from_columns(["c"], ["green paint"], attributes), never_made, replace=True)


@pytest.mark.parametrize(("shape", "message"), [((2, 2), "2 vectors for 1 ids"), ((1, 3), "dimension 2")])
def test_vectors_that_do_not_fit_are_refused(index: Index, shape: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        add_corpus(index, Corpus.from_columns(["c"], ["green paint"]), np.ones(shape))
    assert "c" not in Index.open(index.path)
