"""What a search costs on this machine and over these rows, and how well the graph does; measured at its building.

Stored rows, moved a little, stand for queries. Filters pass random rows: for those, and only for those, the measured
recall is an estimate; what is known of a query's own neighbourhood is found out while walking (see ``planner``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.graph import Graph
from embedworks.index.stored_vectors import StoredRows, as_compiled, read_rows

SHARES: Final = (1.0, 0.5, 0.25, 0.1, 0.05)
BEAMS: Final = (16, 24, 32, 48, 64, 96, 128, 192, 256)
_QUERIES: Final = 48
_ANSWER: Final = 10
_NOISE: Final = 0.5


@dataclass(frozen=True)
class Calibration:
    """Costs and recall.

    Args:
        scan_nanoseconds: Of one row of a scan over codes.
        fixed_nanoseconds: Of a scan of a single row.
        walk_nanoseconds: Of one score in a walk through the graph.
        scores: Scores a walk computes, by beam and by share of passing rows as in :data:`SHARES`.
        recall: Recall@10 of a walk, likewise.
    """

    scan_nanoseconds: float
    fixed_nanoseconds: float
    walk_nanoseconds: float
    scores: dict[str, list[float]]
    recall: dict[str, list[float]]

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Calibration:
        """Return what was stored as JSON."""
        return cls(**document)

    @cached_property
    def beams(self) -> list[int]:
        """The widths that were measured, ascending."""
        return sorted(map(int, self.recall))

    def scan_cost(self, rows: int) -> float:
        """Return the nanoseconds of a scan of some rows."""
        return self.fixed_nanoseconds + self.scan_nanoseconds * rows

    @cached_property
    def cheapest_walk(self) -> float:
        """The nanoseconds of the narrowest walk, where everything passes."""
        return self.walk_nanoseconds * min(row[0] for row in self.scores.values())

    def walk_scores(self, beam: int, share: float) -> float:
        """Return how many scores a walk is expected to compute."""
        return float(np.exp(_between(np.log(self.scores[str(beam)]), share)))

    def walk_recall(self, beam: int, share: float) -> float:
        """Return the recall@10 to expect where the filter knows nothing of the query."""
        return _between(np.asarray(self.recall[str(beam)]), share)


def _between(values: NDArray[np.float64], share: float) -> float:
    """Interpolate between the measured shares, on their logarithm."""
    return float(np.interp(np.log(max(share, SHARES[-1])), np.log(SHARES[::-1]), values[::-1]))


def calibrate(graph: Graph, vectors: StoredRows, *, seed: int = 0) -> Calibration:
    """Measure.

    Args:
        graph: Just built.
        vectors: Its rows as they are stored, shape (n, d).
        seed: Of queries and filters.
    """
    from embedworks.index.scanning import best_rows

    generator = random_generator(seed, "calibration")
    chosen = generator.choice(len(vectors), size=min(_QUERIES, len(vectors)), replace=False)
    queries = read_rows(vectors[chosen])
    noise = generator.standard_normal(queries.shape)
    queries += _NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    codes, compiled = graph.codes, as_compiled(vectors)

    def best(query: NDArray[np.float64], rows: NDArray[np.int64], k: int) -> set[int]:
        found, _, _ = best_rows(codes.values, codes.bounds, compiled, rows, query, *codes.encoded(query), k)
        return set(found[:k].tolist())

    scores: dict[str, list[float]] = {str(beam): [] for beam in BEAMS}
    recall: dict[str, list[float]] = {str(beam): [] for beam in BEAMS}
    scan, walk = [], []
    for share in SHARES:
        mask = generator.random(len(vectors)) < share
        mask[:_ANSWER] = True
        rows = np.flatnonzero(mask)
        truth = []
        for query in queries:
            begun = time.perf_counter_ns()
            truth.append(best(query, rows, _ANSWER))
            scan.append((time.perf_counter_ns() - begun, len(rows)))
        for beam in BEAMS:
            found, compared = 0, 0
            for query, wanted in zip(queries, truth, strict=True):
                begun = time.perf_counter_ns()
                walked = graph.walk(query, mask, beam=beam)
                walk.append((time.perf_counter_ns() - begun) / walked.counters.distances)
                compared += walked.counters.distances
                found += len(wanted & best(query, walked.rows, _ANSWER))
            scores[str(beam)].append(compared / len(queries))
            recall[str(beam)].append(found / (_ANSWER * len(queries)))
    single = np.arange(1)
    alone = []
    for query in queries:
        begun = time.perf_counter_ns()
        best(query, single, 1)
        alone.append(time.perf_counter_ns() - begun)
    fixed = float(np.median(alone))
    return Calibration(
        scan_nanoseconds=max(0.1, float(np.median([(taken - fixed) / rows for taken, rows in scan]))),
        fixed_nanoseconds=fixed,
        walk_nanoseconds=float(np.median(walk)),
        scores=scores,
        recall=recall,
    )
