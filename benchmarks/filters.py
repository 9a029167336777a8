"""From a filter's text to the rows that pass: microseconds, beside Arrow's and Polars' time for the evaluation alone.

Run: ``OMP_NUM_THREADS=1 python benchmarks/filters.py abstracts.jsonl.xz [--rows N]`` (prints one JSON document): the
attributes of the papers, repeated until there are N rows. Ours is handed the text and returns a mask and row numbers;
Arrow and Polars (where it is installed) are handed a ready expression and return a mask. A round takes each filter
once, one way at a time; the figures are medians of the rounds. ``cold`` is ours with 16 MB of other memory read before
each call, as a search does between two filters, which leaves neither the columns nor the code in the processor's inner
caches. The last 64 results are kept, as an index keeps them. One thread.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedworks.foundation import environment
from embedworks.foundation.randomness import random_generator
from embedworks.index.columns import Columns
from embedworks.index.conditions import Condition
from embedworks.index.masks import select
from embedworks.index.where import parse_where

ROUNDS = 301
Made = Callable[[], Any]


def attributes(papers: Path, rows: int | None) -> pa.Table:
    """Return the attributes of the papers, one row each or repeated."""
    with lzma.open(papers, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    rows = rows or len(records)
    draw = random_generator(0, "filters benchmark").random(rows)
    chosen = [records[row % len(records)] for row in range(rows)]
    return pa.table(
        {
            "id": [f"{paper['id']}-{row // len(records)}" for row, paper in enumerate(chosen)],
            "date": pa.array([date.fromisoformat(paper["date"]) for paper in chosen]),
            "primary": [paper["categories"][0] for paper in chosen],
            "number_of_authors": [len(paper["authors"]) for paper in chosen],
            "draw": draw,
            "noted": [paper["comment"] is not None for paper in chosen],
            "comment": [None if paper["comment"] is None else paper["comment"][:40] for paper in chosen],
            "categories": [paper["categories"] for paper in chosen],
            "authors": [paper["authors"] for paper in chosen],
        }
    )


def cases(table: pa.Table) -> list[tuple[str, Made, Made | None]]:
    """Return filters as text, by Arrow, and by Polars where it is installed."""
    try:
        import polars as pl
    except ImportError:
        pl = None
    column = {name: table.column(name) for name in table.column_names}
    frame = None if pl is None else pl.from_arrow(table)

    def holds(name: str, value: str) -> pa.ChunkedArray:
        parts = []
        for sets in column[name].chunks:
            flags = np.zeros(len(sets), dtype=np.bool_)
            flags[pc.list_parent_indices(sets).filter(pc.equal(sets.flatten(), value)).to_numpy()] = True
            parts.append(pa.array(flags))
        return pa.chunked_array(parts, pa.bool_())

    def polars(make: Callable[[Any], Any]) -> Made | None:
        if frame is None:
            return None
        expression = make(pl.col)
        return lambda: frame.select(expression).to_series()

    busiest = Counter(pc.list_flatten(column["authors"]).to_pylist()).most_common(1)[0][0].replace("'", "''")
    one = column["id"][table.num_rows // 2].as_py()
    new, first, last = date(2026, 1, 1), date(2025, 6, 1), date(2025, 8, 31)
    three = ["cs.CL", "cs.IR", "cs.CV"]
    name = busiest.replace("''", "'")
    return [
        ("date >= '2026-01-01'", lambda: pc.greater_equal(column["date"], new), polars(lambda c: c("date") >= new)),
        (
            "date between '2025-06-01' and '2025-08-31'",
            lambda: pc.and_kleene(pc.greater_equal(column["date"], first), pc.less_equal(column["date"], last)),
            polars(lambda c: c("date").is_between(first, last)),
        ),
        (
            "number_of_authors <= 5",
            lambda: pc.less_equal(column["number_of_authors"], 5),
            polars(lambda c: c("number_of_authors") <= 5),
        ),
        ("draw < 0.01", lambda: pc.less(column["draw"], 0.01), polars(lambda c: c("draw") < 0.01)),
        ("noted", lambda: column["noted"], polars(lambda c: c("noted"))),
        ("comment is null", lambda: pc.is_null(column["comment"]), polars(lambda c: c("comment").is_null())),
        (f"id = '{one}'", lambda: pc.equal(column["id"], one), polars(lambda c: c("id") == one)),
        ("primary = 'cs.CL'", lambda: pc.equal(column["primary"], "cs.CL"), polars(lambda c: c("primary") == "cs.CL")),
        (
            "primary in ('cs.CL', 'cs.IR', 'cs.CV')",
            lambda: pc.is_in(column["primary"], value_set=pa.array(three)),
            polars(lambda c: c("primary").is_in(three)),
        ),
        (
            "not primary like 'cs.%'",
            lambda: pc.invert(pc.match_like(column["primary"], "cs.%")),
            polars(lambda c: ~c("primary").str.starts_with("cs.")),
        ),
        (
            "categories contains 'cs.IR'",
            lambda: holds("categories", "cs.IR"),
            polars(lambda c: c("categories").list.contains("cs.IR")),
        ),
        (
            "categories contains 'cs.LG'",
            lambda: holds("categories", "cs.LG"),
            polars(lambda c: c("categories").list.contains("cs.LG")),
        ),
        (
            f"authors contains '{busiest}'",
            lambda: holds("authors", name),
            polars(lambda c: c("authors").list.contains(name)),
        ),
        (
            "date >= '2026-01-01' and categories contains 'cs.IR'",
            lambda: pc.and_kleene(pc.greater_equal(column["date"], new), holds("categories", "cs.IR")),
            polars(lambda c: (c("date") >= new) & c("categories").list.contains("cs.IR")),
        ),
        (
            "date >= '2026-01-01' and number_of_authors <= 5 and categories contains 'cs.LG'",
            lambda: pc.and_kleene(
                pc.and_kleene(pc.greater_equal(column["date"], new), pc.less_equal(column["number_of_authors"], 5)),
                holds("categories", "cs.LG"),
            ),
            polars(
                lambda c: (c("date") >= new) & (c("number_of_authors") <= 5) & c("categories").list.contains("cs.LG")
            ),
        ),
        (
            "(primary = 'cs.CV' or categories contains 'cs.RO') and not noted",
            lambda: pc.and_kleene(
                pc.or_kleene(pc.equal(column["primary"], "cs.CV"), holds("categories", "cs.RO")),
                pc.invert(column["noted"]),
            ),
            polars(lambda c: ((c("primary") == "cs.CV") | c("categories").list.contains("cs.RO")) & ~c("noted")),
        ),
    ]


def microseconds(work: Made, kept: deque[object]) -> float:
    """Wall time of one call, whose result is kept."""
    begun = time.perf_counter_ns()
    result = work()
    taken = (time.perf_counter_ns() - begun) / 1_000
    kept.append(result)
    return taken


def evaluated(tree: Condition, columns: Columns) -> object:
    """Ours from the tree to the rows."""
    return select(tree, columns).both()


def whole(text: str, schema: dict[str, pa.DataType], columns: Columns) -> object:
    """Ours from the text to the rows."""
    return select(parse_where(text, schema), columns).both()


def measured(table: pa.Table, rounds: int) -> list[dict[str, Any]]:
    """Time every filter in every round; all ways must select the same rows."""
    schema = {field.name: field.type for field in table.schema}
    columns = Columns(table)
    listed = cases(table)
    elsewhere = np.ones(2_000_000)
    ways: dict[str, dict[str, Made]] = {way: {} for way in ("parse", "evaluate", "both", "cold", "arrow", "polars")}
    for text, by_arrow, by_polars in listed:
        tree = parse_where(text, schema)
        mask, rows = select(tree, columns).both()
        assert np.array_equal(np.flatnonzero(mask), rows), text
        assert np.array_equal(mask, by_arrow().fill_null(False).to_numpy()), text
        ways["parse"][text] = partial(parse_where, text, schema)
        ways["evaluate"][text] = partial(evaluated, tree, columns)
        ways["both"][text] = ways["cold"][text] = partial(whole, text, schema, columns)
        ways["arrow"][text] = by_arrow
        if by_polars is not None:
            assert np.array_equal(mask, by_polars().fill_null(False).to_numpy()), text
            ways["polars"][text] = by_polars
    times: dict[tuple[str, str], list[float]] = {(text, way): [] for way, works in ways.items() for text in works}
    kept: deque[object] = deque(maxlen=64)
    for _ in range(rounds):
        for way, works in ways.items():
            for work in [*works.values()][:1]:
                work()  # the first of a way would find the code of another in the processor's caches
            for text, work in works.items():
                if way == "cold":
                    elsewhere.sum()
                times[text, way].append(microseconds(work, kept))
    found = []
    for text, _, _ in listed:
        median = {way: statistics.median(times[of, way]) for of, way in times if of == text}
        figures = {f"{way}_microseconds": round(value, 1) for way, value in median.items()}
        ratios = {
            f"{way}_ratio": round(median[way] / median["both"], 1) for way in ("arrow", "polars") if way in median
        }
        passing = int(select(parse_where(text, schema), columns).mask().sum())
        found.append({"filter": text, "passing": passing, **figures, **ratios})
    return found


def built(table: pa.Table) -> list[dict[str, Any]]:
    """What the first filter on each column costs, and what stays in memory."""
    figures = []
    for name in table.column_names:
        begun = time.perf_counter()
        column = Columns(table)[name]
        taken = time.perf_counter() - begun
        figures.append(
            {
                "column": name,
                "milliseconds": round(taken * 1_000, 1),
                "bytes_a_row": round(column.memory / max(1, table.num_rows), 1),
            }
        )
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("papers", type=Path)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    pa.set_cpu_count(1)
    given = attributes(asked.papers, asked.rows)
    document = {
        "rows": given.num_rows,
        "rounds": asked.rounds,
        "first_use": built(given),
        "filters": measured(given, asked.rounds),
        "environment": environment(),
    }
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
