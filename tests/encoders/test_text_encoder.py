"""The encoder object: what it says of itself, how it saves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import BoW

from embedworks.encoders import LoraSettings, TextEncoder, build, load
from embedworks.foundation import InputError, StorageError, verify_directory
from embedworks.foundation.protocols import Encoder

Vectors = Callable[..., torch.Tensor]


def test_it_satisfies_the_protocol(llama_directory: Path) -> None:
    encoder = build(llama_directory)
    assert isinstance(encoder, Encoder)
    assert encoder.dimension == 32
    assert "dimension=32, Transformer > Pooling > Normalize" in repr(encoder)
    assert encoder.last_report is None
    assert not encoder.model.training


def test_a_dimension_nobody_states_is_found_by_trying() -> None:
    model = SentenceTransformer(modules=[BoW(["red", "bird"]), Normalize()])
    assert TextEncoder(model, name="words").dimension == 2


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("pooling", ["mean", "last-token", "last-layer-trainable", "multi-layer-trainable"])
def test_saved_and_loaded_vectors_are_the_same_to_the_bit(
    tmp_path: Path, llama_directory: Path, vectors: Vectors, texts: list[str], pooling: str, attention: str
) -> None:
    encoder = build(llama_directory, pooling=pooling, attention=attention, max_length=40)  # type: ignore[arg-type]
    encoder.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert torch.equal(vectors(loaded, texts), vectors(encoder, texts))
    assert loaded.model.get_max_seq_length() == 40
    assert loaded.name == "model"
    for name, weights in encoder.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weights)


def test_saved_twice_the_weights_and_settings_are_the_same_bytes(tmp_path: Path, llama_directory: Path) -> None:
    encoder = build(llama_directory, pooling="multi-layer-trainable")
    encoder.save(tmp_path / "first" / "model")
    load(tmp_path / "first" / "model").save(tmp_path / "second" / "model")
    files = sorted(path for path in (tmp_path / "first" / "model").rglob("*") if path.is_file())
    assert len(files) > 8
    for path in files:
        twin = tmp_path / "second" / path.relative_to(tmp_path / "first")
        assert twin.read_bytes() == path.read_bytes(), path.name


def test_settings_of_training_and_the_base_model_are_kept(tmp_path: Path, llama_directory: Path) -> None:
    encoder = build(llama_directory)
    encoder.base_model, encoder.training_settings = "owner/base", {"epochs": 2, "temperature": 0.05}
    encoder.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert (loaded.base_model, loaded.training_settings) == ("owner/base", {"epochs": 2, "temperature": 0.05})
    assert verify_directory(tmp_path / "model")["dimension"] == 32


def test_an_existing_directory_is_replaced_only_when_told(tmp_path: Path, llama_directory: Path) -> None:
    build(llama_directory).save(tmp_path / "model")
    before = (tmp_path / "model" / "modules.json").read_bytes()
    other = build(llama_directory, pooling="cls")
    with pytest.raises(InputError, match="exists already"):
        other.save(tmp_path / "model")
    assert (tmp_path / "model" / "modules.json").read_bytes() == before
    other.save(tmp_path / "model", overwrite=True)
    assert load(tmp_path / "model").model[1].pooling_mode == "cls"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_nothing_saved_tells_where_it_was_made(tmp_path: Path, llama_directory: Path) -> None:
    encoder = build(llama_directory, pooling="multi-layer-trainable", attention="bidirectional", lora=LoraSettings())
    encoder.save(tmp_path / "model")
    for path in (tmp_path / "model").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(llama_directory).encode() not in content, path.name
            assert str(tmp_path).encode() not in content, path.name
            assert b"embedworks-" not in content, path.name


def test_a_bidirectional_decoder_declares_the_transformers_it_needs(tmp_path: Path, llama_directory: Path) -> None:
    for attention in ("as-is", "bidirectional"):
        build(llama_directory, attention=attention).save(tmp_path / attention)  # type: ignore[arg-type]
        settings = json.loads((tmp_path / attention / "config_sentence_transformers.json").read_text())
        declared = settings.get("requirements", {}).get("transformers", {}).get("specifier")
        assert declared == (">=5.2" if attention == "bidirectional" else None)


class WritesAPickle(Normalize):
    def save(self, output_path: str, *args: object, **kwargs: object) -> None:
        Path(output_path, "pytorch_model.bin").write_bytes(b"\x80\x04.")


def test_a_module_that_writes_a_pickle_leaves_nothing_behind(tmp_path: Path, llama_directory: Path) -> None:
    model = build(llama_directory).model
    model.append(WritesAPickle())
    with pytest.raises(StorageError, match="is a pickle"):
        TextEncoder(model, name="bad").save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
