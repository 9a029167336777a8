"""What each structure for filtered search finds on real attributes, and what it costs.

Run: ``python benchmarks/filtered_structures.py vectors.npy abstracts.jsonl.xz [--rows N] [kind ...]``: rows of one
model, any float type, and the papers they are of, in the same order (date, categories); without kinds all structures.
200 rows are taken out as queries. Prints, for every cell of filters, recall@10 by beam, distance computations, nodes
read and milliseconds per query, one thread; at the end the distance computations at recall 0.95 of all structures side
by side. Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import lzma
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import STRUCTURES, Attributes, Counters, RowFilter, Structure, structure_class

K = 10
QUERIES = 200
RECALL = 0.95
SHARES = (0.5, 0.1, 0.01, 0.001)
BEAMS = (10, 15, 20, 30, 45, 64, 90, 128, 180, 256, 400, 640, 1000)
RANGES, LABELS = ("date", "draw"), ("categories", "primary", "below")
ATTRIBUTES: dict[str, Sequence[str]] = dict.fromkeys(("serf-1d", "serf-2d"), RANGES) | dict.fromkeys(
    ("filtered-vamana", "stitched-vamana", "ung", "nhq"), LABELS
)
"""The attributes that a structure for one attribute is built on, one after the other."""
Vectors = NDArray[np.float32]
Cell = list[RowFilter]


def read(vectors: Path, papers: Path, rows: int | None) -> tuple[Vectors, Vectors, Attributes]:
    """Return rows to search and rows to ask for, of length 1, and the attributes of the former, in their order."""
    whole = np.asarray(np.load(vectors, mmap_mode="r"), dtype=np.float32)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    with lzma.open(papers, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    drawn = random_generator(0, "structures", "queries").permutation(len(whole))
    kept = np.sort(drawn[QUERIES : None if rows is None else QUERIES + rows])
    draw = random_generator(0, "structures", "draw").random(len(kept))
    table = {
        "date": pa.array([date.fromisoformat(records[row]["date"]) for row in kept]),
        "categories": [records[row]["categories"] for row in kept],
        "primary": [records[row]["categories"][0] for row in kept],
        "draw": draw,
        "below": [[str(share) for share in SHARES if value < share] for value in draw],
    }
    return whole[kept], whole[drawn[:QUERIES]], Attributes(pa.table(table))


def cells_of(attributes: Attributes) -> dict[str, list[Cell]]:
    """Return the filters by name of the cell, one a query; a cell may have the same filters in several forms."""
    generator = random_generator(0, "structures", "filters")
    cells: dict[str, list[Cell]] = {"no filter": [[attributes.everything()] * QUERIES]}
    for share in SHARES:
        ranged = attributes.range("draw", high=float(np.nextafter(share, 0)))
        forms = ranged, attributes.labels("below", [str(share)])
        cells[f"random {share:.1%}"] = [[form] * QUERIES for form in forms]
    days = np.sort(np.asarray(attributes.column("date").values))  # type: ignore[union-attr]
    for share in (0.5, 0.3, 0.1):
        width = int(share * len(days))
        firsts = generator.integers(0, len(days) - width, QUERIES)
        cells[f"date {share:.0%}"] = [
            [attributes.range("date", low=days[first], high=days[first + width - 1]) for first in firsts]
        ]
    for label in ("cs.CV", "cs.AI", "cs.LG", "cs.RO"):
        cells[f"category {label}"] = [[attributes.labels("categories", [label])] * QUERIES]
    for label in ("cs.CV", "cs.CL", "cs.AI"):
        cells[f"primary {label}"] = [[attributes.labels("primary", [label])] * QUERIES]
    for labels in (("cs.CV", "cs.AI"), ("cs.AI", "cs.LG")):
        cells[f"{labels[0]} and {labels[1]}"] = [[attributes.labels("categories", labels)] * QUERIES]
    return cells


def curve(
    structure: Structure, queries: Vectors, wheres: Cell, best: list[NDArray[np.int64]]
) -> list[tuple[int, float, float, str]]:
    """Return beam, recall, distances and the line of the table, beam by beam until nearly all are found."""
    found: list[tuple[int, float, float, str]] = []
    structure.search(queries[0], K, wheres[0], beam=BEAMS[0])  # compiles
    for beam in BEAMS:
        begun = time.perf_counter()
        answers = [structure.search(query, K, where, beam=beam) for query, where in zip(queries, wheres, strict=True)]
        milliseconds = (time.perf_counter() - begun) * 1000 / len(queries)
        if not structure.may_violate:
            assert all(where.mask[answer.rows].all() for where, answer in zip(wheres, answers, strict=True))
        recall = float(np.mean([np.isin(rows, each.rows).mean() for rows, each in zip(best, answers, strict=True)]))
        short = np.mean([len(each.rows) < len(rows) for rows, each in zip(best, answers, strict=True)])
        cost = sum((each.counters for each in answers), Counters())
        distances, hops = cost.distances / len(queries), cost.hops / len(queries)
        line = f"{beam} | {recall:.3f} | {short:.0%} | {distances:,.0f} | {distances / structure.rows:.2%} | "
        found.append((beam, recall, distances, f"{line}{hops:,.0f} | {milliseconds:.3f}"))
        if recall >= 0.99 or structure.kind == "pre-filter":
            break
    return found


def at_recall(points: list[tuple[int, float, float, str]]) -> float:
    """Return the distance computations at the wanted recall, between two beams; infinite where it was not reached."""
    before: tuple[float, float] | None = None
    for _, recall, distances, _ in points:
        if recall >= RECALL:
            if before is None:
                return distances
            return before[1] + (RECALL - before[0]) / (recall - before[0]) * (distances - before[1])
        before = recall, distances
    return float("inf")


def builders(kind: str, attributes: Attributes) -> list[tuple[str, Callable[[Vectors], Structure]]]:
    """Return what to build of a kind, by name, each setting the published default."""
    cls: Any = structure_class(kind)
    if kind not in ATTRIBUTES:
        return [(kind, lambda vectors: cls.build(vectors))]
    return [
        (f"{kind} on {name}", lambda vectors, name=name: cls.build(vectors, attributes.column(name), attribute=name))
        for name in ATTRIBUTES[kind]
    ]


def main(vectors: Path, papers: Path, rows: int | None, kinds: Sequence[str]) -> None:
    """Measure and print."""
    stored, queries, attributes = read(vectors, papers, rows)
    cells = cells_of(attributes)
    exact = structure_class("pre-filter").build(stored)  # type: ignore[attr-defined]
    best = {
        name: [exact.search(query, K, where, beam=1).rows for query, where in zip(queries, forms[0], strict=True)]
        for name, forms in cells.items()
    }
    print(f"{len(stored):,} rows of {stored.shape[1]} components, {QUERIES} queries, k = {K}\n")
    least: dict[str, dict[str, float]] = {name: {} for name in cells}
    for kind in kinds:
        for title, build in builders(kind, attributes):
            begun = time.perf_counter()
            structure = build(stored)
            took = time.perf_counter() - begun
            print(f"## {title}: built in {took:.1f} s, {structure.nbytes / 1e6:.1f} MB beside the vectors\n")
            print("| filter | beam | recall@10 | short | distances | of n | nodes | ms |\n" + "|---" * 8 + "|")
            for name, forms in cells.items():
                asked = [form for form in forms if structure.supports(form[0])]
                if asked and (kind not in ATTRIBUTES or name != "no filter"):
                    points = curve(structure, queries, asked[0], best[name])
                    least[name][kind] = at_recall(points)
                    print("\n".join(f"| {name} | {line} |" for *_, line in points), flush=True)
            print(flush=True)
    print(f"## Distance computations at recall@{K} = {RECALL} (how many times fewer than ACORN-gamma)\n")
    print(f"| filter | passing | {' | '.join(kinds)} |\n|---|---|{'---|' * len(kinds)}")
    for name, forms in cells.items():
        passing = np.mean([where.selectivity for where in forms[0]])
        yardstick = least[name].get("acorn-gamma")
        shown = ["" if (own := least[name].get(kind)) is None else f"{own:,.0f}" for kind in kinds]
        if yardstick is not None:
            shown = [
                f"{text} ({yardstick / least[name][kind]:.2f})" if text else ""
                for kind, text in zip(kinds, shown, strict=True)
            ]
        print(f"| {name} | {passing:.1%} | {' | '.join(shown)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("papers", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("kinds", nargs="*", metavar="kind", default=list(STRUCTURES))
    asked = parser.parse_intermixed_args()
    main(asked.vectors, asked.papers, asked.rows, asked.kinds)
