"""What PostgreSQL's catalogue says about a collection, and the names it takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from embedworks.foundation import InputError, StorageError
from embedworks.index.adapters.pgvector_search import Table
from embedworks.index.adapters.sql_filter import arrow_type, quoted, sql_type
from embedworks.index.intake import RESERVED_NAMES

if TYPE_CHECKING:
    import psycopg

_LONGEST_NAME = 63
# PostgreSQL keeps these for itself in every table.
_SYSTEM_COLUMNS = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
_RECALL = "embedworks: recall {}"


def described(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> Table:
    """Read from the server's catalogue what a collection is.

    Args:
        connection: With pgvector's type registered.
        name: The table.

    Returns:
        Its dimension, attributes and graph.

    Raises:
        StorageError: There is no such table, or it is no collection.
    """
    number = table_number(connection, name)
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
    graph = _graph(connection, name)
    versions = connection.execute(
        "select current_setting('server_version'), extversion from pg_extension where extname = 'vector'"
    ).fetchone()
    assert versions is not None
    pgvector = tuple(int(part) for part in versions[1].split(".")[:2])
    return Table(
        name=name,
        dimension=int(sized.removeprefix("vector(").removesuffix(")")),
        schema=schema,
        graph=graph is not None,
        recall=None if graph is None else graph[1],
        iterative=pgvector >= (0, 8),
        server=f"PostgreSQL {versions[0].split()[0]} with pgvector {versions[1]}",
    )


def _graph(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> tuple[str, float | None] | None:
    """Return the quoted name of a table's graph and its recall where that was measured."""
    found = connection.execute(
        "select indexrelid::regclass::text, obj_description(indexrelid, 'pg_class') from pg_index "
        "join pg_class on pg_class.oid = indexrelid join pg_am on pg_am.oid = relam "
        "join pg_opclass on pg_opclass.oid = indclass[0] "
        "where indrelid = %s and indisvalid and amname = 'hnsw' and opcname = 'vector_ip_ops' order by 1 limit 1",
        [table_number(connection, name)],
    ).fetchone()
    if found is None:
        return None
    measured = re.fullmatch(_RECALL.format(r"([01]\.\d+)"), found[1] or "")
    return found[0], None if measured is None else float(measured[1])


def remember_recall(connection: psycopg.Connection[tuple[Any, ...]], name: str, recall: float) -> None:
    """Keep a graph's recall as a comment on it."""
    graph = _graph(connection, name)
    if graph is not None:
        connection.execute(f"comment on index {graph[0]} is '{_RECALL.format(f'{recall:.4f}')}'".encode())


def table_number(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> int | None:
    """Return the server's number of a table, or None if there is none of this name in the search path."""
    found = connection.execute(
        "select oid from pg_class where relname = %s and relkind in ('r', 'p') and pg_table_is_visible(oid)", [name]
    ).fetchone()
    return None if found is None else int(found[0])


def checked_name(name: str, *, where: str) -> None:
    """Refuse a name that PostgreSQL would cut off or not take.

    Raises:
        InputError: It has no or more than 63 bytes, or holds U+0000.
    """
    length = len(name.encode())
    if not 0 < length <= _LONGEST_NAME or "\x00" in name:
        mend = f"PostgreSQL takes names of 1 to {_LONGEST_NAME} bytes"
        raise InputError(f"the name {name[:80]!r} has {length} bytes or an unusable sign", where=where, mend=mend)


def column_definition(column: pa.Field) -> str:
    """Return an attribute's column for CREATE TABLE and ALTER TABLE, in a statement with parameters.

    Raises:
        InputError: The name cannot be a column's, or the attribute has no type yet.
    """
    where = f"attribute {column.name!r}"
    checked_name(column.name, where=where)
    if column.name in _SYSTEM_COLUMNS:
        raise InputError("PostgreSQL keeps this name for itself", where=where, mend="rename the attribute")
    if pa.types.is_null(column.type):
        raise InputError("the attribute has no value yet", where=where, mend="leave it out until it has one")
    collation = ' collate "C"' if pa.types.is_string(column.type) else ""
    return f"{quoted(column.name)} {sql_type(column.type)}{collation}"
