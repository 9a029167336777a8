"""Adapters: where they go, and that merging them changes no vector."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from embedworks.encoders import LoraSettings, build, load
from embedworks.encoders.lora import with_merged_lora
from embedworks.foundation import InputError, MissingExtraError

BERT = LoraSettings(rank=2, targets=("query", "value"))


def trained(directory: Path) -> Any:
    """Return an encoder whose adapters have an effect, as after training (they start at zero)."""
    encoder = build(directory, lora=LoraSettings(rank=2))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in encoder.model.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=0.1, generator=generator)
    return encoder


def test_published_settings_put_adapters_on_all_seven_projections(llama_directory: Path) -> None:
    encoder = build(llama_directory, lora=LoraSettings())
    adapted = {
        name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in encoder.model.named_parameters() if "lora_A" in name
    }
    assert adapted == set(LoraSettings().targets)
    config = encoder.model[0].model.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout, config.bias) == (16, 32, 0.1, "none")


def test_merged_vectors_are_the_same_and_the_original_keeps_its_adapters(
    llama_directory: Path, vectors: Callable[..., torch.Tensor], texts: list[str]
) -> None:
    encoder, plain = trained(llama_directory), build(llama_directory)
    before = vectors(encoder, texts)
    assert (before - vectors(plain, texts)).abs().max() > 1e-3
    merged = with_merged_lora(encoder.model)
    with torch.no_grad():
        torch.testing.assert_close(merged(merged.preprocess(texts))["sentence_embedding"], before, rtol=0, atol=1e-6)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    assert any("lora" in name for name, _ in encoder.model.named_parameters())
    assert torch.equal(vectors(encoder, texts), before)


def test_a_saved_encoder_needs_no_adapter_file(
    tmp_path: Path, llama_directory: Path, vectors: Callable[..., torch.Tensor], texts: list[str]
) -> None:
    encoder = trained(llama_directory)
    encoder.save(tmp_path / "model")
    assert not list((tmp_path / "model").glob("adapter*"))
    torch.testing.assert_close(vectors(load(tmp_path / "model"), texts), vectors(encoder, texts), rtol=0, atol=1e-6)


def test_a_model_without_adapters_is_not_copied(llama_directory: Path) -> None:
    model = build(llama_directory).model
    assert with_merged_lora(model) is model


def test_layers_that_do_not_exist_are_named_with_those_that_do(bert_directory: Path) -> None:
    with pytest.raises(InputError, match="its linear layers are dense, key, query, value"):
        build(bert_directory, lora=LoraSettings())
    assert any("lora" in name for name, _ in build(bert_directory, lora=BERT).model.named_parameters())


def test_numbers_out_of_range_are_refused(llama_directory: Path) -> None:
    for settings in (LoraSettings(rank=0), LoraSettings(alpha=0), LoraSettings(dropout=1.0)):
        with pytest.raises(InputError, match="out of range"):
            build(llama_directory, lora=settings)


def test_without_peft_the_extra_is_named(llama_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_peft(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "peft":
            raise ImportError("No module named 'peft'")
        return real_import(name, *args, **kwargs)

    from embedworks.encoders import load_backbone
    from embedworks.encoders.lora import add_lora

    model = load_backbone(llama_directory).model
    monkeypatch.setattr(builtins, "__import__", without_peft)
    with pytest.raises(MissingExtraError, match=r"pip install 'embedworks\[lora\]'"):
        add_lora(model, LoraSettings())
