"""The direction of attention is found by trying, with and without padding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel

from embedworks.encoders import attention_direction
from embedworks.foundation import InputError


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "qwen"])
@pytest.mark.parametrize(("is_causal", "direction"), [(None, "causal"), (True, "causal"), (False, "bidirectional")])
def test_decoders_take_either_direction(
    request: pytest.FixtureRequest, family: str, implementation: str, is_causal: bool | None, direction: str
) -> None:
    config = AutoConfig.from_pretrained(request.getfixturevalue(f"{family}_directory"))
    if is_causal is not None:
        config.is_causal = is_causal
    model = AutoModel.from_config(config, attn_implementation=implementation)
    assert attention_direction(model) == direction


def test_bert_told_to_be_causal_is_so_only_without_padding(bert_directory: Path) -> None:
    config = AutoConfig.from_pretrained(bert_directory)
    assert attention_direction(AutoModel.from_config(config)) == "bidirectional"
    config.is_causal = True
    assert attention_direction(AutoModel.from_config(config)) == "inconsistent"


def test_a_model_in_training_stays_in_training(llama_directory: Path) -> None:
    model = AutoModel.from_pretrained(llama_directory).train()
    attention_direction(model)
    assert model.training


def test_a_tiny_vocabulary_is_refused(llama_directory: Path) -> None:
    config = AutoConfig.from_pretrained(llama_directory)
    config.vocab_size = 9
    with pytest.raises(InputError, match="too few to try"):
        attention_direction(AutoModel.from_config(config))


@pytest.mark.parametrize("place", [1, 3, 6])
def test_states_before_a_changed_token_stay_under_the_causal_mask_only(llama_directory: Path, place: int) -> None:
    config = AutoConfig.from_pretrained(llama_directory)
    tokens = torch.arange(10, 18)[None]
    changed = tokens.clone()
    changed[0, place] = 40
    for is_causal in (True, False):
        config.is_causal = is_causal
        torch.manual_seed(0)
        model = AutoModel.from_config(config).eval()
        with torch.no_grad():
            before, after = model(tokens).last_hidden_state, model(changed).last_hidden_state
        assert torch.equal(before[:, :place], after[:, :place]) == is_causal
        assert not torch.equal(before[:, place:], after[:, place:])
