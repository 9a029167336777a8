"""A collection in PostgreSQL with the pgvector extension: one table, one column an attribute, whole transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from embedworks.foundation import InputError, StorageError
from embedworks.index.adapters.adapter import (
    Batch,
    Journal,
    ServerExplanation,
    checked_batch,
    checked_search,
    python_columns,
    read_filter,
)
from embedworks.index.adapters.pgvector_catalogue import (
    checked_name,
    column_definition,
    described,
    remember_recall,
    table_number,
)
from embedworks.index.adapters.pgvector_search import NO_FILTER, Question, Table, answered, measured_recall
from embedworks.index.adapters.pgvector_wire import SentVector, connected, register_vectors, server_errors
from embedworks.index.adapters.sql_filter import quoted, sql_filter, sql_type
from embedworks.index.answers import Answer
from embedworks.index.intake import Columns, Strings, Texts, checked_count, checked_ids

if TYPE_CHECKING:
    import psycopg

EXACT_BELOW = 10_000
_LARGEST_DIMENSION = 16_000
# The extension's own 64 misses a tenth of the neighbours where vectors stand in tight clusters.
_GRAPH = "with (m = 16, ef_construction = 200)"


class PgvectorCollection:
    """Vectors, texts and attributes in a table of PostgreSQL; made by :meth:`create` or :meth:`open`.

    The table has the columns ``id`` (its key), ``text``, ``vector`` at unit length, and one column an attribute, so
    other programs can read it. Each call of :meth:`add` or :meth:`delete` is one transaction. Calls from several
    threads wait for each other; open the collection once a thread for more.
    """

    graph_limit = 2_000

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]], table: Table, *, exact_below: int) -> None:
        self._connection, self._table, self._lock = connection, table, threading.Lock()
        self._exact_below = exact_below

    @classmethod
    def create(
        cls, address: str, name: str, *, dimension: int, schema: pa.Schema | None = None, exact_below: int = EXACT_BELOW
    ) -> PgvectorCollection:
        """Make an empty collection.

        Args:
            address: The server, as ``postgresql://user@host:5432/database``; it is neither kept nor logged.
            name: Name of the table, which must not exist.
            dimension: Components of every vector, at most 16,000.
            schema: Attributes known already, as ``Index.schema``; others are added as they come.
            exact_below: Up to how many passing rows are scanned exactly although there is a graph.

        Returns:
            The collection, open.

        Raises:
            InputError: The name is taken or cannot be one, or a type has no form there.
            MissingExtraError: ``pip install 'embedworks[pgvector]'`` is needed.
            StorageError: The server refused.
        """
        checked_name(name, where="collection")
        size = checked_count(dimension, name="dimension")
        if size > _LARGEST_DIMENSION:
            raise InputError(f"{size:,} is above pgvector's {_LARGEST_DIMENSION:,}", where="dimension")
        columns = [column_definition(column) for column in schema or []]
        start = ['"id" text collate "C" primary key', '"text" text collate "C"', f'"vector" vector({size}) not null']
        statement = f"create table {quoted(name)} ({', '.join(start + columns)})"
        connection = connected(address)
        try:
            with server_errors(f"table {name}"), connection.transaction():
                connection.execute("create extension if not exists vector")
                if table_number(connection, name) is not None:
                    raise InputError("exists already", where=f"table {name}", mend="choose another name, or open it")
                connection.execute(statement.encode(), ())
            return cls._opened(connection, name, exact_below)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def open(cls, address: str, name: str, *, exact_below: int = EXACT_BELOW) -> PgvectorCollection:
        """Open a collection.

        Args:
            address: The server.
            name: Name of the table.
            exact_below: As in :meth:`create`.

        Returns:
            The collection.

        Raises:
            MissingExtraError: ``pip install 'embedworks[pgvector]'`` is needed.
            StorageError: There is no such collection, or the server cannot be reached.
        """
        connection = connected(address)
        try:
            return cls._opened(connection, name, exact_below)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def _opened(
        cls, connection: psycopg.Connection[tuple[Any, ...]], name: str, exact_below: int
    ) -> PgvectorCollection:
        with server_errors(f"table {name}"):
            if not register_vectors(connection):
                mend = "create the collection first, or check the address"
                raise StorageError("the database has no pgvector", where=f"table {name}", mend=mend)
            most = checked_count(exact_below, name="exact_below")
            return cls(connection, described(connection, name), exact_below=most)

    def __repr__(self) -> str:
        return f"PgvectorCollection({self._table.name!r}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Components of every vector."""
        return self._table.dimension

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the attributes."""
        return self._table.schema

    def add(
        self,
        ids: Strings,
        vectors: ArrayLike,
        *,
        texts: Texts | None = None,
        attributes: Columns | None = None,
        replace: bool = False,
    ) -> None:
        """Add rows in one transaction: a kill leaves all of them or none.

        Args:
            ids: Distinct strings, length (rows,).
            vectors: Real numbers, shape (rows, dimension); stored as float32 at unit length.
            texts: One text or None a row.
            attributes: Columns of length (rows,); names new to the collection become columns, null in older rows.
            replace: Whether a row whose id exists takes the place of the old one, which is otherwise an error.

        Raises:
            InputError: Something does not fit; nothing has changed.
            StorageError: The server refused, or the connection broke.
        """
        batch = checked_batch(
            ids, vectors, texts=texts, attributes=attributes, schema=self.schema, dimension=self.dimension
        )
        values = python_columns(batch.attributes)
        _refuse_zero_characters({"ids": batch.ids, "texts": batch.texts} | values)
        new = [column for column in batch.attributes.schema if column.name not in self.schema.names]
        definitions = [column_definition(column) for column in new]
        table = quoted(self._table.name)
        with self._lock, server_errors(self._place), self._connection.transaction():
            for definition in definitions:
                self._connection.execute(f"alter table {table} add column {definition}".encode(), ())
            self._make_room(batch.ids, replace=replace)
            self._copy(batch, values)
        if new:
            self._table = described(self._connection, self._table.name)

    def _make_room(self, ids: list[str], *, replace: bool) -> None:
        table = quoted(self._table.name)
        if replace:
            self._connection.execute(f"delete from {table} where id = any(%s::text[])".encode(), [ids])  # noqa: S608 - quoted
            return
        known = self._connection.execute(
            f"select id from {table} where id = any(%s::text[]) limit 1".encode(),  # noqa: S608 - quoted name
            [ids],
        ).fetchone()
        if known:
            mend = "pass replace=True to put the new row in its place"
            raise InputError(f"the id {known[0]!r} exists already", where=self._place, mend=mend)

    def _copy(self, batch: Batch, values: dict[str, list[Any]]) -> None:
        names = ["id", "text", "vector", *values]
        kinds = [self._sql_kind(batch, name) for name in names]
        # A COPY statement takes no parameters, so a percent sign in a name stands alone.
        columns = ", ".join(quoted(name) for name in names).replace("%%", "%")
        statement = f"copy {quoted(self._table.name).replace('%%', '%')} ({columns}) from stdin (format binary)"
        with self._connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types(kinds)
            vectors = map(SentVector, batch.vectors)
            for row in zip(batch.ids, batch.texts, vectors, *values.values(), strict=True):
                copy.write_row(row)

    def _sql_kind(self, batch: Batch, name: str) -> str:
        if name == "vector":
            return "vector"
        kind = pa.string() if name in {"id", "text"} else batch.attributes.schema.field(name).type
        return {"timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz"}.get(
            sql_type(kind), sql_type(kind)
        )

    def delete(self, ids: Strings) -> None:
        """Delete rows in one transaction.

        Args:
            ids: Distinct ids of rows that exist.

        Raises:
            InputError: An id is not there; nothing has changed.
            StorageError: The server refused, or the connection broke.
        """
        names = checked_ids(ids).to_pylist()
        _refuse_zero_characters({"ids": names})
        statement = f"delete from {quoted(self._table.name)} where id = any(%s::text[]) returning id"  # noqa: S608
        with self._lock, server_errors(self._place), self._connection.transaction():
            gone = {row[0] for row in self._connection.execute(statement.encode(), [names])}
            missing = next((name for name in names if name not in gone), None)
            if missing is not None:
                raise InputError(f"there is no row with the id {missing!r}", where=self._place, mend="check the id")

    def count(self, where: str | None = None) -> int:
        """Count the rows that pass a filter, exactly.

        Args:
            where: A filter, or None for all rows.

        Returns:
            Their number.

        Raises:
            InputError: The filter is refused.
            StorageError: The server refused, or the connection broke.
        """
        question = self._question(np.ones(self.dimension), k=1, where=where, exact=True)
        with self._reading() as cursor:
            return question.counted(cursor)

    def build_graph(self) -> None:
        """Build pgvector's HNSW graph over the inner products of the unit vectors (m 16, ef_construction 200).

        Its recall is measured on sixteen stored rows, each scanned for exactly, and kept as a comment on the graph.

        Raises:
            InputError: The vectors have more than 2,000 components.
            StorageError: The server refused, or the connection broke.
        """
        if self.dimension > self.graph_limit:
            what = f"pgvector builds graphs of up to {self.graph_limit:,} components, these have {self.dimension:,}"
            raise InputError(what, where=self._place, mend="search without a graph, which is exact")
        if self._table.graph:
            return
        statement = f"create index on {quoted(self._table.name)} using hnsw (vector vector_ip_ops) {_GRAPH}"
        with self._lock, server_errors(self._place):
            self._connection.execute(statement.encode(), ())
            self._table = described(self._connection, self._table.name)
        recall = self._measured()
        with self._lock, server_errors(self._place):
            remember_recall(self._connection, self._table.name, recall)

    def _measured(self) -> float:
        """Return the graph's recall, measured if it never was."""
        if self._table.recall is None:
            with self._reading() as cursor:
                self._table = replace(self._table, recall=measured_recall(cursor, self._table))
        assert self._table.recall is not None
        return self._table.recall

    def search(self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False) -> Answer:
        """Find the k rows of highest cosine among those that pass the filter.

        Few passing rows are scanned exactly. Many are searched through the graph, if there is one: by iterative scan
        where pgvector has it (0.8), otherwise with a candidate list as long as the filter asks for; if k do not come
        back although k pass, the exact scan answers. ``how`` says which.

        Args:
            vector: The query's vector, shape (dimension,).
            k: How many hits are wanted.
            where: A filter as an index takes it; see docs/rooms/index.md.
            exact: Whether the graph is forbidden.

        Returns:
            The hits and how they were found. Above 100,000 passing rows, ``passing`` and ``rows`` are the server's own
            estimates, and ``how`` says "about".

        Raises:
            InputError: The filter or the vector cannot be used.
            StorageError: The server refused, or the connection broke.
        """
        question = self._question(vector, k=k, where=where, exact=exact)
        begun = time.perf_counter()
        with self._reading() as cursor:
            return answered(cursor, question, Journal(), begun=begun)

    def explain(
        self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False
    ) -> ServerExplanation:
        """Search, and say what was sent, which way was taken and why, its times, and the server's own plan.

        Args:
            vector: As in :meth:`search`.
            k: As in :meth:`search`.
            where: As in :meth:`search`.
            exact: As in :meth:`search`.

        Returns:
            The explanation, with the answer in it; printed, it is a few lines.

        Raises:
            InputError: The filter or the vector cannot be used.
            StorageError: The server refused, or the connection broke.
        """
        question = self._question(vector, k=k, where=where, exact=exact)
        journal, begun = Journal(plan=[]), time.perf_counter()
        with self._reading() as cursor:
            answer = answered(cursor, question, journal, begun=begun)
            estimated = question.estimated(cursor)
        return ServerExplanation(
            answer,
            estimated_share=min(1.0, estimated / max(1, answer.rows)),
            expected_milliseconds=None,
            scan_milliseconds=None,
            server=f"{self._table.server}, table {self._table.name}",
            sent=question.filter.text.replace("%%", "%"),
            plan=tuple(journal.plan or ()),
        )

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @property
    def _place(self) -> str:
        return f"table {self._table.name}"

    def _question(self, vector: ArrayLike, *, k: int, where: str | None, exact: bool) -> Question:
        query, number = checked_search(vector, k, self.dimension)
        condition = read_filter(where, self.schema)
        if self._table.graph and not exact:
            self._measured()
        translated = NO_FILTER if condition is None else sql_filter(condition, self.schema)
        return Question(self._table, query, number, translated, exact=exact, exact_below=self._exact_below)

    @contextmanager
    def _reading(self) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """One state of the table for all statements of a search, and settings that end with it."""
        with (
            self._lock,
            server_errors(self._place),
            self._connection.transaction(),
            self._connection.cursor(binary=True) as cursor,
        ):
            cursor.execute("set transaction isolation level repeatable read, read only")
            yield cursor


def _refuse_zero_characters(columns: dict[str, Any]) -> None:
    for name, values in columns.items():
        for row, value in enumerate(values):
            texts = value if isinstance(value, list) else [value]
            if any(isinstance(text, str) and "\x00" in text for text in texts):
                mend = "PostgreSQL holds no such text; take the character out"
                raise InputError("a text holds the character U+0000", where=f"{name}, row {row}", mend=mend)
