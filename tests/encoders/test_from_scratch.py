"""Decoders and tokenizers made on the spot."""

from __future__ import annotations

import pytest
from transformers import AutoModel

from embedworks.encoders import decoder_config, train_tokenizer
from embedworks.foundation import InputError


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_text_ends_with_the_end_token_even_when_it_is_cut(side: str) -> None:
    tokenizer = train_tokenizer(["a red boat"] * 4, vocabulary=300, max_length=6, padding_side=side)
    batch = tokenizer(["", "boat", "a very long text about nothing at all"], padding=True, truncation=True)
    end, padding = tokenizer.eos_token_id, tokenizer.pad_token_id
    assert (padding, end) == (0, 1)
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        real = [token for token, is_real in zip(ids, mask, strict=True) if is_real]
        assert real[-1] == end
        assert padding not in real
        assert len(ids) == 6
    assert batch["attention_mask"][0] == ([0] * 5 + [1] if side == "left" else [1] + [0] * 5)


def test_any_text_comes_back_whole() -> None:
    tokenizer = train_tokenizer(["a red boat"], vocabulary=300)
    for text in ("naïve café", "日本語", "tab\tand\nline", "🙂"):
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_the_decoder_has_the_sizes_asked_for() -> None:
    config = decoder_config(vocabulary=300, layers=2, dimension=32, heads=4, max_length=16)
    model = AutoModel.from_config(config)
    assert len(model.layers) == 2
    assert model.embed_tokens.weight.shape == (300, 32)
    assert config.pad_token_id == 0


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="even parts"):
        decoder_config(vocabulary=300, dimension=36, heads=4)
    with pytest.raises(InputError, match="256 bytes"):
        train_tokenizer(["a"], vocabulary=100)
    with pytest.raises(InputError, match="padding_side"):
        train_tokenizer(["a"], padding_side="middle")
