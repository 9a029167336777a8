"""Where the graph begins to pay: milliseconds and recall of both ways, over sizes and over shares of passing rows.

Run: ``python benchmarks/exact_or_graph.py vectors.npy`` (rows of one model, any float type). Prints the two tables of
docs/decisions/exact-or-graph.md. One thread: set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index, searching, writer
from embedworks.index.searching import Answer

QUERIES = 100
SIZES = (5_000, 10_000, 20_000, 40_000)
SHARES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01)


def median_milliseconds(search: Callable[[NDArray[np.float32]], Answer], queries: NDArray[np.float32]) -> float:
    """Median wall time of a search, after one round that warms up."""
    times = []
    for _ in range(2):
        times.clear()
        for query in queries:
            begun = time.perf_counter()
            search(query)
            times.append((time.perf_counter() - begun) * 1000)
    return float(np.median(times))


def compare(index: Index, queries: NDArray[np.float32], where: str | None) -> str:
    """One row of a table: both ways' times, and the share of the true ten best that the graph finds."""
    exact = [index.search(query, where=where, exact=True) for query in queries]
    graph = [index.search(query, where=where) for query in queries]
    assert all(answer.how.startswith("graph") for answer in graph)
    recall = np.mean(
        [len({a.id for a in x.hits} & {b.id for b in y.hits}) / len(x.hits) for x, y in zip(exact, graph, strict=True)]
    )
    exact_time = median_milliseconds(lambda query: index.search(query, where=where, exact=True), queries)
    graph_time = median_milliseconds(lambda query: index.search(query, where=where), queries)
    return f"{exact_time:.2f} | {graph_time:.2f} | {exact_time / graph_time:.1f} | {recall:.3f}"


def main(path: Path) -> None:
    """Measure and print."""
    generator = random_generator(0, "exact or graph")
    vectors = np.load(path, mmap_mode="r")
    vectors = np.asarray(vectors[generator.permutation(len(vectors))], dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:QUERIES] + 0.02 * generator.standard_normal((QUERIES, vectors.shape[1])).astype(np.float32)
    writer.GRAPH_ROWS = searching.GRAPH_ROWS = 1
    searching.GRAPH_SHARE = 0.0
    print("| rows | build s | exact ms | graph ms | ratio | recall@10 |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for rows in (size for size in SIZES if size <= len(vectors)):
            index = Index.create(Path(folder) / str(rows), dimension=vectors.shape[1], lexical=False)
            share = generator.permutation(rows) / rows
            begun = time.perf_counter()
            index.add([str(row) for row in range(rows)], vectors[:rows], attributes={"share": share})
            built = time.perf_counter() - begun
            print(f"| {rows:,} | {built:.1f} | {compare(index, queries, None)} |", flush=True)
        print(f"\n| passing of {rows:,} | exact ms | graph ms | ratio | recall@10 |\n|---|---|---|---|---|")
        for passing in SHARES:
            print(f"| {passing:.0%} | {compare(index, queries, f'share < {passing}')} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
