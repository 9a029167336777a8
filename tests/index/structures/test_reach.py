"""Reachability against a plain walk: what is added is what was missing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.reach import connect_labels, connect_strongly, parts
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.vamana import Adjacency, LabelSets, search_graph, vamana
from embedworks.index.structures.workspace import Workspace, fixed

NOTHING = np.zeros(0, dtype=np.int32)


def signs(rows: int, seed: int, dimension: int = 16) -> Vectors:
    """Rows of +-1/4: products are exact in float32 in any order, and many distances are equal."""
    return random_generator(seed, "signs").choice([-0.25, 0.25], (rows, dimension)).astype(np.float32)


def gaussian(rows: int, seed: int, dimension: int = 8) -> Vectors:
    vectors = random_generator(seed, "gaussian").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def some_labels(rows: int, seed: int, count: int = 4) -> list[set[int]]:
    generator = random_generator(seed, "labels")
    return [set(generator.choice(count, generator.integers(1, 4), replace=False).tolist()) for _ in range(rows)]


def label_sets(labels: list[set[int]]) -> LabelSets:
    starts = np.cumsum([0, *(len(each) for each in labels)])
    return LabelSets(starts, np.array([code for each in labels for code in sorted(each)], dtype=np.int32))


def graph_of(lists: list[list[int]]) -> Adjacency:
    sources = np.repeat(np.arange(len(lists)), [len(near) for near in lists])
    return Adjacency.from_edges(len(lists), sources, np.array([row for near in lists for row in near], dtype=np.int64))


def lists_of(graph: Adjacency) -> list[list[int]]:
    return [graph.of(row).tolist() for row in range(len(graph.starts) - 1)]


def starts_of(labels: list[set[int]], count: int = 4) -> np.ndarray:
    return np.array([next((row for row, own in enumerate(labels) if code in own), -1) for code in range(count)], "i4")


def reached(lists: list[list[int]], start: int, allowed: set[int]) -> set[int]:
    seen, open_rows = {start}, [start]
    while open_rows:
        for row in lists[open_rows.pop()]:
            if row in allowed and row not in seen:
                seen.add(row)
                open_rows.append(row)
    return seen


@given(seed=st.integers(0, 10_000), edges=st.integers(0, 3))
def test_every_row_of_a_label_is_reached_from_its_start(seed: int, edges: int) -> None:
    rows = seed % 30 + 1
    vectors, labels = signs(rows, seed), some_labels(rows, seed)
    generator = random_generator(seed, "reach")
    lists = [generator.choice(rows, min(edges, rows), replace=False).tolist() for _ in range(rows)]
    starts = starts_of(labels)
    whole = lists_of(connect_labels(vectors, graph_of(lists), label_sets(labels), starts, degree=4))
    for before, after in zip(lists, whole, strict=True):
        assert after[: len(before)] == before
    for code, start in enumerate(starts.tolist()):
        members = {row for row, own in enumerate(labels) if code in own}
        if start >= 0:
            assert reached(whole, start, members) == members


@given(seed=st.integers(0, 10_000), edges=st.integers(0, 3))
def test_every_row_is_reached_from_every_row(seed: int, edges: int) -> None:
    rows = seed % 30 + 1
    generator = random_generator(seed, "reach")
    lists = [generator.choice(rows, min(edges, rows), replace=False).tolist() for _ in range(rows)]
    whole = lists_of(connect_strongly(signs(rows, seed), graph_of(lists), seed % rows, degree=4))
    for row in range(rows):
        assert reached(whole, row, set(range(rows))) == set(range(rows))


def test_what_is_connected_stays_as_it_is() -> None:
    vectors = gaussian(50, 0)
    ring = graph_of([[(row + 1) % 50] for row in range(50)])
    assert connect_strongly(vectors, ring, 7, degree=4) is ring


def test_parts_are_numbered_by_edges_of_either_direction() -> None:
    labels = label_sets([{0}, {0}, {1}, {2}, {2}])
    graph = graph_of([[], [0], [0], [4], []])  # 1 -> 0 <- 2, and 3 -> 4
    assert parts(graph, labels, np.array([0, 2, 4, -1], dtype=np.int32)).tolist() == [0, 0, 1, -1]


def test_more_equal_rows_than_a_list_holds_are_all_found() -> None:
    vectors = np.tile(gaussian(1, 0), (200, 1))
    graph = vamana(vectors, 0, np.arange(200), degree=4, beam=10, alpha=1.2)
    whole = connect_strongly(vectors, graph, 0, degree=4)
    same = LabelSets.same(200)
    found = search_graph(
        vectors, fixed(vectors[0]), whole, same, NOTHING, np.array([0], dtype=np.int32), Workspace(200), beam=500
    )
    assert found.rows.tolist() == list(range(200))
    assert found.exact


@given(seed=st.integers(0, 10_000), edges=st.integers(0, 2))
def test_labels_are_in_one_part_where_edges_join_them(seed: int, edges: int) -> None:
    rows = seed % 30 + 1
    labels = some_labels(rows, seed)
    generator = random_generator(seed, "parts")
    lists = [generator.choice(rows, min(edges, rows), replace=False).tolist() for _ in range(rows)]
    starts = starts_of(labels)
    both = [list(near) for near in lists]
    for row, near in enumerate(lists):
        for other in near:
            both[other].append(row)
    found = parts(graph_of(lists), label_sets(labels), starts)
    for code, start in enumerate(starts.tolist()):
        for another, other in enumerate(starts.tolist()):
            if start >= 0 and other >= 0:
                joined = other in reached(both, start, set(range(rows)))
                assert (found[code] == found[another]) == joined
    assert (found >= 0).tolist() == (starts >= 0).tolist()
    assert set(found.tolist()) - {-1} == set(range(found.max() + 1))


def test_new_edges_leave_rows_with_room() -> None:
    vectors = gaussian(60, 1)
    lists = [[(row + step) % 50 for step in range(1, 9)] for row in range(50)] + [[] for _ in range(10)]
    lists[7] = lists[7][:2]  # the one row below the degree among those that are reached
    whole = lists_of(
        connect_labels(vectors, graph_of(lists), LabelSets.same(60), np.array([0], dtype=np.int32), degree=8)
    )
    added = [(row, other) for row in range(60) for other in whole[row][len(lists[row]) :]]
    assert {other for _, other in added} == set(range(50, 60))  # one new edge for each row that was cut off
    assert len(added) == 10
