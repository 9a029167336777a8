"""A comparison of an attribute with a literal becomes a condition with a value of the attribute's type, or is refused.

The refusals say in words what the attribute is and how to write the comparison.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeAlias

import pyarrow as pa

from embedworks.foundation import InputError
from embedworks.index.conditions import Comparison, Condition, Constant, Contains, Like, Membership, Operator

Literal: TypeAlias = str | bool | int | Decimal | date
"""What stands in a filter: text, a truth value, a number (int: of at most 18 digits), or ``DATE '2026-01-31'``."""


def compared(attribute: str, kind: pa.DataType, operator: Operator, value: Literal) -> Condition:
    """Return the condition ``attribute operator value``.

    Args:
        attribute: The attribute.
        kind: Its Arrow type.
        operator: How it is compared.
        value: With what.

    Raises:
        InputError: The value does not fit the type, or lies outside of what it can hold.
    """
    if pa.types.is_null(kind):
        return Constant(attribute, outcome=False)
    if isinstance(value, bool):
        if pa.types.is_boolean(kind) and operator not in {"=", "!="}:
            raise _mismatch(attribute, kind, f"the operator {operator}")
        if pa.types.is_boolean(kind):
            return Comparison(attribute, operator, value)
    elif isinstance(value, int | Decimal):
        if pa.types.is_integer(kind):
            return _compared_whole(attribute, operator, value)
        if pa.types.is_floating(kind):
            number = float(value)
            if math.isinf(number):
                raise InputError(f"the number {shortened(str(value))} is out of range", where="where")
            return Comparison(attribute, operator, number)
    elif isinstance(value, str) and pa.types.is_string(kind):
        return Comparison(attribute, operator, value)
    elif pa.types.is_date(kind):
        return Comparison(attribute, operator, iso_date(value) if isinstance(value, str) else value)
    elif pa.types.is_timestamp(kind):
        return Comparison(attribute, operator, _iso_moment(value, zoned=kind.tz is not None))
    raise _mismatch(attribute, kind, f"the value {shortened(str(value))!r}")


def one_of(attribute: str, kind: pa.DataType, values: list[Literal]) -> Condition:
    """Return the condition ``attribute IN (values)``; a value that no row can have is left out.

    Args:
        attribute: The attribute.
        kind: Its Arrow type.
        values: The values.

    Raises:
        InputError: As :func:`compared`.
    """
    equal = [compared(attribute, kind, "=", value) for value in values]
    possible = tuple(condition.value for condition in equal if isinstance(condition, Comparison))
    return Membership(attribute, possible) if possible else Constant(attribute, outcome=False)


def like(attribute: str, kind: pa.DataType, pattern: str) -> Condition:
    """Return the condition ``attribute LIKE pattern``.

    Args:
        attribute: The attribute.
        kind: Its Arrow type.
        pattern: With % and _ as wildcards.

    Raises:
        InputError: The attribute is no text.
    """
    if pa.types.is_null(kind):
        return Constant(attribute, outcome=False)
    if not pa.types.is_string(kind):
        raise _mismatch(attribute, kind, "LIKE")
    return Like(attribute, pattern)


def contains(attribute: str, kind: pa.DataType, value: str) -> Condition:
    """Return the condition ``attribute CONTAINS value``.

    Args:
        attribute: The attribute.
        kind: Its Arrow type.
        value: The member.

    Raises:
        InputError: The attribute is no set of strings.
    """
    if pa.types.is_null(kind):
        return Constant(attribute, outcome=False)
    if not pa.types.is_list(kind):
        raise _mismatch(attribute, kind, "CONTAINS")
    return Contains(attribute, value)


def _mismatch(attribute: str, kind: pa.DataType, what: str) -> InputError:
    if pa.types.is_list(kind):
        mend = f"write: {attribute} CONTAINS 'x'"
    elif what == "CONTAINS":
        mend = f"write: {attribute} LIKE '%x%'" if pa.types.is_string(kind) else "compare it with = or <"
    elif pa.types.is_string(kind):
        mend = "put the value in single quotes"
    elif pa.types.is_boolean(kind):
        mend = f"write: {attribute} = true"
    elif pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        mend = f"write: {attribute} >= '2026-01-31'"
    else:
        mend = f"write: {attribute} >= 10"
    return InputError(f"{attribute!r} is {type_in_words(kind)}, {what} does not fit it", where="where", mend=mend)


def _compared_whole(attribute: str, operator: Operator, value: int | Decimal) -> Condition:
    """Compare whole numbers exactly, whatever the literal's fraction or size."""
    if isinstance(value, int):
        return Comparison(attribute, operator, value)
    floor = int(value.to_integral_value(rounding="ROUND_FLOOR"))
    if value != floor:
        if operator in {"=", "!="}:
            return Constant(attribute, outcome=operator == "!=")
        # x < 2.5 holds exactly where x <= 2, and x > 2.5 exactly where x > 2.
        operator = "<=" if operator in {"<", "<="} else ">"
    if not -(2**63) <= floor < 2**63:
        if operator in {"=", "!="}:
            return Constant(attribute, outcome=operator == "!=")
        return Constant(attribute, outcome=(operator in {">", ">="}) == (floor < 0))
    return Comparison(attribute, operator, floor)


def iso_date(text: str) -> date:
    """Read a date such as 2026-01-31.

    Args:
        text: What should be one.

    Raises:
        InputError: It is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{shortened(text)!r} is no date", where="where", mend="write it like '2026-01-31'") from error


def _iso_moment(value: str | date, *, zoned: bool) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except ValueError as error:
        mend = "write it like '2026-01-31' or '2026-01-31T12:00:00'"
        raise InputError(f"{shortened(str(value))!r} is no date or time", where="where", mend=mend) from error
    if zoned:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def shortened(text: str) -> str:
    """Return at most 80 characters of a text."""
    return text if len(text) <= 80 else f"{text[:77]}..."


def type_in_words(kind: pa.DataType) -> str:
    """Say an attribute's type as a person would, with its Arrow name."""
    words = {"int64": "a whole number", "double": "a number", "string": "text", "bool": "true or false"}
    if pa.types.is_list(kind):
        return "a set of strings"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return f"a date ({kind})" if pa.types.is_date(kind) else f"a time ({kind})"
    return f"{words[str(kind)]} ({kind})" if str(kind) in words else f"of type {kind}"


def unknown_attribute(name: str, schema: Mapping[str, pa.DataType], *, where: str) -> InputError:
    """Build the error for a name that is no attribute, with the nearest name that is one."""
    folded = {known.casefold(): known for known in schema}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    mend = f"did you mean {folded[near[0]]!r}?" if near else f"there are: {', '.join(schema) or 'none'}"
    return InputError(f"there is no attribute {name!r}", where=where, mend=mend)
