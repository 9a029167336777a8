"""A filter's condition becomes the rows that pass, with SQL's three truth values: true, false, unknown (null)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.index.columns import Columns
from embedworks.index.conditions import And, Condition, Not, Or
from embedworks.index.selections import Selection, either, every


def select(condition: Condition, columns: Columns, *, truth: bool = True) -> Selection:
    """Return the rows for which a condition is true, or those for which it is false.

    Where it is unknown it is neither, so that no third value is needed: ``a AND b`` is true where both are, and false
    where one of them is; ``NOT a`` is true where ``a`` is false.

    Args:
        condition: What :func:`embedworks.index.where.parse_where` returned.
        columns: A table with every column that the condition names.
        truth: Which of the two.

    Returns:
        The rows, not yet written out.
    """
    if isinstance(condition, Not):
        return select(condition.condition, columns, truth=not truth)
    if isinstance(condition, And | Or):
        parts = [select(part, columns, truth=truth) for part in condition.conditions]
        return every(parts) if isinstance(condition, And) == truth else either(parts)
    return columns[condition.attribute].select(condition, truth=truth)


def passing_rows(condition: Condition, rows: pa.Table) -> NDArray[np.bool_]:
    """Return which rows of a table a filter lets pass: those where it is true, not those where it is unknown.

    Args:
        condition: What :func:`embedworks.index.where.parse_where` returned.
        rows: A table with every column that the condition names.

    Returns:
        Booleans, shape (rows,).
    """
    return select(condition, Columns(rows)).mask()
