"""The parts that segment graphs grow by, against plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.segment_graph_kernels import choose, edge_lists, entries, link, record
from embedworks.index.structures.structure import Vectors
from embedworks.index.structures.workspace import fixed


def signs(rows: int, seed: int) -> Vectors:
    """Corners of a cube: products are exact in float32, most distances tie, rows repeat."""
    return random_generator(seed, "signs").choice(np.float32([-0.5, 0.5]), size=(rows, 4)).astype(np.float32)


def between(vectors: Vectors, left: int, right: int) -> float:
    return max(0.0, 2 - 2 * float(vectors[left].astype(np.float64) @ vectors[right].astype(np.float64)))


def chosen(vectors: Vectors, point: int, candidates: list[int], limit: int) -> list[int]:
    """HNSW's rule; a kept neighbour equal to the point drops only others that are equal to it."""
    kept: list[int] = []
    for row in candidates:
        far = between(vectors, row, point)
        drops = [
            between(vectors, row, near) <= far for near in kept if not (between(vectors, near, point) == 0 and far > 0)
        ]
        if len(kept) < limit and not any(drops):
            kept.append(row)
    return kept


@given(seed=st.integers(0, 2000), limit=st.integers(1, 8))
def test_choosing_is_hnsws_rule(seed: int, limit: int) -> None:
    vectors = signs(20, seed)
    candidates = sorted(range(1, 20), key=lambda row: (between(vectors, row, 0), row))
    far = np.array([between(vectors, row, 0) for row in candidates], dtype=np.float32)
    kept, kept_far = np.empty(limit, np.int32), np.empty(limit, np.float32)
    size = choose(fixed(vectors), np.array(candidates, np.int32), far, 19, limit, kept, kept_far)
    assert kept[:size].tolist() == chosen(vectors, 0, candidates, limit)
    assert kept_far[:size].tolist() == [between(vectors, row, 0) for row in kept[:size]]


@given(seed=st.integers(0, 2000), cap=st.integers(1, 5))
def test_a_full_list_is_chosen_anew_and_what_it_drops_is_written_down(seed: int, cap: int) -> None:
    vectors = signs(16, seed)
    live, far = np.zeros((16, cap), np.int32), np.zeros((16, cap), np.float32)
    counts = np.zeros(16, np.int32)
    rows, scratch, unused = np.empty(cap + 1, np.int32), np.empty(cap + 1, np.float32), np.empty(cap + 1, np.bool_)
    expected: list[int] = []
    for position in range(1, 16):
        distance = np.float32(between(vectors, 0, position))
        looked = link(fixed(vectors), 0, position, distance, live, far, counts, rows, scratch, unused)
        before = [*expected, position]
        if len(expected) < cap:
            assert looked == 0
            expected = before
        else:
            ordered = sorted(before, key=lambda row: (between(vectors, row, 0), row))
            assert rows[:looked].tolist() == ordered
            expected = chosen(vectors, 0, ordered, cap)
            dropped = np.empty((cap + 1, 3), np.int32)
            lost = record(0, position, live[0], counts[0], rows, looked, dropped, 0)
            gone = [row for row in ordered if row not in expected and row != position]
            assert dropped[:lost].tolist() == [[0, row, position] for row in gone]
        assert live[0, : counts[0]].tolist() == expected


@pytest.mark.parametrize(("left", "right"), [(0, 1), (3, 5), (2, 11), (0, 12)])
def test_a_search_starts_at_three_places_each_once(left: int, right: int) -> None:
    block, visited = np.empty(3, np.int32), np.zeros(right - left, np.bool_)
    count = entries(left, right, np.arange(12, dtype=np.int32), visited, block)
    width = right - left
    expected = list(dict.fromkeys(left + width * third // 3 for third in range(3)))
    assert block[:count].tolist() == expected
    assert np.flatnonzero(visited).tolist() == sorted(place - left for place in expected)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), max_size=30, unique=True))
def test_edges_of_a_source_stand_together_the_longest_lived_first(edges: list[tuple[int, int, int]]) -> None:
    columns = np.array(edges, dtype=np.int32).reshape(-1, 3)
    starts, targets, ends = edge_lists(columns[:, 0], columns[:, 1], columns[:, 2], 6)
    for source in range(6):
        found = list(
            zip(targets[starts[source] : starts[source + 1]], ends[starts[source] : starts[source + 1]], strict=True)
        )
        assert found == [
            (target, end)
            for _, target, end in sorted((e for e in edges if e[0] == source), key=lambda e: (-e[2], e[1]))
        ]
