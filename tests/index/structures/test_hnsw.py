"""HNSW: the compiled graph equals a slow one edge for edge; the searches on it keep their promises."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from embedworks.foundation import InputError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, structure_class
from embedworks.index.structures.hnsw import build_hnsw
from embedworks.index.structures.infilter import InFilter
from embedworks.index.structures.layers import LayeredGraph, draw_levels
from embedworks.index.structures.postfilter import PostFilter

Lists = list[dict[int, list[int]]]


class SlowGraph:
    """The paper's algorithms 1, 2 and 4 in plain Python and float64; equal distances stand by row."""

    def __init__(self, vectors: NDArray[Any], levels: list[int], degree: int, beam: int) -> None:
        self.vectors = vectors.astype(np.float64)
        self.layers: Lists = [{} for _ in range(max(levels) + 1)]
        self.entry = 0
        for row, level in enumerate(levels):
            self.insert(row, level, levels, degree, beam)

    def distance(self, left: int, right: int) -> float:
        return max(0.0, 2 - 2 * float(self.vectors[left] @ self.vectors[right]))

    def key(self, row: int, query: int) -> tuple[float, int]:
        return self.distance(row, query), row

    def search_layer(self, query: int, begin: list[int], beam: int, layer: int) -> list[int]:
        seen, best, left = set(begin), sorted(begin, key=lambda row: self.key(row, query)), set(begin)
        while open_rows := [row for row in best if row in left]:
            row = open_rows[0]
            left.discard(row)
            for other in self.layers[layer][row]:
                if other not in seen:
                    seen.add(other)
                    left.add(other)
                    best = sorted([*best, other], key=lambda row: self.key(row, query))[:beam]
        return best

    def choose(self, row: int, candidates: list[int], limit: int) -> list[int]:
        kept: list[int] = []
        for candidate in sorted(candidates, key=lambda other: self.key(other, row)):
            if len(kept) == limit:
                break
            if all(self.distance(candidate, row) < self.distance(candidate, other) for other in kept):
                kept.append(candidate)
        return kept

    def insert(self, row: int, level: int, levels: list[int], degree: int, beam: int) -> None:
        for layer in range(level + 1):
            self.layers[layer][row] = []
        if row == 0:
            return
        top = levels[self.entry]
        near = [self.entry]
        for layer in range(top, level, -1):
            near = self.search_layer(row, near, 1, layer)
        for layer in range(min(top, level), -1, -1):
            near = self.search_layer(row, near, beam, layer)
            limit = 2 * degree if layer == 0 else degree
            self.layers[layer][row] = self.choose(row, near, degree)
            for other in self.layers[layer][row]:
                self.layers[layer][other].append(row)
                if len(self.layers[layer][other]) > limit:
                    self.layers[layer][other] = self.choose(other, self.layers[layer][other], limit)
        if level > top:
            self.entry = row


def edges(graph: LayeredGraph) -> Lists:
    """The compiled graph in the form of the slow one."""
    layers: Lists = [{} for _ in range(graph.top + 1)]
    for row in range(len(graph.levels)):
        layers[0][row] = [int(other) for other in graph.links[row] if other >= 0]
        for layer in range(1, graph.levels[row] + 1):
            line = graph.upper_links[graph.starts[row] + layer - 1]
            layers[layer][row] = [int(other) for other in line if other >= 0]
    return layers


def generic(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Directions in general position: no two distances are equal."""
    vectors = random_generator(seed, "generic").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def signs(rows: int, seed: int) -> NDArray[np.float32]:
    """Corners of a cube in 16 dimensions: all products are exact in float32, most distances tie, rows repeat."""
    return random_generator(seed, "signs").choice(np.float32([-0.25, 0.25]), size=(rows, 16)).astype(np.float32)


@pytest.mark.parametrize("degree", [2, 4, 6])
@pytest.mark.parametrize("kind", ["generic", "signs", "repeated"])
def test_the_graph_equals_the_slow_one_edge_for_edge(degree: int, kind: str) -> None:
    vectors = {"generic": generic(220, 8, degree), "signs": signs(220, degree), "repeated": generic(11, 8, 0)}[kind]
    if kind == "repeated":
        vectors = np.tile(vectors, (8, 1))
    graph = build_hnsw(vectors, degree=degree, construction_beam=12, seed=degree)
    slow = SlowGraph(vectors, graph.levels.tolist(), degree, 12)
    assert edges(graph) == slow.layers
    assert graph.entry == slow.entry
    assert graph.top >= 1 or kind == "repeated"


def test_levels_follow_the_published_law_and_do_not_depend_on_the_number_of_rows() -> None:
    levels = draw_levels(200_000, 16, 3)
    assert (levels[:500] == draw_levels(500, 16, 3)).all()
    for level in (1, 2, 3):
        expected = 16.0**-level
        assert abs((levels >= level).mean() - expected) < 4 * math.sqrt(expected / 200_000)


def test_one_seed_one_graph() -> None:
    vectors = generic(400, 12, 1)
    first, again, other = (build_hnsw(vectors, seed=seed) for seed in (5, 5, 6))
    assert all((first.arrays()[name] == again.arrays()[name]).all() for name in first.arrays())
    assert (first.levels != other.levels).any()


def test_a_graph_of_one_row() -> None:
    vectors = generic(1, 4, 0)
    attributes = Attributes(pa.table({"year": [2026]}))
    for kind in (InFilter, PostFilter):
        structure = kind.build(vectors)
        assert structure.search(vectors[0], 3, attributes.everything(), beam=5).rows.tolist() == [0]
        assert structure.search(vectors[0], 3, attributes.range("year", low=2027), beam=5).rows.tolist() == []


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"degree": 1}, {"degree": 8, "construction_beam": 4}):
        with pytest.raises(InputError, match="degree of at least 2"):
            InFilter.build(generic(5, 4, 0), **settings)


def test_a_graph_that_does_not_fit_is_refused() -> None:
    arrays = build_hnsw(generic(50, 4, 0), degree=4).arrays()
    with pytest.raises(StorageError, match="do not fit"):
        LayeredGraph.restore({**arrays, "links": arrays["links"][:-1]}, 0)
    with pytest.raises(StorageError, match="do not fit"):
        LayeredGraph.restore(arrays, 50)


@pytest.mark.parametrize("kind", ["in-filter", "post-filter"])
def test_k_come_back_where_k_pass_even_of_equal_rows_that_no_list_names(kind: str) -> None:
    vectors = np.repeat(generic(2, 6, 0), 300, axis=0)
    attributes = Attributes(pa.table({"place": np.arange(600)}))
    structure = structure_class(kind).build(vectors, seed=1)
    where = attributes.range("place", low=450)
    found = structure.search(vectors[599], 20, where, beam=10)
    assert found.rows.tolist() == list(range(450, 470))
    assert found.exact


def test_the_beam_of_post_filtering_grows_until_k_pass() -> None:
    vectors = generic(2000, 10, 4)
    nearness = vectors @ vectors[0]
    where = Attributes(pa.table({"nearness": nearness})).range("nearness", high=float(np.quantile(nearness, 0.5)))
    structure = PostFilter.build(vectors, degree=8, construction_beam=60)
    found = structure.search(vectors[0], 10, where, beam=10)
    exact = np.argsort(-nearness[where.passing], kind="stable")[:10]
    assert len(set(found.rows) & set(where.passing[exact])) >= 9
    assert found.counters.rejected > 500  # the nearest half of all rows fails


def test_counters_count_the_rows_compared() -> None:
    vectors = generic(300, 8, 2)
    everything = Attributes(pa.table({"place": np.arange(300)})).everything()
    structure = InFilter.build(vectors, degree=4, construction_beam=50)
    assert structure.graph.top > 0
    found = structure.search(vectors[7], 5, everything, beam=300)
    # The beam holds all rows, so each is compared once in layer 0, and the walk down compares some more.
    assert 300 <= found.counters.distances <= 300 + 100
    assert 300 <= found.counters.hops <= 300 + 20
    assert found.counters.rejected == 0
    half = Attributes(pa.table({"place": np.arange(300)})).range("place", low=200)
    assert structure.search(vectors[7], 5, half, beam=300).counters.rejected == 200


def test_searches_of_several_threads_do_not_mix() -> None:
    vectors = generic(3000, 16, 9)
    attributes = Attributes(pa.table({"place": np.arange(3000)}))
    structure = InFilter.build(vectors, degree=8, construction_beam=40)
    wheres = [attributes.range("place", low=low) for low in (0, 1500, 2700)]

    def ask(number: int) -> list[int]:
        rows: list[int] = structure.search(vectors[number], 10, wheres[number % 3], beam=40).rows.tolist()
        return rows

    alone = [ask(number) for number in range(600)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(600))) == alone
