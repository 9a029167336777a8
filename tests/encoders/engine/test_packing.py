from __future__ import annotations

import pytest
import torch
from torch import nn

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


def test_large_models_are_not_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LARGEST_PACKED_BYTES", 1000)
    model = nn.Sequential(nn.Linear(96, 80))
    assert pack_linear_layers(model) == 0
    assert type(model[0]) is nn.Linear
