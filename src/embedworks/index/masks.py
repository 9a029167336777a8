"""A filter's condition becomes a mask of rows, with SQL's three truth values: true, false, unknown (null)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
    Or,
)

_COMPARE: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def passing_rows(condition: Condition, rows: pa.Table) -> NDArray[np.bool_]:
    """Return which rows a filter lets pass: those where it is true, not those where it is unknown.

    Args:
        condition: What :func:`embedworks.index.where.parse_where` returned.
        rows: A table with every column that the condition names.

    Returns:
        Booleans, shape (rows,).
    """
    if rows.num_rows == 0:
        return np.zeros(0, dtype=np.bool_)
    return np.concatenate([_known_and_true(chunk) for chunk in _evaluate(condition, rows).chunks if len(chunk)])


def _known_and_true(chunk: pa.BooleanArray) -> NDArray[np.bool_]:
    """Unpack Arrow's bits, which NumPy does many times as fast as Arrow."""
    validity, bits = chunk.buffers()
    mask = _unpacked(bits, chunk)
    return mask if validity is None else mask & _unpacked(validity, chunk)


def _unpacked(bits: pa.Buffer, chunk: pa.BooleanArray) -> NDArray[np.bool_]:
    end = chunk.offset + len(chunk)
    flags = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=end, bitorder="little")
    return flags[chunk.offset :].view(np.bool_)


def _evaluate(condition: Condition, rows: pa.Table) -> pa.ChunkedArray:
    if isinstance(condition, And):
        return reduce(pc.and_kleene, (_evaluate(part, rows) for part in condition.conditions))
    if isinstance(condition, Or):
        return reduce(pc.or_kleene, (_evaluate(part, rows) for part in condition.conditions))
    if isinstance(condition, Not):
        return pc.invert(_evaluate(condition.condition, rows))
    column = rows.column(condition.attribute)
    if isinstance(condition, IsNull):
        return pc.is_null(column)
    if isinstance(condition, Constant):
        known = pc.is_valid(column)
        outcome = pa.scalar(condition.outcome, pa.bool_())
        return pc.if_else(known, outcome, pa.scalar(None, pa.bool_()))
    if isinstance(condition, Comparison):
        return _COMPARE[condition.operator](column, pa.scalar(condition.value, column.type))
    if isinstance(condition, Membership):
        member = pc.is_in(column, value_set=pa.array(condition.values, column.type))
        # Arrow calls a null "not in the set"; SQL calls it unknown.
        return pc.if_else(pc.is_valid(column), member, pa.scalar(None, pa.bool_()))
    if isinstance(condition, Like):
        # A backslash escapes in Arrow's LIKE and is a plain character in SQL's.
        return pc.match_like(column, condition.pattern.replace("\\", "\\\\"))
    assert isinstance(condition, Contains)
    return pa.chunked_array([_holds(chunk, condition.value) for chunk in column.chunks], pa.bool_())


def _holds(sets: pa.ListArray, value: str) -> pa.BooleanArray:
    holds = np.zeros(len(sets), dtype=np.bool_)
    found = pc.list_parent_indices(sets).filter(pc.equal(sets.flatten(), value))
    holds[found.to_numpy()] = True
    return pa.array(holds, mask=sets.is_null().to_numpy(zero_copy_only=False))
