"""The distinct values of a column in ascending order, and the runs of them that a condition means."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedworks.index.conditions import Value
from embedworks.index.runs import Run

_DAY_ZERO = date(1970, 1, 1).toordinal()
_EPOCHS = {True: datetime(1970, 1, 1, tzinfo=UTC), False: datetime(1970, 1, 1)}
_MICROSECOND = timedelta(microseconds=1)
_SEARCHED_SHARE = 16  # finding one value by halves costs as much as asking of so many whether they are among some


class Numbers:
    """Distinct numbers in ascending order; dates, times and truth values count as numbers.

    Args:
        values: int64 or float64, shape (distinct,).
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.memory = values.nbytes

    def start(self, value: Value) -> int:
        """Return how many values are less than one."""
        return int(self.values.searchsorted(_as_number(value)))

    def end(self, value: Value) -> int:
        """Return how many values are less than one or equal to it."""
        return int(self.values.searchsorted(_as_number(value), side="right"))

    def run(self, value: Value) -> Run:
        """Return the run of the values equal to one; an empty one stands where the value would."""
        return self.start(value), self.end(value)

    def runs(self, values: tuple[Value, ...]) -> list[Run]:
        """Return the runs of the values that are among some, in any order."""
        numbers = np.array([_as_number(value) for value in values], dtype=self.values.dtype)
        starts, ends = (self.values.searchsorted(numbers, side=side).tolist() for side in ("left", "right"))
        return list(zip(starts, ends, strict=True))


def _as_number(value: Value) -> int | float:
    if isinstance(value, datetime):
        return (value - _EPOCHS[value.tzinfo is not None]) // _MICROSECOND
    if isinstance(value, date):
        return value.toordinal() - _DAY_ZERO
    assert not isinstance(value, str)
    return value


class Texts:
    """Distinct strings in ascending order of their code points, which is that of their UTF-8 bytes.

    Args:
        values: Strings, no nulls.
    """

    def __init__(self, values: pa.StringArray) -> None:
        count = len(values)
        _, offsets, data = values.buffers()
        self.data = b"" if data is None else data.to_pybytes()
        self.offsets = memoryview(offsets).cast("i") if count else memoryview(b"")
        self.places = range(count)
        # One copy of the bytes serves both the search by halves and Arrow.
        self.values = pa.StringArray.from_buffers(count, offsets, pa.py_buffer(self.data)) if count else values
        self.memory = len(self.data) + self.offsets.nbytes

    def at(self, place: int) -> bytes:
        """Return one value in UTF-8."""
        return self.data[self.offsets[place] : self.offsets[place + 1]]

    def start(self, value: Value) -> int:
        """Return how many values are less than one."""
        assert isinstance(value, str)
        return bisect_left(self.places, value.encode(), key=self.at)

    def end(self, value: Value) -> int:
        """Return how many values are less than one or equal to it."""
        return self.run(value)[1]

    def run(self, value: Value) -> Run:
        """Return the run of the values equal to one; an empty one stands where the value would."""
        assert isinstance(value, str)
        wanted = value.encode()
        start = bisect_left(self.places, wanted, key=self.at)
        return start, start + (start < len(self.places) and self.at(start) == wanted)

    def runs(self, values: tuple[Value, ...]) -> list[Run]:
        """Return the runs of the values that are among some, in any order."""
        if len(values) * _SEARCHED_SHARE < len(self.places):
            return [self.run(value) for value in values]
        return _runs_of(pc.is_in(self.values, value_set=pa.array(values, pa.string())))

    def like(self, pattern: str) -> list[Run]:
        """Return the runs of the values that a pattern fits."""
        start = pattern.rstrip("%")
        if "%" in start or "_" in start:
            return _runs_of(like(self.values, pattern))
        if start == pattern:
            return [self.run(pattern)]
        prefix = start.encode()
        length = len(prefix)
        first = bisect_left(self.places, prefix, key=self.at)
        return [(first, bisect_right(self.places, prefix, lo=first, key=lambda place: self.at(place)[:length]))]


def like(values: pa.StringArray, pattern: str) -> pa.BooleanArray:
    """Return which strings SQL's LIKE holds for; null where the string is."""
    # A backslash escapes in Arrow's LIKE and is a plain character in SQL's.
    return pc.match_like(values, pattern.replace("\\", "\\\\"))


def _runs_of(wanted: pa.BooleanArray) -> list[Run]:
    flags = np.zeros(len(wanted) + 2, dtype=np.int8)
    flags[1:-1] = wanted.to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.diff(flags)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
