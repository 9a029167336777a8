"""Saved encoders merged as files: the result loads, says how it came about, and unlike ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from embedworks.encoders import TextEncoder, load
from embedworks.foundation import InputError, StorageError, verify_directory
from embedworks.training import (
    delta_guided_fusion,
    merge_delta_guided,
    merge_greedily,
    merge_uniformly,
    uniform_soup,
)

TEXTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9"]


@pytest.fixture
def saved(tiny_model, tmp_path):
    """Saves the tiny model, each time with other weights where a seed is given."""

    def save(name: str, seed: int | None) -> Path:
        model = tiny_model()
        if seed is not None:
            generator = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        TextEncoder(model, name=name, base_model="tiny").save(tmp_path / name)
        return tmp_path / name

    return save


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_uniform_soup_loads_and_encodes_as_the_mean_of_the_weights(saved, tmp_path, tiny_model):
    directories = [saved(f"model-{seed}", seed) for seed in range(3)]
    report = merge_uniformly(directories, tmp_path / "soup")
    assert equal(weights(tmp_path / "soup"), uniform_soup([weights(directory) for directory in directories]))
    assert report.rule == "uniform soup"
    assert report.merged == report.models == ("model-0", "model-1", "model-2")
    by_hand = load(directories[0])
    mean = uniform_soup([load(directory).model.state_dict() for directory in directories])
    by_hand.model.load_state_dict(mean)
    encoder = load(tmp_path / "soup")
    np.testing.assert_array_equal(encoder.encode(TEXTS), by_hand.encode(TEXTS))
    stock = SentenceTransformer(str(tmp_path / "soup"), device="cpu")
    np.testing.assert_allclose(stock.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
    assert encoder.base_model == "tiny"
    assert encoder.training_settings["merge"]["models"] == ["model-0", "model-1", "model-2"]
    assert verify_directory(tmp_path / "soup")["dimension"] == 16
    card = (tmp_path / "soup" / "README.md").read_text()
    assert card.startswith("---\n")
    assert "merged from 3 others" in card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model-0", "model-1", "model-2", "soup"]


def test_merging_an_encoder_with_itself_gives_its_weights_back(saved, tmp_path):
    directory = saved("model", 1)
    merge_uniformly([directory] * 3, tmp_path / "soup", weights=[1.0, 2.0, 4.0])
    merge_delta_guided(saved("start", None), [directory] * 2, tmp_path / "fused")
    for merged in ("soup", "fused"):
        assert (tmp_path / merged / "model.safetensors").read_bytes() == (directory / "model.safetensors").read_bytes()


def test_the_greedy_soup_judges_saved_encoders(saved, tmp_path):
    directories = [saved(f"model-{seed}", seed) for seed in range(3)]
    goal = uniform_soup([weights(directories[0]), weights(directories[2])])
    seen: list[Path] = []

    def validate(directory: Path) -> float:
        seen.append(directory)
        load(directory)  # what is judged is a whole encoder
        return -sum(float((tensor - goal[name]).norm()) for name, tensor in weights(directory).items())

    report = merge_greedily(directories, tmp_path / "soup", validate)
    assert set(report.merged) == {"model-0", "model-2"}
    assert equal(weights(tmp_path / "soup"), goal)
    assert len(report.scores) == 3
    assert report.score == 0.0
    assert len(seen) == 5
    assert not any(directory.exists() for directory in seen)
    assert load(tmp_path / "soup").training_settings["merge"]["score"] == 0.0


def test_delta_guided_fusion_of_directories_is_that_of_their_weights(saved, tmp_path):
    start, directories = saved("start", None), [saved(f"model-{seed}", seed) for seed in range(2)]
    merge_delta_guided(start, directories, tmp_path / "fused", granularity="row", power=-1.0)
    wanted = delta_guided_fusion(weights(start), [weights(d) for d in directories], granularity="row", power=-1.0)
    assert equal(weights(tmp_path / "fused"), wanted)
    assert "from start, a weight a row, power -1" in load(tmp_path / "fused").training_settings["merge"]["rule"]


def _change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_encoders_that_differ_in_more_than_weights_are_refused(saved, tmp_path):
    first, second = saved("first", 1), saved("second", 2)
    (second / "manifest.json").unlink()
    _change_json(second / "config.json", transformers_version="4.0")
    merge_uniformly([first, second], tmp_path / "soup")  # who saved it makes no difference
    _change_json(second / "config.json", num_attention_heads=4)
    with pytest.raises(InputError, match=r"second/config\.json: differs from that of .*first") as caught:
        merge_uniformly([first, second], tmp_path / "none")
    assert "\n" not in str(caught.value)
    (second / "config.json").unlink()
    with pytest.raises(InputError, match=r"second: has no config\.json, and .*first has"):
        merge_uniformly([first, second], tmp_path / "none")
    third = saved("third", 3)
    (third / "manifest.json").unlink()
    tensors = weights(third)
    save_file({name: tensor.half() for name, tensor in tensors.items()}, third / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"has dtype torch\.float32 in model 1 and torch\.float16 in model 2"):
        merge_uniformly([first, third], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_is_no_encoder_or_is_damaged_is_refused(saved, tmp_path):
    model = saved("model", 1)
    with pytest.raises(InputError, match="no such directory"):
        merge_uniformly([model, tmp_path / "absent"], tmp_path / "none")
    with pytest.raises(InputError, match="no models"):
        merge_uniformly([], tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="holds no safetensors"):
        merge_uniformly([tmp_path / "empty"], tmp_path / "none")
    (tmp_path / "empty" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(StorageError, match="is a pickle"):
        merge_uniformly([tmp_path / "empty"], tmp_path / "none")
    for merge in (merge_uniformly, lambda given, out: merge_greedily(given, out, lambda _: 0.0)):
        with pytest.raises(InputError, match="exists already"):
            merge([model], model)
    (model / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(StorageError, match="the manifest says"):
        merge_uniformly([model], tmp_path / "none")
    (model / "manifest.json").unlink()
    with pytest.raises(StorageError, match="unreadable weights"):
        merge_uniformly([model], tmp_path / "none")
