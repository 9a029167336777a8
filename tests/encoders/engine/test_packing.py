from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertIntermediate

from embedworks.encoders.engine import packing
from embedworks.encoders.engine.packing import PackedLinear, pack_linear_layers, packing_works

pytestmark = pytest.mark.skipif(not packing_works(torch.float32), reason="this torch has no oneDNN linear operators")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7, 96), (2, 5, 96), (1, 96), (0, 96), (3, 0, 96)])
def test_packed_layers_equal_plain_ones(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(96, 80, bias=bias)
    inputs = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(layer)(inputs), layer(inputs), atol=2e-6, rtol=1e-5)
        strided = torch.randn(*shape[:-1], 2 * 96)[..., ::2]
        torch.testing.assert_close(PackedLinear(layer)(strided), layer(strided), atol=2e-6, rtol=1e-5)


def test_only_plain_layers_of_some_size_are_packed() -> None:
    class Own(nn.Linear):
        pass

    layers = {"plain": nn.Linear(96, 80), "own": Own(96, 80), "small": nn.Linear(4, 4), "hooked": nn.Linear(96, 80)}
    model = nn.ModuleDict(layers)
    weight = model["plain"].weight
    model["hooked"].register_forward_hook(lambda _module, _inputs, output: output)
    assert pack_linear_layers(model) == 1
    assert isinstance(model["plain"], PackedLinear)
    assert model["plain"].weight is weight
    assert [type(model[name]) for name in ("own", "small", "hooked")] == [Own, nn.Linear, nn.Linear]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "gelu_python"])
def test_an_exact_gelu_is_computed_with_its_layer(activation: str) -> None:
    torch.manual_seed(0)
    config = BertConfig(hidden_size=64, intermediate_size=96, hidden_act=activation)
    layer = BertIntermediate(config)
    states = torch.randn(3, 5, 64)
    with torch.inference_mode():
        expected = layer(states)
        assert pack_linear_layers(layer) == 1
        torch.testing.assert_close(layer(states), expected, atol=2e-6, rtol=1e-5)
        assert layer(states[:0]).shape == (0, 5, 96)
    assert isinstance(layer.intermediate_act_fn, nn.Identity) == (activation == "gelu")


def test_a_gelu_with_a_hook_stays() -> None:
    layer = BertIntermediate(BertConfig(hidden_size=64, intermediate_size=96))
    seen: list[int] = []
    layer.intermediate_act_fn.register_forward_hook(lambda *_: seen.append(1))
    pack_linear_layers(layer)
    layer(torch.randn(2, 64))
    assert seen


def test_large_models_are_not_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LARGEST_PACKED_BYTES", 1000)
    model = nn.Sequential(nn.Linear(96, 80))
    assert pack_linear_layers(model) == 0
    assert type(model[0]) is nn.Linear
