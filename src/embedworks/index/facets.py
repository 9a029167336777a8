"""Counts of an attribute's values, as the page beside the results shows them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embedworks.index.snapshot import Snapshot
from embedworks.index.typed_conditions import unknown_attribute


def value_counts(snapshot: Snapshot, name: str, where: str | None) -> dict[Any, int]:
    """Count the values of an attribute over the live rows that pass a filter.

    Args:
        snapshot: The index at one commit.
        name: An attribute; of a set, each distinct member counts once a row.
        where: A filter, or None.

    Returns:
        Value to number of rows, the most frequent first, equal counts in the order of their values; no nulls.

    Raises:
        InputError: There is no such attribute, or the filter is refused.
    """
    schema = snapshot.manifest.schema
    if name not in schema.names:
        raise unknown_attribute(name, {field.name: field.type for field in schema}, where="facets")
    column = snapshot.table.column(name).filter(pa.array(snapshot.passing(where).mask))
    if pa.types.is_list(column.type):
        # The door has taken repeated members out of the sets, so a member stands once in a row.
        column = pa.chunked_array([chunk.flatten() for chunk in column.chunks], pa.string())
    if pa.types.is_null(column.type):
        return {}
    counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(column.drop_null()).to_pylist()}
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
