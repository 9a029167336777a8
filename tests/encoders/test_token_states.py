"""Token states: the same rows whichever side the padding is on, or without any."""

from __future__ import annotations

import pytest
import torch

from embedworks.encoders.token_states import last_token, masked_mean, padded_states


@pytest.fixture
def texts_of_three_lengths() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(length, 4, generator=generator) for length in (3, 1, 5)]


def pad(texts: list[torch.Tensor], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(text) for text in texts)
    states = torch.full((len(texts), longest, 4), 7.0)
    mask = torch.zeros(len(texts), longest, dtype=torch.bool)
    for row, text in enumerate(texts):
        place = slice(longest - len(text), longest) if side == "left" else slice(0, len(text))
        states[row, place], mask[row, place] = text, True
    return states, mask


@pytest.mark.parametrize("side", ["left", "right"])
def test_last_token_and_mean_are_those_of_each_text_alone(
    texts_of_three_lengths: list[torch.Tensor], side: str
) -> None:
    states, mask = pad(texts_of_three_lengths, side)
    for row, text in enumerate(texts_of_three_lengths):
        torch.testing.assert_close(last_token(states, mask)[row], text[-1], rtol=0, atol=0)
        torch.testing.assert_close(masked_mean(states, mask)[row], text.mean(dim=0))


def test_a_text_without_tokens_gives_zeros() -> None:
    states, mask = torch.ones(1, 3, 4), torch.zeros(1, 3, dtype=torch.bool)
    assert not last_token(states, mask).any()
    assert not masked_mean(states, mask).any()


def test_padding_that_is_not_a_number_does_not_reach_the_mean() -> None:
    states = torch.tensor([[[1.0], [float("nan")]]])
    assert masked_mean(states, torch.tensor([[True, False]])).item() == 1.0


def test_texts_laid_end_to_end_are_padded_again(texts_of_three_lengths: list[torch.Tensor]) -> None:
    flat = torch.cat(texts_of_three_lengths)[None]
    starts = torch.tensor([0, 3, 4, 9])
    states, mask = padded_states(flat, {"cu_seq_lens_q": starts})
    expected, expected_mask = pad(texts_of_three_lengths, "right")
    assert torch.equal(mask, expected_mask)
    assert torch.equal(states[mask], expected[expected_mask])


def test_without_a_mask_every_token_is_real() -> None:
    _, mask = padded_states(torch.zeros(2, 3, 4), {})
    assert mask.all()
    assert mask.shape == (2, 3)


def test_half_precision_is_summed_in_float32() -> None:
    rows = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)
    assert masked_mean(rows, torch.ones(1, 4096, dtype=torch.bool)).item() == 1.0
