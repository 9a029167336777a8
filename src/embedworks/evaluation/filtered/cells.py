"""The twelve filter cells: which filters, as text for an index and as conditions that every engine translates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedworks.evaluation.filtered.papers import MEASURING, TUNING, PaperSet
from embedworks.foundation.randomness import random_generator

Kind = Literal["between", "equals", "has"]
_FILTERS = 4


@dataclass(frozen=True)
class Condition:
    """One condition on one attribute.

    Args:
        attribute: Its name.
        kind: low <= attribute <= high (dates as days), attribute = value, or value among the attribute's set.
        low: Lower bound of ``between``.
        high: Upper bound of ``between``.
        value: Of ``equals`` and ``has``.
    """

    attribute: str
    kind: Kind
    low: float = -np.inf
    high: float = np.inf
    value: str = ""

    @property
    def text(self) -> str:
        """The condition in our language."""
        quoted = "'" + self.value.replace("'", "''") + "'"
        if self.kind == "equals":
            return f"{self.attribute} = {quoted}"
        if self.kind == "has":
            return f"{self.attribute} contains {quoted}"
        bounds = [("<=", self.high)] if np.isinf(self.low) else [(">=", self.low), ("<=", self.high)]
        return " and ".join(f"{self.attribute} {sign} {self._literal(bound)}" for sign, bound in bounds)

    def _literal(self, bound: float) -> str:
        if self.attribute == "date":
            return f"'{date.fromordinal(int(bound)).isoformat()}'"
        return repr(int(bound)) if float(bound).is_integer() and self.attribute != "draw" else repr(float(bound))

    def mask(self, papers: PaperSet) -> NDArray[np.bool_]:
        """Return which papers meet it, bool, shape (n,)."""
        if self.kind == "between":
            values = papers.numbers(self.attribute)
            return np.asarray((values >= self.low) & (values <= self.high))
        column = papers.table.column(self.attribute)
        if self.kind == "equals":
            return np.asarray(pc.equal(column, self.value).to_numpy(), dtype=np.bool_)
        return np.array([self.value in names for names in column.to_pylist()], dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class Filter:
    """All of some conditions.

    Args:
        conditions: At least one.
        mask: Which papers pass, bool, shape (n,).
    """

    conditions: tuple[Condition, ...]
    mask: NDArray[np.bool_]

    @property
    def where(self) -> str:
        """The filter in our language."""
        return " and ".join(condition.text for condition in self.conditions)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The papers that pass, ascending."""
        return np.flatnonzero(self.mask)


@dataclass(frozen=True, eq=False)
class Cell:
    """A kind of filter, some filters of it, and the queries asked with them.

    Args:
        name: What it is called.
        filters: Taken in turn by the queries.
        tuning: Queries to choose settings by: rows of the set's queries.
        measuring: Queries to measure with, likewise; none of them in ``tuning``.
    """

    name: str
    filters: tuple[Filter, ...]
    tuning: NDArray[np.int64]
    measuring: NDArray[np.int64]

    def filter_of(self, place: int) -> int:
        """Return which filter the query at a place is asked with."""
        return place % len(self.filters)


def cells_of(papers: PaperSet, *, seed: int = 0) -> list[Cell]:
    """Return the twelve cells.

    Args:
        papers: The set.
        seed: Decides where the ranges begin.
    """
    random = random_generator(seed, "filtered search", "cells")
    half = len(papers.queries) // 2
    halves = np.arange(half), np.arange(half, len(papers.queries))
    from_vision = np.flatnonzero([primary == "cs.CV" for primary in papers.asked_primary])
    vision = from_vision[: len(from_vision) // 2], from_vision[len(from_vision) // 2 :]
    busy = _busiest(papers)
    day = papers.numbers("date")

    def cell(name: str, filters: list[list[Condition]], queries: tuple[NDArray[np.int64], ...] = halves) -> Cell:
        made = [Filter(tuple(parts), np.logical_and.reduce([part.mask(papers) for part in parts])) for parts in filters]
        return Cell(name, tuple(made), queries[0][:TUNING], queries[1][:MEASURING])

    def ranges(attribute: str, share: float) -> list[list[Condition]]:
        ordered = np.sort(papers.numbers(attribute))
        width = max(1, round(share * len(ordered)))
        firsts = random.integers(0, len(ordered) - width, size=_FILTERS)
        return [[Condition(attribute, "between", ordered[first], ordered[first + width - 1])] for first in firsts]

    def each(attribute: str, kind: Kind, values: list[str]) -> list[list[Condition]]:
        return [[Condition(attribute, kind, value=value)] for value in values]

    recent = Condition("date", "between", float(np.quantile(day, 0.4)), float(np.quantile(day, 0.9)))
    few = Condition("number_of_authors", "between", high=5.0)
    return [
        cell("random 50 %", ranges("draw", 0.5)),
        cell("random 10 %", ranges("draw", 0.1)),
        cell("random 1 %", ranges("draw", 0.01)),
        cell("random 0.1 %", ranges("draw", 0.001)),
        cell("date 50 %", ranges("date", 0.5)),
        cell("date 10 %", ranges("date", 0.1)),
        cell("date 1 %", ranges("date", 0.01)),
        cell("category equality", each("primary_category", "equals", ["cs.CV", "cs.CL", "cs.AI", "cs.GR"])),
        cell("category sets", each("categories", "has", ["cs.AI", "cs.LG", "cs.RO", "cs.IR"])),
        cell("author", each("authors", "has", busy)),
        cell("combined", [[recent, few, Condition("categories", "has", value=name)] for name in ("cs.AI", "cs.LG")]),
        cell("correlated", each("primary_category", "equals", ["cs.GT", "cs.CL"]), vision),
    ]


def _busiest(papers: PaperSet) -> list[str]:
    counts = Counter(name for names in papers.table.column("authors").to_pylist() for name in names)
    return [name for name, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_FILTERS]]
