"""The record kind of things to search: an id, a text, any attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import pyarrow as pa

from embedworks.data.columns import Column, table_of
from embedworks.data.record import Record


class Corpus(Record):
    """Texts to encode, index and search.

    Columns: ``id`` (unique; whole numbers become strings; where there is no such column, row numbers from 0 become
    the ids), ``text`` (not empty), and any further columns as attributes: numbers, dates, strings, booleans, lists
    of strings. Attributes may have missing cells.

    Example:
        >>> corpus = Corpus.from_columns(["a", "b"], ["red apple", "green pear"], {"year": [2024, 2025]})
        >>> corpus.texts
        ['red apple', 'green pear']
        >>> corpus.attributes.column_names
        ['year']
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {"id": Column("id"), "text": Column("text")}
    KEEPS_ATTRIBUTES: ClassVar[bool] = True

    @classmethod
    def prepare(cls, table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
        """Number the rows where the table has no id column and none was named."""
        if "id" in columns or "id" in table.column_names:
            return table
        return table.add_column(0, "id", pa.array([str(row) for row in range(table.num_rows)], pa.string()))

    @classmethod
    def from_columns(
        cls,
        ids: Sequence[str | int],
        texts: Sequence[str],
        attributes: Mapping[str, Sequence[Any]] | None = None,
    ) -> Self:
        """Build a corpus from Python sequences.

        Args:
            ids: Unique ids, shape (n,).
            texts: Texts, shape (n,).
            attributes: Attribute name to values, each of shape (n,).

        Returns:
            The checked corpus.

        Raises:
            InputError: Lengths differ, or a cell cannot be used.
        """
        return cls(table_of({"id": ids, "text": texts, **(attributes or {})}, cls.COLUMNS), source="columns")

    @property
    def ids(self) -> list[str]:
        """The ids, in order."""
        return self._list("id")

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return self._list("text")

    @property
    def attributes(self) -> pa.Table:
        """The further columns, in order of the rows; a table without columns where there are none."""
        return self.table.drop_columns(["id", "text"])
