"""Filter expressions: a line of SQL becomes a small tree of attributes, operators and typed values.

One regular expression cuts the line into tokens, and a parser by recursive descent reads exactly :data:`GRAMMAR`. What
comes out is only our own frozen tree, so nothing a person or a client types is ever evaluated as code. Every form
outside the grammar is refused with the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

import pyarrow as pa

from embedworks.foundation import InputError
from embedworks.index.conditions import And, Comparison, Condition, IsNull, Not, Operator, Or
from embedworks.index.typed_conditions import (
    Literal,
    compared,
    contains,
    iso_date,
    like,
    one_of,
    shortened,
    type_in_words,
    unknown_attribute,
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
_FEW_DIGITS = 18  # of a whole number that is surely within int64

_FLIPPED: dict[Operator, Operator] = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS: dict[str, Operator] = {"<>": "!=", **{operator: operator for operator in _FLIPPED}}
# A name without quotes: letters, digits, _, $ and what lies beyond ASCII, but no digit in front.
_NAME = r"[^\s\x00-#%-@\[-^`{-\x7f][^\s\x00-#%-/:-@\[-^`{-\x7f]*"
_TEXT, _QUOTED = r"'[^']*(?:''[^']*)*'", r'"[^"]*(?:""[^"]*)*"'
# Whatever begins like a number is one token, so that 1and2 is not read as 1 and 2; _NUMBER judges it.
_LIKE_NUMBER = r"\.?[0-9](?:[eE][+-]|[\w.$])*"
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TOKEN = re.compile(rf"{_NAME}|{_TEXT}|{_QUOTED}|{_LIKE_NUMBER}|[<>!=]=|<>|--|/\*|{{\#|\S")
_FORBIDDEN = {"--": "comments are", "/*": "comments are", "{#": "comments are", ";": "a semicolon is"}
_ANY_NAME = re.compile(rf"{_NAME}|{_QUOTED}")
_RESERVED = frozenset({"and", "or", "not", "null", "true", "false"})
_ENDS = frozenset({"", ")", "and", "or"})
_SIGNS = frozenset({"+", "-"})


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
    if not isinstance(expression, str):  # type: ignore[redundant-expr,unused-ignore]
        raise _refusal(f"a filter is text, not {type(expression).__name__}")
    if len(expression) > MAX_LENGTH:
        raise InputError(f"has {len(expression):,} characters, at most {MAX_LENGTH:,} are read", where="where")
    return _Reader(expression, schema).whole()


def _refusal(what: str) -> InputError:
    return InputError(what, where="where", mend=GRAMMAR)


class _Reader:
    """Reads the tokens of one expression from left to right; the next one is at ``position``, and "" stands at the end.

    ``words`` are the tokens in lower case: a quoted text or name keeps its quotes, so that it equals no keyword.
    """

    __slots__ = ("depth", "expression", "negations", "position", "schema", "tokens", "words")

    def __init__(self, expression: str, schema: Mapping[str, pa.DataType]) -> None:
        self.expression = expression
        self.schema = schema
        self.tokens: list[str] = [*_TOKEN.findall(expression), ""]
        self.words = [token.lower() for token in self.tokens]
        self.position = self.depth = self.negations = 0

    def whole(self) -> Condition:
        try:
            self.expression.encode()
        except UnicodeEncodeError as error:
            raise _refusal("is no valid Unicode, it holds half a surrogate pair") from error
        if len(self.tokens) == 1:
            raise _refusal("the filter is empty")
        if not _FORBIDDEN.keys().isdisjoint(self.tokens):
            first = next(token for token in self.tokens if token in _FORBIDDEN)
            raise _refusal(f"{_FORBIDDEN[first]} not allowed")
        condition = self.any_of()
        if self.tokens[self.position]:
            raise self.unexpected()
        return condition

    def unexpected(self) -> InputError:
        """Show the expression from the next token on."""
        if not self.tokens[self.position]:
            return _refusal(f"cannot be read: {shortened(self.expression)}")
        start = [match.start() for match in _TOKEN.finditer(self.expression)][self.position]
        return _refusal(f"{shortened(self.expression[start:])!r} is not allowed in a filter")

    def found(self, word: str) -> bool:
        """Step over the next token if it is this one."""
        if self.words[self.position] != word:
            return False
        self.position += 1
        return True

    def expect(self, word: str) -> None:
        if not self.found(word):
            raise self.unexpected()

    def opened(self) -> bool:
        """Step over an opening parenthesis if there is one; :meth:`close` goes with it."""
        if not self.found("("):
            return False
        self.depth += 1
        _check_depth(self.depth)
        return True

    def close(self) -> None:
        self.expect(")")
        self.depth -= 1

    def any_of(self) -> Condition:
        first = self.all_of()
        if self.words[self.position] != "or":
            return first
        conditions = [first]
        while self.found("or"):
            conditions.append(self.all_of())
        return Or(tuple(conditions))

    def all_of(self) -> Condition:
        first = self.one()
        if self.words[self.position] != "and":
            return first
        conditions = [first]
        while self.found("and"):
            conditions.append(self.one())
        return And(tuple(conditions))

    def one(self) -> Condition:
        if self.found("not"):
            self.negations += 1
            _check_depth(self.negations)
            condition: Condition = Not(self.one())
            self.negations -= 1
        elif self.opened():
            condition = self.any_of()
            self.close()
        else:
            condition = self.predicate()
        return condition

    def predicate(self) -> Condition:
        if not self.at_name():
            return self.flipped_comparison()
        start = self.position
        name, word = self.name(), self.words[self.position]
        if word in _OPERATORS:
            return self.comparison(name)
        if word in _ENDS:
            return self.truth(name)
        if word == "is":
            return self.null_test(name)
        if word == "(" and self.words[start] == "contains":
            return self.contains_call()
        negated = self.found("not")
        if self.found("in"):
            condition = self.membership(name)
        elif self.found("like"):
            condition = like(*self.attribute(name), self.text())
        elif self.found("contains"):
            condition = contains(*self.attribute(name), self.text())
        elif self.found("between"):
            condition = self.between(name)
        else:
            self.position = start
            raise self.unexpected()
        return Not(condition) if negated else condition

    def comparison(self, name: str) -> Condition:
        operator = _OPERATORS[self.words[self.position]]
        self.position += 1
        if self.at_name():
            other = self.whole_operand()
            raise InputError(
                f"an attribute is compared with a value, not with another name ({other})",
                where="where",
                mend=f"if {other!r} is text, put it in single quotes: '{other}'",
            )
        value = self.literal()
        return compared(*self.attribute(name), operator, value)

    def flipped_comparison(self) -> Condition:
        start = self.position
        value, operator = self.literal(), _OPERATORS.get(self.words[self.position])
        if operator is None:
            self.position = start
            raise self.unexpected()
        self.position += 1
        if not self.at_name():
            raise self.unexpected()
        return compared(*self.attribute(self.whole_operand()), _FLIPPED[operator], value)

    def truth(self, name: str) -> Condition:
        attribute, kind = self.attribute(name)
        if not pa.types.is_boolean(kind):
            raise InputError(
                f"{attribute!r} is {type_in_words(kind)}, so it is no condition by itself",
                where="where",
                mend="compare it with a value",
            )
        return Comparison(attribute, "=", value=True)

    def null_test(self, name: str) -> Condition:
        self.expect("is")
        negated = self.found("not")
        self.expect("null")
        condition = IsNull(self.attribute(name)[0])
        return Not(condition) if negated else condition

    def membership(self, name: str) -> Condition:
        if not self.opened():
            raise self.unexpected()
        values = [self.literal()]
        while self.found(","):
            values.append(self.literal())
        self.close()
        attribute, kind = self.attribute(name)
        if len(values) > MAX_VALUES:
            raise InputError(f"IN lists {len(values):,} values, at most {MAX_VALUES:,} are read", where="where")
        return one_of(attribute, kind, values)

    def between(self, name: str) -> Condition:
        low = self.literal()
        self.expect("and")
        high = self.literal()
        attribute, kind = self.attribute(name)
        return And((compared(attribute, kind, ">=", low), compared(attribute, kind, "<=", high)))

    def contains_call(self) -> Condition:
        self.opened()
        if not self.at_name():
            raise self.unexpected()
        name = self.name()
        self.expect(",")
        value = self.text()
        self.close()
        return contains(*self.attribute(name), value)

    def at_name(self) -> bool:
        token, word = self.tokens[self.position], self.words[self.position]
        if word in _RESERVED or (word == "date" and self.tokens[self.position + 1][:1] == "'"):
            return False
        return _ANY_NAME.match(token) is not None

    def name(self) -> str:
        token = self.tokens[self.position]
        self.position += 1
        return token[1:-1].replace('""', '"') if token[0] == '"' else token

    def whole_operand(self) -> str:
        """Return a name that nothing follows that would make it part of something else, such as a call."""
        name = self.name()
        if self.words[self.position] not in _ENDS:
            self.position -= 1
            raise self.unexpected()
        return name

    def attribute(self, name: str) -> tuple[str, pa.DataType]:
        kind = self.schema.get(name)
        if kind is None:
            raise unknown_attribute(name, self.schema, where="where")
        return name, kind

    def text(self) -> str:
        start, value = self.position, self.literal()
        if not isinstance(value, str):
            self.position = start
            raise self.unexpected()
        return value

    def literal(self) -> Literal:
        token, word = self.tokens[self.position], self.words[self.position]
        if len(token) > 1 and token[0] == "'":
            self.position += 1
            return token[1:-1].replace("''", "'")
        if word in {"true", "false"}:
            self.position += 1
            return word == "true"
        if word == "date" and self.tokens[self.position + 1][:1] == "'":
            self.position += 1
            return iso_date(self.text())
        if word == "null":
            raise InputError("nothing equals NULL", where="where", mend="write: name IS NULL, or name IS NOT NULL")
        return self.number()

    def number(self) -> int | Decimal:
        start = self.position
        while self.tokens[self.position] in _SIGNS:
            self.position += 1
            _check_depth(self.position - start)
        minuses = self.tokens[start : self.position].count("-")
        token = self.tokens[self.position]
        if minuses > 1 or not _NUMBER.fullmatch(token):
            raise self.unexpected()
        self.position += 1
        if len(token) <= _FEW_DIGITS and token.isdigit():
            return -int(token) if minuses else int(token)
        number = Decimal(token)
        if number and abs(number.adjusted()) > _LARGEST_EXPONENT:
            raise InputError(f"the number {shortened(token)} is out of range", where="where")
        return number.copy_negate() if minuses else number


def _check_depth(levels: int) -> None:
    if levels > MAX_DEPTH:
        raise InputError(f"is nested deeper than {MAX_DEPTH} levels", where="where", mend="flatten it")
