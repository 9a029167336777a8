"""Behaviour: bad cells are refused at the door with source, row and column; what is good comes through."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.data import Corpus, Labelled, Pairs, ScoredPairs
from embedworks.foundation import InputError


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["a"], "txt": ["x"]}, r"column 'text' is missing; the columns are 'id', 'txt'; did you mean 'txt'\?"),
        (
            {"id": ["a"], "body": ["x"]},
            r"'id', 'body'; rename it, or say which one it is with columns=\{'text': \.\.\.",
        ),
        ({"id": pa.array([], pa.string()), "text": pa.array([], pa.string())}, "items: the table has no rows"),
        ({"id": ["a", "b"], "text": ["x", None]}, "items, row 2, column 'text': the cell is missing"),
        ({"id": ["a", "b"], "text": ["x", " \t\n"]}, "items, row 2, column 'text': the cell is empty"),
        ({"id": ["a", "b"], "text": ["x\0", "y"]}, "items, row 1, column 'text': a NUL character"),
        ({"id": ["a", None], "text": ["x", "y"]}, "items, row 2, column 'id': the cell is missing"),
        ({"id": ["a", "b", "a"], "text": ["x", "y", "z"]}, "row 3, column 'id': the id 'a' stands in row 1 already"),
        ({"id": [1.5, 2.5], "text": ["x", "y"]}, "items, column 'id': holds double, not text"),
        ({"id": [True, False], "text": ["x", "y"]}, "items, column 'id': holds bool, not text"),
        ({"id": ["a", "b"], "text": [1, 2]}, "items, column 'text': holds int64, not text"),
        ({"id": ["a"], "text": ["x"], "place": [{"x": 1}]}, "items, column 'place': holds struct<x: int64>"),
        ({"id": ["a"], "text": ["x"], "raw": [b"\xff"]}, "items, column 'raw': holds binary"),
        ({"id": ["a", "b"], "text": ["x", "y"], "price": [1.0, float("inf")]}, "row 2, column 'price': infinity"),
    ],
)
def test_bad_corpora_are_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Corpus(pa.table(table), source="items")
    assert "\n" not in str(caught.value)


def test_doubled_columns_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    with pytest.raises(InputError, match="two columns are named 'text'"):
        Corpus(table)


def test_a_mapping_is_checked() -> None:
    table = pa.table({"id": ["a"], "text": ["x"], "body": ["y"]})
    with pytest.raises(InputError, match="columns= names 'txt', and there is no such column; did you mean 'text'"):
        Corpus(table, columns={"txt": "body"})
    with pytest.raises(InputError, match=r"column 'boody' is missing.*did you mean 'body'"):
        Corpus(table, columns={"text": "boody"})
    with pytest.raises(InputError, match="the column 'text' is in the way"):
        Corpus(table, columns={"text": "body"})
    with pytest.raises(InputError, match=r"row 1, column 'body': the cell is empty"):
        Corpus(pa.table({"id": ["a"], "body": [""]}), columns={"text": "body"})


def test_the_row_is_right_across_chunks() -> None:
    text = pa.chunked_array([["x", "y"], ["z", ""]])
    with pytest.raises(InputError, match="row 4, column 'text'"):
        Corpus(pa.table({"text": text}))
    negatives = pa.chunked_array([[["a"]], [["b", "c"], [" "]]])
    with pytest.raises(InputError, match="row 3, column 'negatives': an empty text in the list"):
        Pairs(pa.table({"query": ["q"] * 3, "positive": ["p"] * 3, "negatives": negatives}))


@pytest.mark.parametrize(
    ("negatives", "message"),
    [
        ([["a"], ["b", None]], "row 2, column 'negatives': a missing text in the list"),
        ([["a"], ["b\0"]], "row 2, column 'negatives': a NUL character"),
        ([[1], [2]], "holds list<.*int64>, not lists of text"),
        (["a", "b"], "holds string, not lists of text"),
    ],
)
def test_bad_negatives_are_refused(negatives: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Pairs(pa.table({"query": ["q"] * 2, "positive": ["p"] * 2, "negatives": negatives}))


def test_missing_negatives_are_none_of_them() -> None:
    table = pa.table(
        {"query": ["q"] * 2, "positive": ["p"] * 2, "negatives": [["n"], None], "instruction": [None, "i"]}
    )
    pairs = Pairs(table)
    assert pairs.negatives == [["n"], []]
    assert pairs.instructions == ["", "i"]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, float("nan")], "row 2, column 'score': NaN or infinity"),
        ([float("-inf"), 1.0], "row 1, column 'score': NaN or infinity"),
        ([1.0, None], "row 2, column 'score': the number is missing"),
        (["1", "2"], "column 'score': holds string, not numbers"),
    ],
)
def test_bad_scores_are_refused(scores: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ScoredPairs(pa.table({"a": ["x"] * 2, "b": ["y"] * 2, "score": scores}))


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        (["a", "b"], ["x"], r"columns of different length \(id: 2, text: 1\)"),
        (["a", "b"], ["x", 3], "row 2, column 'text': a value of type int, not text"),
        (["a", "b"], ["x", float("nan")], "row 2, column 'text': a value of type float, not text"),
        (["a", "b"], ["x", b"y"], "row 2, column 'text': a value of type bytes, not text"),
        (["a", 1.5], ["x", "y"], "row 2, column 'id': a value of type float, not text"),
        (["a", "b"], ["x", "\ud800"], r"row 2, column 'text': text that is no valid Unicode"),
        ([], [], "the table has no rows"),
    ],
)
def test_bad_sequences_are_refused(ids: list[Any], texts: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Corpus.from_columns(ids, texts)


def test_attributes_of_mixed_types_are_refused() -> None:
    with pytest.raises(InputError, match="row 3, column 'year': a value of type str does not fit"):
        Corpus.from_columns(["a", "b", "c"], ["x", "y", "z"], {"year": [1, None, "new"]})


def test_whole_number_ids_and_labels_become_strings() -> None:
    assert Corpus.from_columns(np.arange(2), ["x", "y"]).ids == ["0", "1"]
    assert Corpus(pa.table({"id": [7, 8], "text": ["x", "y"]})).ids == ["7", "8"]
    assert Labelled.from_columns(["x", "y"], np.array([3, 4])).labels == ["3", "4"]
    assert Labelled(pa.table({"text": ["x", "y"], "label": [True, False]})).labels == ["true", "false"]


def test_attribute_types_that_are_kept() -> None:
    day = dt.date(2024, 5, 1)
    attributes = {
        "count": [1, None],
        "price": [1.5, float("nan")],
        "exact": [Decimal("1.25"), None],
        "day": [day, day],
        "flag": [True, None],
        "tags": [["x", "y"], []],
        "nothing": [None, None],
        "category": pa.array(["u", "v"]).dictionary_encode(),
    }
    table = Corpus.from_columns(["a", "b"], ["x", "y"], attributes).attributes
    assert table.to_pydict() == {
        "count": [1, None],
        "price": [1.5, None],
        "exact": [1.25, None],
        "day": [day, day],
        "flag": [True, None],
        "tags": [["x", "y"], []],
        "nothing": [None, None],
        "category": ["u", "v"],
    }
    assert table.schema.field("category").type == pa.string()


def test_large_strings_and_views_are_texts() -> None:
    for kind in (pa.large_string(), pa.string_view()):
        corpus = Corpus(pa.table({"id": pa.array(["a"], kind), "text": pa.array(["x"], kind)}))
        assert corpus.table.schema.field("text").type == pa.string()
