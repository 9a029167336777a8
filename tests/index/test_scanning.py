"""Exactness: the compiled scan keeps what can still win, and puts scores in falling order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from embedworks.index.scanning import falling, possible

_SCORES = st.floats(-1, 1, width=32)
_SLACKS = st.floats(0, 0.5, width=32)


@given(scores=st.lists(_SCORES, max_size=60))
def test_places_stand_in_falling_order(scores: list[float]) -> None:
    given_scores = np.array(scores, dtype=np.float64)
    order = falling(given_scores)
    assert sorted(order.tolist()) == list(range(len(scores)))
    np.testing.assert_array_equal(given_scores[order], np.sort(given_scores)[::-1])


@given(data=st.data(), count=st.integers(1, 60), k=st.integers(1, 70))
def test_what_can_reach_the_surest_stays(data: st.DataObject, count: int, k: int) -> None:
    scores = data.draw(arrays.arrays(np.float32, count, elements=_SCORES))
    slacks = data.draw(arrays.arrays(np.float32, count, elements=_SLACKS))
    surest = np.sort(scores - slacks)[::-1]
    threshold = surest[k - 1] if k <= count else -np.inf
    np.testing.assert_array_equal(possible(scores, slacks, k), np.flatnonzero(scores + slacks >= threshold))
