"""Filter expressions: a line of SQL becomes a small tree of attributes, operators and typed values.

sqlglot cuts the line into tokens and parses it; what comes out here is only our own frozen tree, so nothing a person
or a client types is ever evaluated as code. Every form outside the grammar is refused with the grammar.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
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
    Or,
)

GRAMMAR = (
    "allowed: name = value, !=, <>, <, <=, >, >=, [NOT] IN (value, ...), [NOT] BETWEEN value AND value, "
    "[NOT] LIKE 'a%', IS [NOT] NULL, name [NOT] CONTAINS 'x', joined with AND, OR, NOT and parentheses; "
    "text and dates stand in single quotes, odd names in double quotes"
)
MAX_LENGTH = 16_384
MAX_DEPTH = 32
MAX_VALUES = 1_000
_LARGEST_EXPONENT = 400

_FLIPPED: dict[Operator, Operator] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def parse_where(expression: str, schema: Mapping[str, pa.DataType]) -> Condition:
    """Parse a filter expression against the attributes of an index.

    Args:
        expression: A condition in SQL form, at most 16,384 characters and 32 levels deep.
        schema: Every name that may be used, with its Arrow type.

    Returns:
        The condition, every value converted to the type of its attribute.

    Raises:
        InputError: The expression is outside the grammar, names an unknown attribute, or compares unlike types.

    Example:
        >>> parse_where("year >= 2025 and kind = 'function'", {"year": pa.int64(), "kind": pa.string()})
        And(conditions=(Comparison(attribute='year', operator='>=', value=2025), \
Comparison(attribute='kind', operator='=', value='function')))
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    if not isinstance(expression, str):  # type: ignore[redundant-expr,unused-ignore]
        raise _refusal(f"a filter is text, not {type(expression).__name__}")
    if len(expression) > MAX_LENGTH:
        raise InputError(f"has {len(expression):,} characters, at most {MAX_LENGTH:,} are read", where="where")
    if not expression.strip():
        raise _refusal("the filter is empty")
    try:
        sql = _normalised(expression, schema)
        tree = sqlglot.parse_one(sql, into=exp.Condition)
        if tree is None:
            raise _refusal("the filter is empty")
        return _Binder(schema).condition(tree)
    except SqlglotError as error:
        raise _refusal(f"cannot be read: {_shortened(expression)}") from error
    except RecursionError as error:
        raise InputError(f"is nested deeper than {MAX_DEPTH} levels", where="where", mend="flatten it") from error


def _refusal(what: str) -> InputError:
    return InputError(what, where="where", mend=GRAMMAR)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _normalised(expression: str, schema: Mapping[str, pa.DataType]) -> str:
    """Quote attribute names, so that one called ``date`` or ``order`` is no keyword, and rewrite infix CONTAINS."""
    from sqlglot.tokens import Tokenizer

    tokens: list[Any] = Tokenizer().tokenize(expression)
    grammar_words = {"and", "or", "not", "in", "is", "null", "like", "between", "contains", "true", "false"}
    names = {"VAR", "IDENTIFIER"}
    # The tokeniser drops comments without a word; only their absence from the gaps between tokens shows there are none.
    gaps = [expression[: tokens[0].start] if tokens else expression]
    gaps += [expression[left.end + 1 : right.start] for left, right in pairwise(tokens)]
    gaps += [expression[tokens[-1].end + 1 :]] if tokens else []
    if any(gap.strip() for gap in gaps) or any(token.comments for token in tokens):
        raise _refusal("comments are not allowed")
    parts: list[str] = []
    is_name: list[bool] = []
    depth = run = position = 0
    while position < len(tokens):
        token = tokens[position]
        following = tokens[position + 1] if position + 1 < len(tokens) else None
        depth += (token.token_type.name == "L_PAREN") - (token.token_type.name == "R_PAREN")
        run = run + 1 if token.token_type.name in {"NOT", "DASH", "PLUS"} else 0
        if depth > MAX_DEPTH or run > MAX_DEPTH:
            raise InputError(f"is nested deeper than {MAX_DEPTH} levels", where="where", mend="flatten it")
        if token.token_type.name == "SEMICOLON":
            raise _refusal("a semicolon is not allowed")
        word = token.text.lower()
        if token.token_type.name == "VAR" and word == "contains" and following is not None:
            negated = bool(parts) and tokens[position - 1].token_type.name == "NOT" and len(parts) > 1 and is_name[-2]
            named = bool(parts) and (is_name[-1] or negated)
            if named and following.token_type.name == "STRING":
                if negated:
                    parts.pop(), is_name.pop()
                attribute = parts.pop()
                is_name.pop()
                literal = expression[following.start : following.end + 1]
                parts.append(f"{'NOT ' if negated else ''}CONTAINS({attribute}, {literal})")
                is_name.append(False)
                position += 2
                continue
        typed_literal = following is not None and following.token_type.name == "STRING" and word != "contains"
        known = token.text in schema and token.token_type.name != "STRING" and word not in grammar_words
        if token.token_type.name == "IDENTIFIER" or (known and not typed_literal):
            parts.append('"{}"'.format(token.text.replace('"', '""')))
            is_name.append(True)
        else:
            parts.append(expression[token.start : token.end + 1])
            is_name.append(token.token_type.name in names and word not in grammar_words)
        position += 1
    return " ".join(parts)


class _Binder:
    """Turns sqlglot's tree into ours and every literal into a value of its attribute's type."""

    def __init__(self, schema: Mapping[str, pa.DataType]) -> None:
        self.schema = schema

    def condition(self, node: Any) -> Condition:
        from sqlglot import exp

        operators: dict[Any, Operator] = {
            exp.EQ: "=",
            exp.NEQ: "!=",
            exp.LT: "<",
            exp.LTE: "<=",
            exp.GT: ">",
            exp.GTE: ">=",
        }
        if isinstance(node, exp.Paren):
            return self.condition(node.this)
        if isinstance(node, exp.Not):
            return Not(self.condition(node.this))
        if isinstance(node, exp.And | exp.Or):
            operands = tuple(self.condition(operand) for operand in _operands(node))
            return And(operands) if isinstance(node, exp.And) else Or(operands)
        if type(node) in operators:
            return self._comparison(node, operators[type(node)])
        if isinstance(node, exp.In):
            return self._membership(node)
        if isinstance(node, exp.Between):
            attribute = self._attribute(node.this)
            if node.args.get("symmetric"):
                raise self._unsupported(node)
            low, high = self._literal(node.args["low"]), self._literal(node.args["high"])
            return And((self._compare(attribute, ">=", low), self._compare(attribute, "<=", high)))
        if isinstance(node, exp.Like):
            return self._like(node)
        if isinstance(node, exp.Is):
            attribute = self._attribute(node.this)
            if not isinstance(node.expression, exp.Null):
                raise self._unsupported(node)
            return IsNull(attribute)
        if isinstance(node, exp.Contains):
            return self._contains(node)
        if isinstance(node, exp.Column):
            attribute = self._attribute(node)
            if not pa.types.is_boolean(self.schema[attribute]):
                raise InputError(
                    f"{attribute!r} is {type_in_words(self.schema[attribute])}, so it is no condition by itself",
                    where="where",
                    mend="compare it with a value",
                )
            return Comparison(attribute, "=", True)
        raise self._unsupported(node)

    def _unsupported(self, node: Any) -> InputError:
        return _refusal(f"{_shortened(node.sql())!r} is not allowed in a filter")

    def _attribute(self, node: Any) -> str:
        from sqlglot import exp

        if not isinstance(node, exp.Column) or not isinstance(node.this, exp.Identifier) or len(node.parts) != 1:
            raise self._unsupported(node.parent or node)
        name = str(node.name)
        if name not in self.schema:
            raise unknown_attribute(name, self.schema, where="where")
        return name

    def _literal(self, node: Any) -> str | bool | Decimal | date:
        from sqlglot import exp

        negative = False
        if isinstance(node, exp.Neg):
            negative, node = True, node.this
        if isinstance(node, exp.Literal) and not node.is_string:
            try:
                number = Decimal(str(node.this))
            except InvalidOperation as error:
                raise self._unsupported(node) from error
            if number and abs(number.adjusted()) > _LARGEST_EXPONENT:
                raise InputError(f"the number {_shortened(str(node.this))} is out of range", where="where")
            return number.copy_negate() if negative else number
        if negative:
            raise self._unsupported(node)
        if isinstance(node, exp.Literal):
            return str(node.this)
        if isinstance(node, exp.Boolean):
            return bool(node.this)
        dated = isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DATE
        if dated and isinstance(node.this, exp.Literal) and node.this.is_string:
            return _iso_date(str(node.this.this))
        if isinstance(node, exp.Null):
            raise InputError("nothing equals NULL", where="where", mend="write: name IS NULL, or name IS NOT NULL")
        raise self._unsupported(node)

    def _comparison(self, node: Any, operator: Operator) -> Condition:
        from sqlglot import exp

        left, right = node.this, node.expression
        if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
            left, right, operator = right, left, _FLIPPED[operator]
        if isinstance(right, exp.Column):
            name = right.name
            raise InputError(
                f"an attribute is compared with a value, not with another name ({name})",
                where="where",
                mend=f"if {name!r} is text, put it in single quotes: '{name}'",
            )
        attribute = self._attribute(left)
        return self._compare(attribute, operator, self._literal(right))

    def _membership(self, node: Any) -> Condition:
        attribute = self._attribute(node.this)
        literals = node.expressions
        if any(node.args.get(form) is not None for form in ("query", "unnest", "field")) or not literals:
            raise self._unsupported(node)
        if len(literals) > MAX_VALUES:
            raise InputError(f"IN lists {len(literals):,} values, at most {MAX_VALUES:,} are read", where="where")
        conditions = [self._compare(attribute, "=", self._literal(literal)) for literal in literals]
        values = tuple(condition.value for condition in conditions if isinstance(condition, Comparison))
        return Membership(attribute, values) if values else Constant(attribute, outcome=False)

    def _like(self, node: Any) -> Condition:
        attribute = self._attribute(node.this)
        pattern = self._literal(node.expression)
        if not isinstance(pattern, str):
            raise self._unsupported(node)
        if pa.types.is_null(self.schema[attribute]):
            return Constant(attribute, outcome=False)
        if not pa.types.is_string(self.schema[attribute]):
            raise self._mismatch(attribute, "LIKE")
        condition = Like(attribute, pattern)
        return Not(condition) if node.args.get("negate") else condition

    def _contains(self, node: Any) -> Condition:
        attribute = self._attribute(node.this)
        value = self._literal(node.expression)
        if not isinstance(value, str):
            raise self._unsupported(node)
        if pa.types.is_null(self.schema[attribute]):
            return Constant(attribute, outcome=False)
        if not pa.types.is_list(self.schema[attribute]):
            raise self._mismatch(attribute, "CONTAINS")
        return Contains(attribute, value)

    def _mismatch(self, attribute: str, what: str) -> InputError:
        kind = self.schema[attribute]
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

    def _compare(self, attribute: str, operator: Operator, value: str | bool | Decimal | date) -> Condition:
        kind = self.schema[attribute]
        shown = f"the value {_shortened(str(value))!r}"
        if pa.types.is_null(kind):
            return Constant(attribute, outcome=False)
        if pa.types.is_integer(kind) and isinstance(value, Decimal):
            return _compare_integer(attribute, operator, value)
        if pa.types.is_floating(kind) and isinstance(value, Decimal):
            if math.isinf(float(value)):
                raise InputError(f"the number {_shortened(str(value))} is out of range", where="where")
            return Comparison(attribute, operator, float(value))
        if pa.types.is_string(kind) and isinstance(value, str):
            return Comparison(attribute, operator, value)
        if pa.types.is_boolean(kind) and isinstance(value, bool):
            if operator not in {"=", "!="}:
                raise self._mismatch(attribute, f"the operator {operator}")
            return Comparison(attribute, operator, value)
        if pa.types.is_date(kind) and isinstance(value, str | date):
            return Comparison(attribute, operator, _iso_date(value) if isinstance(value, str) else value)
        if pa.types.is_timestamp(kind) and isinstance(value, str | date):
            return Comparison(attribute, operator, _iso_moment(value, zoned=kind.tz is not None))
        raise self._mismatch(attribute, shown)


def _operands(node: Any) -> list[Any]:
    """The operands of a chain of one connective, left to right, without recursing into its left-deep tree."""
    operands: list[Any] = []
    current: Any = node
    while type(current) is type(node):
        operands.append(current.expression)
        current = current.this
    return [current, *reversed(operands)]


def _compare_integer(attribute: str, operator: Operator, value: Decimal) -> Condition:
    """Compare whole numbers exactly, whatever the literal's fraction or size."""
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


def _iso_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{_shortened(text)!r} is no date", where="where", mend="write it like '2026-01-31'"
        ) from error


def _iso_moment(value: str | date, *, zoned: bool) -> datetime:
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except ValueError as error:
        mend = "write it like '2026-01-31' or '2026-01-31T12:00:00'"
        raise InputError(f"{_shortened(str(value))!r} is no date or time", where="where", mend=mend) from error
    if zoned:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


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
