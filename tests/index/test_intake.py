"""What the door lets in, in which form, and how it refuses the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.index.intake import (
    RESERVED_NAMES,
    checked_attributes,
    checked_ids,
    checked_query,
    checked_texts,
    checked_vectors,
)

NOTHING = pa.schema([])


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, None], pa.int64(), [1, None]),
        (pa.array([1, 2], pa.uint8()), pa.int64(), [1, 2]),
        (np.array([1.5, np.nan], dtype=np.float32), pa.float64(), [1.5, None]),
        (pa.array(["a", None], pa.large_string()), pa.string(), ["a", None]),
        (pa.array(["a", "b"]).dictionary_encode(), pa.string(), ["a", "b"]),
        ([True, None], pa.bool_(), [True, None]),
        ([date(2026, 1, 1), None], pa.date32(), [date(2026, 1, 1), None]),
        ([datetime(2026, 1, 1, 5), None], pa.timestamp("us"), [datetime(2026, 1, 1, 5), None]),
        (
            pa.array([datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=2)))], pa.timestamp("ms", tz="+02:00")),
            pa.timestamp("us", tz="UTC"),
            [datetime(2026, 1, 1, 3, tzinfo=UTC)],
        ),
        ([["a"], None], pa.list_(pa.string()), [["a"], None]),
        ([["b", "a", "b"], None, []], pa.list_(pa.string()), [["b", "a"], None, []]),
        ([{"b", "a"}, []], pa.list_(pa.string()), [["a", "b"], []]),
        (pa.array([["a"], []], pa.large_list(pa.large_string())), pa.list_(pa.string()), [["a"], []]),
        ([None, None], pa.null(), [None, None]),
    ],
)
def test_attributes_are_stored_in_one_of_a_few_types(values: Any, kind: pa.DataType, stored: list[Any]) -> None:
    column = checked_attributes({"name": values}, len(stored), NOTHING).column("name")
    assert column.type == kind
    assert column.to_pylist() == stored


def test_a_table_and_its_chunks_are_taken_too() -> None:
    table = pa.table({"words": pa.chunked_array([[1], [2, 3]])})
    assert checked_attributes(table, 3, NOTHING).column("words").to_pylist() == [1, 2, 3]
    assert checked_attributes(None, 3, NOTHING).num_columns == 0


def test_a_known_attribute_keeps_its_type() -> None:
    schema = pa.schema([("weight", pa.float64()), ("words", pa.int64()), ("empty", pa.null())])
    columns = checked_attributes({"weight": [1, 2], "words": [None, None], "empty": ["a", "b"]}, 2, schema)
    assert columns.schema.types == [pa.float64(), pa.int64(), pa.string()]
    for name, values in (("words", [0.5, 1.0]), ("words", ["1", "2"]), ("weight", [True, False])):
        with pytest.raises(InputError, match=f"attribute '{name}'"):
            checked_attributes({name: values}, 2, schema)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        *(({name: [1]}, "reserved") for name in RESERVED_NAMES),
        ({"": [1]}, "cannot be used"),
        ({3: [1]}, "cannot be used"),
        ({"a": [1, 2]}, "2 values for 1 ids"),
        ({"a": "x"}, "one string"),
        ({"a": [{"b": 1}]}, "not supported"),
        ({"a": [Decimal("1.5")]}, "not supported"),
        ({"a": [[1, 2]]}, "not supported"),
        ({"a": [b"bytes"]}, "not supported"),
        ({"a": [["x", None]]}, "row 0: a set holds a null"),
        ({"a": [object()]}, "cannot be read together"),
        ({"a": pa.array([2**64 - 1], pa.uint64())}, "does not fit int64"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "occurs twice"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(attributes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        checked_attributes(attributes, 1, NOTHING)
    assert "\n" not in str(caught.value)


def test_values_of_two_kinds_name_the_attribute() -> None:
    with pytest.raises(InputError, match="attribute 'a'"):
        checked_attributes({"a": [1, "x"]}, 2, NOTHING)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], "row 2: the id 'a' occurs twice; it stands in row 0"),
        (["a", 3], "row 1: 3 is no id"),
        ([None], "row 0"),
        ([""], "row 0"),
        ("ab", "pass a list"),
        (["\ud800"], "Unicode"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_ids(ids)


def test_texts() -> None:
    assert checked_texts(["a", None], 2).to_pylist() == ["a", None]
    assert checked_texts(pa.chunked_array([["a"], ["b"]]), 2).to_pylist() == ["a", "b"]
    assert checked_texts(None, 2).to_pylist() == [None, None]
    for texts, message in ((["a"], "1 texts for 2 ids"), (["a", 3], "row 1"), ("ab", "pass a list")):
        with pytest.raises(InputError, match=message):
            checked_texts(texts, 2)  # type: ignore[arg-type]


def test_vectors_get_unit_length_whatever_their_size() -> None:
    ids = checked_ids(["a", "b", "c", "d"])
    rows = np.array([[3e-20, 4e-20], [3e18, 4e18], [-1, 0], [2, 0]])
    stored = checked_vectors(rows, ids, 2)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(stored, [[0.6, 0.8], [0.6, 0.8], [-1, 0], [1, 0]], rtol=1e-7)
    for dtype in (np.float16, np.float32, np.int8):
        np.testing.assert_allclose(
            checked_vectors(np.array([[3, 4]], dtype=dtype), ids[:1], 2), [[0.6, 0.8]], rtol=1e-7
        )


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1, 0], [0, np.inf]], r"row 1 \(id 'b'\): the vector holds NaN or infinity"),
        ([[1, 0], [np.nan, 0]], r"row 1 \(id 'b'\)"),
        ([[0, 0], [1, 0]], r"row 0 \(id 'a'\): the vector is zero"),
        ([[1, 0, 0], [1, 0, 0]], "dimension 2"),
        ([1, 0], "dimension 2"),
        ([[1, 0]], "1 vectors for 2 ids"),
        ([["x", "y"], ["x", "y"]], "real numbers"),
        (np.ones((2, 2), dtype=complex), "real numbers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        checked_vectors(vectors, checked_ids(["a", "b"]), 2)


def test_the_row_is_named_beyond_the_first_block() -> None:
    vectors = np.ones((9000, 2))
    vectors[8500, 1] = np.nan
    with pytest.raises(InputError, match=r"row 8500 \(id '8500'\)"):
        checked_vectors(vectors, checked_ids([str(row) for row in range(9000)]), 2)


def test_a_query_of_another_dimension_asks_for_the_model() -> None:
    with pytest.raises(InputError, match="another model"):
        checked_query(np.ones((1, 3)), 2)
