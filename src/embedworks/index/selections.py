"""Sets of rows that a filter selects, each in the form in which it is known, combined without needless passes.

A set is a mask, or a list of rows, or both; which one is cheap depends on how many rows it has. A conjunction starts
from its smallest part and, where that is small, looks at the rows of that part alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embedworks.index.runs import Run, joined, others

if TYPE_CHECKING:
    from embedworks.index.columns import CodedColumn, SetColumn

Mask: TypeAlias = NDArray[np.bool_]
Rows: TypeAlias = NDArray[np.int64]
# Up to these parts of all rows, a list of rows is quicker than a pass over all of them: a list that must be sorted, and
# one that is marked in a mask or looked up in further columns.
_SORTED_SHARE = 32
_GATHERED_SHARE = 16
_COMPARED_RUNS = 4


class Selection(ABC):
    """Some of the rows 0 to ``total`` - 1.

    Args:
        total: The number of rows there are.
        most: At most so many are selected.
        listed: Whether their numbers can be had without a pass over all rows.
    """

    __slots__ = ("listed", "most", "total")

    def __init__(self, total: int, most: int, *, listed: bool) -> None:
        self.total = total
        self.most = most
        self.listed = listed

    @abstractmethod
    def mask(self) -> Mask:
        """Return which rows are selected, bool, shape (total,), an array of the caller's own."""

    @abstractmethod
    def among(self, rows: Rows) -> Mask:
        """Return which of some rows are selected, bool, shape (rows,)."""

    def rows(self) -> Rows:
        """Return the numbers of the selected rows, ascending, int64."""
        return np.flatnonzero(self.mask())

    def both(self) -> tuple[Mask, Rows]:
        """Return the selected rows as a mask and as numbers."""
        if not self.listed:
            mask = self.mask()
            return mask, np.flatnonzero(mask)
        rows = self.rows()
        return _marked(self.total, rows), rows


def _marked(total: int, rows: NDArray[np.integer]) -> Mask:
    mask = np.zeros(total, dtype=np.bool_)
    mask[rows] = True
    return mask


class Coded(Selection):
    """The rows whose code lies in some runs.

    Args:
        column: The codes.
        runs: Runs of codes, ascending, apart from each other, none empty.
    """

    __slots__ = ("column", "runs")

    def __init__(self, column: CodedColumn, runs: Sequence[Run]) -> None:
        begin = column.starts.item
        most = 0
        for start, end in runs:
            most += begin(end) - begin(start)
        # The rows of one code are in order already.
        ordered = len(runs) == 1 and runs[0][1] - runs[0][0] == 1
        super().__init__(len(column.codes), most, listed=ordered or most * _SORTED_SHARE <= len(column.codes))
        self.column = column
        self.runs = runs

    def mask(self) -> Mask:
        """Compare the codes of all rows."""
        return self._hold(self.column.codes)

    def among(self, rows: Rows) -> Mask:
        """Compare the codes of those rows."""
        return self._hold(self.column.codes.take(rows))

    def rows(self) -> Rows:
        """Read the rows in the order of their codes, where they are few."""
        if not self.listed:
            return super().rows()
        column = self.column
        parts = [column.order[column.starts[start] : column.starts[end]] for start, end in self.runs]
        if len(parts) == 1 and self.runs[0][1] - self.runs[0][0] == 1:
            return parts[0].astype(np.int64)
        return np.sort(np.concatenate([np.zeros(0, dtype=np.int32), *parts])).astype(np.int64)

    def both(self) -> tuple[Mask, Rows]:
        """Compare, and read the rows besides, where both are quicker than writing them into a mask."""
        if self.listed and self.most * _SORTED_SHARE > self.total:
            return self.mask(), self.rows()
        return super().both()

    def _hold(self, codes: NDArray[np.unsignedinteger]) -> Mask:
        if not self.runs:
            return np.zeros(len(codes), dtype=np.bool_)
        if len(self.runs) > _COMPARED_RUNS:
            wanted = np.zeros(len(self.column.starts), dtype=np.bool_)
            for start, end in self.runs:
                wanted[start:end] = True
            return wanted.take(codes)
        mask = self._within(codes, *self.runs[0])
        for run in self.runs[1:]:
            mask |= self._within(codes, *run)
        return mask

    def _within(self, codes: NDArray[np.unsignedinteger], start: int, end: int) -> Mask:
        mask: Mask
        if end - start == 1:
            mask = codes == start
        elif start == 0:
            mask = codes < end
        elif end == self.column.top:
            mask = codes >= start
        else:
            # What is below the start wraps around to a large number.
            mask = (codes - codes.dtype.type(start)) < end - start
        return mask


class Members(Selection):
    """The rows whose set of strings holds one member.

    Args:
        column: The sets.
        code: The member's code.
    """

    __slots__ = ("bits", "own")

    def __init__(self, column: SetColumn, code: int) -> None:
        self.own: NDArray[np.int32] = column.rows[column.starts[code] : column.starts[code + 1]]
        self.bits = column.bits.get(code)
        super().__init__(column.total, len(self.own), listed=True)

    def mask(self) -> Mask:
        """Unpack the member's bits, or mark its rows."""
        if self.bits is None:
            return _marked(self.total, self.own)
        return np.unpackbits(self.bits, count=self.total, bitorder="little").view(np.bool_)

    def among(self, rows: Rows) -> Mask:
        """Look at the member's bits, or search its rows."""
        if self.bits is not None:
            mask: Mask = ((self.bits.take(rows >> 3) >> (rows & 7).astype(np.uint8)) & 1).view(np.bool_)
            return mask
        if not len(self.own):
            return np.zeros(len(rows), dtype=np.bool_)
        wanted = rows.astype(np.int32)
        places = self.own.searchsorted(wanted)
        found: Mask = self.own.take(places, mode="clip") == wanted
        return found

    def rows(self) -> Rows:
        """Read the member's rows."""
        return self.own.astype(np.int64)

    def both(self) -> tuple[Mask, Rows]:
        """Take both as they are kept."""
        return self.mask(), self.rows()


class Fixed(Selection):
    """The rows of a mask that is known.

    Args:
        flags: Which rows are selected, bool, shape (total,).
    """

    __slots__ = ("flags",)

    def __init__(self, flags: Mask) -> None:
        super().__init__(len(flags), int(np.count_nonzero(flags)), listed=False)
        self.flags = flags

    def mask(self) -> Mask:
        """Copy the mask."""
        return self.flags.copy()

    def among(self, rows: Rows) -> Mask:
        """Read the mask."""
        return self.flags.take(rows)


class Others(Selection):
    """The rows that a selection leaves out.

    Args:
        inner: The selection; its ``most`` is how many rows it selects.
    """

    __slots__ = ("inner",)

    def __init__(self, inner: Selection) -> None:
        super().__init__(inner.total, inner.total - inner.most, listed=False)
        self.inner = inner

    def mask(self) -> Mask:
        """Turn the mask of the selection around."""
        mask = self.inner.mask()
        return np.logical_not(mask, out=mask)

    def among(self, rows: Rows) -> Mask:
        """Turn the answers of the selection around."""
        mask = self.inner.among(rows)
        return np.logical_not(mask, out=mask)


class Scanned(Selection):
    """The rows that a test lets pass; they are not known before the test.

    Args:
        total: The number of rows there are.
        test: Returns a mask of some rows, or of all of them for None.
    """

    __slots__ = ("test",)

    def __init__(self, total: int, test: Callable[[Rows | None], Mask]) -> None:
        super().__init__(total, total, listed=False)
        self.test = test

    def mask(self) -> Mask:
        """Test all rows."""
        return self.test(None)

    def among(self, rows: Rows) -> Mask:
        """Test those rows."""
        return self.test(rows)


class Every(Selection):
    """The rows that all of some selections have.

    Args:
        parts: Two or more selections.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Selection]) -> None:
        self.parts = sorted(parts, key=lambda part: part.most)
        first = self.parts[0]
        super().__init__(first.total, first.most, listed=first.listed and first.most * _GATHERED_SHARE <= first.total)

    def mask(self) -> Mask:
        """Join the masks, or mark the rows where they are few."""
        if self.listed:
            return _marked(self.total, self.rows())
        mask = self.parts[0].mask()
        for part in self.parts[1:]:
            mask &= part.mask()
        return mask

    def among(self, rows: Rows) -> Mask:
        """Join the answers."""
        mask = self.parts[0].among(rows)
        for part in self.parts[1:]:
            mask &= part.among(rows)
        return mask

    def rows(self) -> Rows:
        """Ask each part about the rows that are left of the smallest."""
        if not self.listed:
            return super().rows()
        rows = self.parts[0].rows()
        for part in self.parts[1:]:
            rows = rows.compress(part.among(rows))
        return rows


class Either(Selection):
    """The rows that at least one of some selections has.

    Args:
        parts: Two or more selections.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Sequence[Selection]) -> None:
        self.parts = sorted(parts, key=lambda part: -part.most)
        total = self.parts[0].total
        super().__init__(total, min(total, sum(part.most for part in parts)), listed=False)

    def mask(self) -> Mask:
        """Join the masks; of a part with few rows mark those."""
        mask = self.parts[0].mask()
        for part in self.parts[1:]:
            if part.listed and part.most * _GATHERED_SHARE <= self.total:
                mask[part.rows()] = True
            else:
                mask |= part.mask()
        return mask

    def among(self, rows: Rows) -> Mask:
        """Join the answers."""
        mask = self.parts[0].among(rows)
        for part in self.parts[1:]:
            mask |= part.among(rows)
        return mask


def every(parts: Sequence[Selection]) -> Selection:
    """Return the rows that all of some selections have; those by one column become runs of its codes.

    Args:
        parts: One or more selections.
    """
    kept, coded = _by_column(parts)
    for column, selections in coded:
        end = column.null + 1
        left_out = joined(run for selection in selections for run in others(selection.runs, end))
        kept.append(Coded(column, others(left_out, end)))
    return kept[0] if len(kept) == 1 else Every(kept)


def either(parts: Sequence[Selection]) -> Selection:
    """Return the rows that at least one of some selections has; those by one column become runs of its codes.

    Args:
        parts: One or more selections.
    """
    kept, coded = _by_column(parts)
    for column, selections in coded:
        kept.append(Coded(column, joined(run for selection in selections for run in selection.runs)))
    return kept[0] if len(kept) == 1 else Either(kept)


def _by_column(parts: Sequence[Selection]) -> tuple[list[Selection], list[tuple[CodedColumn, list[Coded]]]]:
    """Return the selections that stand alone, and those of which several are by one column."""
    columns: dict[int, list[Coded]] = {}
    kept: list[Selection] = []
    for part in parts:
        if isinstance(part, Coded):
            columns.setdefault(id(part.column), []).append(part)
        else:
            kept.append(part)
    kept += [selections[0] for selections in columns.values() if len(selections) == 1]
    return kept, [(selections[0].column, selections) for selections in columns.values() if len(selections) > 1]
