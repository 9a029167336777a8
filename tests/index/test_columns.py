"""Filters over prepared columns against a row-by-row evaluator with three truth values, on tables of many shapes."""

from __future__ import annotations

import re
import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedworks.index.columns import CodedColumn, Columns, SetColumn
from embedworks.index.conditions import (
    And,
    Comparison,
    Condition,
    Constant,
    Contains,
    IsNull,
    Like,
    Membership,
    Not,
    Or,
)
from embedworks.index.masks import passing_rows, select
from embedworks.index.scanned_column import ScannedColumn

LONG = "x" * 100
LETTERS = st.text(alphabet="ab%_'\\é😀\n", max_size=3)
MOMENTS = st.sampled_from([datetime(2026, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(2026, 1, 1, 9)])
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "whole": (pa.int64(), st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)])),
    "number": (pa.float64(), st.sampled_from([-1.5, -0.0, 0.0, 0.1, 2.0, 1e308, float("-inf")])),
    "text": (pa.string(), LETTERS),
    "long": (pa.string(), LETTERS.map(lambda text: text + LONG)),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.sampled_from([date(2026, 1, 1), date(1969, 12, 31), date(1, 1, 1), date(2026, 1, 2)])),
    "moment": (pa.timestamp("us"), MOMENTS),
    "zoned": (pa.timestamp("us", tz="UTC"), MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    "set": (pa.list_(pa.string()), st.lists(LETTERS, max_size=3)),
    "empty": (pa.null(), st.none()),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in VALUES.items()])
OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
Row = dict[str, Any]


def truth(condition: Condition, row: Row) -> bool | None:
    """SQL's truth of a condition for one row, by the book."""
    if isinstance(condition, And | Or):
        values = [truth(part, row) for part in condition.conditions]
        decisive = isinstance(condition, Or)
        return decisive if decisive in values else None if None in values else not decisive
    if isinstance(condition, Not):
        value = truth(condition.condition, row)
        return None if value is None else not value
    value = row[condition.attribute]
    if isinstance(condition, IsNull):
        return value is None
    if value is None:
        return None
    if isinstance(condition, Constant):
        return condition.outcome
    if isinstance(condition, Membership):
        return value in condition.values
    if isinstance(condition, Like):
        pattern = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in condition.pattern)
        return re.fullmatch(pattern, value, flags=re.DOTALL) is not None
    if isinstance(condition, Contains):
        return condition.value in value
    wanted: Any = condition.value
    return {
        "=": value == wanted,
        "!=": value != wanted,
        "<": value < wanted,
        "<=": value <= wanted,
        ">": value > wanted,
        ">=": value >= wanted,
    }[condition.operator]


@st.composite
def leaves(draw: st.DrawFn) -> Condition:
    name = draw(st.sampled_from(sorted(VALUES)))
    _, values = VALUES[name]
    forms = ["null", "constant"] + ([] if name in ("set", "empty") else ["compare", "in"])
    form = draw(st.sampled_from(forms + (["like"] * 2 if name in ("text", "long") else [])))
    if name == "set" and draw(st.booleans()):
        return Contains("set", draw(LETTERS))
    if form == "null":
        return IsNull(name)
    if form == "constant":
        return Constant(name, outcome=draw(st.booleans()))
    if form == "in":
        return Membership(name, tuple(draw(st.lists(values, min_size=1, max_size=4))))
    if form == "like":
        return Like(name, draw(LETTERS) + draw(st.sampled_from(["", "%", "%%", "_%", LONG, "%" + LONG])))
    return Comparison(name, draw(OPERATORS), draw(values))


CONDITIONS = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=2, max_size=4).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=8,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[Row], pa.Table]:
    """Few rows as drawn, or many that repeat them, in chunks of which some are empty and some begin within an array."""
    nulls = st.none() if draw(st.booleans()) else st.nothing()
    row = st.fixed_dictionaries({name: nulls | values for name, (_, values) in VALUES.items()})
    drawn = draw(st.lists(row, max_size=8))
    repeated = draw(st.sampled_from([1, 1, 40]))
    rows = [row | {"set": row["set"] if copy % 7 else None} for copy in range(repeated) for row in drawn]
    whole = pa.Table.from_pylist(rows, schema=SCHEMA)
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    parts = [whole.slice(start, end - start) for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    return rows, pa.concat_tables(parts)


@settings(max_examples=250)
@given(tables(), CONDITIONS, st.randoms(use_true_random=False))
def test_every_form_of_a_selection_equals_a_row_by_row_evaluation(
    made: tuple[list[Row], pa.Table], condition: Condition, random: Any
) -> None:
    rows, table = made
    columns = Columns(table)
    for wanted in (True, False):
        expected = np.array([truth(condition, row) is wanted for row in rows], dtype=np.bool_)
        selection = select(condition, columns, truth=wanted)
        mask, numbers = selection.both()
        assert mask.dtype == np.bool_
        assert numbers.dtype == np.int64
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(numbers, np.flatnonzero(expected))
        np.testing.assert_array_equal(selection.mask(), expected)
        np.testing.assert_array_equal(selection.rows(), np.flatnonzero(expected))
        assert selection.most >= expected.sum()
        some = np.array(sorted(random.sample(range(len(rows)), len(rows) // 2)), dtype=np.int64)
        np.testing.assert_array_equal(selection.among(some), expected[some])
    np.testing.assert_array_equal(passing_rows(condition, table), [truth(condition, row) is True for row in rows])


def made_table(rows: int, *, nulls: bool) -> tuple[list[Row], pa.Table]:
    """Enough rows and distinct values that every way of keeping and combining them occurs."""
    random = np.random.default_rng(rows)
    values: list[Row] = []
    for row in range(rows):
        tags = [f"t{tag}" for tag in np.flatnonzero(random.random(40) < 0.5 / np.arange(1, 41)).tolist()]
        values.append(
            {
                "few": int(random.integers(3)),
                "many": float(random.random()),
                "some": f"v{int(random.integers(700)):03}",
                "mostly": "usual" if random.random() < 0.99 else f"rare {row}",
                "tags": [*tags, *tags[:1]],
                "long": f"{int(random.integers(5))}{LONG}",
                "day": date(2026, 1, 1) + timedelta(days=int(random.integers(300))),
            }
        )
        if nulls and row % 9 == 0:
            values[-1][str(random.choice(list(values[-1])))] = None
    table = pa.Table.from_pylist(values)
    return values, pa.concat_tables([table.slice(0, rows // 3), table.slice(rows // 3)])


LARGE = [
    Comparison("few", "=", 1),
    Comparison("many", "<", 0.001),
    Comparison("many", ">", 0.4),
    Comparison("some", ">=", "v350"),
    Comparison("some", "!=", "v350"),
    Membership("some", tuple(f"v{number:03}" for number in range(0, 700, 3))),
    Membership("some", ("v001", "v001", "v002", "nowhere")),
    Like("some", "v1%"),
    Like("some", "%7"),
    Like("some", "v12_"),
    Comparison("mostly", "=", "usual"),
    Comparison("mostly", ">", "rare"),
    Contains("tags", "t0"),
    Contains("tags", "t39"),
    Contains("tags", "nowhere"),
    Like("long", "3%"),
    Comparison("day", ">=", date(2026, 10, 20)),
    IsNull("day"),
    IsNull("tags"),
]


@pytest.mark.parametrize("nulls", [False, True])
def test_a_larger_table(nulls: bool) -> None:
    rows, table = made_table(3_000, nulls=nulls)
    columns = Columns(table)
    assert isinstance(columns["long"], ScannedColumn)
    assert {column.codes.dtype for name in table.column_names if isinstance(column := columns[name], CodedColumn)} == {
        np.dtype(np.uint8),
        np.dtype(np.uint16),
    }
    tags = columns["tags"]
    assert isinstance(tags, SetColumn)
    assert 0 < len(tags.bits) < len(tags.distinct.values)
    # Which rows each leaf is true for, and which it is false for.
    known = {True: {}, False: {}}
    for leaf in LARGE:
        values = [truth(leaf, row) for row in rows]
        for wanted in (True, False):
            known[wanted][leaf] = np.array([value is wanted for value in values])

    def check(condition: Condition, wanted: bool, expected: Any) -> None:
        mask, numbers = select(condition, columns, truth=wanted).both()
        assert np.array_equal(mask, expected), condition
        assert np.array_equal(numbers, np.flatnonzero(expected)), condition

    for wanted in (True, False):
        for one in LARGE:
            check(one, wanted, known[wanted][one])
            for other in LARGE:
                both, either = known[wanted][one] & known[wanted][other], known[wanted][one] | known[wanted][other]
                check(And((one, other)), wanted, both if wanted else either)
                check(Or((one, other)), wanted, either if wanted else both)


def test_256_and_more_distinct_values_with_and_without_a_null() -> None:
    for count in (254, 255, 256, 65_535, 65_536):
        for nulls in ([], [None]):
            table = pa.table({"a": pa.array([*range(count), *nulls], pa.int64())})
            for condition, passing in (
                (Comparison("a", ">=", 1), count - 1),
                (Comparison("a", "<", count), count),
                (Not(Comparison("a", "=", count - 1)), count - 1),
                (And((Comparison("a", ">", 3), Comparison("a", "<", 200))), 196),
                (IsNull("a"), len(nulls)),
            ):
                assert passing_rows(condition, table).sum() == passing, (count, nulls, condition)


def test_neighbours_in_the_list_of_a_sets_rows() -> None:
    table = pa.table({"set": pa.array([["a", "b", "a"], [], None, ["c", "b"], ["c"]], pa.list_(pa.string()))})
    for member, passing in (("a", [0]), ("b", [0, 3]), ("c", [3, 4]), ("d", [])):
        selection = select(Contains("set", member), Columns(table))
        assert selection.rows().tolist() == passing
        assert selection.most == len(passing)


def test_conditions_on_one_column_are_counted_together() -> None:
    columns = Columns(pa.table({"a": pa.array([*range(1_000), None], pa.int64())}))
    between = And((Comparison("a", ">=", 10), Comparison("a", "<=", 19)))
    selection = select(And((between, Not(Comparison("a", "=", 12)))), columns)
    assert selection.listed
    assert selection.most == 9
    assert select(Not(between), columns).most == 990
    assert select(Or((between, IsNull("a"))), columns).most == 11
    assert select(And((between, IsNull("a"))), columns).rows().tolist() == []


def test_masks_are_the_callers_own() -> None:
    _, table = made_table(300, nulls=True)
    columns = Columns(table)
    for condition in LARGE:
        mask, rows = select(condition, columns).both()
        kept = mask.copy(), rows.copy()
        mask[:], rows[:] = True, 0
        again = select(condition, columns).both()
        assert all(np.array_equal(one, other) for one, other in zip(kept, again, strict=True)), condition


def test_threads_that_name_a_column_first_all_see_it_whole() -> None:
    _, table = made_table(2_000, nulls=False)
    expected = passing_rows(Contains("tags", "t0"), table)
    for _ in range(5):
        columns, found = Columns(table), []
        start = threading.Barrier(4)

        def ask(columns: Columns = columns, found: list[Any] = found, start: threading.Barrier = start) -> None:
            start.wait()
            found.append(select(Contains("tags", "t0"), columns).mask())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(np.array_equal(mask, expected) for mask in found)
