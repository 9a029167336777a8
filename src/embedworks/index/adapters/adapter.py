"""What every server offers, and what all adapters do alike: the door for rows and filters, and the order of the hits.

The order is settled here and not by the server: servers score in float32 and break ties as they please, so a few
candidates more than k are fetched, scored again in float64 and ordered as an :class:`~embedworks.index.Index` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from embedworks.foundation import InputError
from embedworks.index.answers import Answer, Cost, Explanation, Hit, Hits
from embedworks.index.conditions import Condition
from embedworks.index.intake import (
    Columns,
    Strings,
    Texts,
    checked_attributes,
    checked_count,
    checked_ids,
    checked_query,
    checked_texts,
    checked_vectors,
)
from embedworks.index.where import parse_where

MEASURED_ROWS = 16
MEASURED_NEIGHBOURS = 11  # a row itself and ten others
MARGIN = 16  # fetched beyond k, so that near ties at the k-th place rarely need a second request


class Adapter(Protocol):
    """A collection on a server, with the promises of an index: no hit violates the filter, and k come back if k pass.

    Made by the ``create`` and ``open`` of :class:`~embedworks.index.adapters.pgvector.PgvectorCollection` and
    :class:`~embedworks.index.adapters.milvus.MilvusCollection`.
    """

    @property
    def dimension(self) -> int:
        """Components of every vector."""

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the attributes."""

    @property
    def graph_limit(self) -> int:
        """The largest dimension that the server builds a graph for."""

    def add(
        self,
        ids: Strings,
        vectors: ArrayLike,
        *,
        texts: Texts | None = None,
        attributes: Columns | None = None,
        replace: bool = False,
    ) -> None:
        """Add rows; when this returns the server has acknowledged them."""

    def delete(self, ids: Strings) -> None:
        """Delete rows by their ids, all of which must exist."""

    def count(self, where: str | None = None) -> int:
        """Count the rows that pass a filter, exactly."""

    def build_graph(self) -> None:
        """Build an HNSW graph, measure its recall, and answer wide filters through it from then on."""

    def search(self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False) -> Answer:
        """Find the k rows of highest cosine among those that pass the filter."""

    def explain(self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False) -> Explanation:
        """Search, and say what was sent, which way was taken and why, and the milliseconds of each step."""

    def close(self) -> None:
        """End the connection."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows at the door of a server, checked.

    Args:
        ids: Distinct strings, length (rows,).
        vectors: Unit rows, float32, shape (rows, dimension).
        texts: One text or None a row.
        attributes: A table of (rows,) with the given attributes in their stored types, and no column without a value.
    """

    ids: list[str]
    vectors: NDArray[np.float32]
    texts: list[str | None]
    attributes: pa.Table


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows that a server returned, in any order.

    Args:
        ids: Their ids.
        texts: Their texts.
        attributes: Their attributes, null ones as None.
        vectors: float32, shape (rows, dimension).
    """

    ids: list[str]
    texts: list[str | None]
    attributes: list[dict[str, Any]]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class ServerExplanation(Explanation):
    """How a search went on a server; there is no choice by expected times, those are None.

    Args:
        server: The server, its versions, and the collection.
        sent: The filter as the server got it.
        plan: The server's own plan of the last statement, line by line; empty where it tells none.
    """

    server: str
    sent: str
    plan: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the hits as JSON-ready values."""
        return {**super().to_dict(), "server": self.server, "filter": self.sent, "server_plan": list(self.plan)}

    def __str__(self) -> str:
        lines = [f"server       {self.server}", f"filter       {self.sent}", super().__str__()]
        return "\n".join([*lines, *(["the server's plan of the last statement:", *self.plan] if self.plan else [])])


@dataclass
class Journal:
    """What one search took, step by step.

    Args:
        cost: Rows that were scored in float64 here, and the milliseconds of each step.
        plan: Where the server's own plan is put; None where nobody asked for it.
    """

    cost: Cost = field(default_factory=Cost)
    plan: list[str] | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step."""
        begun = time.perf_counter()
        yield
        taken = (time.perf_counter() - begun) * 1000
        self.cost.milliseconds[name] = self.cost.milliseconds.get(name, 0.0) + taken


def server_answer(
    hits: list[Hit], journal: Journal, *, how: str, passing: int, rows: int, recall: float | None, begun: float
) -> Answer:
    """Put an answer together.

    Args:
        hits: Best first, read already.
        journal: What the search took.
        how: Which way was taken.
        passing: Rows that pass.
        rows: All rows.
        recall: What to expect of the graph, or None if the answer is exact.
        begun: When the search began, by ``time.perf_counter``.

    Returns:
        The answer.
    """
    return Answer(
        hits=Hits(len(hits), lambda: hits),
        milliseconds=(time.perf_counter() - begun) * 1000,
        how=how,
        passing=passing,
        rows=rows,
        mode="vector",
        approximate=recall is not None,
        recall=1.0 if recall is None else recall,
        cost=journal.cost,
    )


def found_share(found: list[list[Hit]], true: list[list[Hit]], asked: list[str]) -> float:
    """Return which share of the true neighbours of stored rows a graph found, the rows themselves left out.

    Args:
        found: What the graph gave, a list a row.
        true: What an exact search gave, a list a row.
        asked: The ids of the rows.

    Returns:
        Between 0 and 1; 1 where there is nothing to find.
    """
    shared = wanted = 0
    for ours, theirs, row in zip(true, found, asked, strict=True):
        neighbours = {hit.id for hit in ours} - {row}
        wanted += len(neighbours)
        shared += len(neighbours & {hit.id for hit in theirs})
    return shared / wanted if wanted else 1.0


def checked_batch(
    ids: Strings,
    vectors: ArrayLike,
    *,
    texts: Texts | None,
    attributes: Columns | None,
    schema: pa.Schema,
    dimension: int,
) -> Batch:
    """Check rows as an index does.

    Args:
        ids: Distinct strings.
        vectors: Real numbers, shape (rows, dimension).
        texts: One text or None a row.
        attributes: Columns by name.
        schema: The attributes the collection has.
        dimension: Its dimension.

    Returns:
        The rows; attributes that are null throughout and unknown to the collection are left out.

    Raises:
        InputError: Something does not fit; row or column is named.
    """
    names = checked_ids(ids)
    rows = checked_vectors(vectors, names, dimension)
    given = np.asarray(vectors)
    if given.dtype == np.float32 and given.ndim == 2:
        # A float32 row that is of unit length up to its own rounding, such as one copied from an index, keeps its bits.
        lengths = np.sqrt(np.einsum("rd,rd->r", given, given, dtype=np.float64))
        kept = np.abs(lengths - 1) <= 2.0**-24
        rows[kept] = given[kept]
    words = checked_texts(texts, len(names))
    table = checked_attributes(attributes, len(names), schema)
    table = table.select([column.name for column in table.schema if not pa.types.is_null(column.type)])
    return Batch(names.to_pylist(), rows, words.to_pylist(), table)


def python_columns(table: pa.Table) -> dict[str, list[Any]]:
    """Return columns as Python values, which all clients of servers take.

    Raises:
        InputError: A date lies outside the years 1 to 9999.
    """
    columns: dict[str, list[Any]] = {}
    for column in table.column_names:
        try:
            columns[column] = table.column(column).to_pylist()
        except (ValueError, OverflowError) as error:
            mend = "leave it null, or keep the year as a number"
            raise InputError(
                "a date lies outside the years 1 to 9999", where=f"attribute {column!r}", mend=mend
            ) from error
    return columns


def checked_search(vector: ArrayLike, k: int, dimension: int) -> tuple[NDArray[np.float64], int]:
    """Return a query's vector at unit length, float64, shape (dimension,), and k.

    Raises:
        InputError: The vector or k cannot be used.
    """
    array = np.asarray(vector)
    return checked_query(array[np.newaxis] if array.ndim == 1 else array, dimension)[0], checked_count(k, name="k")


def read_filter(where: str | None, schema: pa.Schema) -> Condition | None:
    """Parse a filter over a collection's attributes, its ids and its texts.

    Raises:
        InputError: The filter is refused.
    """
    if where is None:
        return None
    names = {"id": pa.string(), "text": pa.string()} | {column.name: column.type for column in schema}
    return parse_where(where, names)


def best_hits(found: Candidates, query: NDArray[np.float64], k: int) -> list[Hit]:
    """Score candidates in float64 and return the k best, ties by id.

    Args:
        found: Candidates.
        query: A unit vector, float64, shape (dimension,).
        k: How many are wanted.

    Returns:
        At most k hits, best first.
    """
    scores = cosines(found.vectors, query)
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], found.ids[row]))[:k]
    return [
        Hit(id=found.ids[row], score=float(scores[row]), text=found.texts[row], attributes=found.attributes[row])
        for row in order
    ]


def cosines(vectors: NDArray[np.float32], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Score unit rows against a unit query in float64, to the last bit as an index does, shape (rows,)."""
    from embedworks.index.scoring import cosines_of

    rows = np.ascontiguousarray(vectors)
    rows.setflags(write=False)  # as an index's own rows are, so that one compiled form serves both
    scores = np.empty(len(rows))
    cosines_of(rows, np.arange(len(rows)), query, scores)
    return scores


def settled_hits(
    fetch: Callable[[int], Candidates], query: NDArray[np.float64], k: int, *, most: int
) -> list[Hit] | None:
    """Find the k best of an exact server whose scores are rounded to float32.

    The server's n best hold the k best once the n-th score lies further below the k-th than rounding can move two
    scores: ``2.2 (d + 4) 2^-24`` for unit vectors (Higham, Accuracy and Stability of Numerical Algorithms, (3.5)).
    Until then n grows fourfold.

    Args:
        fetch: Returns the server's n best.
        query: A unit vector, float64, shape (dimension,).
        k: How many are wanted.
        most: The largest n that the server allows.

    Returns:
        The hits, or None if n would have to exceed ``most``.
    """
    bound = 2.2 * (len(query) + 4) * 2.0**-24
    number = k + MARGIN
    while number <= most:
        found = fetch(number)
        scores = np.sort(cosines(found.vectors, query))[::-1]
        if len(scores) < number or scores[-1] < scores[k - 1] - bound:
            return best_hits(found, query, k)
        number *= 4
    return None
