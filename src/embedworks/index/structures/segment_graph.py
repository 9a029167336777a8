"""What the segment graphs of SeRF have in common: rows in the order of one attribute, a range as an interval of them.

Paper: Zuo, Qiao, Zhou, Li, Deng, "SeRF: Segment Graph for Range-Filtering Approximate Nearest Neighbor Search", 2024.

Decisions where it is silent:

* Rows whose value is null stand outside the graph. No range lets them pass; without a filter they are compared one by
  one.
* An interval of at most ``beam`` positions is compared whole, which is exact and costs no more than the graph would.
* Equal distances are put in the order of the rows at the end; within the candidate list they stand by position.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.structures.filters import Everything, NumberColumn, Range, RowFilter
from embedworks.index.structures.prefilter import scan
from embedworks.index.structures.structure import Arrays, Counters, Found, Structure, Vectors
from embedworks.index.structures.workspace import checked_query, fixed

CHUNK = 256
"""Positions inserted by one call of a compiled builder: few calls, small buffers, and a build that can be stopped."""


class SegmentGraph(Structure):
    """A graph over positions in the order of one attribute.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        attribute: Name of the attribute.
        order: Row at each position, those with a null last, int32, shape (n,).
        ordered: Values at the positions, ascending, without the nulls, float64, shape (known,).
    """

    def __init__(
        self, vectors: Vectors, attribute: str, order: NDArray[np.int32], ordered: NDArray[np.float64]
    ) -> None:
        super().__init__(fixed(vectors))
        self.attribute = attribute
        self.order = fixed(order)
        self.ordered = fixed(ordered)

    @property
    def known(self) -> int:
        """Number of rows that have a value."""
        return len(self.ordered)

    def interval(self, where: RowFilter) -> tuple[int, int]:
        """Return the half-open interval of positions that pass a supported filter, nulls apart."""
        if isinstance(where.form, Everything):
            return 0, self.known
        assert isinstance(where.form, Range)
        left = int(np.searchsorted(self.ordered, where.form.low, side="left"))
        right = int(np.searchsorted(self.ordered, where.form.high, side="right"))
        return left, max(left, right)

    def supports(self, where: RowFilter) -> bool:
        """Return whether it is a range of the attribute, or no filter."""
        form = where.form
        return isinstance(form, Everything) or (isinstance(form, Range) and form.attribute == self.attribute)

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Find the k nearest rows that pass; see :meth:`Structure.search`."""
        self.refuse_unsupported(where)
        query = checked_query(query, self.vectors.shape[1], k)
        left, right = self.interval(where)
        beam = max(beam, k)
        exact = right - left <= beam
        if exact:
            rows, distances = self._compared(query, self.order[left:right], k)
            counters = Counters(distances=right - left)
        else:
            positions, distances, counters = self._walk(query, left, right, beam)
            rows = self.order[positions].astype(np.int64)
        if isinstance(where.form, Everything) and self.known < self.rows:
            others, others_distances = self._compared(query, self.order[self.known :], k)
            rows, distances = np.concatenate([rows, others]), np.concatenate([distances, others_distances])
            counters += Counters(distances=self.rows - self.known)
        nearest = np.lexsort((rows, distances))[:k]
        return Found(rows[nearest], distances[nearest], counters, exact)

    @abstractmethod
    def _walk(
        self, query: Vectors, left: int, right: int, beam: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], Counters]:
        """Search the graph of positions left .. right - 1; returns positions, distances, cost."""

    def arrays(self) -> Arrays:
        """Return the order of the rows and their values."""
        return {"order": self.order, "ordered": self.ordered}

    def facts(self) -> dict[str, Any]:
        """Return the attribute."""
        return {"attribute": self.attribute}

    def _compared(
        self, query: Vectors, rows: NDArray[np.int32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return scan(self.vectors, query, rows.astype(np.int64), min(k, len(rows)))


def attribute_order(
    values: NumberColumn | NDArray[np.float64], rows: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the rows by ascending value, nulls last, and the values without the nulls.

    Args:
        values: One number for each row, NaN for null.
        rows: How many rows there are.

    Raises:
        InputError: There are not as many values as rows.
    """
    column = values if isinstance(values, NumberColumn) else NumberColumn(np.asarray(values, dtype=np.float64))
    if column.values.shape != (rows,):
        raise InputError(f"the shape is {column.values.shape}", where="values", mend=f"pass one number for {rows} rows")
    known = rows - int(np.isnan(column.values).sum())
    return column.order.astype(np.int32), column.ordered[:known]


def check_settings(**settings: int) -> None:
    """Refuse settings below 1.

    Raises:
        InputError: One is.
    """
    for name, value in settings.items():
        if value < 1:
            raise InputError(f"{name} is {value}", where="settings", mend="choose at least 1")


def chunks(positions: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open intervals of positions that are inserted together."""
    for start in range(0, positions, CHUNK):
        yield start, min(start + CHUNK, positions)
