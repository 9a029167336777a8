"""A column of long strings: every row is looked at for every filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedworks.index.conditions import Comparison, Constant, IsNull, Leaf, Like, Membership
from embedworks.index.distinct_values import like
from embedworks.index.selections import Mask, Scanned, Selection

_COMPARE: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


class ScannedColumn:
    """Strings as Arrow keeps them; takes no memory.

    Args:
        column: Strings.
    """

    def __init__(self, column: pa.ChunkedArray) -> None:
        self.memory = 0
        self.chunks = column.chunks
        self.firsts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])

    def select(self, condition: Leaf, *, truth: bool) -> Selection:
        """Return the rows for which a condition has a truth value, found when they are asked for."""

        def test(rows: NDArray[np.int64] | None) -> Mask:
            parts = [np.zeros(0, dtype=np.bool_)]
            for chunk, first, end in zip(self.chunks, self.firsts, self.firsts[1:], strict=False):
                if rows is None:
                    parts.append(_held(condition, chunk, truth=truth))
                elif len(within := rows[slice(*rows.searchsorted([first, end]))]):
                    parts.append(_held(condition, chunk.take(pa.array(within - first)), truth=truth))
            return np.concatenate(parts)

        return Scanned(int(self.firsts[-1]), test)


def _held(condition: Leaf, values: pa.StringArray, *, truth: bool) -> Mask:
    known: Mask = values.is_valid().to_numpy(zero_copy_only=False)
    if isinstance(condition, IsNull):
        return ~known if truth else known
    if isinstance(condition, Constant):
        return known if condition.outcome == truth else np.zeros(len(known), dtype=np.bool_)
    if isinstance(condition, Comparison):
        outcome = _COMPARE[condition.operator](values, pa.scalar(condition.value, pa.string()))
    elif isinstance(condition, Membership):
        outcome = pc.is_in(values, value_set=pa.array(condition.values, pa.string()))
    else:
        assert isinstance(condition, Like)
        outcome = like(values, condition.pattern)
    known &= outcome.fill_null(False).to_numpy(zero_copy_only=False) == truth
    return known
