"""A model made ready to compute: in another precision, with packed layers, and the person's own model left alone.

The first module (the transformer) is copied by structure; its parameters are shared where nothing converts them. The
modules after it (pooling, dense, normalise) are the model's own and compute in float32. A copy is kept as long as its
model lives, and made anew as soon as a weight or a setting of the model is another one.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor, nn

from embedworks.encoders.engine.attention import use_short_text_attention
from embedworks.encoders.engine.packing import pack_linear_layers, packing_works
from embedworks.encoders.engine.precision import DTYPES
from embedworks.encoders.engine.report import ComputePrecision
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass
class Prepared:
    """A copy of a first module.

    Args:
        stamp: What the model was like when it was made.
        module: The copy.
        verified: How many texts it has been compared with float32 on.
    """

    stamp: object
    module: nn.Module
    verified: int = 0


Forward = Callable[[dict[str, Any]], Tensor]
"""Features of one batch to its vectors, before any truncation: float32, shape (rows, d), on the model's device."""

_SAMPLED_NUMBERS: Final = 8
_HALF: Final = (torch.float16, torch.bfloat16)
_PLAIN: Final = (bool, int, float, str, type(None))
_copies: WeakKeyDictionary[nn.Module, dict[ComputePrecision, Prepared]] = WeakKeyDictionary()
_lock = threading.Lock()


def own_precision(model: SentenceTransformer) -> ComputePrecision:
    """Return what a model's weights are stored in."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return next((name for name, known in DTYPES.items() if known == dtype), "float32")


def can_be_copied(model: SentenceTransformer) -> bool:
    """Return whether the first module is a torch transformer that stands on one device as a whole."""
    first = model[0]
    return (
        isinstance(first, Transformer)
        and first.backend == "torch"
        and len({tensor.device for tensor in chain(model.parameters(), model.buffers())}) == 1
    )


def plain_forward(model: SentenceTransformer) -> Forward:
    """Return the forward pass of the model itself."""

    def forward(features: dict[str, Any]) -> Tensor:
        return _vectors(model(_on_device(features, model.device)))

    return forward


def prepared_forward(model: SentenceTransformer, prepared: Prepared) -> Forward:
    """Return the forward pass of a copy of the first module and of the model's other modules.

    Args:
        model: A model that :func:`can_be_copied`.
        prepared: The copy, by :func:`prepared_copy`.
    """
    first = prepared.module
    rest = [module for _, module in list(model.named_children())[1:]]

    def forward(features: dict[str, Any]) -> Tensor:
        features = first(_on_device(features, model.device))
        features = {name: _in_float32(value) for name, value in features.items()}
        for module in rest:
            features = module(features)
        return _vectors(features)

    return forward


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode for a block, and each back into its own after it."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def prepared_copy(model: SentenceTransformer, precision: ComputePrecision) -> Prepared:
    """Return the copy of a model's first module, made anew where the model has changed."""
    stamp = _stamp(model[0])
    with _lock:
        kept = _copies.setdefault(model, {})
        known = kept.get(precision)
        if known is None or known.stamp != stamp:
            kept.pop(precision, None)  # release the stale copy before its successor is made
            known = kept[precision] = Prepared(stamp, _prepare(model[0], precision))
        return known


def _prepare(first: Any, precision: ComputePrecision) -> nn.Module:
    dtype = DTYPES[precision]
    shared: dict[int, Any] = {id(first.processor): first.processor}
    for name, tensor in chain(first.named_parameters(), first.named_buffers()):
        # Frequencies of rotary positions lose positions in half precision; models cast what they make of them.
        convert = tensor.is_floating_point() and tensor.dtype != dtype and "inv_freq" not in name
        value = tensor.detach().to(dtype) if convert else tensor.detach()
        shared[id(tensor)] = nn.Parameter(value, requires_grad=False) if isinstance(tensor, nn.Parameter) else value
    prepared: nn.Module = copy.deepcopy(first, shared).eval()
    if all(parameter.device.type == "cpu" for parameter in prepared.parameters()):
        if packing_works(dtype):
            pack_linear_layers(prepared)
        if dtype == torch.bfloat16:
            use_short_text_attention(prepared)
    return prepared


def _stamp(module: nn.Module) -> object:
    """Return what changes whenever a weight or a setting does.

    Optimizers and loading count up a tensor's version; writing through ``.data`` does not, hence the sampled numbers.
    """
    tensors = []
    for tensor in chain(module.parameters(), module.buffers()):
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // _SAMPLED_NUMBERS)
        version = -1 if tensor.is_inference() else tensor._version
        tensors.append((id(tensor), tensor.data_ptr(), version, tensor.dtype, tuple(flat[::step].tolist())))
    settings: list[tuple[object, ...]] = []
    seen = set()
    for part in module.modules():
        settings.append((type(part), _plain_values(vars(part)), (*part._forward_pre_hooks, *part._forward_hooks)))
        config: Any = getattr(part, "config", None)
        if hasattr(config, "to_dict") and id(config) not in seen:
            seen.add(id(config))
            settings.append((type(config), json.dumps(config.to_dict(), sort_keys=True, default=str)))
            settings.append((type(config), str(getattr(config, "_attn_implementation", None))))
    return tensors, settings


def _plain_values(attributes: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    return tuple(
        (name, repr(value) if isinstance(value, dict | list | tuple | set) else value)
        for name, value in attributes.items()
        if name != "training" and _is_plain(value)
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(part, _PLAIN) for part in value.values())
    if isinstance(value, list | tuple | set):
        return all(isinstance(part, _PLAIN) for part in value)
    return isinstance(value, _PLAIN)


def _on_device(features: dict[str, Any], device: torch.device) -> dict[str, Any]:
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in features.items()
    }


def _in_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALF else value
    if isinstance(value, tuple | list) and value and all(isinstance(part, Tensor) for part in value):
        return tuple(_in_float32(part) for part in value)
    return value


def _vectors(features: dict[str, Any]) -> Tensor:
    vectors = features.get("sentence_embedding")
    if not isinstance(vectors, Tensor) or vectors.ndim != 2:
        raise InputError("the model gives no single vector a text", where="model", mend="add a pooling module to it")
    return vectors.float()
