"""The translation to Milvus by itself: negations pushed down, nulls named, names and literals that cannot break out."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.index.adapters.milvus_filter import (
    attribute_of,
    field_name,
    id_filter,
    loaded_value,
    milvus_filter,
    stored_value,
)
from embedworks.index.where import parse_where

SCHEMA = pa.schema(
    [
        ("words", pa.int64()),
        ("weight", pa.float64()),
        ("kind", pa.string()),
        ("open", pa.bool_()),
        ("date", pa.date32()),
        ("seen", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
        ("in", pa.int64()),
        ('x" or 1', pa.int64()),
    ]
)
NAMES = {"id": pa.string(), "text": pa.string()} | {column.name: column.type for column in SCHEMA}
LEAST = -(2**63)


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        ("words >= 2 and open", "(int_words >= 2 and bool_open == true)"),
        ("not (words >= 2 and open)", "(int_words < 2 or bool_open != true)"),
        ("weight < 1e300", "float_weight < 1e+300"),
        ("kind not in ('a', 'b')", '(str_kind is not null and not (str_kind in ["a", "b"]))'),
        ("tags not contains 'a'", '(set_tags is not null and not (array_contains(set_tags, "a")))'),
        ("kind not like 'a%%'", '(str_kind is not null and not (str_kind like "a%"))'),
        ("kind like 'a'", 'str_kind == "a"'),
        ("kind like '%'", "str_kind is not null"),
        ("kind not like '%%'", False),
        ("date > '1970-01-02'", "days_date > 1"),
        ("seen = '1970-01-01T00:00:01'", "utcmicros_seen == 1000000"),
        ("kind is null", "str_kind is null"),
        ("not (kind is null)", "str_kind is not null"),
        ("id is null or text is null", "text is null"),
        ("id is not null", True),
        ("words = 0.5", False),
        ("words != 0.5 and words > 0", "(int_words is not null and int_words > 0)"),
        (f"words > {LEAST}", f"int_words >= {LEAST + 1}"),
        (f"words = {LEAST}", f"int_words < {LEAST + 1}"),
        (f"words < {LEAST}", False),
        (f"words in ({LEAST}, 3)", f"(int_words in [3] or int_words < {LEAST + 1})"),
        ('"in" = 1', "int_in == 1"),
        ('"x"" or 1" = 1', "intx_7822206f722031 == 1"),
        ("kind = 'say \"x\\'", 'str_kind == "say \\"x\\\\"'),
        ("kind = 'a\nb\tc'", 'str_kind == "a\\nb\\tc"'),
    ],
)
def test_what_is_sent(where: str, expression: str | bool) -> None:
    assert milvus_filter(parse_where(where, NAMES), SCHEMA) == expression


@pytest.mark.parametrize("pattern", ["a_", "_", "%\\%"])
def test_what_milvus_cannot_express_is_refused(pattern: str) -> None:
    for where in (f"kind like '{pattern}'", f"words = 1 or not (kind like '{pattern}')"):
        with pytest.raises(InputError, match="cannot answer LIKE") as caught:
            milvus_filter(parse_where(where, NAMES), SCHEMA)
        assert "\n" not in str(caught.value)


def test_names_go_there_and_back() -> None:
    for name in ("words", "_", "__x", "and", "größe", "a b", 'a"b', "x" * 240, "9"):
        for kind in (column.type for column in SCHEMA):
            field = field_name(name, kind)
            assert field.isascii()
            assert field.replace("_", "a").isalnum()
            assert attribute_of(field) == (name, kind)
    assert attribute_of("id") is attribute_of("vector") is attribute_of("intx_zz") is attribute_of("other_x") is None
    with pytest.raises(InputError, match="too long"):
        field_name("ö" * 100, pa.int64())


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (date(1, 1, 1), pa.date32()),
        (date(9999, 12, 31), pa.date32()),
        (datetime(1, 1, 1), pa.timestamp("us")),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999), pa.timestamp("us")),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), pa.timestamp("us", tz="UTC")),
        (None, pa.date32()),
        (["a"], pa.list_(pa.string())),
        (3, pa.int64()),
    ],
)
def test_values_go_there_and_back(value: object, kind: pa.DataType) -> None:
    assert loaded_value(stored_value(value), kind) == value


def test_ids_are_escaped() -> None:
    assert id_filter(['a"] or id != ["', "b\\"]) == 'id in ["a\\"] or id != [\\"", "b\\\\"]'
