"""One vector a token: the states of each text alone, whatever it is batched with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import BoW

from embedworks.encoders import Instructions, TextEncoder, build, token_vectors
from embedworks.foundation import InputError, NonFiniteError


def alone(encoder: TextEncoder, text: str) -> np.ndarray:
    with torch.no_grad():
        encoded = encoder.model.tokenizer(text, return_tensors="pt")
        states: np.ndarray = encoder.model[0].model(**encoded).last_hidden_state[0].numpy()
    return states


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_text_has_the_states_it_has_alone(
    llama_directory: Path, texts: list[str], side: str, batch_size: int
) -> None:
    encoder = build(llama_directory)
    encoder.model.tokenizer.padding_side = side
    for got, text in zip(token_vectors(encoder, texts, batch_size=batch_size), texts, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, alone(encoder, text), rtol=0, atol=1e-5)


def test_special_tokens_are_dropped_where_there_are_others(llama_directory: Path, texts: list[str]) -> None:
    encoder = build(llama_directory)
    whole, plain = token_vectors(encoder, texts), token_vectors(encoder, texts, drop_special=True)
    for text, first, second in zip(texts, whole, plain, strict=True):
        np.testing.assert_array_equal(second, first[:-1] if text else first)


def test_an_instruction_is_among_them_unless_it_is_left_out(llama_directory: Path) -> None:
    prompt = Instructions(query="find it").prompts()["query"]
    pooled, left_out = build(llama_directory), build(llama_directory, instructions=Instructions(query="find it"))
    whole = alone(pooled, prompt + "red")
    np.testing.assert_allclose(token_vectors(pooled, ["red"], prompt=prompt)[0], whole, rtol=0, atol=1e-5)
    own = token_vectors(left_out, ["red"], prompt=prompt)[0]
    assert 0 < len(own) < len(whole)
    np.testing.assert_allclose(own, whole[-len(own) :], rtol=0, atol=1e-5)


def test_half_precision_and_no_texts(llama_directory: Path, texts: list[str]) -> None:
    encoder = build(llama_directory)
    assert token_vectors(encoder, []) == []
    half = token_vectors(encoder, texts, dtype=np.float16)
    for got, expected in zip(half, token_vectors(encoder, texts), strict=True):
        assert got.dtype == np.float16
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-3)


def test_what_makes_no_sense_is_refused(llama_directory: Path) -> None:
    encoder = build(llama_directory)
    with pytest.raises(InputError, match="not all strings"):
        token_vectors(encoder, ["red", 3])  # type: ignore[list-item]
    with pytest.raises(InputError, match="not all strings"):
        token_vectors(encoder, "red")
    with pytest.raises(InputError, match="batch_size is 0"):
        token_vectors(encoder, ["red"], batch_size=0)
    words = TextEncoder(SentenceTransformer(modules=[BoW(["red"]), Normalize()]), name="words")
    with pytest.raises(InputError, match="not a transformer"):
        token_vectors(words, ["red"])
    with torch.no_grad():
        encoder.model[0].model.norm.weight.fill_(1e6)
    with pytest.raises(NonFiniteError, match="in float16"):
        token_vectors(encoder, ["red"], dtype=np.float16)
