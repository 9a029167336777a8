"""ACORN's lists and their compression against a slow graph, edge for edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.acorn_graph import build_acorn
from embedworks.index.structures.layers import LayeredGraph

Layers = list[dict[int, list[int]]]


class SlowAcorn:
    """Section 5.2 of the paper in plain Python and float64; equal distances stand by row."""

    def __init__(
        self, vectors: NDArray[Any], levels: list[int], degree: int, expansion: int, compression: int, width: int
    ) -> None:
        self.vectors = vectors.astype(np.float64)
        self.layers: Layers = [{} for _ in range(max(levels) + 1)]
        self.wide, self.budget = degree * expansion, 2 * degree * expansion
        self.compression, self.width = compression, width
        self.entry = 0
        for row, level in enumerate(levels):
            self.insert(row, level, levels)

    def ordered(self, row: int, others: list[int]) -> list[int]:
        def key(other: int) -> tuple[float, int]:
            return max(0.0, 2 - 2 * float(self.vectors[row] @ self.vectors[other])), other

        return sorted(others, key=key)

    def nearest(self, query: int, begin: list[int], beam: int, layer: int) -> list[int]:
        seen, best, left = set(begin), self.ordered(query, begin), set(begin)
        while open_rows := [row for row in best if row in left]:
            left.discard(open_rows[0])
            for other in self.layers[layer][open_rows[0]]:
                if other not in seen:
                    seen.add(other)
                    left.add(other)
                    best = self.ordered(query, [*best, other])[:beam]
        return best

    def compress(self, candidates: list[int]) -> list[int]:
        kept: list[int] = []
        reached: set[int] = set()
        for place, row in enumerate(candidates):
            if len(kept) == self.width:
                break
            if place >= self.compression:
                if len(reached) >= self.budget:
                    break
                if row in reached:
                    continue
                reached |= set(self.layers[0][row])
            reached.add(row)
            kept.append(row)
        return kept

    def insert(self, row: int, level: int, levels: list[int]) -> None:
        for layer in range(level + 1):
            self.layers[layer][row] = []
        if row == 0:
            return
        top = levels[self.entry]
        near = [self.entry]
        for layer in range(top, level, -1):
            near = self.nearest(row, near, 1, layer)
        for layer in range(min(top, level), 0, -1):
            near = self.nearest(row, near, self.wide, layer)
            self.layers[layer][row] = list(near)
            for other in near:
                self.layers[layer][other] = self.ordered(other, [*self.layers[layer][other], row])[: self.wide]
        near = self.nearest(row, near, self.budget, 0)
        self.layers[0][row] = self.compress(near)
        for other in self.layers[0][row]:
            longer = self.ordered(other, [*self.layers[0][other], row])
            self.layers[0][other] = longer if len(longer) <= self.width else self.compress(longer)
        if level > top:
            self.entry = row


def edges(graph: LayeredGraph) -> Layers:
    """The compiled graph in the form of the slow one."""
    layers: Layers = [{} for _ in range(graph.top + 1)]
    for row in range(len(graph.levels)):
        layers[0][row] = [int(other) for other in graph.links[row] if other >= 0]
        for layer in range(1, graph.levels[row] + 1):
            line = graph.upper_links[graph.starts[row] + layer - 1]
            layers[layer][row] = [int(other) for other in line if other >= 0]
    return layers


def generic(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Directions in general position."""
    vectors = random_generator(seed, "acorn rows").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def signs(rows: int, seed: int) -> NDArray[np.float32]:
    """Corners of a cube: products are exact in float32, most distances tie, rows repeat."""
    return random_generator(seed, "signs").choice(np.float32([-0.25, 0.25]), size=(rows, 16)).astype(np.float32)


@pytest.mark.parametrize("settings", [(4, 3, 6), (3, 4, 3), (2, 5, 8), (4, 1, 8), (8, 2, 8)])
@pytest.mark.parametrize("kind", ["generic", "signs"])
def test_the_graph_equals_the_slow_one_edge_for_edge(settings: tuple[int, int, int], kind: str) -> None:
    degree, expansion, compression = settings
    vectors = generic(150, 6, degree) if kind == "generic" else signs(150, degree)
    graph = build_acorn(vectors, degree=degree, expansion=expansion, compression=compression, seed=degree)
    width = graph.links.shape[1]
    assert width == compression + (3 * degree // 2 if expansion > 1 else 0)
    slow = SlowAcorn(vectors, graph.levels.tolist(), degree, expansion, compression, width)
    assert edges(graph) == slow.layers
    assert graph.entry == slow.entry
    assert graph.top >= 1


def test_compression_leaves_out_what_a_kept_neighbour_reaches() -> None:
    vectors = generic(400, 6, 0)
    compressed = build_acorn(vectors, degree=8, expansion=6, compression=16)
    lists = [[int(other) for other in line if other >= 0] for line in compressed.links]
    shares = []
    for row in range(400):
        order = np.argsort(-(vectors @ vectors[row]), kind="stable")
        nearest = [int(other) for other in order[:49] if other != row][:48]
        reached = set(lists[row]).union(*(lists[other] for other in lists[row][16:]))
        shares.append(len(reached & set(nearest)) / len(nearest))
        assert len(lists[row]) <= 28
    # 28 entries stand for the 48 nearest that search wants: entries after the 16th bring back most of the others.
    assert np.mean(shares) > 0.85
