"""Export: stock sentence-transformers loads it and gives the same vectors, or one line says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router

from embedworks.encoders import LoraSettings, PoolingSettings, TextEncoder, build, export, load
from embedworks.foundation import InputError, StorageError

Vectors = Callable[..., torch.Tensor]
MIXTURE = PoolingSettings(layer_weight_mode="mean")


def stock_vectors(path: Path, texts: list[str]) -> torch.Tensor:
    model = SentenceTransformer(str(path), local_files_only=True).eval()
    with torch.no_grad():
        vectors: torch.Tensor = model(model.preprocess(texts))["sentence_embedding"]
    return vectors


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("pooling", ["mean", "last-token", "weighted-mean", "cls"])
def test_pooling_without_parameters_is_stock_already(
    tmp_path: Path, llama_directory: Path, vectors: Vectors, texts: list[str], pooling: str, attention: str
) -> None:
    encoder = build(llama_directory, pooling=pooling, attention=attention)  # type: ignore[arg-type]
    export(encoder, tmp_path / "model")
    assert torch.equal(stock_vectors(tmp_path / "model", texts), vectors(encoder, texts))
    names = [entry["type"] for entry in json.loads((tmp_path / "model" / "modules.json").read_text())]
    assert all(name.startswith("sentence_transformers.") for name in names)


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
def test_a_learned_mixture_of_layers_becomes_stock_modules(
    tmp_path: Path, llama_directory: Path, vectors: Vectors, texts: list[str], attention: str
) -> None:
    encoder = build(
        llama_directory,
        pooling="multi-layer-trainable",
        attention=attention,
        pooling_settings=MIXTURE,  # type: ignore[arg-type]
    )
    with torch.no_grad():
        encoder.model[1].layer_weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
    export(encoder, tmp_path / "model")
    got = stock_vectors(tmp_path / "model", texts)
    torch.testing.assert_close(got, vectors(encoder, texts), rtol=0, atol=1e-5)
    assert [type(module).__name__ for module in load(tmp_path / "model").model] == [
        "Transformer",
        "WeightedLayerPooling",
        "Pooling",
        "Normalize",
    ]


def test_adapters_are_merged(tmp_path: Path, llama_directory: Path, vectors: Vectors, texts: list[str]) -> None:
    encoder = build(llama_directory, lora=LoraSettings(rank=2))
    with torch.no_grad():
        for name, weights in encoder.model.named_parameters():
            if "lora_B" in name:
                weights.fill_(0.05)
    export(encoder, tmp_path / "model")
    torch.testing.assert_close(stock_vectors(tmp_path / "model", texts), vectors(encoder, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["last-layer-trainable", "multi-layer-trainable"])
def test_what_cannot_be_folded_says_why_and_leaves_nothing(tmp_path: Path, llama_directory: Path, pooling: str) -> None:
    encoder = build(llama_directory, pooling=pooling)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be folded: its latents attend with a softmax"):
        export(encoder, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_module_of_ours_within_a_router_is_refused(tmp_path: Path, llama_directory: Path) -> None:
    inner = build(llama_directory, pooling="last-layer-trainable").model
    router = Router.for_query_document(query_modules=list(inner), document_modules=list(inner))
    encoder = TextEncoder(SentenceTransformer(modules=[router]), name="router")
    with pytest.raises(InputError, match="within a router"):
        export(encoder, tmp_path / "model")


def test_an_existing_directory_is_not_replaced(tmp_path: Path, llama_directory: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="exists already"):
        export(build(llama_directory), tmp_path / "model")


def test_a_copy_that_differs_is_not_put_in_place(
    tmp_path: Path, llama_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = build(llama_directory)

    def write_another(self: TextEncoder, directory: Path, *, name: str) -> None:
        other = build(llama_directory, pooling="cls")
        other.model.save(str(directory), create_model_card=False)

    monkeypatch.setattr(TextEncoder, "write_files", write_another)
    with pytest.raises(StorageError, match="differs from the encoder"):
        export(encoder, tmp_path / "model")
    assert not list(tmp_path.iterdir())
