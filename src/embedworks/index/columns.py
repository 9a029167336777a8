"""The columns of a table as filters want them: codes in the order of the values, and lists of the rows of each member.

A column of numbers, dates, times, truth values or short strings becomes one code a row: the place of its value among
the distinct values in ascending order, and for a null the number after the last. Every comparison is then a run of
codes, its opposite is the other runs below the code of the nulls, and how many rows it selects is known before any is
looked at. A column of sets becomes the rows of each member. Long strings stay as they are and are scanned.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedworks.index.conditions import Comparison, Constant, Contains, IsNull, Leaf, Like, Membership, Operator, Value
from embedworks.index.distinct_values import Numbers, Texts
from embedworks.index.runs import Run, joined, others
from embedworks.index.scanned_column import ScannedColumn
from embedworks.index.selections import Coded, Fixed, Mask, Members, Others, Selection, every

_LONG = 64  # bytes of a string on average, from which on a column is scanned
_DENSE_SHARE = 32  # a bit for every row takes less room than the numbers of a 32nd of them


class Column(Protocol):
    """A column that answers the conditions on one attribute."""

    @property
    def memory(self) -> int:
        """How many bytes it keeps beside the table."""
        ...

    def select(self, condition: Leaf, *, truth: bool) -> Selection:
        """Return the rows for which a condition has a truth value; where it is unknown it has none."""
        ...


class Columns:
    """The columns of a table, each made ready when a filter first names it.

    Two threads may make the same one at once; each sees a whole one.

    Args:
        table: The rows.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._ready: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        ready = self._ready.get(name)
        if ready is None:
            ready = self._ready[name] = _column(self._table.column(name))
        return ready


def _column(column: pa.ChunkedArray) -> Column:
    if pa.types.is_list(column.type):
        return SetColumn.of(column)
    if pa.types.is_string(column.type):
        length = pc.sum(pc.binary_length(column)).as_py() or 0
        if length > _LONG * max(1, len(column) - column.null_count):
            return ScannedColumn(column)
    return CodedColumn.of(column)


class CodedColumn:
    """One code a row.

    Takes 1, 2 or 4 bytes a row for the codes, 4 for their order, and the distinct values.

    Args:
        distinct: The distinct values, ascending.
        codes: The place of each row's value among them; their number for a null; unsigned, shape (rows,).
        order: The rows sorted by code, those of one code ascending, int32, shape (rows,).
        starts: Where the rows of each code begin in ``order``, int64, shape (distinct + 2,).
    """

    def __init__(
        self,
        distinct: Numbers | Texts,
        codes: NDArray[Any],
        order: NDArray[np.int32],
        starts: NDArray[np.int64],
    ) -> None:
        self.distinct = distinct
        self.codes = codes
        self.order = order
        self.starts = starts
        self.null = len(starts) - 2
        # The code after the last that a row has: where there are no nulls, a run up to it needs one comparison.
        self.top = self.null if starts[-1] == starts[-2] else self.null + 1
        self.memory = codes.nbytes + order.nbytes + starts.nbytes + distinct.memory

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> CodedColumn:
        """Sort the values of a column."""
        values, indices = _encoded(column)
        count = len(values)
        texts = pa.types.is_string(column.type)
        if texts:
            sorting = pc.sort_indices(values).to_numpy()
            distinct: Numbers | Texts = Texts(values.take(pa.array(sorting)))
        else:
            numbers = values.to_numpy(zero_copy_only=False)
            sorting = np.argsort(numbers, kind="stable")
            numbers = numbers[sorting]
            distinct = Numbers(numbers if numbers.dtype == np.float64 else numbers.astype(np.int64))
        place = np.empty(count + 1, dtype=np.min_scalar_type(count))
        place[sorting] = np.arange(count)
        place[count] = count
        codes = place.take(indices)
        starts = np.zeros(count + 2, dtype=np.int64)
        np.cumsum(np.bincount(codes, minlength=count + 1), out=starts[1:])
        return cls(distinct, codes, np.argsort(codes, kind="stable").astype(np.int32), starts)

    def select(self, condition: Leaf, *, truth: bool) -> Selection:
        """Return the rows for which a condition has a truth value."""
        if isinstance(condition, IsNull):
            return Coded(self, [(self.null, self.null + 1)] if truth else joined([(0, self.null)]))
        runs = joined(self._runs(condition))
        return Coded(self, runs if truth else others(runs, self.null))

    def _runs(self, condition: Leaf) -> list[Run]:
        if isinstance(condition, Comparison):
            return self._compared(condition.operator, condition.value)
        if isinstance(condition, Membership):
            return self.distinct.runs(condition.values)
        if isinstance(condition, Constant):
            return [(0, self.null)] if condition.outcome else []
        assert isinstance(condition, Like)
        assert isinstance(self.distinct, Texts)
        return self.distinct.like(condition.pattern)

    def _compared(self, operator: Operator, value: Value) -> list[Run]:
        if operator == "<":
            return [(0, self.distinct.start(value))]
        if operator == ">=":
            return [(self.distinct.start(value), self.null)]
        if operator == "<=":
            return [(0, self.distinct.end(value))]
        if operator == ">":
            return [(self.distinct.end(value), self.null)]
        start, end = self.distinct.run(value)
        return [(start, end)] if operator == "=" else [(0, start), (end, self.null)]


def _encoded(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[Any]]:
    """Return the distinct values in any order, and each row's place among them; their number for a null."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.array([], pa.int64()), np.zeros(len(column), dtype=np.int32)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_date(kind):
        column = column.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())
    chunks = column.dictionary_encode().unify_dictionaries().chunks
    if not chunks:
        return pa.array([], column.type), np.zeros(0, dtype=np.int32)
    values = chunks[0].dictionary
    return values, np.concatenate([chunk.indices.fill_null(len(values)).to_numpy() for chunk in chunks])


class SetColumn:
    """The rows of each member of a column of sets of strings.

    Takes 4 bytes for each member of a row, a byte for each row, an eighth of one for each row and frequent member, and
    the distinct members.

    Args:
        distinct: The distinct members, ascending.
        rows: The rows of the first member, ascending, then those of the next, int32.
        starts: Where the rows of each member begin.
        valid: Which rows are not null, bool, shape (rows of the column,).
    """

    def __init__(self, distinct: Texts, rows: NDArray[np.int32], starts: NDArray[np.int64], valid: Mask) -> None:
        self.distinct = distinct
        self.rows = rows
        self.starts = starts
        self.total = len(valid)
        self.valid = Fixed(valid)
        counts = np.diff(starts[: len(distinct.places) + 1])
        self.bits: dict[int, NDArray[np.uint8]] = {}
        for code in np.flatnonzero(counts * _DENSE_SHARE > self.total).tolist():
            flags = np.zeros(self.total, dtype=np.bool_)
            flags[rows[starts[code] : starts[code + 1]]] = True
            self.bits[code] = np.packbits(flags, bitorder="little")
        bits = sum(packed.nbytes for packed in self.bits.values())
        self.memory = rows.nbytes + starts.nbytes + valid.nbytes + bits + distinct.memory

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> SetColumn:
        """List the rows of each member."""
        firsts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
        members = CodedColumn.of(pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type))
        parents = [
            pc.list_parent_indices(chunk).to_numpy() + first
            for chunk, first in zip(column.chunks, firsts[:-1], strict=True)
        ]
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *parents]).astype(np.int32).take(members.order)
        starts = members.starts
        # A member that stands twice in a row counts once.
        fresh = np.ones(len(rows), dtype=np.bool_)
        fresh[1:] = rows[1:] != rows[:-1]
        fresh[starts[:-1][starts[:-1] < len(rows)]] = True
        if not fresh.all():
            rows, starts = rows[fresh], np.concatenate([[0], np.cumsum(fresh)])[starts]
        valid = [np.asarray(chunk.is_valid().to_numpy(zero_copy_only=False)) for chunk in column.chunks]
        assert isinstance(members.distinct, Texts)
        return cls(members.distinct, rows, starts, np.concatenate([np.zeros(0, dtype=np.bool_), *valid]))

    def select(self, condition: Leaf, *, truth: bool) -> Selection:
        """Return the rows for which a condition has a truth value."""
        if isinstance(condition, IsNull):
            return Others(self.valid) if truth else self.valid
        if isinstance(condition, Constant):
            return self.valid if truth == condition.outcome else Others(Fixed(np.ones(self.total, dtype=np.bool_)))
        assert isinstance(condition, Contains)
        code, end = self.distinct.run(condition.value)
        holding: Selection = Members(self, code) if code < end else Fixed(np.zeros(self.total, dtype=np.bool_))
        if truth:
            return holding
        return Others(holding) if self.valid.most == self.total else every([self.valid, Others(holding)])
