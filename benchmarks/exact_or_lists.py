"""What the planner gains and risks: the default way against a scan, over shares of passing rows, and its recall.

Run: ``OMP_NUM_THREADS=1 python benchmarks/exact_or_lists.py vectors.npy`` (rows of one model, any float type; 200 of
them are held out as queries). Prints the tables of docs/decisions/exact-or-lists.md. A filter is remembered after its
first use, so its cost is not in them.
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
from embedworks.index import Answer, Index

QUERIES = 200
SHARES = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01, 0.001)


def median_milliseconds(search: Callable[[NDArray[np.float32]], Answer], queries: NDArray[np.float32]) -> float:
    """Median wall time of a search, after one round that warms up."""
    times: list[float] = []
    for _ in range(3):
        times.clear()
        for query in queries:
            begun = time.perf_counter()
            search(query)
            times.append((time.perf_counter() - begun) * 1000)
    return float(np.median(times))


def compare(index: Index, queries: NDArray[np.float32], where: str | None) -> str:
    """One row of a table: both ways' times, the recall that was said and that was found, and the way that was taken."""
    exact = [index.search(query, where=where, exact=True) for query in queries]
    default = [index.search(query, where=where) for query in queries]
    recall = np.mean(
        [
            len({a.id for a in x.hits} & {b.id for b in y.hits}) / len(x.hits)
            for x, y in zip(exact, default, strict=True)
        ]
    )
    said = np.mean([answer.recall for answer in default])
    opened = np.mean([answer.cost.lists for answer in default])
    codes = np.mean([answer.cost.codes for answer in default])
    exact_time = median_milliseconds(lambda query: index.search(query, where=where, exact=True), queries)
    default_time = median_milliseconds(lambda query: index.search(query, where=where), queries)
    times = f"{exact_time:.3f} | {default_time:.3f} | {exact_time / default_time:.2f}"
    return f"{exact[0].passing:,} | {times} | {opened:,.0f} | {codes:,.0f} | {said:.3f} | {recall:.3f}"


def main(path: Path) -> None:
    """Measure and print."""
    generator = random_generator(0, "exact or lists")
    vectors = np.load(path).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    held_out = generator.random(len(vectors)).argsort()[:QUERIES]
    queries, vectors = vectors[held_out], np.delete(vectors, held_out, axis=0)
    # A filter against the query: its own half of the space is shut out, or is all there is.
    side = (vectors @ queries.mean(axis=0) > np.median(vectors @ queries.mean(axis=0))).astype(bool)
    with tempfile.TemporaryDirectory() as folder:
        index = Index.create(Path(folder) / "my.index", dimension=vectors.shape[1], lexical=False)
        share = generator.permutation(len(vectors)) / len(vectors)
        begun = time.perf_counter()
        attributes = {"share": share, "side": side}
        index.add([str(row) for row in range(len(vectors))], vectors, attributes=attributes)
        print(f"{len(vectors):,} x {vectors.shape[1]}, built in {time.perf_counter() - begun:.0f} s\n")
        print("| filter | passing | scan ms | default ms | ratio | lists | codes | recall said | recall@10 |")
        print("|---|---|---|---|---|---|---|---|---|")
        for passing in SHARES:
            where = None if passing == 1 else f"share < {passing}"
            print(f"| {where or 'none'} | {compare(index, queries, where)} |", flush=True)
        aligned = queries @ queries.mean(axis=0) > np.median(vectors @ queries.mean(axis=0))
        for name, where, some in (
            ("the query's own half", "side", queries[aligned]),
            ("the other half", "not side", queries[aligned]),
        ):
            print(f"| {name} | {compare(index, some, where)} |", flush=True)
        print(f"\n{index.explain(queries[0], where='share < 0.5')}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
