"""GradCache: the value and gradient of the plain form, dropout and autocast included, one chunk alive at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from embedworks.objectives import InfoNCE, encode_in_chunks


def encoder(dropout: float) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Dropout(dropout), nn.Tanh(), nn.Linear(16, 4)).double()


def loss_of(vectors: torch.Tensor, b: int) -> torch.Tensor:
    return InfoNCE(0.1, symmetric=True)(vectors[:b], vectors[b : 2 * b], vectors[2 * b :].reshape(b, -1, 4))


def value_and_gradients(model, embed, b):
    model.zero_grad()
    torch.manual_seed(7)
    loss = loss_of(embed(), b)
    after_forward = torch.get_rng_state()
    loss.backward()
    assert torch.equal(after_forward, torch.get_rng_state())  # replaying must not move the random state
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("chunk", [1, 2, 5, 12, 100])
@pytest.mark.parametrize("negatives", [0, 2])
def test_equal_to_the_plain_form(dropout, chunk, negatives):
    b, model = 4, encoder(dropout)
    texts = torch.randn(b * (2 + negatives), 6, dtype=torch.float64)
    chunks = texts.split(chunk)
    plain = value_and_gradients(model, lambda: torch.cat([model(part) for part in chunks]), b)
    cached = value_and_gradients(model, lambda: encode_in_chunks(model, chunks), b)
    assert cached[0] == plain[0]
    torch.testing.assert_close(cached[1], plain[1], rtol=0, atol=1e-12)


def test_chunk_size_does_not_matter_without_dropout():
    model, texts = encoder(0.0), torch.randn(12, 6, dtype=torch.float64)
    whole = value_and_gradients(model, lambda: model(texts), 4)
    for chunk in (1, 3, 5, 12):
        cached = value_and_gradients(model, lambda: encode_in_chunks(model, texts.split(chunk)), 4)  # noqa: B023
        assert cached[0] == pytest.approx(whole[0], abs=1e-6)
        torch.testing.assert_close(cached[1], whole[1], rtol=0, atol=1e-6)


def test_equal_under_bfloat16_autocast():
    model = encoder(0.3).float()
    chunks = torch.randn(8, 6).split(3)

    def encode(part):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(part)

    plain = value_and_gradients(model, lambda: torch.cat([encode(part) for part in chunks]), 4)
    cached = value_and_gradients(model, lambda: encode_in_chunks(encode, chunks), 4)
    assert cached[0] == plain[0]
    torch.testing.assert_close(cached[1], plain[1], rtol=1e-6, atol=1e-6)


def test_each_chunk_is_encoded_twice_and_freed_before_the_next():
    model, calls = encoder(0.0), []

    def encode(part):
        calls.append(int(part[0, 0].item()))
        return model(part)

    texts = torch.arange(8.0, dtype=torch.float64)[:, None].expand(8, 6) + 0.5
    loss = loss_of(encode_in_chunks(encode, texts.split(2)), 4)
    assert calls == [0, 2, 4, 6]
    loss.backward()
    assert calls == [0, 2, 4, 6, 6, 4, 2, 0]


def test_activations_of_one_chunk_only_are_alive():
    model = encoder(0.0)
    texts = torch.randn(64, 6, dtype=torch.float64)

    def saved_numbers(embed):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (sizes.append(t.numel()), t)[1], lambda t: t):
            embed()
        return sum(sizes)

    plain = saved_numbers(lambda: model(texts))
    cached = saved_numbers(lambda: encode_in_chunks(model, texts.split(8)))
    assert plain > 2_000
    assert cached <= texts.numel()  # nothing but the inputs of the chunks


def test_without_gradients_it_encodes_once():
    calls = []
    with torch.no_grad():
        encode_in_chunks(lambda part: (calls.append(1), part)[1], [torch.ones(1, 2)] * 3)
    assert len(calls) == 3


def test_no_chunk_is_refused():
    with pytest.raises(ValueError, match="no chunk"):
        encode_in_chunks(nn.Identity(), [])
