"""Linear layers with weights laid out once for oneDNN, for inference on processors.

``torch.nn.Linear`` in float32 goes to the BLAS library, which re-packs the weights at every call and on AMD runs 10 to
20 % below oneDNN's AVX-512 kernels. The operators used are those that ``torch.compile`` emits for frozen weights;
where they are missing, differ or are slower, nothing is packed.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST_PACKED: Final = 64 * 64
_LARGEST_PACKED_BYTES: Final = 2 * 1024**3
_TYPICAL_ROWS: Final = 512


class PackedLinear(nn.Linear):
    """A linear layer that computes from a packed copy of its weight; forward only.

    Args:
        layer: The layer to stand in for; its parameters are shared.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight, self.bias = layer.weight, layer.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _TYPICAL_ROWS)
        bias: Any = layer.bias  # None without one, whatever its annotation says
        self._detached_bias = None if bias is None else bias.detach()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name nn.Linear gives it
        """Return ``input @ weight.T + bias``."""
        if input.dtype != self.weight.dtype or input.numel() == 0:
            return F.linear(input, self.weight, self.bias)
        result: Tensor = torch.ops.mkldnn._linear_pointwise(input, self._packed, self._detached_bias, "none", [], "")
        return result


@cache
def packing_works(dtype: torch.dtype) -> bool:
    """Return whether packed layers exist here and agree with plain ones."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(96, 64, device="meta")  # so that nothing is drawn from the global generator, which is not ours
    layer.weight = nn.Parameter((torch.randn(64, 96, generator=generator) / 10).to(dtype), requires_grad=False)
    layer.bias = nn.Parameter(torch.randn(64, generator=generator).to(dtype), requires_grad=False)
    with torch.inference_mode():
        probe = torch.randn(2, 5, 96, generator=generator).to(dtype)
        try:
            packed = PackedLinear(layer)(probe)
        except (RuntimeError, NotImplementedError):
            return False
        return torch.allclose(packed.float(), layer(probe).float(), atol=1e-5 if dtype == torch.float32 else 0.05)


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
        if type(child) is nn.Linear
        and child.weight.numel() >= _SMALLEST_PACKED
        # Whoever hangs a hook on a layer wants that layer's own forward.
        and not child._forward_hooks
        and not child._forward_pre_hooks
    ]
    if sum(layer.weight.numel() * layer.weight.element_size() for _, _, layer in layers) > _LARGEST_PACKED_BYTES:
        return 0
    for parent, name, layer in layers:
        setattr(parent, name, PackedLinear(layer))
    return len(layers)
