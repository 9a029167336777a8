"""A collection in PostgreSQL with the pgvector extension: one table, one column an attribute, whole transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from embedworks.foundation import InputError, StorageError
from embedworks.index.adapters.adapter import (
    Batch,
    Journal,
    checked_batch,
    checked_search,
    python_columns,
    read_filter,
)
from embedworks.index.adapters.pgvector_search import NO_FILTER, Question, Table, answered
from embedworks.index.adapters.pgvector_wire import SentVector, connected, register_vectors, server_errors
from embedworks.index.adapters.sql_filter import arrow_type, quoted, sql_filter, sql_type
from embedworks.index.answers import Answer
from embedworks.index.intake import RESERVED_NAMES, Columns, Strings, Texts, checked_count, checked_ids

if TYPE_CHECKING:
    import psycopg

EXACT_BELOW = 10_000
_LARGEST_DIMENSION = 16_000
_LONGEST_NAME = 63
# PostgreSQL keeps these for itself in every table.
_SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")


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
        _checked_name(name, where="collection")
        size = checked_count(dimension, name="dimension")
        if size > _LARGEST_DIMENSION:
            raise InputError(f"{size:,} is above pgvector's {_LARGEST_DIMENSION:,}", where="dimension")
        columns = [_column_definition(column) for column in schema or []]
        start = ['"id" text collate "C" primary key', '"text" text collate "C"', f'"vector" vector({size}) not null']
        statement = f"create table {quoted(name)} ({', '.join(start + columns)})"
        connection = connected(address)
        try:
            with server_errors(f"table {name}"), connection.transaction():
                connection.execute("create extension if not exists vector")
                if _oid(connection, name) is not None:
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
            return cls(connection, _described(connection, name), exact_below=most)

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
        definitions = [_column_definition(column) for column in new]
        table = quoted(self._table.name)
        with self._lock, server_errors(self._place), self._connection.transaction():
            for definition in definitions:
                self._connection.execute(f"alter table {table} add column {definition}".encode(), ())
            self._make_room(batch.ids, replace=replace)
            self._copy(batch, values)
        if new:
            self._table = _described(self._connection, self._table.name)

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
        """Build pgvector's HNSW graph over the inner products of the unit vectors, with its default m and ef.

        Raises:
            InputError: The vectors have more than 2,000 components.
            StorageError: The server refused, or the connection broke.
        """
        if self.dimension > self.graph_limit:
            what = f"pgvector builds graphs of up to {self.graph_limit:,} components, these have {self.dimension:,}"
            raise InputError(what, where=self._place, mend="search without a graph, which is exact")
        if not self._table.graph:
            statement = f"create index on {quoted(self._table.name)} using hnsw (vector vector_ip_ops)"
            with self._lock, server_errors(self._place):
                self._connection.execute(statement.encode(), ())
                self._table = _described(self._connection, self._table.name)

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

    def explain(self, vector: ArrayLike, *, k: int = 10, where: str | None = None, exact: bool = False) -> str:
        """Search, and say in lines what was sent, which way was chosen and why, its times, and the server's own plan.

        Args:
            vector: As in :meth:`search`.
            k: As in :meth:`search`.
            where: As in :meth:`search`.
            exact: As in :meth:`search`.

        Returns:
            Lines of text.

        Raises:
            InputError: The filter or the vector cannot be used.
            StorageError: The server refused, or the connection broke.
        """
        question = self._question(vector, k=k, where=where, exact=exact)
        journal, plan = Journal(), list[str]()
        begun = time.perf_counter()
        with self._reading() as cursor:
            journal.say(f"{self._table.server}, table {self._table.name}: {self.dimension} numbers a vector")
            journal.say(f"filter: {question.filter.text.replace('%%', '%')}")
            journal.say(f"estimated by the server: {question.estimated(cursor):,} rows")
            answer = answered(cursor, question, journal, begun=begun, plan=plan)
        return "\n".join([journal.report(answer), "the server's plan of the last statement:", *plan])

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    @property
    def _place(self) -> str:
        return f"table {self._table.name}"

    def _question(self, vector: ArrayLike, *, k: int, where: str | None, exact: bool) -> Question:
        query, number = checked_search(vector, k, self.dimension)
        condition = read_filter(where, self.schema)
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


def _described(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> Table:
    number = _oid(connection, name)
    if number is None:
        raise StorageError("there is no such table", where=f"table {name}", mend="create the collection first")
    columns = dict(
        connection.execute(
            "select attname, format_type(atttypid, atttypmod) from pg_attribute "
            "where attrelid = %s and attnum > 0 and not attisdropped order by attnum",
            [number],
        ).fetchall()
    )
    sized = columns.get("vector", "")
    if not sized.startswith("vector(") or columns.get("id") != "text" or columns.get("text") != "text":
        mend = "a collection has the columns id and text of type text, and vector of type vector(n)"
        raise StorageError("is no collection", where=f"table {name}", mend=mend)
    kinds = {column: arrow_type(kind) for column, kind in columns.items() if column not in RESERVED_NAMES}
    schema = pa.schema([(column, kind) for column, kind in kinds.items() if kind is not None])
    graph = connection.execute(
        "select exists (select from pg_index join pg_class on pg_class.oid = indexrelid "
        "join pg_am on pg_am.oid = relam join pg_opclass on pg_opclass.oid = indclass[0] "
        "where indrelid = %s and indisvalid and amname = 'hnsw' and opcname = 'vector_ip_ops')",
        [number],
    ).fetchone()
    versions = connection.execute(
        "select current_setting('server_version'), extversion from pg_extension where extname = 'vector'"
    ).fetchone()
    assert graph is not None
    assert versions is not None
    pgvector = tuple(int(part) for part in versions[1].split(".")[:2])
    return Table(
        name=name,
        dimension=int(sized.removeprefix("vector(").removesuffix(")")),
        schema=schema,
        graph=bool(graph[0]),
        iterative=pgvector >= (0, 8),
        server=f"PostgreSQL {versions[0].split()[0]} with pgvector {versions[1]}",
    )


def _oid(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> int | None:
    found = connection.execute(
        "select oid from pg_class where relname = %s and relkind in ('r', 'p') and pg_table_is_visible(oid)", [name]
    ).fetchone()
    return None if found is None else int(found[0])


def _checked_name(name: str, *, where: str) -> None:
    length = len(name.encode())
    if not 0 < length <= _LONGEST_NAME or "\x00" in name:
        mend = f"PostgreSQL takes names of 1 to {_LONGEST_NAME} bytes"
        raise InputError(f"the name {name[:80]!r} has {length} bytes or an unusable sign", where=where, mend=mend)


def _column_definition(column: pa.Field) -> str:
    where = f"attribute {column.name!r}"
    _checked_name(column.name, where=where)
    if column.name in _SYSTEM_COLUMNS:
        raise InputError("PostgreSQL keeps this name for itself", where=where, mend="rename the attribute")
    if pa.types.is_null(column.type):
        raise InputError("the attribute has no value yet", where=where, mend="leave it out until it has one")
    collation = ' collate "C"' if pa.types.is_string(column.type) else ""
    return f"{quoted(column.name)} {sql_type(column.type)}{collation}"


def _refuse_zero_characters(columns: dict[str, Any]) -> None:
    for name, values in columns.items():
        for row, value in enumerate(values):
            texts = value if isinstance(value, list) else [value]
            if any(isinstance(text, str) and "\x00" in text for text in texts):
                mend = "PostgreSQL holds no such text; take the character out"
                raise InputError("a text holds the character U+0000", where=f"{name}, row {row}", mend=mend)
