"""Cosine depth of 100,000 vectors against 100,000: seconds, and the ratio to the direct computation, in one run.

Run: ``OMP_NUM_THREADS=1 python benchmarks/depth.py`` (prints one JSON document). The direct computation takes every
distance by matrix products in blocks, float64, as the chord and angular forms have to; it is timed whole at 10,000
rows, where both results are compared, and at 100,000 on some of the rows, to which its time is proportional.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis import Distance, depths_against, depths_paired
from embedworks.analysis.depth import DISTANCES
from embedworks.foundation import environment
from embedworks.foundation.randomness import random_generator

DIMENSION = 384
ROUNDS = 5
DIRECT = Distance("direct cosine", 2.0, DISTANCES["cosine"].between)  # another object, so that all pairs are taken


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def corpora(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two corpora of float32 vectors around different centres, as encoders give them."""
    generator = random_generator(0, "depth benchmark", rows)
    first, second = (generator.standard_normal((rows, DIMENSION), dtype=np.float32) for _ in range(2))
    return first + 0.3, second + 0.2


def whole(rows: int) -> dict[str, float]:
    """Both ways in full; the depths must agree."""
    first, second = corpora(rows)
    fast = statistics.median(seconds(lambda: depths_paired(first, second)) for _ in range(ROUNDS))
    begun = time.perf_counter()
    direct = depths_paired(first, second, distance=DIRECT)
    taken = time.perf_counter() - begun
    gap = max(float(np.abs(a - b).max()) for a, b in zip(direct, depths_paired(first, second), strict=True))
    assert gap < 1e-9, gap
    return {"rows": rows, "seconds": fast, "direct_seconds": taken, "ratio": taken / fast, "largest_difference": gap}


def sampled(rows: int, direct_rows: int) -> dict[str, float]:
    """The full size by the fast way; by the direct way ``direct_rows`` of the 2 x ``rows`` rows."""
    first, second = corpora(rows)
    depths_paired(first, second)
    times = [seconds(lambda: depths_paired(first, second)) for _ in range(ROUNDS)]
    part = seconds(lambda: depths_against(second[:direct_rows], first, distance=DIRECT))
    direct = part * 2 * rows / direct_rows
    fast = statistics.median(times)
    return {
        "rows": rows,
        "seconds": fast,
        "slowest_seconds": max(times),
        "direct_rows_timed": direct_rows,
        "direct_rows_seconds": part,
        "direct_seconds_in_proportion": direct,
        "ratio": direct / fast,
    }


if __name__ == "__main__":
    figures = {"whole": whole(10_000), "sampled": sampled(100_000, 2_048), "environment": environment()}
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
