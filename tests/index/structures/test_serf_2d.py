"""The two-dimensional segment graph: its batches and lives against a slow oracle, and never a row that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, load_structure, save_structure
from embedworks.index.structures.prefilter import PreFilter
from embedworks.index.structures.serf_2d import SegmentGraph2D


def unit(generator: np.random.Generator, rows: int, dimension: int) -> NDArray[np.float32]:
    centres = generator.standard_normal((8, dimension))
    vectors = centres[generator.integers(0, 8, rows)] + generator.standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def attributes_of(values: NDArray[np.float64]) -> Attributes:
    return Attributes(pa.table({"day": pa.array(values, from_pandas=True)}))


class SlowGraph:
    """The oracle: everything as lists and sets, in float64, one position at a time."""

    def __init__(self, vectors: NDArray[np.float32], neighbours: int, scanned: int, ef: int, leap: str) -> None:
        exact = vectors.astype(np.float64)
        self.between = np.maximum(0, 2 - 2 * exact @ exact.T).tolist()
        self.neighbours, self.scanned, self.ef, self.leap = neighbours, scanned, ef, leap
        self.edges: list[set[int]] = []
        self.batches: list[list[tuple[int, int, list[int]]]] = []
        self.holders: list[set[int]] = []
        self.ends: dict[tuple[int, int], int] = {}
        for point in range(len(vectors)):
            self.insert(point)

    def by_distance(self, point: int, candidates: set[int]) -> list[int]:
        return sorted(candidates, key=lambda c: (self.between[point][c], c))

    def heuristic(self, point: int, ascending: list[int]) -> list[int]:
        kept: list[int] = []
        for candidate in ascending:
            if len(kept) == 2 * self.neighbours:
                break
            if all(self.between[candidate][point] < self.between[candidate][other] for other in kept):
                kept.append(candidate)
        return kept

    def candidates(self, point: int) -> list[int]:
        seen = {point * third // 3 for third in range(3)}
        found, expanded = self.by_distance(point, seen)[: self.ef], set[int]()
        while unexpanded := [node for node in found if node not in expanded]:
            expanded.add(unexpanded[0])
            new = self.edges[unexpanded[0]] - seen
            seen |= new
            found = self.by_distance(point, new | set(found))[: self.ef]
        return found

    def insert(self, point: int) -> None:
        self.edges.append(set())
        self.holders.append(set())
        self.batches.append([])
        left = self.candidates(point) if point else []
        first = 0
        while left:
            kept = self.heuristic(point, left[: self.scanned])
            end = max(kept) if self.leap == "furthest" else sorted(kept)[len(kept) // 2]
            left = [candidate for candidate in left if candidate > end]
            last = end if left else point
            self.batches[point].append((first, last, kept))
            first = last + 1
            for other in kept:
                self.hold(other, point)
        if point:
            self.edges[point] = set(self.batches[point][0][2])
        for other in self.edges[point]:
            self.edges[other].add(point)
            if len(self.edges[other]) > 2 * self.neighbours:
                self.edges[other] = set(self.heuristic(other, self.by_distance(other, self.edges[other])))

    def hold(self, other: int, point: int) -> None:
        if (other, point) in self.ends:
            return
        self.holders[other].add(point)
        self.ends[other, point] = len(self.between)
        if len(self.holders[other]) > 2 * self.neighbours:
            kept = set(self.heuristic(other, self.by_distance(other, self.holders[other])))
            for lost in self.holders[other] - kept:
                self.ends[other, lost] = point
            self.holders[other] = kept

    def neighbours_within(self, point: int, left: int, right: int) -> set[int]:
        read: list[int] = []
        for _, last, kept in self.batches[point]:
            if last >= left and len(read) < self.neighbours:
                read += [other for other in kept if other >= left]
        return set(read) | {
            other for (node, other), end in self.ends.items() if node == point and other < right and end >= right
        }


@pytest.mark.parametrize(
    ("neighbours", "scanned", "ef", "dimension"), [(1, 3, 6, 3), (2, 8, 20, 4), (4, 10, 40, 8), (8, 100, 150, 8)]
)
@pytest.mark.parametrize("leap", ["middle", "furthest"])
def test_batches_and_lives_are_the_oracle_s(neighbours: int, scanned: int, ef: int, dimension: int, leap: Any) -> None:
    generator = random_generator(neighbours, "batches")
    vectors, values = unit(generator, 160, dimension), generator.permutation(160).astype(np.float64)
    graph = SegmentGraph2D.build(
        vectors, values, attribute="day", neighbours=neighbours, ef_construction=scanned, ef_max=ef, leap=leap
    )
    slow = SlowGraph(vectors[np.argsort(values)], neighbours, scanned, ef, leap)
    for position in range(160):
        batches = [(first, last, held.tolist()) for first, last, held in graph.batches(position)]
        assert batches == slow.batches[position], position
    assert max(len(batches) for batches in slow.batches) > 2
    assert any(end < 160 for end in slow.ends.values()) or neighbours == 8  # lives do end, or nothing is shown
    for _ in range(40):
        left, right = sorted(generator.choice(161, 2, replace=False).tolist())
        for position in range(left, right):
            used = graph.neighbours(position, left=left, right=right).tolist()
            assert len(used) == len(set(used))
            assert set(used) == slow.neighbours_within(position, left, right), (position, left, right)


VALUES = np.repeat(np.arange(200.0), 4)  # every value four times
VALUES[::50] = np.nan
random_generator(1, "values").shuffle(VALUES)
VECTORS = unit(random_generator(1, "vectors"), 800, 16)
ATTRIBUTES = attributes_of(VALUES)
GRAPH = SegmentGraph2D.build(VECTORS, VALUES, attribute="day", ef_construction=40, ef_max=200)
EXACT = PreFilter.build(VECTORS)


def test_batches_tile_the_lower_bounds() -> None:
    assert GRAPH.known == 784
    assert GRAPH.batches(0) == []
    for position in range(1, GRAPH.known):
        batches = GRAPH.batches(position)
        assert [first for first, _, _ in batches] == [0, *(last + 1 for _, last, _ in batches[:-1])]
        assert batches[-1][1] == position
        for first, _, held in batches:
            assert 1 <= len(held) <= 16
            assert held.min() >= first
            assert held.max() <= position - 1
        # Half of a batch at least lies within a range that it serves, whatever its lower bound.
        assert all(2 * (held >= last).sum() >= len(held) for _, last, held in batches[:-1])


def test_leaping_to_the_furthest_holds_each_position_in_one_batch() -> None:
    furthest = SegmentGraph2D.build(VECTORS, VALUES, attribute="day", ef_construction=40, ef_max=200, leap="furthest")
    for position in range(1, furthest.known):
        assert all(held.max() <= last for _, last, held in furthest.batches(position))
        everything = np.concatenate([held for _, _, held in furthest.batches(position)])
        assert len(np.unique(everything)) == len(everything)
    assert furthest.nbytes < GRAPH.nbytes


def test_every_edge_used_lies_inside() -> None:
    generator = random_generator(2, "ranges")
    for _ in range(50):
        left, right = sorted(generator.choice(GRAPH.known + 1, 2, replace=False).tolist())
        for position in range(left, right):
            used = GRAPH.neighbours(position, left=left, right=right)
            assert ((used >= left) & (used < right) & (used != position)).all()


@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 30),
    beam=st.integers(1, 100),
    bounds=st.tuples(st.one_of(st.integers(-3, 203).map(float), st.floats(-1, 201)), st.floats(0, 203)),
    open_side=st.sampled_from(["neither", "below", "above", "no filter"]),
)
def test_nothing_fails_and_distances_are_true(
    seed: int, k: int, beam: int, bounds: tuple[float, float], open_side: str
) -> None:
    low = -np.inf if open_side == "below" else bounds[0]
    high = np.inf if open_side == "above" else bounds[0] + bounds[1]
    where = ATTRIBUTES.everything() if open_side == "no filter" else ATTRIBUTES.range("day", low=low, high=high)
    query = unit(random_generator(seed, "query"), 1, 16)[0]
    found = GRAPH.search(query, k, where, beam=beam)
    exact = EXACT.search(query, k, where, beam=beam)
    assert where.mask[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found.rows) <= len(exact.rows)
    np.testing.assert_allclose(found.distances, 2 - 2 * VECTORS[found.rows] @ query, atol=2e-6)
    assert (np.diff(found.distances) >= 0).all()
    assert found.counters.distances <= where.count
    if found.exact:
        assert found.rows.tolist() == exact.rows.tolist()


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (0, 99), (50, 149), (100, 199), (20, 45), (170, 195)])
def test_finds_nearly_all(low: float, high: float) -> None:
    where = ATTRIBUTES.range("day", low=low, high=high)
    hits, fewer = 0, 0
    for query in unit(random_generator(3, "queries"), 100, 16):
        found = GRAPH.search(query, 10, where, beam=50)
        hits += len(np.intersect1d(found.rows, EXACT.search(query, 10, where, beam=1).rows))
        fewer += len(found.rows) < 10
        assert not found.exact
        assert found.counters.distances <= where.count
        assert found.counters.hops >= 10
    assert hits >= 970
    assert fewer == 0


def test_what_is_counted() -> None:
    # Each comparison is one distance: the starts, and every neighbour once; here followed by hand.
    where = ATTRIBUTES.range("day", low=30, high=100)
    query, (left, right) = VECTORS[5].astype(np.float64), GRAPH.interval(where)
    ordered = VECTORS[GRAPH.order].astype(np.float64)
    beam, seen = 20, {left + (right - left) * third // 3 for third in range(3)}
    distances = 2 - 2 * ordered @ query
    found, expanded = sorted(seen, key=lambda p: (distances[p], p)), set[int]()
    while unexpanded := [position for position in found if position not in expanded]:
        expanded.add(unexpanded[0])
        new = set(GRAPH.neighbours(unexpanded[0], left=left, right=right).tolist()) - seen
        seen |= new
        found = sorted(new | set(found), key=lambda p: (distances[p], p))[:beam]
    answer = GRAPH.search(VECTORS[5], 20, where, beam=beam)
    assert (answer.counters.distances, answer.counters.hops) == (len(seen), len(expanded))
    assert answer.counters.rejected > 0
    assert set(answer.rows.tolist()) == {int(GRAPH.order[position]) for position in found}


def test_the_three_starts_are_answers() -> None:
    # A published implementation expands the starts but never returns them.
    for position in (0, 784 // 3, 2 * 784 // 3):
        row = int(GRAPH.order[position])
        assert GRAPH.search(VECTORS[row], 1, ATTRIBUTES.range("day"), beam=8).rows.tolist() == [row]


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4])
def test_narrow_ranges(width: int) -> None:
    values = np.arange(50.0)
    graph = SegmentGraph2D.build(VECTORS[:50], values, attribute="day")
    where = attributes_of(values).range("day", low=20, high=19 + width)
    found = graph.search(VECTORS[0], 2, where, beam=1)
    assert len(found.rows) == min(2, width)
    assert where.mask[found.rows].all()


def test_only_its_own_ranges() -> None:
    other = Attributes(pa.table({"day": VALUES, "size": VALUES}))
    assert GRAPH.supports(other.range("day", low=1, high=2))
    assert not GRAPH.supports(other.range("size", low=1, high=2))
    assert not GRAPH.supports(other.arbitrary(np.ones(800, dtype=np.bool_)))
    with pytest.raises(InputError, match="serf-2d answers no filter of the form a range"):
        GRAPH.search(VECTORS[0], 1, other.range("size", low=1), beam=8)


def test_nulls_are_found_without_a_filter_alone() -> None:
    row = int(np.flatnonzero(np.isnan(VALUES))[0])
    assert GRAPH.search(VECTORS[row], 1, ATTRIBUTES.everything(), beam=20).rows.tolist() == [row]
    assert row not in GRAPH.search(VECTORS[row], 50, ATTRIBUTES.range("day"), beam=60).rows
    empty = SegmentGraph2D.build(VECTORS[:3], np.full(3, np.nan), attribute="day")
    assert len(empty.search(VECTORS[1], 2, ATTRIBUTES.range("day"), beam=5).rows) == 0
    assert empty.search(VECTORS[1], 1, ATTRIBUTES.everything(), beam=5).rows.tolist() == [1]


def test_equal_rows_are_all_found() -> None:
    generator = random_generator(4, "equal")
    few = unit(generator, 30, 8)
    which = generator.integers(0, 30, 900)
    graph = SegmentGraph2D.build(few[which], np.arange(900.0), attribute="day", ef_construction=30, ef_max=200)
    where = attributes_of(np.arange(900.0)).range("day", low=200, high=649)
    for group in range(30):
        equal = np.flatnonzero(which == group)
        equal = equal[(equal >= 200) & (equal < 650)][:8]
        found = graph.search(few[group], 10, where, beam=40)
        assert set(equal.tolist()) <= set(found.rows.tolist())
        assert len(found.rows) == 10


def test_all_rows_equal() -> None:
    same = np.tile(np.eye(1, 4, dtype=np.float32), (400, 1))
    graph = SegmentGraph2D.build(same, np.arange(400.0), attribute="day")
    assert max(len(graph.batches(position)) for position in range(400)) == 1
    where = attributes_of(np.arange(400.0)).range("day", low=100, high=299)
    found = graph.search(same[0], 20, where, beam=30)
    assert len(found.rows) == 20
    assert where.mask[found.rows].all()


def test_a_saved_graph_answers_alike(tmp_path: Path) -> None:
    save_structure(GRAPH, tmp_path / "graph")
    again = load_structure(tmp_path / "graph", VECTORS)
    where = ATTRIBUTES.range("day", low=50, high=150)
    for query in unit(random_generator(4, "queries"), 5, 16):
        one, other = GRAPH.search(query, 10, where, beam=30), again.search(query, 10, where, beam=30)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.counters == other.counters
    assert again.facts() == GRAPH.facts()
    assert again.nbytes == GRAPH.nbytes


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"neighbours": 0}, "neighbours is 0"), ({"ef_max": 50}, "ef_max is 50, less than"), ({"ef_max": 0}, "ef_max")],
)
def test_settings_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SegmentGraph2D.build(VECTORS, VALUES, attribute="day", **settings)
    with pytest.raises(InputError, match="leap is 'least'"):
        SegmentGraph2D.build(VECTORS, VALUES, attribute="day", leap="least")  # type: ignore[arg-type]
