"""The record kinds of two texts: training pairs, and pairs with a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from embedworks.data.columns import Column, table_of
from embedworks.data.record import Record


class Pairs(Record):
    """Queries with a text that answers each, to train on.

    Columns: ``query``, ``positive``; optional ``negatives`` (list of texts, may be empty), ``query_id`` and
    ``positive_id`` (equal ids say that two rows mean the same thing, so that none is the other's negative),
    ``task`` and ``instruction`` (may be empty).

    Example:
        >>> pairs = Pairs.from_columns(["capital of France"], ["Paris"], negatives=[["Lyon", "Nice"]])
        >>> pairs.queries, pairs.positives
        (['capital of France'], ['Paris'])
        >>> pairs.negatives
        [['Lyon', 'Nice']]
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {
        "query": Column("text"),
        "positive": Column("text"),
        "negatives": Column("texts", required=False),
        "query_id": Column("key", required=False),
        "positive_id": Column("key", required=False),
        "task": Column("note", required=False),
        "instruction": Column("note", required=False),
    }

    @classmethod
    def from_columns(
        cls,
        queries: Sequence[str],
        positives: Sequence[str],
        *,
        negatives: Sequence[Sequence[str]] | None = None,
        query_ids: Sequence[str | int] | None = None,
        positive_ids: Sequence[str | int] | None = None,
        tasks: Sequence[str] | None = None,
        instructions: Sequence[str] | None = None,
    ) -> Self:
        """Build pairs from Python sequences, each of shape (n,).

        Args:
            queries: Queries.
            positives: For each query, a text that answers it.
            negatives: For each query, texts that do not answer it; counts may differ.
            query_ids: Ids of the queries.
            positive_ids: Ids of the positives.
            tasks: Task name of each pair.
            instructions: Instruction put before each query.

        Returns:
            The checked pairs.

        Raises:
            InputError: Lengths differ, or a cell cannot be used.
        """
        optional: dict[str, Sequence[Any] | None] = {
            "negatives": negatives,
            "query_id": query_ids,
            "positive_id": positive_ids,
            "task": tasks,
            "instruction": instructions,
        }
        given = {name: values for name, values in optional.items() if values is not None}
        return cls(table_of({"query": queries, "positive": positives, **given}, cls.COLUMNS), source="columns")

    @property
    def queries(self) -> list[str]:
        """The queries, in order."""
        return self._list("query")

    @property
    def positives(self) -> list[str]:
        """The positives, in order."""
        return self._list("positive")

    @property
    def negatives(self) -> list[list[str]] | None:
        """The lists of negatives, or None where the column is missing."""
        return self._optional_list("negatives")

    @property
    def query_ids(self) -> list[str] | None:
        """The ids of the queries, or None where the column is missing."""
        return self._optional_list("query_id")

    @property
    def positive_ids(self) -> list[str] | None:
        """The ids of the positives, or None where the column is missing."""
        return self._optional_list("positive_id")

    @property
    def tasks(self) -> list[str] | None:
        """The task names, or None where the column is missing."""
        return self._optional_list("task")

    @property
    def instructions(self) -> list[str] | None:
        """The instructions, or None where the column is missing."""
        return self._optional_list("instruction")


class ScoredPairs(Record):
    """Two texts and how alike they are, as people judged it.

    Columns: ``a``, ``b``, ``score`` (finite number; the scale is the data set's own).

    Example:
        >>> pairs = ScoredPairs.from_columns(["a cat sleeps"], ["a cat is asleep"], [4.8])
        >>> pairs.a, pairs.b
        (['a cat sleeps'], ['a cat is asleep'])
        >>> pairs.scores
        [4.8]
    """

    COLUMNS: ClassVar[Mapping[str, Column]] = {"a": Column("text"), "b": Column("text"), "score": Column("number")}

    @classmethod
    def from_columns(cls, a: Sequence[str], b: Sequence[str], scores: Sequence[float]) -> Self:
        """Build scored pairs from Python sequences, each of shape (n,).

        Args:
            a: First texts.
            b: Second texts.
            scores: Scores, finite.

        Returns:
            The checked pairs.

        Raises:
            InputError: Lengths differ, or a cell cannot be used.
        """
        return cls(table_of({"a": a, "b": b, "score": scores}, cls.COLUMNS), source="columns")

    @property
    def a(self) -> list[str]:
        """The first texts, in order."""
        return self._list("a")

    @property
    def b(self) -> list[str]:
        """The second texts, in order."""
        return self._list("b")

    @property
    def scores(self) -> list[float]:
        """The scores, in order."""
        return self._list("score")
