"""The translation to SQL by itself: what is sent, and what is refused before anything is."""

from __future__ import annotations

import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.index.adapters.sql_filter import arrow_type, quoted, sql_filter, sql_type
from embedworks.index.conditions import Comparison, Condition, Contains, Like, Membership, Not
from embedworks.index.where import parse_where

SCHEMA = pa.schema(
    [("words", pa.int64()), ("kind", pa.string()), ("tags", pa.list_(pa.string())), ("100%", pa.bool_())]
)
NAMES = {column.name: column.type for column in SCHEMA}


@pytest.mark.parametrize(
    ("where", "text", "values"),
    [
        ("words >= 2", '("words" >= %s::bigint)', (2,)),
        ("words != 2", '("words" <> %s::bigint)', (2,)),
        ("words in (1, 2)", '("words" = any(%s::bigint[]))', ([1, 2],)),
        ("words = 2.5", '("words" is null and null)', ()),
        ("words != 2.5", '("words" is not null or null)', ()),
        ("kind like 'a\\%'", "(\"kind\" like %s::text escape '')", ("a\\%",)),
        ("tags contains 'it''s'", '("tags" @> array[%s::text])', ("it's",)),
        ('not "100%" or kind is null', '((not ("100%%" = %s::boolean)) or ("kind" is null))', (True,)),
    ],
)
def test_what_is_sent(where: str, text: str, values: tuple[object, ...]) -> None:
    translated = sql_filter(parse_where(where, NAMES), SCHEMA)
    assert (translated.text, translated.values) == (text, values)


def test_no_value_and_no_quote_of_a_name_gets_into_the_text() -> None:
    schema = pa.schema([('a"; drop table x; --', pa.string())])
    translated = sql_filter(Comparison('a"; drop table x; --', "=", "'; drop table y; --"), schema)
    assert translated.text == '("a""; drop table x; --" = %s::text)'
    assert "drop table y" not in translated.text
    assert quoted('"%"') == '"""%%"""'


@pytest.mark.parametrize(
    "condition",
    [
        Comparison("kind", "=", "\x00"),
        Membership("kind", ("a", "b\x00")),
        Not(Like("kind", "%\x00")),
        Contains("tags", "\x00"),
    ],
)
def test_the_zero_character_is_refused(condition: Condition) -> None:
    with pytest.raises(InputError, match=r"U\+0000"):
        sql_filter(condition, SCHEMA)


def test_every_type_has_a_name_and_back() -> None:
    moments = pa.timestamp("us"), pa.timestamp("us", tz="UTC")
    for kind in (pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.date32(), *moments, pa.list_(pa.string())):
        assert arrow_type(sql_type(kind)) == kind
    assert arrow_type("numeric") is None
