"""The connection to Milvus: opening it without telling secrets, rows in and out, errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation import InputError, MissingExtraError, StorageError
from embedworks.index.adapters.adapter import Batch, Candidates, python_columns
from embedworks.index.adapters.milvus_filter import field_name, id_filter, loaded_value, stored_value

LONGEST_TEXT = 65_535
MOST_MEMBERS = 4_096
_IDS_A_REQUEST = 1_000
# Milvus takes 64 MiB a request; half of it leaves room for what the wire adds.
_BYTES_A_REQUEST = 2**25


def connected(address: str, token: str) -> Any:
    """Connect to a server, or open a file of milvus-lite.

    Args:
        address: ``http://host:19530``, or a path that ends in ``.db``.
        token: ``user:password`` or an API key; empty where none is asked for.

    Returns:
        The client.

    Raises:
        MissingExtraError: pymilvus is not installed.
        StorageError: The server cannot be reached, or refuses.
    """
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise MissingExtraError("pymilvus", extra="milvus", needed_for="a collection in Milvus") from error
    with server_errors("Milvus", secrets=(address, token)):
        return MilvusClient(uri=address, token=token)


@contextmanager
def server_errors(place: str, *, secrets: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn what the server refuses into one line.

    Args:
        place: What the line names, such as the collection.
        secrets: Texts that must not stand in it; while there are any, the chain of errors is cut too.

    Raises:
        StorageError: What the server or the connection says.
    """
    from pymilvus import MilvusException

    try:
        yield
    except MilvusException as error:
        said = str(error.message)
        for secret in filter(None, secrets):
            said = said.replace(secret, "...")
        mend = "check the address and that the server runs; what was acknowledged before is kept"
        raise StorageError(said, where=place, mend=mend) from (None if secrets else error)


def refuse_oversized(batch: Batch) -> None:
    """Refuse what Milvus has no room for, before anything is sent.

    Raises:
        InputError: A text is longer than 65,535 bytes, or a set has more than 4,096 members; the row is named.
    """
    columns: dict[str, Any] = {"ids": batch.ids, "texts": batch.texts} | python_columns(batch.attributes)
    for name, values in columns.items():
        for row, value in enumerate(values):
            texts = value if isinstance(value, list) else [value]
            if len(texts) > MOST_MEMBERS:
                what = f"a set has {len(texts):,} members, Milvus holds {MOST_MEMBERS:,}"
                raise InputError(what, where=f"{name}, row {row}", mend="split it, or use PostgreSQL")
            longest = max((len(text.encode()) for text in texts if isinstance(text, str)), default=0)
            if longest > LONGEST_TEXT:
                what = f"a text has {longest:,} bytes, Milvus holds {LONGEST_TEXT:,}"
                raise InputError(what, where=f"{name}, row {row}", mend="shorten it, or use PostgreSQL")


def requests(batch: Batch, schema: pa.Schema) -> Iterator[list[dict[str, Any]]]:
    """Yield a batch as requests of at most 32 MiB.

    Args:
        batch: Rows, checked.
        schema: The attributes of the collection.

    Yields:
        Rows as Milvus takes them.
    """
    values = python_columns(batch.attributes)
    fields = {
        field_name(column.name, column.type): values.get(column.name, [None] * len(batch.ids)) for column in schema
    }
    request: list[dict[str, Any]] = []
    size = 0
    for row, name in enumerate(batch.ids):
        stored = {field: stored_value(column[row]) for field, column in fields.items()}
        entity = {"id": name, "text": batch.texts[row], "vector": batch.vectors[row], **stored}
        weight = batch.vectors[row].nbytes + sum(_weight(value) for value in entity.values())
        if request and size + weight > _BYTES_A_REQUEST:
            yield request
            request, size = [], 0
        request.append(entity)
        size += weight
    if request:
        yield request


def _weight(value: Any) -> int:
    if isinstance(value, list):
        return sum(_weight(member) for member in value)
    return len(value.encode()) + 8 if isinstance(value, str) else 8


def known_ids(client: Any, name: str, ids: list[str]) -> set[str]:
    """Return which of some ids the collection has."""
    found: set[str] = set()
    for start in range(0, len(ids), _IDS_A_REQUEST):
        part = id_filter(ids[start : start + _IDS_A_REQUEST])
        found.update(row["id"] for row in client.query(name, filter=part, output_fields=["id"]))
    return found


def deleted(client: Any, name: str, ids: list[str]) -> None:
    """Delete rows by their ids."""
    for start in range(0, len(ids), _IDS_A_REQUEST):
        client.delete(name, filter=id_filter(ids[start : start + _IDS_A_REQUEST]))


def rows_by_id(client: Any, name: str, ids: list[str], schema: pa.Schema, dimension: int) -> Candidates:
    """Read rows by their ids."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(ids), _IDS_A_REQUEST):
        part = id_filter(ids[start : start + _IDS_A_REQUEST])
        found.extend(client.query(name, filter=part, output_fields=output_fields(schema)))
    return candidates(found, schema, dimension)


def output_fields(schema: pa.Schema) -> list[str]:
    """Return the fields of a row."""
    return ["id", "text", "vector", *(field_name(column.name, column.type) for column in schema)]


def candidates(rows: list[dict[str, Any]], schema: pa.Schema, dimension: int) -> Candidates:
    """Bring rows that Milvus returned to their own types."""
    fields = {column.name: (field_name(column.name, column.type), column.type) for column in schema}
    return Candidates(
        ids=[row["id"] for row in rows],
        texts=[row.get("text") for row in rows],
        attributes=[
            {name: loaded_value(row.get(field), kind) for name, (field, kind) in fields.items()} for row in rows
        ],
        vectors=vectors_of(rows, dimension),
    )


def vectors_of(rows: list[dict[str, Any]], dimension: int) -> NDArray[np.float32]:
    """Return the vectors of rows that Milvus returned, float32, shape (rows, dimension)."""
    return np.array([row["vector"] for row in rows], dtype=np.float32).reshape(len(rows), dimension)
