"""Attributes and filters, against a loop over the rows."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.index.structures import Arbitrary, Attributes, Everything, Labels, Range
from embedworks.index.structures.filters import LabelColumn, NumberColumn

TAGS = ("amber", "basalt", "cobalt", "dune")
numbers = st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=30)
tag_sets = st.lists(st.none() | st.lists(st.sampled_from(TAGS), max_size=4), min_size=1, max_size=30)
bounds = st.integers(-6, 6) | st.sampled_from([-np.inf, np.inf])


def of(name: str, values: list[Any], kind: pa.DataType) -> Attributes:
    return Attributes(pa.table({name: pa.array(values, kind)}))


@given(values=numbers, low=bounds, high=bounds)
def test_a_range_passes_what_lies_in_it_and_no_null(values: list[int | None], low: float, high: float) -> None:
    attributes = of("n", values, pa.int32())
    where = attributes.range("n", low=low, high=high)
    assert where.mask.tolist() == [value is not None and low <= value <= high for value in values]
    assert where.form == Range("n", low, high)
    assert where.count == len(where.passing) == where.mask.sum()
    assert where.selectivity == where.mask.mean()
    column = attributes.column("n")
    assert isinstance(column, NumberColumn)
    left, right = column.positions(low, high)
    assert sorted(column.order[left:right].tolist()) == where.passing.tolist()
    known = sum(value is not None for value in values)
    assert (np.diff(column.ordered[:known]) >= 0).all()
    assert np.isnan(column.ordered[known:]).all()


@given(
    sets=tag_sets, wanted=st.lists(st.sampled_from([*TAGS, "nobody's"]), min_size=1, unique=True), every=st.booleans()
)
def test_labels_pass_rows_that_have_all_or_any(sets: list[list[str] | None], wanted: list[str], every: bool) -> None:
    attributes = of("tags", sets, pa.list_(pa.string()))
    where = attributes.labels("tags", wanted, every=every)
    rule = all if every else any
    assert where.mask.tolist() == [rule(label in (labels or []) for label in wanted) for labels in sets]
    if isinstance(where.form, Labels):
        column = attributes.column("tags")
        assert isinstance(column, LabelColumn)
        assert {column.names[code] for code in where.form.codes} == set(wanted) & set(column.names)
        assert list(where.form.codes) == sorted(where.form.codes)
    else:
        assert where.count == 0


@given(sets=tag_sets)
def test_a_label_column_keeps_every_set_and_numbers_frequent_labels_first(sets: list[list[str] | None]) -> None:
    column = of("tags", sets, pa.list_(pa.string())).column("tags")
    assert isinstance(column, LabelColumn)
    for row, labels in enumerate(sets):
        assert [column.names[code] for code in column.labels_of(row)] == sorted(
            set(labels or []), key=lambda name: column.code(name)
        )
    counts = [len(column.rows_with(code)) for code in range(len(column.names))]
    assert counts == sorted(counts, reverse=True)
    for code, name in enumerate(column.names):
        assert column.rows_with(code).tolist() == [row for row, labels in enumerate(sets) if name in (labels or [])]
    assert column.code("nobody's") == -1
    assert len(column.rows_with(-1)) == 0


@pytest.mark.parametrize(
    ("kind", "values", "low", "expected"),
    [
        (pa.date32(), [date(1970, 1, 3), date(1970, 1, 1), None], 1, [True, False, False]),
        (pa.timestamp("us"), [datetime(1970, 1, 1) + timedelta(seconds=2), None], 1_500_000, [True, False]),
        (pa.float32(), [0.5, 1.5, None], 1, [False, True, False]),
        (pa.uint8(), [200, 3], 100, [True, False]),
        (pa.decimal128(4, 2), [Decimal("1.25"), Decimal("0.75")], 1, [True, False]),
    ],
)
def test_what_has_an_order_becomes_numbers(
    kind: pa.DataType, values: list[Any], low: float, expected: list[bool]
) -> None:
    assert of("x", values, kind).range("x", low=low).mask.tolist() == expected


@pytest.mark.parametrize(
    ("kind", "values", "label", "expected"),
    [
        (pa.string(), ["a", None, "b"], "a", [True, False, False]),
        (pa.large_string(), ["a", "b"], "b", [False, True]),
        (pa.bool_(), [True, False, None], "true", [True, False, False]),
        (pa.large_list(pa.string()), [["a", "a"], []], "a", [True, False]),
    ],
)
def test_what_has_none_becomes_labels(kind: pa.DataType, values: list[Any], label: str, expected: list[bool]) -> None:
    assert of("x", values, kind).labels("x", [label]).mask.tolist() == expected


def test_a_column_is_read_once() -> None:
    attributes = of("x", [1, 2], pa.int64())
    assert attributes.column("x") is attributes.column("x")


def test_the_other_forms() -> None:
    attributes = of("x", [1, 2, 3], pa.int64())
    assert attributes.everything().form == Everything()
    assert attributes.everything().selectivity == 1
    where = attributes.arbitrary(np.array([True, False, True]))
    assert where.form == Arbitrary()
    assert where.passing.tolist() == [0, 2]
    assert where.passing.dtype == np.int64
    descriptions = {form.describe() for form in (Everything(), Range("x", 0, 1), Labels("x", (1,)), Arbitrary())}
    assert len(descriptions) == 4
    assert Labels("x", (1, 2)).describe() != Labels("x", (1, 2), every=False).describe()


def test_questions_that_do_not_fit_the_attribute_are_refused() -> None:
    attributes = Attributes(pa.table({"n": [1], "tags": [["a"]], "raw": pa.array([b"x"])}))
    with pytest.raises(InputError, match="no attribute 'm'"):
        attributes.column("m")
    with pytest.raises(InputError, match="has no order"):
        attributes.range("tags", low=1)
    with pytest.raises(InputError, match="has no labels"):
        attributes.labels("n", ["a"])
    with pytest.raises(InputError, match="neither an order nor labels"):
        attributes.column("raw")
    for mask in (np.ones(2, dtype=np.bool_), np.ones(1, dtype=np.int8)):
        with pytest.raises(InputError, match="the mask is"):
            attributes.arbitrary(mask)


def test_infinite_numbers_lie_in_ranges_that_reach_them() -> None:
    attributes = Attributes(pa.table({"number": [np.inf, 2.0, None, -np.inf]}))
    column = attributes.column("number")
    assert isinstance(column, NumberColumn)
    for low, high, rows in ((-np.inf, np.inf, [0, 1, 3]), (0, np.inf, [0, 1]), (-np.inf, 2, [1, 3]), (3, 9, [])):
        left, right = column.positions(low, high)
        assert sorted(column.order[left:right]) == rows
        assert attributes.range("number", low=low, high=high).passing.tolist() == rows
