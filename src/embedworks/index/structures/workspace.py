"""What a compiled search needs from the interpreter: checks at the door, read-only views, marks for every thread."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.structures.structure import Vectors

_Scalar = TypeVar("_Scalar", bound=np.generic)
_LAST_STAMP = 2**30


def fixed(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return a plain read-only view of an array.

    A compiled function is compiled anew for every kind of argument, and an array mapped from a file is read-only. With
    everything that is only read passed through here, there is one kind, and one compilation.

    Args:
        array: Any array, mapped or not.
    """
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def checked_query(query: NDArray[Any], dimension: int, k: int) -> Vectors:
    """Return a query as a read-only float32 vector.

    Args:
        query: Of length 1, shape (d,).
        dimension: Components of a stored vector.
        k: How many rows are wanted.

    Raises:
        InputError: The shape is another, the length is not 1, or k is below 1.
    """
    if query.shape != (dimension,):
        raise InputError(f"the shape is {query.shape}", where="query", mend=f"pass {dimension} components")
    if k < 1:
        raise InputError(f"k is {k}", where="query", mend="ask for at least one row")
    vector = np.ascontiguousarray(query, dtype=np.float32)
    if not abs(float(vector @ vector) - 1) < 1e-3:
        raise InputError("its length is not 1", where="query", mend="normalise it")
    return fixed(vector)


class Workspace(threading.local):
    """Arrays that searches in one structure use again and again; every thread has its own.

    A row is marked by writing the number of the search into its mark, so nothing is ever wiped.

    Args:
        rows: Rows of the structure.

    Example:
        >>> workspace = Workspace(3)
        >>> stamp = workspace.stamps(1)
        >>> workspace.seen[1] = stamp
        >>> [bool(mark == workspace.stamps(1)) for mark in workspace.seen]
        [False, False, False]
    """

    def __init__(self, rows: int) -> None:
        self.seen = np.zeros(rows, dtype=np.int32)
        self.gathered = np.zeros(rows, dtype=np.int32)
        self.open_rows = np.empty(rows, dtype=np.int32)
        self.open_distances = np.empty(rows, dtype=np.float32)
        self._last = 0

    def stamps(self, number: int) -> int:
        """Return the first of some consecutive numbers that no mark has.

        Args:
            number: How many are needed.
        """
        if self._last > _LAST_STAMP - number:
            self.seen.fill(0)
            self.gathered.fill(0)
            self._last = 0
        first = self._last + 1
        self._last += number
        return first
