"""Latent-attention and self-attention pooling as sentence-transformers modules, alone and in whole encoders."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from embedworks.encoders import (
    Instructions,
    LatentAttentionPooling,
    PoolingSettings,
    SelfAttentionPooling,
    TextEncoder,
    build,
    export,
    load,
)
from embedworks.encoders.token_states import masked_mean
from embedworks.foundation import InputError

Vectors = Callable[..., torch.Tensor]
FORMS: dict[str, Any] = {
    "released": lambda **extra: LatentAttentionPooling(8, latents=3, heads=2, **extra),
    "paper": lambda **extra: LatentAttentionPooling(8, latents=3, heads=2, paper_form=True, **extra),
    "self": lambda **extra: SelfAttentionPooling(8, heads=2, **extra),
}


def features(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]])
    return {"token_embeddings": torch.randn(3, 4, 8, generator=generator), "attention_mask": mask}


def encoder_of(form: str, directory: Path, *, bidirectional: bool = True) -> TextEncoder:
    settings = PoolingSettings(latents=None if form == "self" else 6, heads=4, paper_form=form == "paper")
    return build(
        directory,
        pooling="self-attention" if form == "self" else "latent-attention",
        attention="bidirectional" if bidirectional else "as-is",
        pooling_settings=settings,
    )


def test_vectors_are_the_mean_over_the_real_tokens_with_length_one() -> None:
    module = FORMS["released"]()
    given = features()
    changed = module.attention(given["token_embeddings"], module.latent_array)
    expected = F.normalize(masked_mean(changed, given["attention_mask"].bool()), dim=-1)
    assert torch.equal(module(features())["sentence_embedding"], expected)


@pytest.mark.parametrize("form", ["released", "self"])
def test_with_zeroed_outputs_it_is_the_masked_mean(form: str) -> None:
    given = features()
    mean = masked_mean(given["token_embeddings"], given["attention_mask"].bool())
    started = FORMS[form](zero_init_output=True)
    assert torch.equal(started(features())["sentence_embedding"], F.normalize(mean, dim=-1))
    zeroed = FORMS[form]()
    with torch.no_grad():
        for parameter in (*zeroed.attention.to_output.parameters(), *zeroed.attention.feed_forward.outer.parameters()):
            parameter.zero_()
    assert torch.equal(zeroed(features())["sentence_embedding"], F.normalize(mean, dim=-1))


def test_the_papers_form_has_no_way_past_its_outputs() -> None:
    module = FORMS["paper"]()
    with torch.no_grad():
        for parameter in module.attention.outer.parameters():
            parameter.zero_()
    assert not module(features())["sentence_embedding"].any()


@pytest.mark.parametrize("form", list(FORMS))
def test_the_order_of_the_tokens_does_not_matter_and_their_content_does(form: str) -> None:
    module = FORMS[form]().double()
    given = features()
    states = given["token_embeddings"].double()
    order = torch.tensor([2, 0, 3, 1])
    first = module({"token_embeddings": states})["sentence_embedding"]
    second = module({"token_embeddings": states[:, order]})["sentence_embedding"]
    torch.testing.assert_close(second, first, rtol=0, atol=1e-12)
    assert (module({"token_embeddings": -states})["sentence_embedding"] - first).abs().max() > 1e-3


@pytest.mark.parametrize("form", list(FORMS))
def test_padding_neither_counts_nor_learns(form: str) -> None:
    module = FORMS[form]()
    given = features()
    given["token_embeddings"].requires_grad_()
    vectors = module(dict(given))["sentence_embedding"]
    changed = features()
    padding = changed["attention_mask"] == 0
    changed["token_embeddings"][padding] = 1e4
    torch.testing.assert_close(module(changed)["sentence_embedding"], vectors, rtol=0, atol=1e-6)
    (vectors * torch.randn(3, 8, generator=torch.Generator().manual_seed(1))).sum().backward()
    gradient = given["token_embeddings"].grad
    assert gradient is not None
    assert not gradient[padding].any()
    assert gradient[~padding].abs().min() > 0


@pytest.mark.parametrize("form", list(FORMS))
def test_every_parameter_learns(form: str) -> None:
    module = FORMS[form]()
    weights = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
    (module(features())["sentence_embedding"] * weights).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_an_instruction_that_is_left_out_is_read_by_self_attention_and_not_averaged() -> None:
    module = FORMS["self"]()
    given = features()
    real = given["attention_mask"].clone()
    pooled = real.clone()
    pooled[1, :2] = 0
    vectors = module({**given, "attention_mask": pooled, "real_tokens": real})["sentence_embedding"]
    changed = module.attention(given["token_embeddings"], given["token_embeddings"], real.bool())
    torch.testing.assert_close(vectors, F.normalize(masked_mean(changed, pooled.bool()), dim=-1))
    unread = module({**given, "attention_mask": pooled})["sentence_embedding"]
    assert (unread[1] - vectors[1]).abs().max() > 1e-4


def test_the_callers_mask_is_left_alone() -> None:
    for make in FORMS.values():
        given = features()
        before = given["attention_mask"].clone()
        make()(given)
        assert torch.equal(given["attention_mask"], before)


@pytest.mark.parametrize("form", list(FORMS))
def test_saved_and_loaded_it_is_the_same_to_the_bit(tmp_path: Path, form: str) -> None:
    module = FORMS[form](feed_forward_multiple=2)
    module.save(str(tmp_path), safe_serialization=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = type(module).load(str(tmp_path))
    assert loaded.get_config_dict() == module.get_config_dict()
    assert torch.equal(loaded(features())["sentence_embedding"], module(features())["sentence_embedding"])
    assert loaded.get_embedding_dimension() == 8


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize(
    ("family", "side"), [("llama", "left"), ("llama", "right"), ("qwen", "left"), ("bert", "right")]
)
def test_a_text_has_the_same_vector_alone_and_in_a_batch(
    request: pytest.FixtureRequest, vectors: Vectors, texts: list[str], family: str, side: str, form: str
) -> None:
    # A BERT counts positions from the left edge, padding included, so only padding on the right leaves it alone.
    encoder = encoder_of(form, request.getfixturevalue(f"{family}_directory"), bidirectional=family != "bert")
    together = vectors(encoder, texts, side=side)
    alone = torch.cat([vectors(encoder, [text], side=side) for text in texts])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(texts)))


@pytest.mark.parametrize("form", list(FORMS))
def test_the_engine_gives_the_vectors_of_one_plain_pass(
    llama_directory: Path, vectors: Vectors, texts: list[str], form: str
) -> None:
    encoder = encoder_of(form, llama_directory)
    expected = vectors(encoder, texts).numpy()
    np.testing.assert_allclose(encoder.encode(texts, precision="float32"), expected, rtol=0, atol=1e-5)


def test_a_fresh_process_loads_them_and_gives_the_same_vectors(
    tmp_path: Path, llama_directory: Path, texts: list[str]
) -> None:
    encoders = {form: encoder_of(form, llama_directory) for form in FORMS}
    encoders["instructed"] = build(
        llama_directory, pooling="latent-attention", instructions=Instructions(query="find the bird")
    )
    for form, encoder in encoders.items():
        encoder.save(tmp_path / form)
        np.save(tmp_path / f"{form}.npy", encoder.encode_query(texts, precision="float32"))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    code = """
import json, pathlib, sys
import numpy as np
from embedworks.encoders import load
folder = pathlib.Path(sys.argv[1])
texts = json.loads((folder / "texts.json").read_text())
for form in sys.argv[2:]:
    vectors = load(folder / form).encode_query(texts, precision="float32")
    assert np.array_equal(vectors, np.load(folder / f"{form}.npy")), form
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path), *encoders], check=True)
    settings = load(tmp_path / "paper").model[1].get_config_dict()
    assert (settings["paper_form"], settings["latents"], settings["heads"]) == (True, 6, 4)


@pytest.mark.parametrize("form", list(FORMS))
def test_export_says_why_it_cannot_and_leaves_nothing(tmp_path: Path, llama_directory: Path, form: str) -> None:
    with pytest.raises(InputError, match="cannot be folded: its tokens attend with a softmax"):
        export(encoder_of(form, llama_directory), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_settings_that_make_no_sense_are_refused(llama_directory: Path) -> None:
    with pytest.raises(InputError, match="zeroed outputs would give zero vectors"):
        FORMS["paper"](zero_init_output=True)
    with pytest.raises(InputError, match="splits the width 8 into its 2 heads"):
        FORMS["paper"](head_dimension=3)
    with pytest.raises(InputError, match="has no paper_form"):
        build(llama_directory, pooling="self-attention", pooling_settings=PoolingSettings(paper_form=True))
    with pytest.raises(InputError, match="has no latents"):
        build(llama_directory, pooling="self-attention", pooling_settings=PoolingSettings(latents=3))


def test_the_released_sizes_can_be_asked_for() -> None:
    settings = PoolingSettings.nv_embed()
    assert (settings.latents, settings.heads, settings.head_dimension) == (512, 8, 4096)
