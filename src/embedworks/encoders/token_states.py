"""Token states and their mask, brought to one shape whatever the backbone handed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def padded_states(states: Tensor, features: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return token states as a padded batch together with the mask of real tokens.

    With flash attention sentence-transformers may hand over all texts end to end, shape (1, tokens, d), and say where
    each begins in ``cu_seq_lens_q``; here they are padded again, because a pooler that attends needs rows.

    Args:
        states: Token states, shape (b, t, d), or (1, tokens, d) where the texts lie end to end.
        features: The feature dictionary of sentence-transformers; it is only read.

    Returns:
        The states, shape (b, t, d), and a boolean mask, shape (b, t), true at real tokens. A missing attention mask
        counts every token as real.
    """
    if "cu_seq_lens_q" in features:
        starts = features["cu_seq_lens_q"]
        lengths = starts[1:] - starts[:-1]  # (b,)
        positions = torch.arange(int(lengths.max()), device=states.device)
        mask = positions < lengths[:, None]  # (b, t)
        padded = states.new_zeros((*mask.shape, states.shape[-1]))
        padded[mask] = states[0]
        return padded, mask
    attention_mask = features.get("attention_mask")
    if attention_mask is None or attention_mask.shape != states.shape[:2]:
        return states, torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    return states, attention_mask.bool()


def last_token(states: Tensor, mask: Tensor) -> Tensor:
    """Return the state of the last real token of every text, on whichever side the padding is.

    Args:
        states: Token states, shape (b, t, d).
        mask: True at real tokens, shape (b, t).

    Returns:
        Shape (b, d); zeros for a text without any token.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, positions, 0).argmax(dim=1)  # (b,)
    chosen = states[torch.arange(states.shape[0], device=states.device), last]
    return torch.where(mask.any(dim=1, keepdim=True), chosen, torch.zeros_like(chosen))


def masked_mean(rows: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the real rows, summed in float32 where the rows are half precision.

    Args:
        rows: Shape (b, n, d).
        mask: True at real rows, shape (b, n).

    Returns:
        Shape (b, d) in the type of ``rows``; zeros where no row is real.
    """
    wide = torch.float32 if rows.dtype in (torch.float16, torch.bfloat16) else rows.dtype
    real = torch.where(mask[:, :, None], rows, torch.zeros_like(rows))
    total = real.sum(dim=1, dtype=wide)
    return (total / mask.sum(dim=1, keepdim=True).clamp(min=1)).to(rows.dtype)


def readable_tokens(features: Mapping[str, Any], pooled: Tensor) -> Tensor:
    """Return the mask of the tokens that others may attend to: the pooled ones and, where it was left out, the prompt.

    Args:
        features: The feature dictionary of sentence-transformers; ``real_tokens`` is there where an instruction is left
            out of the pooling.
        pooled: True at the tokens that are pooled, shape (b, t).

    Returns:
        Boolean, shape (b, t).
    """
    real = features.get("real_tokens")
    return pooled if real is None else real.bool()
