"""Last-layer trainable pooling as a sentence-transformers module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from embedworks.encoders import LastLayerTrainablePooling
from embedworks.encoders.token_states import last_token, masked_mean
from embedworks.foundation import InputError


def features(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]])
    return {"token_embeddings": torch.randn(3, 4, 8, generator=generator), "attention_mask": mask}


def test_vectors_are_the_pooled_tokens_with_length_one() -> None:
    module = LastLayerTrainablePooling(8, latents=3, heads=2)
    given = features()
    pooled = module.attention(given["token_embeddings"], given["attention_mask"].bool())
    assert torch.equal(module(features())["sentence_embedding"], F.normalize(pooled, dim=-1))


def test_scope_eos_reads_the_last_real_token_only() -> None:
    module = LastLayerTrainablePooling(8, latents=3, heads=2, last_layer_scope="eos")
    given = features()
    before = module(features())["sentence_embedding"]
    changed = features()
    changed["token_embeddings"][:, :-1] = 5.0
    assert torch.equal(module(changed)["sentence_embedding"], before)
    alone = last_token(given["token_embeddings"], given["attention_mask"].bool())[:, None]
    torch.testing.assert_close(module({"token_embeddings": alone})["sentence_embedding"], before)


def test_scope_all_reads_every_real_token_and_no_padding() -> None:
    module = LastLayerTrainablePooling(8, latents=3, heads=2)
    before = module(features())["sentence_embedding"]
    changed = features()
    changed["token_embeddings"][0, 2] *= -1.0  # a real token that is not the last
    changed["token_embeddings"][2, 0] *= -1.0  # padding
    after = module(changed)["sentence_embedding"]
    assert not torch.allclose(after[0], before[0], atol=1e-4)
    assert torch.equal(after[2], before[2])


@pytest.mark.parametrize("scope", ["all", "eos"])
def test_zero_init_starts_exactly_at_the_mean(scope: str) -> None:
    module = LastLayerTrainablePooling(8, latents=3, heads=2, zero_init_output=True, last_layer_scope=scope)
    given = features()
    mask = given["attention_mask"].bool()
    rows = given["token_embeddings"]
    mean = masked_mean(rows, mask) if scope == "all" else last_token(rows, mask)
    assert torch.equal(module(features())["sentence_embedding"], F.normalize(mean, dim=-1))


def test_the_callers_mask_is_left_alone() -> None:
    given = features()
    before = given["attention_mask"].clone()
    LastLayerTrainablePooling(8, latents=3, heads=2)(given)
    assert torch.equal(given["attention_mask"], before)


def test_saved_and_loaded_it_is_the_same_to_the_bit(tmp_path: Path) -> None:
    module = LastLayerTrainablePooling(8, latents=3, heads=2, feed_forward_multiple=2, last_layer_scope="eos")
    module.save(str(tmp_path), safe_serialization=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = LastLayerTrainablePooling.load(str(tmp_path))
    assert loaded.get_config_dict() == module.get_config_dict()
    for name, weights in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weights)
    assert loaded.get_embedding_dimension() == 8


def test_an_unknown_scope_is_refused() -> None:
    with pytest.raises(InputError, match="choose 'all' or 'eos'"):
        LastLayerTrainablePooling(8, last_layer_scope="first")  # type: ignore[arg-type]
