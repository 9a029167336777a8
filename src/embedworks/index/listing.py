"""The rows of an index as a list: in the order of their dates, counted by day, with their vectors, without a query."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.index.snapshot import Snapshot
from embedworks.index.typed_conditions import unknown_attribute

Rows = NDArray[np.int64]

_NO_DATE = np.iinfo(np.int64).min  # sorts after every date when the newest come first
_EPOCH = date(1970, 1, 1)
_MICROSECONDS_A_DAY = 86_400_000_000  # the index keeps timestamps in microseconds


@dataclass(frozen=True)
class Entry:
    """One row without a score.

    Args:
        id: Its id.
        text: Its text, or None.
        attributes: Its attributes, null ones as None.
    """

    id: str
    text: str | None
    attributes: dict[str, Any]


class Listing:
    """The live rows of one commit; :meth:`embedworks.index.Index.listing` makes it.

    Rows are handed around by numbers that mean something to this listing alone, so that a person can choose among all
    rows and copy only those that are shown.

    Args:
        snapshot: The index at one commit.

    Example:
        >>> import tempfile, numpy as np
        >>> from datetime import date
        >>> from pathlib import Path
        >>> from embedworks.index import Index
        >>> index = Index.create(Path(tempfile.mkdtemp()) / "my.index", dimension=2)
        >>> index.add(["a", "b"], np.eye(2), attributes={"day": [date(2026, 1, 1), date(2026, 1, 2)]})
        >>> listing = index.listing()
        >>> [entry.id for entry in listing.entries(listing.newest(listing.rows(), "day", k=10))]
        ['b', 'a']
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def generation(self) -> int:
        """Number of the commit; grows with every change of the index."""
        return self._snapshot.manifest.generation

    def rows(self, where: str | None = None, *, among: Collection[str] | None = None) -> Rows:
        """Return the rows that pass a filter.

        Args:
            where: A filter, or None for all live rows.
            among: Ids to which the rows are restricted; those that no live row has are passed over.

        Returns:
            Row numbers, ascending, int64, shape (passing,).

        Raises:
            InputError: The filter is refused.
        """
        rows = self._snapshot.passing(where).rows
        if among is None:
            return rows
        inside = pc.is_in(self._snapshot.table.column("id"), value_set=pa.array(sorted(among), pa.string()))
        return rows[np.asarray(inside.to_numpy(), dtype=np.bool_)[rows]]

    def newest(self, rows: Rows, attribute: str, *, k: int, start: int = 0) -> Rows:
        """Return a stretch of some rows in the order of a date: newest first, equal ones by id, those without last.

        Args:
            rows: Rows of this listing.
            attribute: An attribute that holds dates or timestamps.
            k: How many are wanted.
            start: How many to leave out at the beginning.

        Returns:
            At most ``k`` row numbers.

        Raises:
            InputError: There is no such attribute, or it holds no dates.
        """
        keys, _ = self._dates(attribute)
        chosen, end = keys[rows], start + k
        if len(rows) > end:
            bound = np.partition(chosen, len(rows) - end)[len(rows) - end]
            rows, chosen = rows[chosen >= bound], chosen[chosen >= bound]
        ids = self._snapshot.ids(rows)
        order = sorted(range(len(rows)), key=lambda place: (-int(chosen[place]), ids[place]))
        return rows[np.asarray(order[start:end], dtype=np.int64)]

    def days(self, rows: Rows, attribute: str) -> list[tuple[date | None, int]]:
        """Count some rows by day, the newest day first; rows without a date come last, under None.

        Args:
            rows: Rows of this listing.
            attribute: An attribute that holds dates or timestamps (days are those of UTC).

        Returns:
            Days that have rows, and how many.

        Raises:
            InputError: There is no such attribute, or it holds no dates.
        """
        keys, units = self._dates(attribute)
        chosen = keys[rows]
        dated = chosen[chosen != _NO_DATE]
        days, counts = np.unique(dated // units, return_counts=True)
        found: list[tuple[date | None, int]] = [
            (_EPOCH + timedelta(days=int(day)), int(count)) for day, count in zip(days[::-1], counts[::-1], strict=True)
        ]
        return found + [(None, len(chosen) - len(dated))] * (len(dated) < len(chosen))

    def ids(self, rows: Rows) -> list[str]:
        """Return the ids of some rows, in their order."""
        return self._snapshot.ids(rows)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """Copy the vectors of some rows, at unit length, float32, shape (rows, dimension)."""
        return self._snapshot.vectors(rows)

    def entries(self, rows: Rows) -> list[Entry]:
        """Return texts and attributes of some rows, in their order."""
        return [
            Entry(id=row.pop("id"), text=row.pop("text"), attributes=row)
            for row in self._snapshot.records(rows).to_pylist()
        ]

    def _dates(self, attribute: str) -> tuple[NDArray[np.int64], int]:
        """Return a whole number for every row, larger for later ones, and how many of them make a day."""
        schema = self._snapshot.manifest.schema
        if attribute not in schema.names:
            raise unknown_attribute(attribute, {field.name: field.type for field in schema}, where="listing")
        kind = schema.field(attribute).type
        if pa.types.is_date32(kind):
            whole, units = pa.int32(), 1
        elif pa.types.is_timestamp(kind):
            whole, units = pa.int64(), _MICROSECONDS_A_DAY
        else:
            raise InputError(f"{attribute!r} holds no dates but {kind}", where="listing", mend="name a date attribute")
        numbers = self._snapshot.table.column(attribute).cast(whole).cast(pa.int64())
        return np.asarray(pc.fill_null(numbers, _NO_DATE).to_numpy(), dtype=np.int64), units
