"""A filter becomes a condition of PostgreSQL: names quoted, values as parameters, three truth values as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from embedworks.foundation import InputError
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

_TYPES: list[tuple[pa.DataType, str]] = [
    (pa.int64(), "bigint"),
    (pa.float64(), "double precision"),
    (pa.string(), "text"),
    (pa.bool_(), "boolean"),
    (pa.date32(), "date"),
    (pa.timestamp("us"), "timestamp without time zone"),
    (pa.timestamp("us", tz="UTC"), "timestamp with time zone"),
    (pa.list_(pa.string()), "text[]"),
]


@dataclass(frozen=True)
class SqlFilter:
    """A condition and its parameters.

    Args:
        text: SQL with ``%s`` for every parameter; a percent sign in a name is doubled.
        values: The parameters in order.
    """

    text: str
    values: tuple[Any, ...]


def sql_type(kind: pa.DataType) -> str:
    """Return PostgreSQL's name for an attribute's type."""
    return next(name for known, name in _TYPES if known == kind)


def arrow_type(name: str) -> pa.DataType | None:
    """Return the attribute type of a column of PostgreSQL, or None if no attribute has it."""
    return next((known for known, sql in _TYPES if sql == name), None)


def quoted(name: str) -> str:
    """Quote a name for a statement with parameters.

    Example:
        >>> quoted('the "rate" in %')
        '"the ""rate"" in %%"'
    """
    return '"{}"'.format(name.replace('"', '""').replace("%", "%%"))


def sql_filter(condition: Condition, schema: pa.Schema) -> SqlFilter:
    """Translate a filter.

    PostgreSQL follows the same three truth values as :mod:`embedworks.index.masks`; columns of text are created with
    collation "C", so that their order is that of the code points here and there.

    Args:
        condition: What :func:`embedworks.index.where.parse_where` returned.
        schema: The attributes of the collection.

    Returns:
        The condition in SQL.

    Raises:
        InputError: A value holds the character U+0000, which PostgreSQL has no form for.

    Example:
        >>> sql_filter(Comparison("year", ">=", 2025), pa.schema([("year", pa.int64())]))
        SqlFilter(text='("year" >= %s::bigint)', values=(2025,))
    """
    kinds = {"id": pa.string(), "text": pa.string()} | {column.name: column.type for column in schema}
    values: list[Any] = []

    def parameter(value: Any, kind: str) -> str:
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\x00" in text for text in texts):
            mend = "leave the character out"
            raise InputError("PostgreSQL cannot compare with text that holds U+0000", where="where", mend=mend)
        values.append(value)
        return f"%s::{kind}"

    def translated(node: Condition) -> str:
        if isinstance(node, And | Or):
            parts = (" and " if isinstance(node, And) else " or ").join(translated(part) for part in node.conditions)
            return f"({parts})"
        if isinstance(node, Not):
            return f"(not {translated(node.condition)})"
        name = quoted(node.attribute)
        if isinstance(node, IsNull):
            return f"({name} is null)"
        if isinstance(node, Constant):
            # Null where the attribute is null, the outcome elsewhere.
            return f"({name} is not null or null)" if node.outcome else f"({name} is null and null)"
        if isinstance(node, Contains):
            return f"({name} @> array[{parameter(node.value, 'text')}])"
        if isinstance(node, Like):
            # An empty ESCAPE makes the backslash a plain character, as it is in ours.
            return f"({name} like {parameter(node.pattern, 'text')} escape '')"
        kind = sql_type(kinds[node.attribute])
        if isinstance(node, Membership):
            return f"({name} = any({parameter(list(node.values), kind + '[]')}))"
        assert isinstance(node, Comparison)
        operator = "<>" if node.operator == "!=" else node.operator
        return f"({name} {operator} {parameter(node.value, kind)})"

    text = translated(condition)
    return SqlFilter(text, tuple(values))
