"""The tree a filter is made of: attributes, operators and typed values, and nothing that could be run.

Every way of answering a filter (masks here, other engines elsewhere) walks this tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, TypeAlias

Value: TypeAlias = int | float | str | bool | date | datetime
Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Comparison:
    """``attribute operator value``; unknown where the attribute is null."""

    attribute: str
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Membership:
    """``attribute IN (values)``; unknown where the attribute is null."""

    attribute: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """``attribute LIKE pattern``: % is any run of characters, _ any one; case matters."""

    attribute: str
    pattern: str


@dataclass(frozen=True)
class Contains:
    """The set of strings ``attribute`` holds ``value``; unknown where the set is null."""

    attribute: str
    value: str


@dataclass(frozen=True)
class IsNull:
    """``attribute IS NULL``: true or false, never unknown."""

    attribute: str


@dataclass(frozen=True)
class Constant:
    """The same outcome wherever the attribute is not null, such as a whole number compared with 2.5 by ``=``."""

    attribute: str
    outcome: bool


@dataclass(frozen=True)
class Not:
    """SQL's NOT: unknown stays unknown."""

    condition: Condition


@dataclass(frozen=True)
class And:
    """SQL's AND over two or more conditions."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    """SQL's OR over two or more conditions."""

    conditions: tuple[Condition, ...]


Leaf: TypeAlias = Comparison | Membership | Like | Contains | IsNull | Constant
Condition: TypeAlias = Leaf | Not | And | Or
