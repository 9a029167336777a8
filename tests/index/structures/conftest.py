"""The slow oracle that label graphs are held against: pure Python, float64, one line of the papers after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray


class SlowVamana:
    """GreedySearch, RobustPrune and the build of Filtered-DiskANN; with one label on all rows, that of DiskANN."""

    def __init__(self, vectors: NDArray[np.float32], labels: Sequence[set[int]]) -> None:
        self.vectors = [[float(value) for value in row] for row in vectors]
        self.labels = labels

    def distance(self, left: Sequence[float], right: Sequence[float]) -> float:
        return max(0.0, 2.0 - 2.0 * sum(a * b for a, b in zip(left, right, strict=True)))

    def between(self, left: int, right: int) -> float:
        return self.distance(self.vectors[left], self.vectors[right])

    def greedy_search(
        self,
        graph: Sequence[Sequence[int]],
        query: Sequence[float],
        entries: Sequence[int],
        beam: int,
        wanted: set[int] | None,
    ) -> tuple[list[int], list[int]]:
        """The candidate list at the end, and the rows that were expanded, both nearest first."""
        seen = {(self.distance(self.vectors[row], query), row) for row in entries}
        expanded: set[tuple[float, int]] = set()
        while True:
            best = sorted(seen)[:beam]
            left = [entry for entry in best if entry not in expanded]
            if not left:
                return [row for _, row in best], [row for _, row in sorted(expanded)]
            expanded.add(left[0])
            for row in graph[left[0][1]]:
                if wanted is None or self.labels[row] & wanted:
                    seen.add((self.distance(self.vectors[row], query), row))

    def robust_prune(self, row: int, candidates: set[int], alpha: float, degree: int, *, rule: str) -> list[int]:
        left = sorted((self.between(row, other), other) for other in candidates - {row})
        chosen: list[int] = []
        while left and len(chosen) < degree:
            nearest = left[0][1]
            chosen.append(nearest)
            left = [
                (far, other)
                for far, other in left[1:]
                if alpha * self.between(nearest, other) > far or not self.may_drop(row, other, nearest, rule)
            ]
        return chosen

    def may_drop(self, row: int, other: int, kept: int, rule: str) -> bool:
        needed = self.labels[other] if rule == "code" else self.labels[row] & self.labels[other]
        return needed <= self.labels[kept]

    def build(
        self, starts: Sequence[int], order: Sequence[int], *, degree: int, beam: int, alpha: float, rule: str = "paper"
    ) -> list[list[int]]:
        graph: list[list[int]] = [[] for _ in self.vectors]
        room = max(int(1.3 * degree), degree + 1)
        for row in order:
            entries = [starts[label] for label in self.labels[row]]
            _, path = self.greedy_search(graph, self.vectors[row], entries, beam, self.labels[row])
            graph[row] = self.robust_prune(row, {*path, *graph[row]}, alpha, degree, rule=rule)
            for other in graph[row]:
                if row not in graph[other]:
                    graph[other].append(row)
                    if len(graph[other]) == room:
                        graph[other] = self.robust_prune(other, set(graph[other]), alpha, degree, rule=rule)
        return [
            self.robust_prune(row, set(near), alpha, degree, rule=rule) if len(near) > degree else near
            for row, near in enumerate(graph)
        ]


@pytest.fixture(scope="session")
def slow_vamana() -> type[SlowVamana]:
    """The oracle's class."""
    return SlowVamana
