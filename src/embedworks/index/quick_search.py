"""The search of one vector over one segment, with nothing done that it does not need; and what every search shares.

With a narrow filter the bookkeeping of many queries, sides and segments would take several times as long as the scan.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.index.answers import Answer, Cost, Hit, Hits
from embedworks.index.exact import Ranking, best_first
from embedworks.index.planner import Plan, plan
from embedworks.index.snapshot import Passing, Snapshot


@cache
def _scans() -> tuple[Any, Any]:
    """Import the compiled scans at the first search: numba takes longer to load than most programs run."""
    from embedworks.index.scanning import best_of_code_lists, best_of_codes

    return best_of_codes, best_of_code_lists


def answer_one(snapshot: Snapshot, vector: NDArray[Any], *, k: int, where: str | None, recall: float) -> Answer | None:
    """Answer a vector search over one segment, with nothing done that it does not need.

    With a narrow filter the bookkeeping of many queries, sides and segments would take several times as long as the
    scan. The answer is that of :func:`answer_all`, bit for bit.

    Args:
        snapshot: Where to search.
        vector: The query, shape (dimension,).
        k: How many hits are wanted.
        where: A filter.
        recall: Least recall to expect.

    Returns:
        The answer; None where the search needs more, or is to be refused.
    """
    if len(snapshot.segments) != 1 or vector.shape != (snapshot.manifest.dimension,) or vector.dtype.kind != "f":
        return None
    if type(k) is not int or k < 1 or (where is not None and type(where) is not str) or not 0.0 < recall <= 1.0:
        return None
    segment = snapshot.segments[0]
    codes = segment.codes
    if codes.codebooks is not None:
        return None
    begun = time.perf_counter()
    passing = snapshot.passing(where)
    if passing.count == 0:
        return None
    chosen = expected_plan(snapshot, passing, k=k, recall=recall)
    given = vector.astype(np.float64)  # of one kind whatever came, so that nothing is compiled twice
    filtered = time.perf_counter()
    best_of_codes, best_of_code_lists = _scans()
    opened, everything = 0, True
    if chosen is None or chosen.way == "scan":
        rows, scores, settled, tied, has_length = best_of_codes(
            codes.values, codes.bounds, segment.compiled, passing.rows, given, k
        )
        compared = passing.count if settled < passing.count else 0
    else:
        assert snapshot.partition is not None
        rows, scores, settled, compared, opened, everything, tied, has_length = best_of_code_lists(
            codes.values, codes.bounds, segment.compiled, passing.rows, snapshot.partition.compiled, passing.offsets,
            given, k, chosen.margin,
        )  # fmt: skip
    if not has_length:
        return None
    if tied:
        rows, scores = best_first(snapshot, rows, scores, k)
    ended = time.perf_counter()
    over = passing.over
    return Answer(
        hits=hits_of(snapshot, (rows, scores)),
        milliseconds=(ended - begun) * 1000,
        how=f"exact over {over}" if everything else by_lists(over, snapshot, opened),
        passing=passing.count,
        rows=snapshot.live_rows,
        mode="vector",
        approximate=not everything,
        recall=1.0 if everything or chosen is None else chosen.recall,
        cost=Cost(
            codes=compared,
            vectors=settled,
            lists=opened,
            milliseconds={"filter": (filtered - begun) * 1000, "search": (ended - filtered) * 1000},
        ),
    )


def expected_plan(snapshot: Snapshot, passing: Passing, *, k: int, recall: float) -> Plan | None:
    """Return what the planner chooses for a vector search; None where there is only one way.

    Args:
        snapshot: Where to search.
        passing: The rows that pass.
        k: How many are wanted.
        recall: Least recall to expect; 1 wants an exact answer.
    """
    calibration = snapshot.calibration
    if calibration is None or recall >= 1.0:
        return None
    found = passing.plans.get((k, recall))
    if found is None:
        starts, offsets = passing.list_starts, passing.offsets
        rows, inside = int(starts[-1] - starts[0]), int(offsets[-1] - offsets[0])
        found = plan(calibration, rows=rows, passing=inside, k=k, wanted_recall=recall)
        passing.plans[k, recall] = found
    return found


def by_lists(over: str, snapshot: Snapshot, opened: int) -> str:
    """Say how many lists were opened."""
    return f"{opened:,} of {len(snapshot.list_starts) - 1:,} lists over {over}"


def hits_of(snapshot: Snapshot, ranking: Ranking) -> Hits:
    """Return ranked rows as hits, which are read when they are looked at."""
    rows, scores = ranking

    def read() -> list[Hit]:
        found = snapshot.records(rows).to_pylist()
        return [
            Hit(id=row.pop("id"), score=float(score), text=row.pop("text"), attributes=row)
            for row, score in zip(found, scores, strict=True)
        ]

    return Hits(len(rows), read)
