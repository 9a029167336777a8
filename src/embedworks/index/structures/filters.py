"""Attributes and filters as structures see them: which rows pass, and the form of the question where one is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation import InputError


@dataclass(frozen=True)
class Everything:
    """No filter."""

    def describe(self) -> str:
        """Return the form in words."""
        return "no filter"


@dataclass(frozen=True)
class Range:
    """low <= attribute <= high; an infinite bound is none (the papers' R)."""

    attribute: str
    low: float
    high: float

    def describe(self) -> str:
        """Return the form in words."""
        return "a range"


@dataclass(frozen=True)
class Labels:
    """Rows that have these labels: all of them, or any (EMIS; of a single-valued attribute, EM).

    Args:
        attribute: A label attribute.
        codes: Numbers of the labels, ascending.
        every: Whether a row must have all of them, or any.
    """

    attribute: str
    codes: tuple[int, ...]
    every: bool = True

    def describe(self) -> str:
        """Return the form in words."""
        return "one label" if len(self.codes) == 1 else f"{'all' if self.every else 'any'} of several labels"


@dataclass(frozen=True)
class Arbitrary:
    """Any condition, known by its rows alone (the papers' C)."""

    def describe(self) -> str:
        """Return the form in words."""
        return "an arbitrary condition"


Form: TypeAlias = Everything | Range | Labels | Arbitrary


@dataclass(frozen=True, eq=False)
class RowFilter:
    """A filter over n rows.

    Args:
        mask: Which rows pass, bool, shape (n,).
        form: What was asked, where that is known.
    """

    mask: NDArray[np.bool_]
    form: Form

    @cached_property
    def passing(self) -> NDArray[np.int64]:
        """The rows that pass, ascending, int64, shape (count,)."""
        return np.flatnonzero(self.mask)

    @property
    def count(self) -> int:
        """How many rows pass."""
        return len(self.passing)

    @property
    def selectivity(self) -> float:
        """Share of the rows that pass."""
        return self.count / len(self.mask)


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """Sets of labels by row; a single-valued attribute has sets of one, a null an empty set.

    Args:
        names: The labels, the most frequent first, so that a frequent label has a small number.
        starts: Where each row's labels begin in ``codes``, int64, shape (n + 1,).
        codes: Numbers of the labels, ascending within a row, int32, shape (entries,).
    """

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    codes: NDArray[np.int32]

    @cached_property
    def _inverted(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        order = np.argsort(self.codes, kind="stable")
        counts = np.bincount(self.codes, minlength=len(self.names))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), rows[order]

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    def code(self, name: str) -> int:
        """Return a label's number, -1 where no row has it."""
        return self._code_of.get(name, -1)

    def rows_with(self, code: int) -> NDArray[np.int64]:
        """Return the rows that have a label, ascending."""
        starts, rows = self._inverted
        return rows[starts[code] : starts[code + 1]] if code >= 0 else rows[:0]

    def labels_of(self, row: int) -> NDArray[np.int32]:
        """Return the numbers of a row's labels, ascending."""
        return self.codes[self.starts[row] : self.starts[row + 1]]


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """Numbers, dates (days) or timestamps (microseconds) by row; NaN stands for null.

    Args:
        values: float64, shape (n,).
    """

    values: NDArray[np.float64]

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """The rows by ascending value, equal ones by row, nulls last, int64, shape (n,)."""
        return np.argsort(self.values, kind="stable")

    @cached_property
    def ordered(self) -> NDArray[np.float64]:
        """The values in that order, nulls last."""
        return self.values[self.order]

    def positions(self, low: float, high: float) -> tuple[int, int]:
        """Return the half-open interval of positions in :attr:`order` whose values lie in [low, high]."""
        known = len(self.ordered) - int(np.isnan(self.ordered).sum())  # infinite values are values
        left = int(np.searchsorted(self.ordered[:known], low, side="left"))
        right = int(np.searchsorted(self.ordered[:known], high, side="right"))
        return left, max(left, right)


Column: TypeAlias = LabelColumn | NumberColumn


class Attributes:
    """The attributes of n rows, in the forms that structures build on.

    Args:
        table: Columns of numbers, dates, timestamps, strings, booleans, or lists of strings; n rows.

    Example:
        >>> table = pa.table({"year": [2024, 2026, None], "tags": [["a", "b"], ["b"], None]})
        >>> attributes = Attributes(table)
        >>> attributes.range("year", low=2025).mask.tolist()
        [False, True, False]
        >>> attributes.labels("tags", ["b"]).mask.tolist()
        [True, True, False]
    """

    def __init__(self, table: pa.Table) -> None:
        self.rows = table.num_rows
        self._table = table
        self._columns: dict[str, Column] = {}

    def column(self, name: str) -> Column:
        """Return an attribute's column.

        Raises:
            InputError: There is no such attribute, or its type has neither an order nor labels.
        """
        if name not in self._columns:
            if name not in self._table.column_names:
                raise InputError(
                    f"there is no attribute {name!r}",
                    where="attributes",
                    mend=f"choose from {self._table.column_names}",
                )
            self._columns[name] = _column(name, self._table.column(name))
        return self._columns[name]

    def everything(self) -> RowFilter:
        """Return the filter that all rows pass."""
        return RowFilter(np.ones(self.rows, dtype=np.bool_), Everything())

    def range(self, name: str, *, low: float = -np.inf, high: float = np.inf) -> RowFilter:
        """Return the filter low <= attribute <= high; nulls fail it."""
        column = self.column(name)
        if not isinstance(column, NumberColumn):
            raise InputError(f"{name!r} has no order", where="attributes", mend="ask for its labels")
        return RowFilter((column.values >= low) & (column.values <= high), Range(name, low, high))

    def labels(self, name: str, wanted: Sequence[str], *, every: bool = True) -> RowFilter:
        """Return the filter that rows with all (or any) of some labels pass; a label no row has is had by none."""
        column = self.column(name)
        if not isinstance(column, LabelColumn):
            raise InputError(f"{name!r} has no labels", where="attributes", mend="ask for a range")
        codes = sorted({column.code(label) for label in wanted})
        seen = np.zeros(self.rows, dtype=np.int32)
        for code in codes:
            seen[column.rows_with(code)] += 1
        mask = seen == len(codes) if every else seen > 0
        known = tuple(code for code in codes if code >= 0)
        if len(known) < len(codes) and (every or not known):
            return RowFilter(np.zeros(self.rows, dtype=np.bool_), Arbitrary())
        return RowFilter(mask, Labels(name, known, every))

    def arbitrary(self, mask: NDArray[np.bool_]) -> RowFilter:
        """Return a filter that is known by its rows alone."""
        if mask.shape != (self.rows,) or mask.dtype != np.bool_:
            raise InputError(
                f"the mask is {mask.dtype} of shape {mask.shape}", where="mask", mend=f"pass {self.rows} booleans"
            )
        return RowFilter(mask, Arbitrary())


def _column(name: str, values: pa.ChunkedArray) -> Column:
    kind, types = values.type, pa.types
    if types.is_date(kind):
        values = values.cast(pa.date32()).cast(pa.int32())
    elif types.is_timestamp(kind):
        values = values.cast(pa.int64())
    if types.is_integer(values.type) or types.is_floating(values.type) or types.is_decimal(values.type):
        return NumberColumn(np.ascontiguousarray(values.cast(pa.float64()).to_numpy()))  # a null becomes NaN
    if types.is_boolean(kind):
        values = values.cast(pa.string())
    if types.is_list(kind) or types.is_large_list(kind):
        sets = [sorted(set(labels or ())) for labels in values.to_pylist()]
    elif types.is_string(values.type) or types.is_large_string(values.type):
        sets = [[] if label is None else [label] for label in values.to_pylist()]
    else:
        raise InputError(f"{name!r} is {kind}, which has neither an order nor labels", where="attributes")
    return _label_column(sets)


def _label_column(sets: Sequence[Sequence[str]]) -> LabelColumn:
    counts: dict[str, int] = {}
    for labels in sets:
        for label in labels:
            counts[label] = counts.get(label, 0) + 1
    names = tuple(sorted(counts, key=lambda name: (-counts[name], name)))
    code_of: Mapping[str, int] = {name: code for code, name in enumerate(names)}
    starts = np.concatenate([[0], np.cumsum([len(labels) for labels in sets])]).astype(np.int64)
    codes = np.fromiter(
        (code for labels in sets for code in sorted(code_of[label] for label in labels)), dtype=np.int32
    )
    return LabelColumn(names, starts, codes)
