"""The one-dimensional segment graph: edge for edge the HNSW of every prefix, and never a row that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, load_structure, save_structure
from embedworks.index.structures.filters import RowFilter
from embedworks.index.structures.prefilter import PreFilter
from embedworks.index.structures.serf_1d import SegmentGraph1D


def unit(generator: np.random.Generator, rows: int, dimension: int) -> NDArray[np.float32]:
    centres = generator.standard_normal((8, dimension))
    vectors = centres[generator.integers(0, 8, rows)] + generator.standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def attributes_of(values: NDArray[np.float64]) -> Attributes:
    return Attributes(pa.table({"day": pa.array(values, from_pandas=True)}))


def squared(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return max(0.0, 2 - 2 * float(left.astype(np.float64) @ right.astype(np.float64)))


class PrefixGraph:
    """The slow oracle: a one-layer HNSW as a dictionary, grown one position at a time, in float64."""

    def __init__(self, vectors: NDArray[np.float32], neighbours: int, ef: int) -> None:
        self.between = [[squared(one, other) for other in vectors] for one in vectors]
        self.neighbours, self.ef = neighbours, ef
        self.edges: dict[int, set[int]] = {}

    def heuristic(self, point: int, candidates: set[int], limit: int) -> set[int]:
        kept: list[int] = []
        for candidate in sorted(candidates, key=lambda c: (self.between[point][c], c)):
            if len(kept) == limit:
                break
            if all(self.between[candidate][point] < self.between[candidate][other] for other in kept):
                kept.append(candidate)
        return set(kept)

    def nearest(self, point: int) -> set[int]:
        def key(node: int) -> tuple[float, int]:
            return self.between[point][node], node

        size = len(self.edges)
        seen = {size * third // 3 for third in range(3)}
        found, expanded = sorted(seen, key=key)[: self.ef], set[int]()
        while unexpanded := [node for node in found if node not in expanded]:
            expanded.add(unexpanded[0])
            new = self.edges[unexpanded[0]] - seen
            seen |= new
            found = sorted(new | set(found), key=key)[: self.ef]
        return set(found)

    def insert(self, point: int) -> None:
        chosen = self.heuristic(point, self.nearest(point), self.neighbours) if point else set()
        self.edges[point] = chosen
        for other in chosen:
            self.edges[other] = self.edges[other] | {point}
            if len(self.edges[other]) > 2 * self.neighbours:
                self.edges[other] = self.heuristic(other, self.edges[other], 2 * self.neighbours)


@pytest.mark.parametrize(("neighbours", "ef", "dimension"), [(1, 4, 3), (2, 8, 4), (4, 20, 8), (8, 100, 8)])
def test_edges_alive_are_the_graph_of_every_prefix(neighbours: int, ef: int, dimension: int) -> None:
    generator = random_generator(neighbours, "prefixes")
    vectors, values = unit(generator, 150, dimension), generator.permutation(150).astype(np.float64)
    graph = SegmentGraph1D.build(vectors, values, attribute="day", neighbours=neighbours, ef_construction=ef)
    slow = PrefixGraph(vectors[np.argsort(values)], neighbours, ef)
    dropped = 0
    for right in range(1, 151):
        before = {(u, v) for u, vs in slow.edges.items() for v in vs}
        slow.insert(right - 1)
        dropped += len(before - {(u, v) for u, vs in slow.edges.items() for v in vs})
        for position in range(right):
            alive = graph.neighbours(position, right=right)
            assert len(alive) == len(set(alive.tolist()))
            assert set(alive.tolist()) == slow.edges[position], (right, position)
    assert dropped > 0 or neighbours == 8  # lives do end here, or the test would show nothing


VALUES = np.repeat(np.arange(200.0), 4)  # every value four times
VALUES[::50] = np.nan
random_generator(1, "values").shuffle(VALUES)
VECTORS = unit(random_generator(1, "vectors"), 800, 16)
ATTRIBUTES = attributes_of(VALUES)
ABOVE = SegmentGraph1D.build(VECTORS, VALUES, attribute="day", ef_construction=40)
BELOW = SegmentGraph1D.build(VECTORS, VALUES, attribute="day", ef_construction=40, bounded="below")
EXACT = PreFilter.build(VECTORS)


@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 30),
    beam=st.integers(1, 100),
    bound=st.one_of(st.integers(-3, 203).map(float), st.floats(-1, 201), st.none()),
    below=st.booleans(),
)
def test_nothing_fails_and_distances_are_true(seed: int, k: int, beam: int, bound: float | None, below: bool) -> None:
    graph = BELOW if below else ABOVE
    where = ATTRIBUTES.everything()
    if bound is not None:
        where = ATTRIBUTES.range("day", low=bound) if below else ATTRIBUTES.range("day", high=bound)
    query = unit(random_generator(seed, "query"), 1, 16)[0]
    found = graph.search(query, k, where, beam=beam)
    exact = EXACT.search(query, k, where, beam=beam)
    assert where.mask[found.rows].all()
    assert len(set(found.rows.tolist())) == len(found.rows) <= len(exact.rows)
    np.testing.assert_allclose(found.distances, 2 - 2 * VECTORS[found.rows] @ query, atol=2e-6)
    assert (np.diff(found.distances) >= 0).all()
    assert found.counters.distances <= where.count
    if found.exact:
        assert found.rows.tolist() == exact.rows.tolist()


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.2])
def test_finds_nearly_all(below: bool, share: float) -> None:
    bound = 200 * (1 - share) if below else 200 * share - 1
    where = ATTRIBUTES.range("day", low=bound) if below else ATTRIBUTES.range("day", high=bound)
    hits, fewer = 0, 0
    for query in unit(random_generator(2, "queries"), 100, 16):
        found = (BELOW if below else ABOVE).search(query, 10, where, beam=60)
        hits += len(np.intersect1d(found.rows, EXACT.search(query, 10, where, beam=1).rows))
        fewer += len(found.rows) < 10
        assert not found.exact
        assert found.counters.distances < where.count
        assert found.counters.hops >= 10
    assert hits >= 970
    assert fewer == 0


def test_the_three_starts_are_answers() -> None:
    # A published implementation expands the starts but never returns them.
    for position in (0, 266, 533):
        where = ATTRIBUTES.everything()
        row = int(ABOVE.order[position])
        assert ABOVE.search(VECTORS[row], 1, where, beam=8).rows.tolist() == [row]


def test_only_ranges_open_at_one_side() -> None:
    day = ATTRIBUTES.range
    assert ABOVE.supports(day("day", high=20))
    assert ABOVE.supports(day("day", low=0, high=20))  # no row has less than 0
    assert not ABOVE.supports(day("day", low=1))
    assert BELOW.supports(day("day", low=20))
    assert not BELOW.supports(day("day", low=20, high=100))
    assert not ABOVE.supports(ATTRIBUTES.arbitrary(np.ones(800, dtype=np.bool_)))
    with pytest.raises(InputError, match="serf-1d answers no filter of the form a range"):
        ABOVE.search(VECTORS[0], 1, day("day", low=1), beam=8)
    with pytest.raises(InputError, match="arbitrary"):
        ABOVE.search(VECTORS[0], 1, ATTRIBUTES.arbitrary(np.ones(800, dtype=np.bool_)), beam=8)


def test_nulls_are_found_without_a_filter_alone() -> None:
    row = int(np.flatnonzero(np.isnan(VALUES))[0])
    for graph in (ABOVE, BELOW):
        assert graph.search(VECTORS[row], 1, ATTRIBUTES.everything(), beam=20).rows.tolist() == [row]
    assert row not in ABOVE.search(VECTORS[row], 50, ATTRIBUTES.range("day", high=1e9), beam=60).rows


def test_infinite_values_are_values() -> None:
    values = np.array([np.inf, -np.inf, 1.0, np.nan])
    where = attributes_of(values)
    graph = SegmentGraph1D.build(np.eye(4, dtype=np.float32), values, attribute="day")
    for filter_ in (where.range("day"), where.range("day", high=5), where.range("day", high=-5), where.everything()):
        found = graph.search(np.eye(4, dtype=np.float32)[0], 4, filter_, beam=8)
        assert sorted(found.rows.tolist()) == filter_.passing.tolist()


def test_equal_rows_are_all_found() -> None:
    generator = random_generator(3, "equal")
    few = unit(generator, 30, 8)
    which = generator.integers(0, 30, 600)
    vectors, where = few[which], attributes_of(np.arange(600.0))
    graph = SegmentGraph1D.build(vectors, np.arange(600.0), attribute="day", ef_construction=30)
    for group in range(30):
        filter_ = where.range("day", high=449)
        found = graph.search(few[group], 10, filter_, beam=20)
        equal = np.flatnonzero((which == group) & (np.arange(600) < 450))[:10].tolist()
        assert found.rows.tolist()[: len(equal)] == equal
        assert len(found.rows) == 10


def test_all_rows_equal_and_one_row() -> None:
    same = np.tile(np.eye(1, 4, dtype=np.float32), (300, 1))
    where = attributes_of(np.zeros(300))
    graph = SegmentGraph1D.build(same, np.zeros(300), attribute="day")
    assert graph.search(same[0], 20, where.range("day", high=0), beam=30).rows.tolist() == list(range(20))
    assert len(graph.search(same[0], 20, where.range("day", high=-1), beam=30).rows) == 0
    one = SegmentGraph1D.build(same[:1], np.zeros(1), attribute="day")
    assert one.search(same[0], 20, attributes_of(np.zeros(1)).everything(), beam=1).rows.tolist() == [0]


def test_only_nulls() -> None:
    values = np.full(3, np.nan)
    graph = SegmentGraph1D.build(np.eye(3, dtype=np.float32), values, attribute="day")
    where = Attributes(pa.table({"day": pa.array([None] * 3, type=pa.float64())}))
    assert len(graph.search(np.eye(3, dtype=np.float32)[1], 2, where.range("day"), beam=5).rows) == 0
    assert graph.search(np.eye(3, dtype=np.float32)[1], 2, where.everything(), beam=5).rows.tolist() == [1, 0]


def test_a_saved_graph_answers_alike(tmp_path: Path) -> None:
    save_structure(BELOW, tmp_path / "graph")
    again = load_structure(tmp_path / "graph", VECTORS)
    where: RowFilter = ATTRIBUTES.range("day", low=50)
    for query in unit(random_generator(4, "queries"), 5, 16):
        one, other = BELOW.search(query, 10, where, beam=30), again.search(query, 10, where, beam=30)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.counters == other.counters
    assert again.facts() == BELOW.facts()
    assert again.nbytes == BELOW.nbytes


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"neighbours": 0}, "neighbours"), ({"ef_construction": 0}, "ef_construction"), ({"bounded": "up"}, "bounded")],
)
def test_settings_are_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SegmentGraph1D.build(VECTORS, VALUES, attribute="day", **settings)  # type: ignore[arg-type]


def test_values_must_fit() -> None:
    with pytest.raises(InputError, match="800 rows"):
        SegmentGraph1D.build(VECTORS, VALUES[:-1], attribute="day")
