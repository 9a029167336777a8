"""Loading: what loads, and a corpus of directories that must not."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    BoW,
    Dropout,
    LayerNorm,
    Pooling,
    StaticEmbedding,
    WordEmbeddings,
    WordWeights,
)
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

import embedworks.encoders
from embedworks.encoders import OWN_MODULES, TextEncoder, build, load
from embedworks.encoders.loading import own_module_class
from embedworks.foundation import InputError, StorageError

Vectors = Callable[..., torch.Tensor]


@pytest.fixture
def saved(tmp_path: Path, llama_directory: Path) -> Path:
    """A saved model with a module of ours, without its manifest, so that each test may alter one file."""
    build(llama_directory, pooling="last-layer-trainable").save(tmp_path / "model")
    (tmp_path / "model" / "manifest.json").unlink()
    return tmp_path / "model"


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises((StorageError, InputError), match=match) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)


def test_the_allow_list_names_exactly_our_exported_modules() -> None:
    from sentence_transformers.base.modules import Module

    public = {name: getattr(embedworks.encoders, name) for name in embedworks.encoders.__all__}
    exported = {name for name, thing in public.items() if isinstance(thing, type) and issubclass(thing, Module)}
    assert set(OWN_MODULES.values()) == exported
    for full_name, name in OWN_MODULES.items():
        module_class = own_module_class(full_name)
        assert module_class is getattr(embedworks.encoders, name)
        assert f"{module_class.__module__}.{module_class.__name__}" == full_name


def test_the_packaged_model_loads_by_its_short_name(vectors: Vectors) -> None:
    encoder = load("minilm", max_length=128)
    assert (encoder.name, encoder.dimension) == ("minilm", 384)
    assert encoder.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert encoder.model.get_max_seq_length() == 128
    first, second, third = vectors(encoder, ["a boat on the sea", "a ship at sea", "tax return"])
    assert first @ second > 0.7 > 0.3 > first @ third


def test_a_plain_hugging_face_directory_loads(llama_directory: Path, bert_directory: Path) -> None:
    assert load(bert_directory).model[1].pooling_mode == "mean"
    assert load(str(llama_directory)).dimension == 32


def stock_models(tokenizer: PreTrainedTokenizerBase, directory: Path) -> dict[str, list[torch.nn.Module]]:
    torch.manual_seed(0)
    words = WhitespaceTokenizer(vocab=["red", "green", "bird", "tree", "coin"])
    backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    embedding = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    transformer = build(directory).model[0]
    by_word = [WordEmbeddings(words, embedding), WordWeights(["red", "green", "bird", "tree", "coin"], {"red": 2.0})]
    router = Router.for_query_document(
        query_modules=[StaticEmbedding(backend, embedding_dim=6)],
        document_modules=[StaticEmbedding(backend, embedding_dim=6)],
    )
    return {
        "transformer-dense-layernorm": [
            transformer,
            Pooling(32, pooling_mode=("mean", "max")),
            Dense(64, 12),
            LayerNorm(12),
            Dropout(0.2),
            Normalize(),
        ],
        "static": [StaticEmbedding(backend, embedding_dim=6), Normalize()],
        "words": [*by_word, Pooling(6)],
        "cnn": [WordEmbeddings(words, embedding), CNN(6, out_channels=4, kernel_sizes=[1, 3]), Pooling(8)],
        "lstm": [WordEmbeddings(words, embedding), LSTM(6, hidden_dim=4), Pooling(8)],
        "bag-of-words": [BoW(["red", "bird"]), Normalize()],
        "router": [router, Normalize()],
    }


STOCK = ["transformer-dense-layernorm", "static", "words", "cnn", "lstm", "bag-of-words", "router"]


@pytest.mark.parametrize("name", STOCK)
def test_stock_modules_of_sentence_transformers_load(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, llama_directory: Path, name: str
) -> None:
    model = SentenceTransformer(modules=stock_models(tokenizer, llama_directory)[name]).eval()
    model.prompts = {"query": "find: ", "document": ""}
    TextEncoder(model, name=name).save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    options = {"task": "document"} if name == "router" else {}
    items = ["red bird", "green tree"]
    with torch.no_grad():
        expected = model(model.preprocess(items, **options))["sentence_embedding"]
        got = loaded.model(loaded.model.preprocess(items, **options))["sentence_embedding"]
    assert torch.equal(got, expected)
    assert loaded.model.prompts == {"query": "find: ", "document": ""}


def test_a_router_with_a_module_of_ours_within_loads(
    tmp_path: Path, llama_directory: Path, qwen_directory: Path, texts: list[str]
) -> None:
    query = build(llama_directory, pooling="last-layer-trainable").model
    document = build(qwen_directory, pooling="mean").model
    router = Router.for_query_document(query_modules=list(query), document_modules=list(document))
    model = SentenceTransformer(modules=[router]).eval()
    TextEncoder(model, name="two towers").save(tmp_path / "model")
    loaded = load(tmp_path / "model").model
    for task in ("query", "document"):
        with torch.no_grad():
            expected = model(model.preprocess(texts, task=task), task=task)["sentence_embedding"]
            got = loaded(loaded.preprocess(texts, task=task), task=task)["sentence_embedding"]
        assert torch.equal(got, expected)


def test_prompts_similarity_and_truncation_of_a_model_of_ours_are_kept(tmp_path: Path, llama_directory: Path) -> None:
    model = build(llama_directory, pooling="last-layer-trainable").model
    model.prompts, model.default_prompt_name = {"query": "find: ", "document": ""}, "query"
    model.similarity_fn_name, model.truncate_dim = "dot", 16
    TextEncoder(model, name="m").save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.model.prompts == {"query": "find: ", "document": ""}
    assert loaded.model.default_prompt_name == "query"
    assert loaded.model.similarity_fn_name == "dot"
    assert loaded.model.truncate_dim == 16
    prompted, plain = loaded.encode(["red bird"]), loaded.encode(["red bird"], prompt="")
    assert np.array_equal(prompted, loaded.encode(["find: red bird"], prompt=""))
    assert not np.allclose(prompted, plain)


class Marker:
    """Unpickling it would create a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(self.path),))


@pytest.mark.parametrize("keep_safetensors", [True, False])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "1_LastLayerTrainablePooling/extra", "tokenizer.model"])
def test_a_pickle_anywhere_is_refused_and_not_run(saved: Path, name: str, keep_safetensors: bool) -> None:
    marker = saved.parent / "was-run"
    (saved / name).write_bytes(pickle.dumps(Marker(str(marker))))
    if not keep_safetensors:
        (saved / "model.safetensors").unlink()
    refused(saved, "is a pickle.*convert it to safetensors")
    assert not marker.exists()


def test_a_foreign_class_is_refused_and_not_imported(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = saved.parent / "was-run"
    source = f"from pathlib import Path\nPath({str(marker)!r}).touch()\nclass Evil: ...\n"
    (saved / "evil_module.py").write_text(source)
    (saved.parent / "evil_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(saved.parent))
    modules = json.loads((saved / "modules.json").read_text())
    for name in ("evil_module.Evil", "embedworks.encoders.loading.load", "sentence_transformersX.Evil", "os.system"):
        modules[1]["type"] = name
        (saved / "modules.json").write_text(json.dumps(modules))
        refused(saved, f"names the class {name}.*trust_remote_code")
    assert not marker.exists()


def test_a_foreign_class_within_a_router_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, llama_directory: Path
) -> None:
    modules = stock_models(tokenizer, llama_directory)["router"]
    TextEncoder(SentenceTransformer(modules=modules), name="r").save(tmp_path / "model")
    (tmp_path / "model" / "manifest.json").unlink()
    path = next((tmp_path / "model").rglob("router_config.json"))
    document = json.loads(path.read_text())
    inner = next(iter(document["types"]))
    document["types"][inner] = "evil_module.Evil"
    path.write_text(json.dumps(document))
    refused(tmp_path / "model", "names the class evil_module.Evil")
    document["types"] = {"../../out": "sentence_transformers.models.Pooling"}
    path.write_text(json.dumps(document))
    refused(tmp_path / "model", "outside the model's directory")


def test_remote_code_named_in_the_backbones_settings_is_not_run(saved: Path) -> None:
    marker = saved.parent / "was-run"
    (saved / "modeling_evil.py").write_text(f"from pathlib import Path\nPath({str(marker)!r}).touch()\n")
    config = json.loads((saved / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "modeling_evil.C", "AutoModel": "modeling_evil.M"}
    config["model_type"] = "evil"
    (saved / "config.json").write_text(json.dumps(config))
    refused(saved, "cannot be loaded")
    assert not marker.exists()


def test_a_stock_name_that_is_no_module_is_refused(saved: Path) -> None:
    modules = json.loads((saved / "modules.json").read_text())
    modules[1]["type"] = "sentence_transformers.util.http_get"
    (saved / "modules.json").write_text(json.dumps(modules))
    refused(saved, "cannot be loaded")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["model.safetensors", "1_LastLayerTrainablePooling/model.safetensors"])
def test_weights_that_are_not_finite_are_refused(saved: Path, name: str, value: float) -> None:
    weights = load_file(saved / name)
    first = sorted(weights)[0]
    weights[first].view(-1)[-1] = value
    save_file(weights, saved / name, metadata={"format": "pt"})
    refused(saved, "hold NaN or infinity")


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "modules.json",
        "model.safetensors",
        "tokenizer.json",
        "1_LastLayerTrainablePooling/config.json",
        "1_LastLayerTrainablePooling/model.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["truncated", "noise", "empty"])
def test_a_damaged_file_gives_one_line(saved: Path, name: str, damage: str) -> None:
    content = (saved / name).read_bytes()
    noise = np.random.default_rng(0).integers(32, 127, size=len(content), dtype=np.uint8).tobytes()
    damaged = {"truncated": content[: len(content) // 2], "noise": noise, "empty": b""}[damage]
    (saved / name).write_bytes(damaged)
    refused(saved, "model.*: ")


@pytest.mark.parametrize("name", ["model.safetensors", "1_LastLayerTrainablePooling/model.safetensors"])
def test_missing_weights_are_refused(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refused(saved, "cannot be loaded")


def test_an_altered_file_of_a_sealed_model_is_named(tmp_path: Path, llama_directory: Path) -> None:
    build(llama_directory).save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["rms_norm_eps"] = 2e-6
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    refused(tmp_path / "model", r"config\.json: .*manifest")


def test_a_directory_without_a_model_a_file_and_nothing_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, "neither modules.json nor config.json")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "is a file")
    refused(tmp_path / "missing", "no such directory")


def test_a_replacement_cut_short_is_put_right(tmp_path: Path, llama_directory: Path) -> None:
    build(llama_directory).save(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".trash-model-0123456789ab")
    assert load(tmp_path / "model").dimension == 32


def test_a_link_to_a_model_is_followed(saved: Path) -> None:
    (saved.parent / "link").symlink_to(saved)
    assert load(saved.parent / "link").dimension == 32


def test_a_length_a_model_does_not_take_is_refused(saved: Path, tmp_path: Path) -> None:
    assert load(saved, max_length=10).model.get_max_seq_length() == 10
    refused(saved, "has 64 positions", max_length=65)
    TextEncoder(SentenceTransformer(modules=[BoW(["red"])]), name="words").save(tmp_path / "words")
    refused(tmp_path / "words", "takes no max_length", max_length=5)


def test_loading_is_in_float32_whatever_was_stored(tmp_path: Path, llama_directory: Path) -> None:
    shutil.copytree(llama_directory, tmp_path / "half")
    path = tmp_path / "half" / "model.safetensors"
    half = {name: weights.to(torch.bfloat16) for name, weights in load_file(path).items()}
    save_file(half, path, metadata={"format": "pt"})
    config = json.loads((tmp_path / "half" / "config.json").read_text())
    (tmp_path / "half" / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert {weights.dtype for weights in load(tmp_path / "half").model.parameters()} == {torch.float32}
