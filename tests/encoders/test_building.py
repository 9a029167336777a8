"""The five designs of the paper and what else can be put together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)

from embedworks.encoders import LoraSettings, MultiLayerTrainablePooling, PoolingSettings, TextEncoder, build
from embedworks.foundation import InputError

Vectors = Callable[..., torch.Tensor]

DESIGNS = {
    1: ("last-token", "causal"),
    2: ("last-layer-trainable", "causal"),
    3: ("multi-layer-trainable", "causal"),
    4: ("last-layer-trainable", "bidirectional"),
    5: ("multi-layer-trainable", "bidirectional"),
}
SMALL = PoolingSettings(latents=4, heads=4)


def design(number: int, directory: Path) -> TextEncoder:
    pooling, attention = DESIGNS[number]
    settings = SMALL if pooling.endswith("trainable") else None
    return build(directory, pooling=pooling, attention=attention, pooling_settings=settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("number", list(DESIGNS))
@pytest.mark.parametrize("family", ["llama", "qwen"])
def test_padded_and_unpadded_agree(
    request: pytest.FixtureRequest, vectors: Vectors, texts: list[str], family: str, number: int, side: str
) -> None:
    encoder = design(number, request.getfixturevalue(f"{family}_directory"))
    together = vectors(encoder, texts, side=side)
    alone = torch.cat([vectors(encoder, [text], side=side) for text in texts])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(len(texts)))


@pytest.mark.parametrize("number", list(DESIGNS))
def test_the_engine_gives_the_vectors_of_one_plain_pass(
    tmp_path: Path, llama_directory: Path, vectors: Vectors, texts: list[str], number: int
) -> None:
    encoder = design(number, llama_directory)
    expected = vectors(encoder, texts).numpy()
    got = encoder.encode(texts, precision="float32")
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert encoder.last_report is not None
    assert encoder.last_report.texts == len(texts)
    report = encoder.encode_to(tmp_path / "vectors.npy", texts, precision="float32")
    assert encoder.last_report is report
    np.testing.assert_allclose(np.load(tmp_path / "vectors.npy"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("number", [2, 4])
def test_multi_layer_designs_have_layers_times_width_parameters_more(llama_directory: Path, number: int) -> None:
    last, many = design(number, llama_directory), design(number + 1, llama_directory)
    count = [sum(weights.numel() for weights in encoder.model.parameters()) for encoder in (last, many)]
    assert count[1] - count[0] == 3 * 32


@pytest.mark.parametrize(("number", "summary"), [(3, "last-token"), (5, "mean")])
def test_layers_are_summarised_by_the_direction_of_attention(llama_directory: Path, number: int, summary: str) -> None:
    pooling = design(number, llama_directory).model[1]
    assert isinstance(pooling, MultiLayerTrainablePooling)
    assert pooling.layer_summary == summary


def test_the_summary_of_an_untouched_encoder_is_the_mean(bert_directory: Path) -> None:
    pooling = build(bert_directory, pooling="multi-layer-trainable").model[1]
    assert pooling.layer_summary == "mean"


@pytest.mark.parametrize("number", list(DESIGNS))
def test_the_same_seed_gives_the_same_weights(llama_directory: Path, number: int) -> None:
    first, again = design(number, llama_directory), design(number, llama_directory)
    for name, weights in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weights)


def test_the_default_is_the_packaged_model_as_it_was_published(vectors: Vectors, texts: list[str]) -> None:
    from sentence_transformers import SentenceTransformer

    from embedworks.encoders import packaged_minilm

    published = SentenceTransformer(str(packaged_minilm()), local_files_only=True).eval()
    with torch.no_grad():
        expected = published(published.preprocess(texts))["sentence_embedding"]
    encoder = build()
    assert encoder.dimension == 384
    assert encoder.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert torch.equal(vectors(encoder, texts), expected)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_cached_and_plain_losses_agree_in_value_and_gradient(llama_directory: Path, number: int) -> None:
    """The cached loss embeds the same feature dictionary twice, the plain one merges the columns into one pass."""
    pairs = (["red", "two boats"], ["a green bird sings in the old tree", "the small machine"])
    results = []
    for loss_class, options in (
        (MultipleNegativesRankingLoss, {}),
        (CachedMultipleNegativesRankingLoss, {"mini_batch_size": 1}),
    ):
        encoder = design(number, llama_directory)
        loss = loss_class(encoder.model, **options)
        value = loss([encoder.model.preprocess(column) for column in pairs], None)
        value.backward()
        gradients = [weights.grad for weights in encoder.model.parameters() if weights.grad is not None]
        results.append((value.detach(), gradients))
    (plain, plain_gradients), (cached, cached_gradients) = results
    torch.testing.assert_close(cached, plain, rtol=1e-5, atol=1e-6)
    assert len(plain_gradients) == len(cached_gradients) > 0
    for first, second in zip(plain_gradients, cached_gradients, strict=True):
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-5)


def test_adapters_train_and_the_backbone_stays(llama_directory: Path) -> None:
    encoder = build(llama_directory, pooling="last-layer-trainable", pooling_settings=SMALL, lora=LoraSettings(rank=2))
    trained = {name for name, weights in encoder.model.named_parameters() if weights.requires_grad}
    assert {name for name in trained if name.startswith("0.")} == {
        name for name, _ in encoder.model.named_parameters() if "lora_" in name
    }
    assert {name for name, _ in encoder.model.named_parameters() if name.startswith("1.")} <= trained


def test_settings_reach_the_pooler(llama_directory: Path) -> None:
    settings = PoolingSettings(latents=3, heads=2, zero_init_output=True, layer_weight_mode="scalar")
    pooling = build(llama_directory, pooling="multi-layer-trainable", pooling_settings=settings).model[1]
    assert (pooling.latents, pooling.heads, pooling.zero_init_output, pooling.layer_weight_mode) == (
        3,
        2,
        True,
        "scalar",
    )
    assert PoolingSettings.published().latents == 768


def test_what_makes_no_sense_is_refused(llama_directory: Path) -> None:
    with pytest.raises(InputError, match="pooling 'max' is not known"):
        build(llama_directory, pooling="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leave pooling_settings out"):
        build(llama_directory, pooling="mean", pooling_settings=SMALL)


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, embedworks.encoders; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_has_a_home() -> None:
    import embedworks.encoders as room

    assert set(room._HOMES) == set(room.__all__)
    for name in room.__all__:
        assert getattr(room, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        room.missing  # noqa: B018
