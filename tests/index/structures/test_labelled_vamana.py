"""What the two label graphs share: closed sets, starts, and the search, against plain Python and brute force."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, structure_class
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.labelled_vamana import (
    LabelledVamana,
    closed_sets,
    find_starts,
    rows_by_label,
)
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.vamana import LabelSets

LABELS = "abcd"
KINDS = ("filtered-vamana", "stitched-vamana")
label_sets = st.lists(st.lists(st.sampled_from(LABELS), max_size=3, unique=True), min_size=1, max_size=30)


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tagged(sets: list[list[str]]) -> tuple[Attributes, LabelColumn]:
    attributes = Attributes(pa.table({"tags": pa.array(sets, pa.list_(pa.string())), "place": np.arange(len(sets))}))
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    return attributes, column


@lru_cache(maxsize=2)
def built(kind: str) -> tuple[LabelledVamana, list[set[str]], Attributes]:
    """Labels on many rows and on three; some rows have none."""
    generator = random_generator(0, "sets")
    weights = np.array([0.55, 0.3, 0.14, 0.01])
    sets = [
        sorted(set(generator.choice(list(LABELS), generator.integers(0, 4), p=weights).tolist())) for _ in range(300)
    ]
    attributes, column = tagged(sets)
    graph = structure_class(kind).build(gaussian(300, 0), column, attribute="tags", degree=16)  # type: ignore[attr-defined]
    return graph, [set(each) for each in sets], attributes


def nearest(vectors: Vectors, query: Vectors, rows: list[int], k: int) -> list[int]:
    far = 2 - 2 * (vectors.astype(np.float64) @ query.astype(np.float64))
    return sorted(rows, key=lambda row: (far[row], row))[:k]


@given(label_sets)
def test_every_row_gets_a_label_and_none_loses_one(sets: list[list[str]]) -> None:
    _, column = tagged(sets)
    closed, count = closed_sets(column, len(sets))
    assert count == len(column.names) + 1
    for row, labels in enumerate(sets):
        own = closed.codes[closed.starts[row] : closed.starts[row + 1]].tolist()
        assert own == (sorted(column.code(label) for label in labels) or [count - 1])
    members = [rows.tolist() for rows in rows_by_label(closed, count)]
    for code, name in enumerate(column.names):
        assert members[code] == [row for row, labels in enumerate(sets) if name in labels]
    assert members[-1] == [row for row, labels in enumerate(sets) if not labels]


@given(label_sets, st.integers(1, 30), st.integers(0, 5))
def test_a_start_has_its_label_and_is_the_least_used_of_those_drawn(
    sets: list[list[str]], samples: int, seed: int
) -> None:
    _, column = tagged(sets)
    closed, count = closed_sets(column, len(sets))
    starts = find_starts(closed, count, samples=samples, seed=seed)
    random, load = random_generator(seed, "label starts"), [0] * len(sets)
    for code, rows in enumerate(rows_by_label(closed, count)):
        if len(rows) == 0:
            assert starts[code] == -1
            continue
        drawn = random.choice(rows, size=min(samples, len(rows)), replace=False).tolist()
        expected = min(drawn, key=lambda row: (load[row], drawn.index(row)))
        assert starts[code] == expected
        load[expected] += 1


def test_no_row_starts_many_labels() -> None:
    sets = [[f"label{number}" for number in range(20)] for _ in range(20)]
    closed, count = closed_sets(tagged(sets)[1], 20)
    starts = find_starts(closed, count, samples=25, seed=0)[:20]
    assert sorted(starts.tolist()) == list(range(20))  # every row is drawn for every label, so each serves one
    everywhere = find_starts(LabelSets.same(20), 1, samples=5, seed=0)
    assert 0 <= everywhere[0] < 20


@pytest.mark.parametrize("kind", KINDS)
@given(
    wanted=st.lists(st.sampled_from(LABELS), max_size=4, unique=True),
    k=st.sampled_from([1, 5, 400]),
    seed=st.integers(0, 500),
)
def test_one_label_any_label_and_no_filter_are_those_of_brute_force(
    kind: str, wanted: list[str], k: int, seed: int
) -> None:
    graph, sets, attributes = built(kind)
    where = attributes.labels("tags", wanted, every=len(wanted) == 1) if wanted else attributes.everything()
    query = gaussian(1, seed)[0]
    passing = [row for row, own in enumerate(sets) if not wanted or set(wanted) & own]
    found = graph.search(query, k, where, beam=301)
    assert found.rows.tolist() == nearest(graph.vectors, query, passing, k)
    assert found.exact
    short = graph.search(query, k, where, beam=4)
    assert set(short.rows.tolist()) <= set(passing)
    assert len(short.rows) == min(k, len(passing))
    assert short.counters.distances <= len(passing)  # a row that fails is never compared


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_label_are_reached_through_such_rows_alone(kind: str) -> None:
    graph, sets, attributes = built(kind)
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    for label in LABELS:
        members = {row for row, own in enumerate(sets) if label in own}
        left = [int(graph.start_of[column.code(label)])]
        seen = set(left)
        while left:
            further = (set(graph.graph.of(left.pop()).tolist()) & members) - seen
            seen |= further
            left += further
        assert seen == members


@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_share_no_row_are_searched_one_by_one(kind: str) -> None:
    # The rows of "far" lie behind all of "near" as seen from the query; one candidate list would be full before.
    turns = np.concatenate([np.linspace(0, 0.5, 100), np.linspace(2.5, 3.0, 100)])
    vectors = np.stack([np.cos(turns), np.sin(turns)], axis=1).astype(np.float32)
    attributes, column = tagged([["near"]] * 100 + [["far"]] * 100)
    graph = structure_class(kind).build(vectors, column, attribute="tags")  # type: ignore[attr-defined]
    assert len(set(graph.part_of.tolist()) - {-1}) == 2
    found = graph.search(vectors[199], 3, attributes.labels("tags", ["near", "far"], every=False), beam=5)
    assert found.rows.tolist() == [199, 198, 197]
    found = graph.search(vectors[0], 3, attributes.everything(), beam=5)
    assert found.rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_labels_are_found_without_a_filter_alone(kind: str) -> None:
    vectors = gaussian(40, 3)
    attributes, column = tagged([[] if row % 4 else ["a"] for row in range(40)])
    graph = structure_class(kind).build(vectors, column, attribute="tags")  # type: ignore[attr-defined]
    assert graph.search(vectors[1], 1, attributes.everything(), beam=10).rows.tolist() == [1]
    found = graph.search(vectors[1], 40, attributes.labels("tags", ["a"]), beam=10)
    assert sorted(found.rows.tolist()) == list(range(0, 40, 4))
    assert len(graph.search(vectors[1], 40, attributes.everything(), beam=10).rows) == 40


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_several_labels_and_other_attributes_are_refused(kind: str) -> None:
    graph, _, attributes = built(kind)
    with pytest.raises(InputError, match="answers no filter of the form all of several labels"):
        graph.search(graph.vectors[0], 3, attributes.labels("tags", ["a", "b"]), beam=10)
    with pytest.raises(InputError, match="answers no filter of the form a range"):
        graph.search(graph.vectors[0], 3, attributes.range("place", low=3), beam=10)
    assert not graph.supports(Attributes(pa.table({"kinds": [["a"]] * 300})).labels("kinds", ["a"]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", [lambda: [["only"]] * 120, lambda: [[]] * 120], ids=["one label", "no labels"])
def test_one_label_on_all_rows_or_on_none(kind: str, build: Callable[[], list[list[str]]]) -> None:
    vectors = np.repeat(gaussian(60, 4), 2, axis=0)  # every row twice
    attributes, column = tagged(build())
    graph = structure_class(kind).build(vectors, column, attribute="tags", degree=12)  # type: ignore[attr-defined]
    hits = 0
    for query in gaussian(20, 5):
        found = graph.search(query, 10, attributes.everything(), beam=40)
        hits += len(set(found.rows.tolist()) & set(nearest(vectors, query, list(range(120)), 10)))
        assert len(graph.search(query, 500, attributes.everything(), beam=1).rows) == 120
    assert hits >= 0.97 * 200
