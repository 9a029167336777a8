"""A filter becomes an expression of Milvus, whose truth has two values and whose names and literals are narrower.

Negations are pushed down to the comparisons first. Without NOT above them, "unknown" and "false" drop the same rows, so
the only places where Milvus must be told about nulls are the negated LIKE, IN and array_contains, which get an explicit
``is not null``; a negated comparison is the opposite comparison, which no null passes either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
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
    Operator,
)

_OPPOSITE: dict[Operator, Operator] = {"=": "!=", "!=": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_SIGNS: dict[Operator, str] = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEAST = -(2**63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_LONGEST_NAME = 255
# The tag before a field's first underscore says what its numbers mean; Milvus itself has no dates.
_TAGS: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
    "bool": pa.bool_(),
    "days": pa.date32(),
    "micros": pa.timestamp("us"),
    "utcmicros": pa.timestamp("us", tz="UTC"),
    "set": pa.list_(pa.string()),
}


def field_name(attribute: str, kind: pa.DataType) -> str:
    """Return the Milvus field of an attribute; its tag keeps it from being a keyword, odd names stand in hexadecimal.

    Args:
        attribute: The attribute's name.
        kind: Its type.

    Returns:
        The field's name.

    Raises:
        InputError: The name is too long for Milvus.

    Example:
        >>> field_name("published", pa.date32()), field_name("größe", pa.int64())
        ('days_published', 'intx_6772c3b6c39f65')
    """
    tag = next(tag for tag, known in _TAGS.items() if known == kind)
    plain = _PLAIN.fullmatch(attribute) is not None
    name = f"{tag}_{attribute}" if plain else f"{tag}x_{attribute.encode().hex()}"
    if len(name) > _LONGEST_NAME:
        raise InputError("the name is too long for Milvus", where=f"attribute {attribute[:40]!r}", mend="shorten it")
    return name


def attribute_of(name: str) -> tuple[str, pa.DataType] | None:
    """Return the attribute of a Milvus field and its type, or None if :func:`field_name` never gives that name."""
    tag, separator, rest = name.partition("_")
    if separator and tag in _TAGS:
        return rest, _TAGS[tag]
    if separator and tag.removesuffix("x") in _TAGS:
        try:
            return bytes.fromhex(rest).decode(), _TAGS[tag.removesuffix("x")]
        except ValueError:
            return None
    return None


def stored_value(value: Any) -> Any:
    """Return a value as Milvus holds it: dates as days, times as microseconds since 1970."""
    if isinstance(value, datetime):
        zoned = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return (zoned - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return (value - _EPOCH.date()).days
    return value


def loaded_value(value: Any, kind: pa.DataType) -> Any:
    """Return a value that Milvus gave back as the attribute's own type."""
    if value is None:
        return None
    if pa.types.is_list(kind):
        return list(value)
    if pa.types.is_date(kind):
        return _EPOCH.date() + timedelta(days=value)
    if pa.types.is_timestamp(kind):
        moment = _EPOCH + timedelta(microseconds=value)
        return moment if kind.tz else moment.replace(tzinfo=None)
    return value


def milvus_filter(condition: Condition, schema: pa.Schema) -> str | bool:
    """Translate a filter.

    Args:
        condition: What :func:`embedworks.index.where.parse_where` returned.
        schema: The attributes of the collection.

    Returns:
        The expression; or True if every row passes whatever it holds, False if none does.

    Raises:
        InputError: Milvus cannot express it: LIKE with an underscore or a backslash.

    Example:
        >>> schema = pa.schema([("year", pa.int64()), ("kind", pa.string())])
        >>> milvus_filter(Not(And((Comparison("year", ">", 2025), Membership("kind", ("a",))))), schema)
        '(int_year <= 2025 or (str_kind is not null and not (str_kind in ["a"])))'
    """
    return _Translator(schema).translated(condition, wanted=True)


def id_filter(ids: Iterable[str]) -> str:
    """Return the expression that rows with one of some ids pass.

    Example:
        >>> print(id_filter(["a", "it's"]))
        id in ["a", "it's"]
    """
    return f"id in [{', '.join(_literal(name) for name in ids)}]"


class _Translator:
    """Says of each condition where it is true, or where it is false."""

    def __init__(self, schema: pa.Schema) -> None:
        self.fields = {"id": "id", "text": "text"} | {
            column.name: field_name(column.name, column.type) for column in schema
        }

    def translated(self, node: Condition, *, wanted: bool) -> str | bool:
        if isinstance(node, Not):
            return self.translated(node.condition, wanted=not wanted)
        if isinstance(node, IsNull):
            if node.attribute == "id":  # the primary key
                return not wanted
            return f"{self.fields[node.attribute]} is {'null' if wanted else 'not null'}"
        if isinstance(node, Constant):
            return self._known(node.attribute) if node.outcome == wanted else False
        if isinstance(node, Comparison):
            operator = node.operator if wanted else _OPPOSITE[node.operator]
            return self._compared(node.attribute, operator, stored_value(node.value))
        if isinstance(node, Like):
            return self._like(node, wanted=wanted)
        if isinstance(node, Contains):
            name = self.fields[node.attribute]
            return self._settled(node.attribute, f"array_contains({name}, {_literal(node.value)})", wanted=wanted)
        if isinstance(node, Membership):
            return self._member(node, wanted=wanted)
        parts = [self.translated(part, wanted=wanted) for part in node.conditions]
        # By De Morgan, an AND is false where any part is false.
        return _joined(parts, every=isinstance(node, And) == wanted)

    def _known(self, attribute: str) -> str | bool:
        return True if attribute == "id" else f"{self.fields[attribute]} is not null"

    def _settled(self, attribute: str, expression: str, *, wanted: bool) -> str | bool:
        if wanted:
            return expression
        return _joined([self._known(attribute), f"not ({expression})"], every=True)

    def _compared(self, attribute: str, operator: Operator, value: Any) -> str | bool:
        name = self.fields[attribute]
        if _is_least(value):
            # The least whole number cannot be written: its minus sign is read after its digits, which overflow.
            if operator in {">=", "<"}:
                return self._known(attribute) if operator == ">=" else False
            return f"{name} {'<' if operator in {'=', '<='} else '>='} {_LEAST + 1}"
        return f"{name} {_SIGNS[operator]} {_literal(value)}"

    def _member(self, node: Membership, *, wanted: bool) -> str | bool:
        values = [stored_value(value) for value in node.values]
        writable = [value for value in values if not _is_least(value)]
        parts: list[str | bool] = []
        if writable:
            listed = f"{self.fields[node.attribute]} in [{', '.join(_literal(value) for value in writable)}]"
            parts.append(self._settled(node.attribute, listed, wanted=wanted))
        if len(writable) < len(values):
            parts.append(self._compared(node.attribute, "=" if wanted else "!=", _LEAST))
        return _joined(parts, every=not wanted)

    def _like(self, node: Like, *, wanted: bool) -> str | bool:
        for sign, name in (("_", "an underscore"), ("\\", "a backslash")):
            if sign in node.pattern:
                what = f"Milvus cannot answer LIKE with {name}: {node.pattern[:60]!r}"
                raise InputError(what, where="where", mend="use = or % only, or search an index or PostgreSQL")
        if "%" not in node.pattern:
            return self._compared(node.attribute, "=" if wanted else "!=", node.pattern)
        if not node.pattern.strip("%"):
            return self._known(node.attribute) if wanted else False
        pattern = re.sub("%+", "%", node.pattern)
        return self._settled(node.attribute, f"{self.fields[node.attribute]} like {_literal(pattern)}", wanted=wanted)


def _joined(parts: list[str | bool], *, every: bool) -> str | bool:
    """Join by AND (every) or OR, without the parts that decide nothing."""
    if (not every) in parts:
        return not every
    texts = [part for part in parts if isinstance(part, str)]
    if not texts:
        return every
    joined = (" and " if every else " or ").join(texts)
    return joined if len(texts) == 1 else f"({joined})"


def _is_least(value: Any) -> bool:
    return isinstance(value, int) and value == _LEAST


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"{}"'.format("".join(_ESCAPES.get(sign, sign) for sign in value))
    return repr(value)
