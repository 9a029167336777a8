"""Rows in the order of an attribute, and ranges as intervals of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.index.structures import Attributes
from embedworks.index.structures.filters import NumberColumn
from embedworks.index.structures.segment_graph import CHUNK, attribute_order, check_settings, chunks
from embedworks.index.structures.serf_2d import SegmentGraph2D

numbers = st.lists(st.one_of(st.none(), st.integers(0, 6), st.sampled_from([np.inf, -np.inf])), min_size=1, max_size=25)
bounds = st.one_of(st.integers(-1, 7), st.sampled_from([np.inf, -np.inf, 2.5]))


@given(numbers)
def test_the_order_is_by_value_then_by_row_and_leaves_out_nulls(values: list[float | None]) -> None:
    column = NumberColumn(np.array([np.nan if value is None else value for value in values], dtype=np.float64))
    order, ordered = attribute_order(column, len(values))
    known = sorted((value, row) for row, value in enumerate(values) if value is not None)
    assert order[: len(known)].tolist() == [row for _, row in known]
    assert ordered.tolist() == [value for value, _ in known]
    assert sorted(order[len(known) :].tolist()) == [row for row, value in enumerate(values) if value is None]


@given(numbers, bounds, bounds)
def test_an_interval_holds_the_rows_that_pass(values: list[float | None], low: float, high: float) -> None:
    attributes = Attributes(pa.table({"number": pa.array(values, pa.float64())}))
    rows = np.tile(np.float32([1, 0]), (len(values), 1))
    graph = SegmentGraph2D.build(rows, attributes.column("number"), attribute="number")
    where = attributes.range("number", low=low, high=high)
    left, right = graph.interval(where)
    assert sorted(graph.order[left:right].tolist()) == where.passing.tolist()
    assert graph.interval(attributes.everything()) == (0, sum(value is not None for value in values))


@pytest.mark.parametrize("positions", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_chunks_cover_every_position_once(positions: int) -> None:
    parts = list(chunks(positions))
    assert [place for start, stop in parts for place in range(start, stop)] == list(range(positions))
    assert all(stop - start <= CHUNK for start, stop in parts)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="one number for 4 rows"):
        attribute_order(np.zeros(3), 4)
    with pytest.raises(InputError, match="neighbours is 0"):
        check_settings(ef=3, neighbours=0)
