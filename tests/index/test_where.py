"""Filters against a row-by-row evaluator with three truth values, and against SQLite for what SQL itself defines."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.index.conditions import And, Comparison, Constant, Contains, IsNull, Like, Membership, Not, Or
from embedworks.index.masks import passing_rows
from embedworks.index.where import MAX_DEPTH, MAX_LENGTH, MAX_VALUES, parse_where

SCHEMA = pa.schema(
    [
        ("words", pa.int64()),
        ("weight", pa.float64()),
        ("kind", pa.string()),
        ("open", pa.bool_()),
        ("date", pa.date32()),
        ("seen", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
    ]
)
NAMES = {field.name: field.type for field in SCHEMA}
LETTERS = st.text(alphabet="ab%_'\\é\n", max_size=3)

ROW = st.fixed_dictionaries(
    {
        "words": st.none() | st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)]),
        "weight": st.none() | st.sampled_from([-1.5, 0.0, 0.5, 2.0]),
        "kind": st.none() | LETTERS,
        "open": st.none() | st.booleans(),
        "date": st.none() | st.dates(date(2026, 1, 1), date(2026, 1, 4)),
        "seen": st.none()
        | st.sampled_from([datetime(2026, 1, day, hour, tzinfo=UTC) for day in (1, 2) for hour in (0, 9)]),
        "tags": st.none() | st.lists(LETTERS, max_size=3),
    }
)
NUMBER = st.integers(-4, 4).map(str) | st.sampled_from(["0.5", "-1.5", "2e0", "99999999999999999999", "-1e30"])
QUOTED = LETTERS.map(lambda text: "'{}'".format(text.replace("'", "''")))
PLAIN_DAY = st.dates(date(2026, 1, 1), date(2026, 1, 4)).map(lambda day: f"'{day}'")
DAY = PLAIN_DAY | st.just("DATE '2026-01-02'")
MOMENT = DAY | st.sampled_from(["'2026-01-01T09:00:00'", "'2026-01-02T10:00:00+01:00'"])
TRUTH = st.sampled_from(["true", "FALSE"])
OPERATOR = st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="])
# SQLite keeps a date as its text, which is in the order of the dates.
STANDARD = {"words": NUMBER, "weight": NUMBER, "kind": QUOTED, "date": PLAIN_DAY}
EVERY = STANDARD | {"date": DAY, "seen": MOMENT}
OPEN = st.sampled_from(["open", "not open"]) | TRUTH.map(lambda truth: f"open != {truth}")


@st.composite
def predicates(draw: st.DrawFn, columns: dict[str, st.SearchStrategy[str]]) -> str:
    name = draw(st.sampled_from(sorted(columns)))
    value = columns[name]
    negated = draw(st.sampled_from(["", "NOT "]))
    form = draw(st.sampled_from(["compare", "flipped", "in", "between", "null", "like", "more"]))
    if form == "compare":
        return f"{name} {draw(OPERATOR)} {draw(value)}"
    if form == "flipped":
        return f"{draw(value)} {draw(OPERATOR)} {name}"
    if form == "in":
        return f"{name} {negated}IN ({', '.join(draw(st.lists(value, min_size=1, max_size=3)))})"
    if form == "between":
        return f"{name} {negated}between {draw(value)} and {draw(value)}"
    if form == "null":
        return f"{name} is {negated}null"
    if form == "more" and columns is STANDARD:
        return draw(OPEN)
    if form == "more":
        return draw(
            OPEN
            | QUOTED.map(lambda text: f"tags {negated}contains {text}")
            | QUOTED.map(lambda text: f"CONTAINS(tags, {text})")
            | st.just("tags is null")
        )
    return f"kind {negated}like {draw(QUOTED)}"


def expressions(columns: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    return st.recursive(
        predicates(columns),
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "OR"]), inner).map(lambda parts: "({}) {} ({})".format(*parts)),
            st.tuples(predicates(columns), st.sampled_from([" AND ", " or "]), inner).map("".join),
            inner.map(lambda part: f"not ({part})"),
        ),
        max_leaves=6,
    )


def truth(condition: Any, row: dict[str, Any]) -> bool | None:
    """SQL's truth of a condition for one row, by the book."""
    if isinstance(condition, And):
        values = [truth(part, row) for part in condition.conditions]
        return False if False in values else None if None in values else True
    if isinstance(condition, Or):
        values = [truth(part, row) for part in condition.conditions]
        return True if True in values else None if None in values else False
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
    if isinstance(condition, Comparison):
        wanted = condition.value
        return {
            "=": value == wanted,
            "!=": value != wanted,
            "<": value < wanted,
            "<=": value <= wanted,
            ">": value > wanted,
            ">=": value >= wanted,
        }[condition.operator]
    if isinstance(condition, Membership):
        return value in condition.values
    if isinstance(condition, Like):
        pattern = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in condition.pattern)
        return re.fullmatch(pattern, value, flags=re.DOTALL) is not None
    assert isinstance(condition, Contains)
    return condition.value in value


@given(st.lists(ROW, max_size=8), expressions(EVERY))
@example([dict.fromkeys(NAMES) | {"words": 2**63 - 1}], "words < 9223372036854775808 and not words >= 1e19")
def test_masks_equal_a_row_by_row_evaluation(rows: list[dict[str, Any]], expression: str) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    chunked = pa.concat_tables([table.slice(0, 0), table.slice(0, 3), table.slice(3)])
    condition = parse_where(expression, NAMES)
    assert passing_rows(condition, chunked).tolist() == [truth(condition, row) is True for row in rows]


@given(st.lists(ROW, max_size=8), expressions(STANDARD))
def test_masks_equal_sqlite(rows: list[dict[str, Any]], expression: str) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    database = sqlite3.connect(":memory:")
    try:
        database.execute("pragma case_sensitive_like = on")
        database.execute(
            "create table items (place integer, words integer, weight real, kind text, date text, open integer)"
        )
        values = [
            (place, row["words"], row["weight"], row["kind"], row["date"] and str(row["date"]), row["open"])
            for place, row in enumerate(rows)
        ]
        database.executemany("insert into items values (?, ?, ?, ?, ?, ?)", values)
        passing = {place for (place,) in database.execute(f"select place from items where {expression}")}
    finally:
        database.close()
    mask = passing_rows(parse_where(expression, NAMES), table)
    assert mask.tolist() == [place in passing for place in range(len(rows))]


@pytest.mark.parametrize(
    ("expression", "tree"),
    [
        ("words >= 2 AND kind = 'a'", And((Comparison("words", ">=", 2), Comparison("kind", "=", "a")))),
        ("2 < words", Comparison("words", ">", 2)),
        ("words < 2.5", Comparison("words", "<=", 2)),
        ("words > -2.5", Comparison("words", ">", -3)),
        ("words = 2.5", Constant("words", outcome=False)),
        ("words in (1, 2.5, 3)", Membership("words", (1, 3))),
        ("date >= '2026-01-02'", Comparison("date", ">=", date(2026, 1, 2))),
        ("seen >= '2026-01-02'", Comparison("seen", ">=", datetime(2026, 1, 2, tzinfo=UTC))),
        ("tags contains 'cs.IR'", Contains("tags", "cs.IR")),
        ("tags not contains 'it''s'", Not(Contains("tags", "it's"))),
        ("not tags contains 'x' and open", And((Not(Contains("tags", "x")), Comparison("open", "=", True)))),
        ("contains(tags, 'x')", Contains("tags", "x")),
        ('"kind" like \'%\'', Like("kind", "%")),
        ("open", Comparison("open", "=", True)),
        (
            "words=1 or words=2 and open",
            Or((Comparison("words", "=", 1), And((Comparison("words", "=", 2), Comparison("open", "=", True))))),
        ),
    ],
)  # fmt: skip
def test_what_a_line_means(expression: str, tree: object) -> None:
    assert parse_where(expression, NAMES) == tree


def test_names_that_are_words_of_sql_need_no_quotes() -> None:
    names = {"order": pa.int64(), "group": pa.string(), "text": pa.string(), "my column": pa.int64()}
    assert parse_where("order = 1 and group = 'x'", names) == And(
        (Comparison("order", "=", 1), Comparison("group", "=", "x"))
    )
    assert parse_where("text like 'a%'", names) == Like("text", "a%")
    assert parse_where('"my column" > 3', names) == Comparison("my column", ">", 3)
    assert parse_where("in in (1) and is is null", {"in": pa.int64(), "is": pa.int64()}) == And(
        (Membership("in", (1,)), IsNull("is"))
    )


@pytest.mark.parametrize(
    "expression",
    [
        "lower(kind) = 'a'",
        "words = (select 1)",
        "words in (select 1)",
        "words in ()",
        "exists (select 1)",
        "words > 3; drop table x",
        "words > 3 -- comment",
        "-- comment\nwords > 3",
        "words /* comment */ > 3",
        "words + 1 > 3",
        "words",
        "1 = 1",
        "true",
        "'a'",
        "words = kind",
        "kind = a",
        "kind ilike 'a'",
        "kind like 'a' escape '!'",
        "kind like words",
        "kind similar to 'a'",
        "case when open then open else open end",
        "cast(words as text) = '1'",
        "a.words = 1",
        "words = ?",
        "words = :x",
        "words is distinct from 1",
        "words <=> 1",
        "open is true",
        "words = null",
        "words in (1, null)",
        "words = 0x1f",
        "words = 1 2",
        "words between symmetric 2 and 1",
        "(words = 1",
        "words = 1)",
        "kind = 'a",
        'kind = "a',
        "words = 1 union select 1",
        "select 1",
        "{{ words }}",
        "@words = 1",
        "words == == 1",
        "tags contains",
        "tags contains tags",
        "tags contains ('a', 'b')",
        "date = '2026-02-30'",
        "date = '2026'",
        "seen = 'yesterday'",
        "words = 1e999",
        "weight = 1e400",
        "",
        "  ",
        ";",
        "\x00",
        "words == 1",
        "words isnull",
        "words not null",
        "words is unknown",
        "kind ~~ 'a'",
        "words in (1,)",
        "words between 1and 2",
        "words = 1and open",
        "words = 1_000",
        "contains(tags, 'x', 'y')",
        "!open",
        "date < cast('2026-01-02' as date)",
        "date < '2026-01-02'::date",
        "kind = 'half a pair \ud800'",
    ],
)
def test_everything_else_is_refused_in_one_line(expression: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_where(expression, NAMES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("wordz > 3", "did you mean 'words'"),
        ("WORDS > 3", "did you mean 'words'"),
        ("words > 'abc'", "'words' is a whole number (int64)"),
        ("kind = 3", "'kind' is text (string)"),
        ("date > 3", "'date' is a date (date32[day])"),
        ("date = '03.01.2026'", "write it like '2026-01-31'"),
        ("tags = 'a'", "'tags' is a set of strings"),
        ("kind contains 'a'", "write: kind LIKE '%x%'"),
        ("open < true", "'open' is true or false"),
        ("words like 'a'", "LIKE does not fit"),
        ("words = null", "IS NULL"),
        ("kind = abc", "single quotes: 'abc'"),
        ("lower(kind) = 'a'", "allowed: name = value"),
        ("open and lower(kind) = 'a'", "\"lower(kind) = 'a'\" is not allowed in a filter"),
        ("words = 1 and", "cannot be read: words = 1 and"),
        ("words in (1, null)", "nothing equals NULL"),
        ("words > 3; drop table x", "a semicolon is not allowed"),
        ("words > 3 -- x", "comments are not allowed"),
    ],
)
def test_an_error_says_how_to_mend_it(expression: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_where(expression, NAMES)
    assert message in str(caught.value)


def test_size_limits() -> None:
    chain = " or ".join(f"words = {value}" for value in range(900))
    assert len(parse_where(chain, NAMES).conditions) == 900  # type: ignore[union-attr]
    with pytest.raises(InputError, match="characters"):
        parse_where("words = 1 or " * (MAX_LENGTH // 10) + "open", NAMES)
    with pytest.raises(InputError, match="deeper"):
        parse_where("(" * (MAX_DEPTH + 1) + "open" + ")" * (MAX_DEPTH + 1), NAMES)
    with pytest.raises(InputError, match="deeper"):
        parse_where("not " * 2000 + "open", NAMES)
    with pytest.raises(InputError, match="deeper"):
        parse_where("words = " + "- " * 2000 + "1", NAMES)
    assert isinstance(parse_where("(" * MAX_DEPTH + "open" + ")" * MAX_DEPTH, NAMES), Comparison)
    with pytest.raises(InputError, match="deeper"):
        parse_where("not (" * (MAX_DEPTH + 1) + "open" + ")" * (MAX_DEPTH + 1), NAMES)
    with pytest.raises(InputError, match="deeper"):
        parse_where("not not (" * (MAX_DEPTH // 2 + 1) + "open" + ")" * (MAX_DEPTH // 2 + 1), NAMES)
    assert parse_where("(not open) and " * 50 + "(not open)", NAMES)
    with pytest.raises(InputError, match="IN lists"):
        parse_where(f"words in ({','.join('1' for _ in range(MAX_VALUES + 1))})", NAMES)
    with pytest.raises(InputError, match="text, not int"):
        parse_where(5, NAMES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "passing"),
    [
        ("a\\%", ["a\\", "a\\b"]),
        ("a\\_", ["a\\b"]),
        ("a%", ["a", "a\\", "a\\b", "a%", "a\nb"]),
        ("_", ["a"]),
        ("A%", []),
        ("%%", ["a", "a\\", "a\\b", "a%", "a\nb"]),
        ("a.b", []),
        ("a_b", ["a\\b", "a\nb"]),
    ],
)
def test_like_has_two_wildcards_and_no_escape(pattern: str, passing: list[str]) -> None:
    values = ["a", "a\\", "a\\b", "a%", "a\nb", None]
    mask = passing_rows(parse_where(f"kind like '{pattern}'", NAMES), pa.table({"kind": values}))
    assert [value for value, passes in zip(values, mask, strict=True) if passes] == passing


PIECES = "words kind tags open ( ) = < > in like between and or not null contains 'a' 1 , . - ; case select \" '"


@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES.split()), max_size=12).map(" ".join))
def test_any_line_is_parsed_or_refused(expression: str) -> None:
    try:
        condition = parse_where(expression, NAMES)
    except InputError:
        return
    assert passing_rows(condition, SCHEMA.empty_table()).size == 0


def test_an_attribute_with_only_nulls_is_unknown_everywhere() -> None:
    names = {"empty": pa.null()}
    rows = pa.table({"empty": pa.nulls(2)})
    for expression, passing in (
        ("empty = 3", 0),
        ("not empty = 'a'", 0),
        ("empty contains 'a'", 0),
        ("empty like 'a'", 0),
        ("empty is null", 2),
    ):
        assert passing_rows(parse_where(expression, names), rows).sum() == passing
