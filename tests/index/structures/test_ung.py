"""UNG: groups, entries and edges against a slow oracle; containment, equality and overlap against brute force."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, Found
from embedworks.index.structures.filters import LabelColumn
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.ung import UnifiedNavigatingGraph

DEGREE = 6
LABELS = "abcd"


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tagged(sets: list[list[str]]) -> tuple[Attributes, LabelColumn]:
    attributes = Attributes(pa.table({"tags": pa.array(sets, pa.list_(pa.string())), "place": np.arange(len(sets))}))
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    return attributes, column


@lru_cache(maxsize=1)
def built() -> tuple[UnifiedNavigatingGraph, list[set[str]], Attributes]:
    """Groups of one row to about sixty; one of them has no labels."""
    generator = random_generator(0, "sets")
    weights = np.array([0.5, 0.3, 0.15, 0.05])
    sets = [
        sorted(set(generator.choice(list(LABELS), generator.integers(0, 4), p=weights).tolist())) for _ in range(300)
    ]
    attributes, column = tagged(sets)
    graph = UnifiedNavigatingGraph.build(
        gaussian(300, 0), column, attribute="tags", degree=DEGREE, beam=20, cross_degree=3, entry_points=4
    )
    return graph, [set(each) for each in sets], attributes


def nearest(vectors: Vectors, query: Vectors, rows: list[int], k: int) -> list[int]:
    far = 2 - 2 * (vectors.astype(np.float64) @ query.astype(np.float64))
    return sorted(rows, key=lambda row: (far[row], row))[:k]


def edges_within(graph: UnifiedNavigatingGraph, row: int) -> list[int]:
    groups = graph.groups.group_of
    return [other for other in graph.graph.of(row).tolist() if groups[other] == groups[row]]


def test_small_groups_are_complete_and_the_others_vamana_graphs(slow_vamana: Any) -> None:
    graph, _, _ = built()
    sizes = np.diff(graph.groups.member_starts)
    assert (sizes <= DEGREE).any()
    assert (sizes > 3 * DEGREE).any()
    for group in range(len(graph.groups)):
        rows = graph.groups.rows(group).tolist()
        if len(rows) <= DEGREE:
            assert all(set(edges_within(graph, row)) == set(rows) - {row} for row in rows)
            continue
        slow = slow_vamana(graph.vectors[rows], [{0}] * len(rows))
        sums = [sum(slow.between(row, other) for other in range(len(rows))) for row in range(len(rows))]
        order = random_generator(0, "group", group).permutation(len(rows)).tolist()
        start = int(np.argmin(sums))
        expected = slow.build([start], order, degree=DEGREE, beam=20, alpha=1.2)
        for place, row in enumerate(rows):
            near = [rows[other] for other in expected[place]]
            assert edges_within(graph, row)[: len(near)] == near  # what follows was added to reach all rows
        assert graph.entries.of(group)[0] == rows[start]
        for row in rows:
            seen, left = {row}, [row]
            while left:
                further = set(edges_within(graph, left.pop())) - seen
                seen |= further
                left += further
            assert seen == set(rows)


def test_entries_are_the_medoid_and_other_rows_of_the_group() -> None:
    graph, _, _ = built()
    for group in range(len(graph.groups)):
        entries, rows = graph.entries.of(group).tolist(), graph.groups.rows(group).tolist()
        assert len(entries) == len(set(entries)) == min(4, len(rows))
        assert set(entries) <= set(rows)
        products = graph.vectors[rows].astype(np.float64) @ graph.vectors[rows].astype(np.float64).T
        assert products.sum(axis=1)[rows.index(entries[0])] >= products.sum(axis=1).max() - 1e-4


def test_edges_between_groups_lead_to_minimal_supersets_and_every_such_pair_has_one() -> None:
    graph, sets, _ = built()
    occurring = {frozenset(own) for own in sets}
    pairs = set()
    for row in range(300):
        across = [other for other in graph.graph.of(row).tolist() if sets[other] != sets[row]]
        pairs |= {(frozenset(sets[row]), frozenset(sets[other])) for other in across}
    minimal = {
        (small, large)
        for small in occurring
        for large in occurring
        if small < large and not any(small < other < large for other in occurring)
    }
    assert pairs == minimal


def test_every_reachable_row_has_the_wanted_labels_and_every_such_row_is_reachable() -> None:
    graph, sets, _ = built()
    wanted_sets = [set[str](), *({label} for label in LABELS), {"a", "b"}, {"a", "c"}, {"b", "c", "d"}]
    _, column = tagged([sorted(own) for own in sets])
    for wanted in wanted_sets:
        groups = graph.groups.minimal_supersets(frozenset(column.code(label) for label in wanted), proper=False)
        left = [int(row) for group in groups for row in graph.entries.of(group)]
        seen = set(left)
        while left:
            further = set(graph.graph.of(left.pop()).tolist()) - seen
            seen |= further
            left += further
        assert seen == {row for row, own in enumerate(sets) if wanted <= own}


@given(
    wanted=st.lists(st.sampled_from(LABELS), max_size=3, unique=True),
    every=st.booleans(),
    k=st.sampled_from([1, 5, 400]),
    seed=st.integers(0, 500),
)
def test_containment_and_overlap_are_those_of_brute_force(wanted: list[str], every: bool, k: int, seed: int) -> None:
    graph, sets, attributes = built()
    where = attributes.labels("tags", wanted, every=every) if wanted else attributes.everything()
    query = gaussian(1, seed)[0]
    passing = [
        row for row, own in enumerate(sets) if not wanted or (set(wanted) <= own if every else bool(set(wanted) & own))
    ]
    found = graph.search(query, k, where, beam=301)
    assert found.rows.tolist() == nearest(graph.vectors, query, passing, k)
    assert found.exact
    assert found.counters.rejected == 0  # no filter is checked
    short = graph.search(query, k, where, beam=5)
    assert set(short.rows.tolist()) <= set(passing)
    assert len(short.rows) == min(k, len(passing))


@given(wanted=st.sets(st.sampled_from(LABELS)), k=st.sampled_from([1, 5, 400]), seed=st.integers(0, 500))
def test_equality_is_that_of_brute_force(wanted: set[str], k: int, seed: int) -> None:
    graph, sets, attributes = built()
    column = attributes.column("tags")
    assert isinstance(column, LabelColumn)
    query = gaussian(1, seed)[0]
    found = graph.search_equal(query, k, tuple(sorted(column.code(label) for label in wanted)), beam=301)
    equal = [row for row, own in enumerate(sets) if own == wanted]
    assert found.rows.tolist() == nearest(graph.vectors, query, equal, k)
    assert found.exact


def test_a_filter_narrower_than_its_labels_still_holds() -> None:
    graph, _, attributes = built()
    where = attributes.labels("tags", ["a"])
    narrow = type(where)(where.mask & (np.arange(300) % 3 == 0), where.form)
    found = graph.search(graph.vectors[0], 300, narrow, beam=301)
    assert found.rows.tolist() == nearest(graph.vectors, graph.vectors[0], narrow.passing.tolist(), 300)


def test_equal_rows_are_all_found() -> None:
    vectors = np.repeat(gaussian(2, 1), 100, axis=0)
    sets = [["a"], ["a", "b"], [], ["b"]] * 50
    attributes, column = tagged(sets)
    graph = UnifiedNavigatingGraph.build(vectors, column, attribute="tags", degree=4, beam=8, cross_degree=2)
    found = graph.search(vectors[0], 200, attributes.labels("tags", ["a"]), beam=10)
    assert found.rows.tolist() == [row for row in range(200) if "a" in sets[row]]
    found = graph.search(vectors[199], 3, attributes.labels("tags", ["a", "b"]), beam=10)
    assert found.rows.tolist() == [101, 105, 109]
    assert found.distances.tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_one_label_on_all_rows_is_one_vamana_graph() -> None:
    vectors = gaussian(200, 2)
    attributes, column = tagged([["only"]] * 200)
    graph = UnifiedNavigatingGraph.build(vectors, column, attribute="tags", degree=12, beam=40)
    assert len(graph.groups) == 1
    assert len(graph.entries.of(0)) == 16
    hits = 0
    for query in gaussian(30, 3):
        for where in (attributes.labels("tags", ["only"]), attributes.everything()):
            found = graph.search(query, 10, where, beam=40)
            hits += len(set(found.rows.tolist()) & set(nearest(vectors, query, list(range(200)), 10)))
    assert hits >= 0.97 * 600


def test_filters_of_other_forms_and_attributes_are_refused() -> None:
    graph, _, attributes = built()
    for where in (attributes.range("place", low=3), attributes.arbitrary(np.ones(300, dtype=np.bool_))):
        with pytest.raises(InputError, match="ung answers no filter of the form"):
            graph.search(graph.vectors[0], 3, where, beam=10)
    elsewhere = Attributes(pa.table({"kinds": [["a"]] * 300})).labels("kinds", ["a"])
    assert not graph.supports(elsewhere)


def test_settings_and_labels_that_do_not_fit_are_refused() -> None:
    _, column = tagged([["a"]] * 5)
    for settings, message in (({"cross_degree": 0}, "cross_degree is 0"), ({"entry_points": 0}, "entry_points is 0")):
        with pytest.raises(InputError, match=message):
            UnifiedNavigatingGraph.build(gaussian(5, 0), column, attribute="tags", **settings)
    with pytest.raises(InputError, match="labels for 5 rows and 6 vectors"):
        UnifiedNavigatingGraph.build(gaussian(6, 0), column, attribute="tags")


def test_one_seed_one_graph() -> None:
    graph, sets, _ = built()
    _, column = tagged([sorted(own) for own in sets])
    settings: dict[str, Any] = {"attribute": "tags", "degree": DEGREE, "beam": 20, "cross_degree": 3, "entry_points": 4}
    again, other = (
        UnifiedNavigatingGraph.build(gaussian(300, 0), column, **settings, seed=seed).arrays() for seed in (0, 1)
    )
    assert all(np.array_equal(array, again[name]) for name, array in graph.arrays().items())
    assert not np.array_equal(graph.arrays()["entries"], other["entries"])


def test_what_was_found_in_nothing_is_nothing() -> None:
    graph, _, attributes = built()
    empty = type(attributes.everything())(np.zeros(300, dtype=np.bool_), attributes.labels("tags", ["a"]).form)
    found = graph.search(graph.vectors[0], 3, empty, beam=10)
    assert isinstance(found, Found)
    assert len(found.rows) == 0
