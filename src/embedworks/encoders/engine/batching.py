"""Batches by token count: rows of like length together, as many as fit a budget of padded tokens."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

_PROCESSOR_PASS_COST: Final = 32
_ACCELERATOR_PASS_COST: Final = 2048


def token_batches(
    lengths: NDArray[np.int64], *, budget: int, pass_cost: int = _PROCESSOR_PASS_COST
) -> list[NDArray[np.int64]]:
    """Group sequences at the least cost, where a batch costs its padded tokens and a constant.

    The sequences are ordered by length; the best places to cut are found by dynamic programming over
    ``best[j] = min_i best[i] + pass_cost + longest(i) * (j - i)``, with rows times longest row within the budget.

    Args:
        lengths: Tokens of each sequence, shape (n,).
        budget: Padded tokens a batch; a longer sequence makes a batch of its own.
        pass_cost: What a forward pass costs before its first token, in tokens.

    Returns:
        Indices into ``lengths``, longest first; every index stands in exactly one batch.

    Example:
        >>> [batch.tolist() for batch in token_batches(np.array([3, 90, 4, 3]), budget=100)]
        [[1], [2, 0, 3]]
    """
    order = np.argsort(-lengths, kind="stable")
    longest = np.maximum(lengths[order], 1)
    count = len(order)
    best = np.full(count + 1, np.iinfo(np.int64).max)
    best[0] = 0
    previous = np.zeros(count + 1, dtype=np.int64)
    rows = np.arange(1, min(count, budget) + 1, dtype=np.int64)
    for start in range(count):
        stop = min(count, start + max(1, budget // int(longest[start])))
        costs = best[start] + pass_cost + longest[start] * rows[: stop - start]
        reached = slice(start + 1, stop + 1)
        better = costs < best[reached]
        best[reached][better] = costs[better]
        previous[reached][better] = start
    batches = []
    stop = count
    while stop:
        start = int(previous[stop])
        batches.append(order[start:stop])
        stop = start
    return batches[::-1]


def padded_tokens(lengths: NDArray[np.int64], batches: list[NDArray[np.int64]]) -> int:
    """Return the number of tokens computed, padding included: the sum of rows times longest row."""
    return sum(len(batch) * max(1, int(lengths[batch].max())) for batch in batches)


def default_batch_tokens(device: torch.device) -> int:
    """Return the budget for a device: what stays in a core's cache, or what keeps an accelerator busy.

    On processors 512 to 1,024 tokens of MiniLM run fastest (activations of a layer fit the cache); accelerators need
    thousands of tokens to fill their units.
    """
    return 1024 if device.type == "cpu" else 16_384


def default_pass_cost(device: torch.device) -> int:
    """Return what a forward pass costs on a device before its first token, in tokens."""
    return _PROCESSOR_PASS_COST if device.type == "cpu" else _ACCELERATOR_PASS_COST
