"""The yardstick itself, against float64."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, Counters
from embedworks.index.structures.prefilter import PreFilter, scan

ROWS = 700


def signs(rows: int, seed: int) -> np.ndarray:
    """Corners of a cube: products are exact in float32 and most distances tie."""
    return random_generator(seed, "signs").choice(np.float32([-0.25, 0.25]), size=(rows, 16)).astype(np.float32)


@given(seed=st.integers(0, 100), k=st.sampled_from([1, 7, 256, 257, 1000]), share=st.sampled_from([0, 0.01, 0.5, 1]))
def test_it_equals_sorting_all_distances_with_ties_by_row(seed: int, k: int, share: float) -> None:
    vectors, query = signs(ROWS, 0), signs(1, seed)[0]
    mask = random_generator(seed, "mask").random(ROWS) < share
    where = Attributes(pa.table({"place": np.arange(ROWS)})).arbitrary(mask)
    found = PreFilter.build(vectors).search(query, k, where, beam=1)
    exact = 2 - 2 * (vectors.astype(np.float64) @ query)
    expected = sorted(where.passing.tolist(), key=lambda row: (exact[row], row))[:k]
    assert found.rows.tolist() == expected
    assert found.distances.tolist() == [exact[row] for row in expected]
    assert found.exact
    assert found.counters == Counters(distances=where.count)


def test_the_short_and_the_long_way_of_scanning_agree() -> None:
    vectors = signs(ROWS, 1)
    rows = np.arange(0, ROWS, 2)
    short, long = (scan(vectors, vectors[3], rows, k) for k in (256, 257))
    assert short[0].tolist() == long[0][:256].tolist()
    assert short[1].tolist() == long[1][:256].tolist()
