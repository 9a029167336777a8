from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from embedworks.encoders.engine.batching import (
    default_batch_tokens,
    default_pass_cost,
    padded_tokens,
    token_batches,
)


def cost(lengths: np.ndarray, batches: list[np.ndarray], pass_cost: int) -> int:
    return padded_tokens(lengths, batches) + pass_cost * len(batches)


def least_cost(lengths: list[int], *, budget: int, pass_cost: int) -> int:
    """Slow and obvious: the best over all first batches, then the rest."""
    if not lengths:
        return 0
    longest = max(lengths[0], 1)
    return min(
        pass_cost + longest * rows + least_cost(lengths[rows:], budget=budget, pass_cost=pass_cost)
        for rows in range(1, len(lengths) + 1)
        if rows == 1 or longest * rows <= budget
    )


@given(
    lengths=st.lists(st.integers(0, 300), max_size=60),
    budget=st.integers(1, 2000),
    pass_cost=st.integers(0, 100),
)
def test_batches_hold_every_sequence_once_within_the_budget(lengths: list[int], budget: int, pass_cost: int) -> None:
    array = np.asarray(lengths, dtype=np.int64)
    batches = token_batches(array, budget=budget, pass_cost=pass_cost)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(1, array[batch].max()) <= budget
    for before, after in pairwise(batches):
        assert array[before].min() >= array[after].max()


@given(lengths=st.lists(st.integers(0, 40), max_size=9), budget=st.integers(1, 120), pass_cost=st.integers(0, 30))
def test_no_other_cut_costs_less(lengths: list[int], budget: int, pass_cost: int) -> None:
    array = np.asarray(lengths, dtype=np.int64)
    batches = token_batches(array, budget=budget, pass_cost=pass_cost)
    expected = least_cost(sorted(lengths, reverse=True), budget=budget, pass_cost=pass_cost)
    assert cost(array, batches, pass_cost) == expected


def test_accelerators_get_larger_batches() -> None:
    assert default_batch_tokens(torch.device("cpu")) < default_batch_tokens(torch.device("cuda"))
    assert default_pass_cost(torch.device("cpu")) < default_pass_cost(torch.device("cuda"))
