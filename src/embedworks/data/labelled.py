"""The record kind of texts with a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from embedworks.data.columns import Column, table_of
from embedworks.data.record import Record


class Labelled(Record):
    """Texts with the class each belongs to, for classification and clustering.

    Columns: ``text``, ``label`` (whole numbers and booleans become strings), optional ``id`` (unique).

    Example:
        >>> labelled = Labelled.from_columns(["my card is lost", "what is the rate"], ["lost card", "rates"])
        >>> labelled.labels
        ['lost card', 'rates']
        >>> len(labelled)
        2
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {
        "text": Column("text"),
        "label": Column("key"),
        "id": Column("id", required=False),
    }

    @classmethod
    def from_columns(
        cls, texts: Sequence[str], labels: Sequence[str | int], *, ids: Sequence[str | int] | None = None
    ) -> Self:
        """Build labelled texts from Python sequences, each of shape (n,).

        Args:
            texts: Texts.
            labels: The class of each text.
            ids: Unique ids.

        Returns:
            The checked record.

        Raises:
            InputError: Lengths differ, or a cell cannot be used.
        """
        given = {"text": texts, "label": labels} | ({} if ids is None else {"id": ids})
        return cls(table_of(given, cls.COLUMNS), source="columns")

    @property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return self._list("text")

    @property
    def labels(self) -> list[str]:
        """The class of each text, in order."""
        return self._list("label")

    @property
    def ids(self) -> list[str] | None:
        """The ids, or None where the column is missing."""
        return self._optional_list("id")
