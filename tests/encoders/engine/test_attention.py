from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from embedworks.encoders.engine.attention import short_text_attention


@pytest.mark.parametrize("tokens", [1, 17, 600])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scale", [1.0, 30.0])  # scores beyond 80 take the other way to the softmax
def test_it_equals_the_fused_kernel(tokens: int, masked: bool, causal: bool, scale: float) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, tokens, 16)
    query *= scale
    mask = None
    if masked:
        mask = torch.ones(2, 1, tokens, tokens, dtype=torch.bool)
        mask[0, :, :, tokens // 2 + 1 :] = False
    layer = nn.Module()
    settings = {"dropout": 0.0, "scaling": 0.3, "is_causal": causal}
    expected, _ = sdpa_attention_forward(layer, query, key, value, mask, **settings)
    got, weights = short_text_attention(layer, query, key, value, mask, **settings)
    assert weights is None
    torch.testing.assert_close(got, expected, atol=1e-5 * scale, rtol=1e-5)


def test_grouped_heads_go_to_the_fused_kernel() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 9, 16), torch.randn(2, 2, 9, 16), torch.randn(2, 2, 9, 16)
    layer = nn.Module()
    layer.num_key_value_groups = 2
    got, _ = short_text_attention(layer, query, key, value, None, dropout=0.0, is_causal=False)
    expected, _ = sdpa_attention_forward(layer, query, key, value, None, dropout=0.0, is_causal=False)
    torch.testing.assert_close(got, expected)


def test_a_text_of_nothing_but_padding_stays_finite() -> None:
    query = torch.randn(2, 4, 6, 16, dtype=torch.bfloat16)
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[1] = False
    got, _ = short_text_attention(nn.Module(), query, query, query, mask, is_causal=False)
    assert got.isfinite().all()
