"""A whole index is copied into a collection on a server, batch by batch, and what arrived is counted."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa

from embedworks.foundation import InputError, StorageError, progress_bar
from embedworks.index.adapters.adapter import Adapter
from embedworks.index.index import Index

ROWS_A_BATCH = 4_096
_LOGGER = logging.getLogger(__name__)


def portable_schema(index: Index) -> pa.Schema:
    """Return the attributes of an index that a server can hold: all that have a value in some row.

    Args:
        index: The index.

    Returns:
        Names and types, for the ``schema`` of a new collection.
    """
    return pa.schema([column for column in index.schema if not pa.types.is_null(column.type)])


def copy_index(index: Index, collection: Adapter, *, graph: bool = True, progress: bool = False) -> int:
    """Copy all rows of an index into a collection, check the counts, and build the graph.

    Every batch is whole on the server or not there, and rows take the place of those with the same id; so a copy that
    was killed is finished by copying again.

    Args:
        index: The index, as of its last commit.
        collection: An empty collection, or one that holds part of the same index.
        graph: Whether to build the graph when the rows are there.
        progress: Whether to show a bar.

    Returns:
        The number of rows copied.

    Raises:
        InputError: Dimensions or attributes do not fit; nothing was sent.
        StorageError: The server refused, or holds other rows than the index when all is sent.
    """
    if collection.dimension != index.dimension:
        what = f"the index has vectors of dimension {index.dimension}, the collection of {collection.dimension}"
        raise InputError(what, where="collection", mend=f"create it with dimension={index.dimension}")
    if graph and index.dimension > collection.graph_limit:
        what = f"the server builds graphs up to dimension {collection.graph_limit:,}, this is {index.dimension:,}"
        raise InputError(what, where="collection", mend="pass graph=False; the search is exact then")
    schema = portable_schema(index)
    for name in set(index.schema.names) - set(schema.names):
        _LOGGER.warning("attribute %r has no value in any row and is left out", name)
    snapshot = index._store.snapshot
    alive = np.flatnonzero(snapshot.alive)
    with progress_bar("Copying", len(alive), unit="rows", enabled=progress) as advance:
        for start in range(0, len(alive), ROWS_A_BATCH):
            rows = alive[start : start + ROWS_A_BATCH]
            records = snapshot.records(rows)
            collection.add(
                records.column("id"),
                snapshot.vectors(rows),
                texts=records.column("text"),
                attributes=records.select(schema.names),
                replace=True,
            )
            advance(len(rows))
    _check_counts(snapshot.records(alive, columns=schema.names), collection, len(alive))
    if graph:
        collection.build_graph()
    return len(alive)


def _check_counts(attributes: pa.Table, collection: Adapter, rows: int) -> None:
    there = collection.count()
    if there != rows:
        mend = "copy into an empty collection; rows of another origin stand there, or another program writes"
        raise StorageError(f"{there:,} rows stand there, the index has {rows:,}", where="collection", mend=mend)
    for name in attributes.column_names:
        known = rows - attributes.column(name).null_count
        quoted = name.replace('"', '""')
        there = collection.count(f'"{quoted}" is not null')
        if there != known:
            what = f"{there:,} rows have {name!r} there, {known:,} in the index"
            raise StorageError(what, where="collection", mend="copy again into an empty collection")
