"""Layer analysis: one vector a layer, the same as pooling that layer by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import BoW

from embedworks.encoders import TextEncoder, build, layer_embeddings, load
from embedworks.foundation import InputError, NonFiniteError


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_layer_is_the_summary_of_each_text_alone(
    llama_directory: Path, texts: list[str], attention: str, batch_size: int
) -> None:
    encoder = build(llama_directory, attention=attention)  # type: ignore[arg-type]
    layers = layer_embeddings(encoder, texts, batch_size=batch_size)
    assert [(layer.layer, layer.is_embedding_output) for layer in layers] == [
        (0, True),
        (1, False),
        (2, False),
        (3, False),
    ]
    backbone = encoder.model[0]
    for row, text in enumerate(texts):
        tokens = backbone.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = backbone.model(tokens, output_hidden_states=True).hidden_states
        for layer in layers:
            expected = states[layer.layer][0, -1] if attention == "causal" else states[layer.layer][0].mean(dim=0)
            np.testing.assert_allclose(layer.vectors[row], expected.numpy(), rtol=0, atol=1e-5)


def test_the_last_layer_of_the_packaged_model_is_its_own_vector_before_normalisation(
    vectors: Callable[..., torch.Tensor], texts: list[str]
) -> None:
    encoder = load("minilm")
    last = layer_embeddings(encoder, texts)[-1]
    assert last.layer == 6
    normalised = last.vectors / np.linalg.norm(last.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(normalised, vectors(encoder, texts).numpy(), rtol=0, atol=1e-5)


def test_the_summary_can_be_chosen(llama_directory: Path, texts: list[str]) -> None:
    encoder = build(llama_directory)
    chosen = layer_embeddings(encoder, texts, summary="mean")
    default = layer_embeddings(encoder, texts)
    assert not np.allclose(chosen[-1].vectors, default[-1].vectors)


def test_what_cannot_be_analysed_is_refused(llama_directory: Path) -> None:
    encoder = build(llama_directory)
    for texts in ([], ["red", 3]):
        with pytest.raises(InputError, match="empty or not all strings"):
            layer_embeddings(encoder, texts)  # type: ignore[arg-type]
    words = TextEncoder(SentenceTransformer(modules=[BoW(["red"])]), name="words")
    with pytest.raises(InputError, match="BoW, not a transformer"):
        layer_embeddings(words, ["red"])


def test_vectors_that_are_not_finite_are_refused(llama_directory: Path) -> None:
    encoder = build(llama_directory)
    with torch.no_grad():
        encoder.model[0].model.layers[1].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="layer 2"):
        layer_embeddings(encoder, ["red"])
