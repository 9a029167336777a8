"""Linear layers with weights laid out once for oneDNN, for inference on processors.

``torch.nn.Linear`` in float32 goes to the BLAS library, which re-packs the weights at every call and on AMD runs 10 to
20 % below oneDNN's AVX-512 kernels. The operators used are those that ``torch.compile`` emits for frozen weights;
where they are missing or differ, nothing is packed. A GELU that follows a layer is computed with it, while its result
is in the registers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

_SMALLEST_PACKED: Final = 64 * 64
_LARGEST_PACKED_BYTES: Final = 2 * 1024**3
_TYPICAL_ROWS: Final = 512
_TOLERANCES: Final = {torch.float32: 1e-5, torch.bfloat16: 0.05}


class PackedLinear(nn.Linear):
    """A linear layer that computes from a packed copy of its weight; forward only.

    Args:
        layer: The layer to stand in for; its parameters are shared.
        activation: What is applied to the result; ``"gelu"`` is the exact one.
    """

    def __init__(self, layer: nn.Linear, activation: Literal["none", "gelu"] = "none") -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self.activation = activation
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _TYPICAL_ROWS)
        bias: Any = layer.bias  # None without one, whatever its annotation says
        self._detached_bias = None if bias is None else bias.detach()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name nn.Linear gives it
        """Return ``activation(input @ weight.T + bias)``."""
        if input.dtype != self.weight.dtype or input.numel() == 0:
            plain = F.linear(input, self.weight, self.bias)
            return plain if self.activation == "none" else F.gelu(plain)
        algorithm = "" if self.activation == "none" else "none"  # of GELU: not approximated
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            input, self._packed, self._detached_bias, self.activation, [], algorithm
        )
        return result


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Return whether packed layers exist here and agree with plain ones, with and without GELU."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_linear_pointwise") or dtype not in _TOLERANCES:
        return False
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(96, 64, device="meta")  # so that nothing is drawn from the global generator, which is not ours
    layer.weight = nn.Parameter((torch.randn(64, 96, generator=generator) / 10).to(dtype), requires_grad=False)
    layer.bias = nn.Parameter(torch.randn(64, generator=generator).to(dtype), requires_grad=False)
    with torch.inference_mode():
        probe = torch.randn(2, 5, 96, generator=generator).to(dtype)
        plain = layer(probe)
        try:
            packed, activated = PackedLinear(layer)(probe), PackedLinear(layer, "gelu")(probe)
        except (RuntimeError, NotImplementedError):
            return False
        return all(
            torch.allclose(got.float(), expected.float(), atol=_TOLERANCES[dtype])
            for got, expected in ((packed, plain), (activated, F.gelu(plain)))
        )


def pack_linear_layers(module: nn.Module) -> int:
    """Replace the plain linear layers below a module by packed ones, in place.

    Args:
        module: A copy made for inference.

    Returns:
        The number of layers packed; none where the packed weights would take more than two gibibytes.
    """
    layers = [
        (parent, name, child)
        for parent in module.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.numel() >= _SMALLEST_PACKED and not _has_hooks(child)
    ]
    if sum(layer.weight.numel() * layer.weight.element_size() for _, _, layer in layers) > _LARGEST_PACKED_BYTES:
        return 0
    for parent, name, layer in layers:
        if _is_linear_then_gelu(parent):
            parent.dense, parent.intermediate_act_fn = PackedLinear(layer, "gelu"), nn.Identity()
        else:
            setattr(parent, name, PackedLinear(layer))
    return len(layers)


def _has_hooks(layer: nn.Module) -> bool:
    """Whoever hangs a hook on a layer wants that layer's own forward, and its own result."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _is_linear_then_gelu(module: nn.Module) -> bool:
    """Recognise what transformers' encoders call an intermediate layer: exactly these two, in this order."""
    children = dict(module.named_children())
    activation = children.get("intermediate_act_fn")
    return (
        list(children) == ["dense", "intermediate_act_fn"]
        and type(module).__module__.startswith("transformers.models.")
        and isinstance(activation, GELUActivation)
        and activation.act is F.gelu
        and not _has_hooks(activation)
    )
