"""The parser of filters against sqlglot's parser of SQL, over lines inside the grammar and lines just outside it."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from embedworks.foundation import InputError
from embedworks.index.conditions import And, Comparison, Condition, IsNull, Not, Or
from embedworks.index.typed_conditions import Literal, compared, contains, iso_date, like, one_of
from embedworks.index.where import parse_where

NAMES = {
    "words": pa.int64(),
    "weight": pa.float64(),
    "kind": pa.string(),
    "open": pa.bool_(),
    'an "odd" name': pa.date32(),
    "größe": pa.timestamp("us", tz="UTC"),
    "tags": pa.list_(pa.string()),
    "empty": pa.null(),
}
OPERATORS = {exp.EQ: "=", exp.NEQ: "!=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
FLIPPED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def read_by_sqlglot(line: str) -> Condition | None:
    """What sqlglot takes a line for, as our tree; None where it refuses it or takes it for something we have not."""
    try:
        return translated(sqlglot.parse_one(line, into=exp.Condition))
    except (sqlglot.errors.SqlglotError, InputError, LookupError):
        return None


def translated(node: Any) -> Condition:
    if isinstance(node, exp.Paren):
        return translated(node.this)
    if isinstance(node, exp.Not):
        return Not(translated(node.this))
    if isinstance(node, exp.And | exp.Or):
        operands, kind = [], type(node)
        while type(node) is kind:
            operands.append(translated(node.expression))
            node = node.this
        conditions = (translated(node), *reversed(operands))
        return And(conditions) if kind is exp.And else Or(conditions)
    if isinstance(node, exp.Column):
        name, kind = column(node)
        assert pa.types.is_boolean(kind) or refuse()
        return Comparison(name, "=", value=True)
    if type(node) in OPERATORS:
        operator, left, right = OPERATORS[type(node)], node.this, node.expression
        if isinstance(right, exp.Column):
            left, right, operator = right, left, FLIPPED[operator]
        return compared(*column(left), operator, literal(right))  # type: ignore[arg-type]
    if isinstance(node, exp.In):
        return one_of(*column(node.this), [literal(value) for value in node.expressions] or refuse())
    if isinstance(node, exp.Between):
        attribute = column(node.this)
        low, high = literal(node.args["low"]), literal(node.args["high"])
        return And((compared(*attribute, ">=", low), compared(*attribute, "<=", high)))
    if isinstance(node, exp.Like):
        condition = like(*column(node.this), text(node.expression))
        return Not(condition) if node.args.get("negate") else condition
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return IsNull(column(node.this)[0])
    if isinstance(node, exp.Contains):
        return contains(*column(node.this), text(node.expression))
    return refuse()


def refuse() -> Any:
    raise LookupError


def column(node: Any) -> tuple[str, pa.DataType]:
    assert (isinstance(node, exp.Column) and len(node.parts) == 1) or refuse()
    return node.name, NAMES[node.name]


def literal(node: Any) -> Literal:
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
        return -Decimal(node.this.this)
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DATE:
        return iso_date(text(node.this))
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    assert isinstance(node, exp.Literal) or refuse()
    return str(node.this) if node.is_string else Decimal(node.this)


def text(node: Any) -> str:
    assert (isinstance(node, exp.Literal) and node.is_string) or refuse()
    return str(node.this)


QUOTED = st.text(alphabet="ab%_'\\é\n -;", max_size=3).map(lambda value: "'{}'".format(value.replace("'", "''")))
NUMBER = st.sampled_from(["1", "-1", "- 2", "+3", "2.5", ".5", "7.", "1e3", "-1E-2", "99999999999999999999", "007"])
DAY = st.sampled_from(["'2026-01-02'", "DATE '2026-01-03'", "date'2026-01-04'"])
VALUES = {
    "words": NUMBER,
    "weight": NUMBER,
    "kind": QUOTED,
    "open": st.sampled_from(["true", "FALSE"]),
    '"an ""odd"" name"': DAY,
    "größe": DAY | st.just("'2026-01-02T10:00+01:00'"),
    "empty": NUMBER | QUOTED,
}
NOT = st.sampled_from(["", "not ", "NOT "])
OPERATOR = st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="])


@st.composite
def predicates(draw: st.DrawFn) -> tuple[str, str]:
    """A predicate of the grammar in our spelling, and in one that sqlglot knows."""
    name = draw(st.sampled_from(sorted(VALUES)))
    form = draw(st.sampled_from(["compare", "flipped", "in", "between", "null", "like", "contains", "truth"]))
    negated, one, other = draw(NOT), draw(VALUES[name]), draw(VALUES[name])
    operator = draw(OPERATOR) if name != "open" else draw(st.sampled_from(["=", "!="]))
    gap = draw(st.sampled_from([" ", "", "\n"]))
    if form == "between" and name != "open":
        line = f"{name} {negated}between {one} and {other}"
    elif form == "in":
        line = f"{name} {negated}In{gap}({one},{gap}{other})"
    elif form == "null":
        line = f"{name} is {negated}NULL"
    elif form == "like":
        line = f"kind {negated}like {draw(QUOTED)}"
    elif form == "truth":
        line = f"{negated}open"
    elif form == "contains":
        member = draw(QUOTED)
        return f"tags {negated}contains {member}", f"{negated}contains(tags, {member})"
    else:
        line = f"{one}{gap}{operator}{gap}{name}" if form == "flipped" else f"{name}{gap}{operator}{gap}{one}"
    return line, line


LINES = st.recursive(
    predicates(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " OR ", "\tAND\n", " or "]), inner).map(
            lambda parts: tuple(left + parts[1] + right for left, right in zip(parts[0], parts[2], strict=True))
        ),
        inner.map(lambda pair: tuple(f"({line})" for line in pair)),
        inner.map(lambda pair: tuple(f"not ({line})" for line in pair)),
    ),
    max_leaves=6,
)


@given(LINES)
def test_a_line_of_the_grammar_is_read_as_sql(pair: tuple[str, str]) -> None:
    ours, theirs = pair
    condition = read_by_sqlglot(theirs)
    assert condition is not None
    assert parse_where(ours, NAMES) == condition


PIECES = (
    "( ) , and or not in between like is null contains = < >= + - . * ' \" 1 'a' true words kind open nowhere lower("
)


@given(LINES, st.data())
def test_what_is_read_outside_of_it_is_read_as_sql_too(pair: tuple[str, str], data: st.DataObject) -> None:
    pieces = pair[1].split(" ")
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(pieces) - 1))
        pieces[place : place + data.draw(st.integers(0, 1))] = data.draw(
            st.lists(st.sampled_from(PIECES.split()), max_size=1)
        )
        pieces = pieces or [""]
    line = " ".join(pieces)
    with contextlib.suppress(InputError):
        assert parse_where(line, NAMES) == read_by_sqlglot(line)
