"""Multi-layer trainable pooling: its rows, its layer weights, its count of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from embedworks.encoders import LastLayerTrainablePooling, MultiLayerTrainablePooling
from embedworks.encoders.token_states import last_token, masked_mean
from embedworks.foundation import InputError

LAYERS, WIDTH = 3, 8


def features(seed: int = 0) -> dict[str, object]:
    generator = torch.Generator().manual_seed(seed)
    layers = tuple(torch.randn(2, 4, WIDTH, generator=generator) for _ in range(LAYERS + 1))
    return {
        "all_layer_embeddings": layers,
        "token_embeddings": layers[-1],
        "attention_mask": torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]]),
    }


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("latents", [1, 5])
@pytest.mark.parametrize("layers", [1, 6])
def test_it_has_exactly_layers_times_width_parameters_more_than_the_last_layer_pooler(
    layers: int, latents: int
) -> None:
    many = MultiLayerTrainablePooling(WIDTH, layers=layers, latents=latents)
    one = LastLayerTrainablePooling(WIDTH, latents=latents)
    assert parameters(many) - parameters(one) == layers * WIDTH


@pytest.mark.parametrize(("summary", "summarise"), [("mean", masked_mean), ("last-token", last_token)])
def test_rows_are_one_summary_a_layer_without_the_embedding_output(summary: str, summarise: object) -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS, layer_summary=summary)  # type: ignore[arg-type]
    given = features()
    rows = module.summaries(given)
    mask = given["attention_mask"].bool()  # type: ignore[attr-defined]
    for layer in range(LAYERS):
        states = given["all_layer_embeddings"][layer + 1]  # type: ignore[index]
        assert torch.equal(rows[:, layer], summarise(states, mask))  # type: ignore[operator]
    changed = features()
    changed["all_layer_embeddings"] = (torch.zeros(2, 4, WIDTH), *changed["all_layer_embeddings"][1:])  # type: ignore[index]
    assert torch.equal(module(changed)["sentence_embedding"], module(features())["sentence_embedding"])


@pytest.mark.parametrize("mode", ["add", "mul", "scalar"])
def test_layer_weights_enter_as_their_mode_says(mode: str) -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS, latents=3, heads=2, layer_weight_mode=mode)
    with torch.no_grad():
        module.layer_weights.normal_(generator=torch.Generator().manual_seed(1))
    rows = module.summaries(features())
    weighted = torch.empty_like(rows)
    for layer in range(LAYERS):
        weights = module.layer_weights[layer]
        weighted[:, layer] = rows[:, layer] + weights if mode == "add" else rows[:, layer] * weights
    assert module.attention is not None
    pooled = module.attention(weighted, torch.ones(2, LAYERS, dtype=torch.bool))
    torch.testing.assert_close(module(features())["sentence_embedding"], F.normalize(pooled, dim=-1))


def test_published_layer_weights_are_drawn_from_the_standard_normal() -> None:
    torch.manual_seed(0)
    weights = MultiLayerTrainablePooling(64, layers=50, latents=1).layer_weights.detach()
    assert weights.shape == (50, 64)
    assert abs(float(weights.mean())) < 0.06
    assert abs(float(weights.std()) - 1) < 0.05


def test_mode_mean_is_a_convex_mixture_without_latents() -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS, layer_weight_mode="mean")
    assert parameters(module) == LAYERS
    rows = module.summaries(features())
    expected = F.normalize(rows.mean(dim=1), dim=-1)
    torch.testing.assert_close(module(features())["sentence_embedding"], expected)
    with torch.no_grad():
        module.layer_weights.copy_(torch.tensor([0.0, 100.0, 0.0]))
    torch.testing.assert_close(module(features())["sentence_embedding"], F.normalize(rows[:, 1], dim=-1))


def test_zero_init_starts_exactly_at_the_mean_over_layers() -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS, latents=3, heads=2, zero_init_output=True)
    rows = module.summaries(features())
    assert torch.equal(module(features())["sentence_embedding"], F.normalize(rows.mean(dim=1), dim=-1))


@pytest.mark.parametrize("mode", ["add", "mul", "scalar", "mean"])
def test_every_parameter_learns(mode: str) -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS, latents=3, heads=2, layer_weight_mode=mode)
    (module(features())["sentence_embedding"] * torch.randn(2, WIDTH)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("mode", ["add", "mean"])
def test_saved_and_loaded_it_is_the_same_to_the_bit(tmp_path: Path, mode: str) -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS, layer_summary="last-token", layer_weight_mode=mode)
    module.save(str(tmp_path))
    loaded = MultiLayerTrainablePooling.load(str(tmp_path))
    assert loaded.get_config_dict() == module.get_config_dict()
    assert torch.equal(loaded(features())["sentence_embedding"], module(features())["sentence_embedding"])


def test_a_backbone_without_hidden_layers_or_with_others_is_refused() -> None:
    module = MultiLayerTrainablePooling(WIDTH, layers=LAYERS)
    with pytest.raises(InputError, match="no hidden layers"):
        module({"token_embeddings": torch.zeros(1, 1, WIDTH)})
    with pytest.raises(InputError, match="has 3 hidden layers, this pooling was built for 4"):
        MultiLayerTrainablePooling(WIDTH, layers=4)(features())


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_weight_mode": "max"},
        {"layer_summary": "first"},
        {"layers": 0},
        {"layer_weight_mode": "mean", "zero_init_output": True},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError):
        MultiLayerTrainablePooling(WIDTH, **{"layers": 2, **settings})  # type: ignore[arg-type]
