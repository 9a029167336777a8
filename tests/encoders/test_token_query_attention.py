"""NV-Embed's blocks against slow float64 oracles written with loops, and their identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from embedworks.encoders.token_query_attention import (
    NV_EMBED_SIZES,
    PaperLatentAttention,
    TokenQueryAttention,
    drawn_latents,
    token_query_sizes,
)
from embedworks.foundation import InputError

Array = NDArray[np.float64]
D = 8


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    return np.asarray((x - x.mean()) / math.sqrt(x.var() + 1e-5) * weight + bias)


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def weights_of(block: nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().double().numpy() for name, tensor in block.state_dict().items()}


def slow_block(block: TokenQueryAttention, tokens: Array, context: list[Array]) -> Array:
    """One text, one token at a time, one head at a time, straight from steps 2 to 4; ``context`` is the real rows."""
    w = weights_of(block)
    heads, width = block.heads, block.head_dimension
    normed = [layer_norm(row, w["norm_context.weight"], w["norm_context.bias"]) for row in context]
    projected = [w["to_keys_values.weight"] @ row for row in normed]
    result = []
    for token in tokens:
        query = w["to_queries.weight"] @ layer_norm(token, w["norm_tokens.weight"], w["norm_tokens.bias"])
        read = np.zeros(heads * width)
        for head in range(heads):
            keys = slice(head * width, (head + 1) * width)
            values = slice((heads + head) * width, (heads + head + 1) * width)
            scores = [float(query[keys] @ row[keys]) / math.sqrt(width) for row in projected]
            shares = [math.exp(score - max(scores)) for score in scores]
            for share, row in zip(shares, projected, strict=True):
                read[keys] += share / sum(shares) * row[values]
        state = w["to_output.weight"] @ read + token
        normed_state = layer_norm(state, w["norm_feed_forward.weight"], w["norm_feed_forward.bias"])
        inner = w["feed_forward.inner.weight"] @ normed_state + w["feed_forward.inner.bias"]
        a, b = inner[: len(inner) // 2], inner[len(inner) // 2 :]
        gated = np.array([x * gelu(y) for x, y in zip(a, b, strict=True)])
        result.append(state + w["feed_forward.outer.weight"] @ gated + w["feed_forward.outer.bias"])
    return np.array(result)


def slow_paper_block(block: PaperLatentAttention, tokens: Array, latents: Array) -> Array:
    w = weights_of(block)
    width = latents.shape[1] // block.heads
    result = []
    for token in tokens:
        read = np.zeros(latents.shape[1])
        for head in range(block.heads):
            part = slice(head * width, (head + 1) * width)
            scores = [float(token[part] @ latent[part]) for latent in latents]
            shares = [math.exp(score - max(scores)) for score in scores]
            for share, latent in zip(shares, latents, strict=True):
                read[part] += share / sum(shares) * latent[part]
        inner = w["inner.weight"] @ read + w["inner.bias"]
        result.append(w["outer.weight"] @ np.array([gelu(x) for x in inner]) + w["outer.bias"])
    return np.array(result)


def randomised(block: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(generator=generator).mul_(0.5)
    return block.double()


def block_of(*, heads: int = 2, head_dimension: int = 4, multiple: int = 4, seed: int = 1) -> TokenQueryAttention:
    block = TokenQueryAttention(D, heads=heads, head_dimension=head_dimension, feed_forward_multiple=multiple)
    randomised(block, seed)
    return block


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("latents", [1, 6])
@pytest.mark.parametrize(
    "sizes", [{"heads": 1}, {"heads": 2}, {"heads": 4, "head_dimension": 7, "multiple": 2}, {"heads": 8}]
)
def test_reading_latents_equals_the_slow_oracle(tokens: int, latents: int, sizes: dict[str, int]) -> None:
    block = block_of(**sizes)
    rows, array = drawn(3, tokens, D, seed=2), drawn(latents, D, seed=3)
    got = block(rows, array).detach().numpy()
    for text in range(3):
        expected = slow_block(block, rows[text].numpy(), list(array.numpy()))
        np.testing.assert_allclose(got[text], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
def test_reading_the_tokens_themselves_equals_the_slow_oracle(side: str) -> None:
    block, rows, lengths = block_of(), drawn(3, 5, D, seed=4), [5, 2, 1]
    mask = torch.zeros(3, 5, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, slice(5 - length, 5) if side == "left" else slice(0, length)] = True
    got = block(rows, rows, mask).detach().numpy()
    for text in range(3):
        real = rows[text][mask[text]].numpy()
        expected = slow_block(block, real, list(real))
        np.testing.assert_allclose(got[text][mask[text].numpy()], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("latents", [1, 6])
def test_the_papers_form_equals_the_slow_oracle(heads: int, latents: int) -> None:
    block = PaperLatentAttention(D, heads=heads, feed_forward_multiple=3)
    randomised(block, 5)
    rows, array = drawn(2, 4, D, seed=6), drawn(latents, D, seed=7)
    got = block(rows, array).detach().numpy()
    for text in range(2):
        expected = slow_paper_block(block, rows[text].numpy(), array.numpy())
        np.testing.assert_allclose(got[text], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", ["released", "paper", "self"])
def test_a_permutation_of_the_tokens_permutes_the_result(form: str) -> None:
    rows, array = drawn(2, 5, D, seed=8), drawn(4, D, seed=9)
    order = torch.tensor([3, 0, 4, 1, 2])
    if form == "paper":
        paper = PaperLatentAttention(D, heads=2, feed_forward_multiple=4)
        randomised(paper, 10)
        first, second = paper(rows, array), paper(rows[:, order], array)
    elif form == "released":
        block = block_of()
        first, second = block(rows, array), block(rows[:, order], array)
    else:
        block = block_of()
        first, second = block(rows, rows), block(rows[:, order], rows[:, order])
    torch.testing.assert_close(second, first[:, order], rtol=0, atol=1e-12)
    assert (second - first).abs().max() > 1e-3


def test_zeroed_outputs_change_nothing() -> None:
    block = TokenQueryAttention(D, heads=2, head_dimension=4, feed_forward_multiple=4, zero_init_output=True).double()
    rows = drawn(2, 3, D, seed=11)
    assert torch.equal(block(rows, drawn(4, D, seed=12)), rows)
    assert torch.equal(block(rows, rows), rows)


def test_a_text_without_any_real_token_stays_finite() -> None:
    block, rows = block_of(), drawn(1, 3, D, seed=13)
    assert torch.isfinite(block(rows, rows, torch.zeros(1, 3, dtype=torch.bool))).all()


@pytest.mark.parametrize("form", ["released", "paper", "self"])
def test_gradients_in_float64(form: str) -> None:
    rows, array = drawn(2, 3, 4, seed=14).requires_grad_(), drawn(2, 4, seed=15).requires_grad_()
    block: nn.Module
    if form == "paper":
        block = PaperLatentAttention(4, heads=2, feed_forward_multiple=2)
    else:
        block = TokenQueryAttention(4, heads=2, head_dimension=2, feed_forward_multiple=2)
    randomised(block, 16)
    mask = torch.tensor([[True, True, False], [False, True, True]])
    names, parameters = zip(*block.named_parameters(), strict=True)

    def call(rows: torch.Tensor, array: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        arguments = (rows, rows, mask) if form == "self" else (rows, array)
        weights = dict(zip(names, values, strict=True))
        result: torch.Tensor = torch.func.functional_call(block, weights, arguments)
        return result

    assert torch.autograd.gradcheck(call, (rows, array, *parameters))


def test_latents_are_drawn_from_the_standard_normal() -> None:
    torch.manual_seed(0)
    latents = drawn_latents(64, 50).detach()
    assert latents.shape == (64, 50)
    assert abs(float(latents.mean())) < 0.06
    assert abs(float(latents.std()) - 1) < 0.05


def test_default_and_released_sizes() -> None:
    assert [token_query_sizes(d)["latents"] for d in (32, 384, 4096)] == [64, 384, 512]
    assert token_query_sizes(384)["head_dimension"] == 48
    assert NV_EMBED_SIZES["heads"] * NV_EMBED_SIZES["head_dimension"] == 32_768


@pytest.mark.parametrize("sizes", [{"heads": 3}, {"latents": 0}, {"feed_forward_multiple": 0}])
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="pooler sizes"):
        token_query_sizes(D, **sizes)
    if "heads" in sizes:
        with pytest.raises(InputError, match="3 heads do not divide"):
            PaperLatentAttention(D, heads=3, feed_forward_multiple=4)
