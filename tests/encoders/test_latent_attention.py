"""The trainable pooler against a slow float64 oracle, and its identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedworks.encoders.latent_attention import PUBLISHED_SIZES, LatentQueryAttention, default_sizes
from embedworks.foundation import InputError


def layer_norm(x: NDArray[np.float64], weight: NDArray[np.float64], bias: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((x - x.mean()) / math.sqrt(x.var() + 1e-5) * weight + bias)


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def slow_pooler(
    pooler: LatentQueryAttention, rows: NDArray[np.float64], mask: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """One text at a time, one latent at a time, one head at a time, straight from the paper's steps 2 to 6."""
    weights = {name: tensor.detach().double().numpy() for name, tensor in pooler.state_dict().items()}
    heads, width = pooler.sizes["heads"], pooler.sizes["head_dimension"]
    output = np.zeros((rows.shape[0], rows.shape[2]))
    for text in range(rows.shape[0]):
        real = [rows[text, n] for n in range(rows.shape[1]) if mask[text, n]]
        normed = [layer_norm(x, weights["norm_rows.weight"], weights["norm_rows.bias"]) for x in real]
        projected = [weights["to_keys_values.weight"] @ x for x in normed]
        states = []
        for latent in weights["latents"]:
            query = weights["to_queries.weight"] @ layer_norm(
                latent, weights["norm_latents.weight"], weights["norm_latents.bias"]
            )
            read = np.zeros(heads * width)
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                values = slice(heads * width + head * width, heads * width + (head + 1) * width)
                scores = [float(query[part] @ both[part]) / math.sqrt(width) for both in projected]
                shares = [math.exp(score - max(scores)) for score in scores]
                for share, both in zip(shares, projected, strict=True):
                    read[part] += share / sum(shares) * both[values]
            state = weights["to_output.weight"] @ read + latent
            normed_state = layer_norm(state, weights["norm_feed_forward.weight"], weights["norm_feed_forward.bias"])
            inner = weights["feed_forward.inner.weight"] @ normed_state + weights["feed_forward.inner.bias"]
            a, b = inner[: len(inner) // 2], inner[len(inner) // 2 :]
            gated = np.array([x * gelu(y) for x, y in zip(a, b, strict=True)])
            state = state + weights["feed_forward.outer.weight"] @ gated + weights["feed_forward.outer.bias"]
            states.append(state - latent if pooler.zero_init_output else state)
        output[text] = np.mean(states, axis=0)
    return output


def padded(rng: np.random.Generator, lengths: list[int], d: int, side: str) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.from_numpy(rng.normal(size=(len(lengths), max(lengths), d)))
    mask = torch.zeros(rows.shape[:2], dtype=torch.bool)
    for row, length in enumerate(lengths):
        if side == "left":
            mask[row, rows.shape[1] - length :] = True
        else:
            mask[row, :length] = True
    return rows, mask


def randomised(pooler: LatentQueryAttention, seed: int) -> LatentQueryAttention:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in pooler.parameters():
            parameter.normal_(generator=generator).mul_(0.5)
    return pooler


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("lengths", [[5, 2, 1], [1], [4]])
@pytest.mark.parametrize(
    "sizes",
    [
        {"latents": 1, "heads": 1},
        {"latents": 3, "heads": 2},
        {"latents": 5, "heads": 4, "head_dimension": 7, "feed_forward_multiple": 2},
        {"latents": 2, "heads": 2, "zero_init_output": True},
    ],
)
def test_it_equals_the_slow_oracle(side: str, lengths: list[int], sizes: dict[str, int]) -> None:
    pooler = randomised(LatentQueryAttention(8, **sizes).double(), seed=1)
    rows, mask = padded(np.random.default_rng(2), lengths, 8, side)
    got = pooler(rows, mask).detach().numpy()
    np.testing.assert_allclose(got, slow_pooler(pooler, rows.numpy(), mask.numpy()), rtol=0, atol=1e-12)


def test_with_one_row_attention_is_one_and_queries_do_not_matter() -> None:
    pooler = randomised(LatentQueryAttention(8, latents=3, heads=2), seed=3)
    rows, mask = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(4)), torch.ones(4, 1, dtype=torch.bool)
    before = pooler(rows, mask)
    assert torch.equal(pooler.attention(rows, mask), torch.ones(4, 2, 3, 1))
    with torch.no_grad():
        pooler.to_queries.weight.mul_(-17.0)
    assert torch.equal(pooler(rows, mask), before)


def test_with_two_rows_queries_do_matter() -> None:
    pooler = randomised(LatentQueryAttention(8, latents=3, heads=2), seed=3)
    rows, mask = torch.randn(4, 2, 8, generator=torch.Generator().manual_seed(4)), torch.ones(4, 2, dtype=torch.bool)
    before = pooler(rows, mask)
    with torch.no_grad():
        pooler.to_queries.weight.mul_(-17.0)
    assert (pooler(rows, mask) - before).abs().max() > 1e-3


def test_attention_sums_to_one_and_gives_padding_nothing() -> None:
    pooler = LatentQueryAttention(8, latents=3, heads=2).double()
    rows, mask = padded(np.random.default_rng(5), [4, 2], 8, "left")
    weights = pooler.attention(rows, mask)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 3, dtype=torch.float64))
    assert not weights[1, :, :, :2].any()


def test_the_order_of_rows_does_not_matter() -> None:
    pooler = randomised(LatentQueryAttention(8, latents=3, heads=2).double(), seed=6)
    rows, mask = padded(np.random.default_rng(7), [5], 8, "right")
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(pooler(rows[:, order], mask), pooler(rows, mask), rtol=0, atol=1e-12)


def test_a_text_without_rows_stays_finite_and_ignores_what_the_padding_holds() -> None:
    pooler = randomised(LatentQueryAttention(8, latents=3, heads=2), seed=8)
    mask = torch.zeros(1, 4, dtype=torch.bool)
    first, second = pooler(torch.zeros(1, 4, 8), mask), pooler(torch.ones(1, 4, 8), mask)
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)


@pytest.mark.parametrize("zero_init_output", [False, True])
def test_gradients_in_float64(zero_init_output: bool) -> None:
    pooler = LatentQueryAttention(4, latents=2, heads=2, zero_init_output=zero_init_output).double()
    if zero_init_output:
        randomised(pooler, seed=9)
    rows, mask = padded(np.random.default_rng(10), [3, 1], 4, "left")
    rows.requires_grad_()
    names, parameters = zip(*pooler.named_parameters(), strict=True)

    def call(rows: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(pooler, dict(zip(names, values, strict=True)), (rows, mask))
        return result

    assert torch.autograd.gradcheck(call, (rows, *parameters))


def test_padding_gets_no_gradient() -> None:
    pooler = LatentQueryAttention(4, latents=2, heads=2).double()
    rows, mask = padded(np.random.default_rng(11), [3, 1], 4, "left")
    rows.requires_grad_()
    pooler(rows, mask).sum().backward()
    assert rows.grad is not None
    assert not rows.grad[~mask].any()
    assert rows.grad[mask].any()


def test_zero_initialised_output_starts_at_no_change() -> None:
    pooler = LatentQueryAttention(8, latents=3, heads=2, zero_init_output=True)
    rows, mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    assert not pooler(rows, mask).any()


def test_default_and_published_sizes() -> None:
    assert default_sizes(4096)["latents"] == 768
    pooler = LatentQueryAttention(16, **{**PUBLISHED_SIZES, "latents": 5, "head_dimension": 2})
    assert pooler.to_queries.weight.shape == (64, 16)
    assert PUBLISHED_SIZES["heads"] * PUBLISHED_SIZES["head_dimension"] == 65_536


@pytest.mark.parametrize("sizes", [{"heads": 3}, {"latents": 0}, {"feed_forward_multiple": 0}])
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(InputError, match="pooler sizes"):
        LatentQueryAttention(8, **sizes)
