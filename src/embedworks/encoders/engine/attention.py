"""Attention of short texts in bfloat16 on processors, by plain matrix products.

torch's fused kernel saves memory for long texts; in bfloat16 on a processor it is no faster than in float32. For the
lengths of sentence encoders the scores fit the cache, and two batched products around a softmax take a quarter to half
less time.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

_NAME: Final = "embedworks_short_text"
_LONGEST: Final = 512
_SAFE_SCORE: Final = 80.0
"""exp(80) is 5.5e34: a sum of 512 of them is below the largest float32 and bfloat16, and exp(-80) is no subnormal."""


def use_short_text_attention(module: nn.Module) -> None:
    """Let the transformers below a module that attend by ``sdpa`` attend by :func:`short_text_attention`."""
    AttentionInterface.register(_NAME, short_text_attention)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and part.config._attn_implementation == "sdpa":
            part.set_attn_implementation(_NAME)


def short_text_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attend by two products and a softmax where that is the same and faster, else by ``sdpa``.

    Args:
        module: The attention layer.
        query: Shape (rows, heads, tokens, width).
        key: Shape (rows, heads, tokens, width).
        value: Shape (rows, heads, tokens, width).
        attention_mask: True where a token is seen, shape (rows, 1, tokens, tokens), or None.
        **settings: What transformers passes to every attention.

    Returns:
        Shape (rows, tokens, heads, width), and no attention weights.
    """
    causal = settings.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if (
        query.shape != key.shape
        or query.shape[2] > _LONGEST
        or (causal and attention_mask is None)
        or (attention_mask is not None and attention_mask.dtype != torch.bool)
        or settings.get("position_bias") is not None
        or settings.get("softcap") is not None
        or settings.get("cache") is not None
    ):
        result: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return result
    scaling = settings.get("scaling")
    scores = torch.matmul(query * (query.shape[-1] ** -0.5 if scaling is None else scaling), key.transpose(-1, -2))
    hidden, first = None, 0
    if attention_mask is not None:
        # Rows of a batch have like lengths, so padding hides few columns; only those are written.
        first = int(attention_mask.flatten(end_dim=-2).all(dim=0).long().argmin())
        hidden = ~attention_mask[..., first:]
    low, high = torch.aminmax(scores)
    if low > -_SAFE_SCORE and high < _SAFE_SCORE:
        # No exponential of these overflows or vanishes, so the passes that find and subtract each row's largest score
        # are spared, and the division falls on the few columns of the values.
        weights = scores.exp_()
        if hidden is not None:
            weights[..., first:].masked_fill_(hidden, 0.0)
        totals = weights.sum(dim=-1, keepdim=True).clamp_min_(torch.finfo(weights.dtype).tiny)
        mixed = torch.matmul(weights, value).div_(totals)
    else:
        if hidden is not None:
            scores[..., first:].masked_fill_(hidden, torch.finfo(scores.dtype).min)
        mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
    return mixed.transpose(1, 2).contiguous(), None
