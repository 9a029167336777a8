"""HNSW: the compiled graph equals a slow one edge for edge; the searches on it keep their promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes
from embedworks.index.structures.hnsw import build_hnsw
from embedworks.index.structures.infilter import InFilter
from embedworks.index.structures.layers import LayeredGraph
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
