"""Low-rank adapters on a backbone through peft: put on for training, merged into the weights for saving."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from embedworks.foundation import InputError, MissingExtraError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation; the defaults are those of the pooling-and-attention paper (arXiv 2409.02727).

    Args:
        rank: Rank r of the update.
        alpha: The update is scaled by alpha / r.
        dropout: Dropout of the adapter's input, a probability.
        targets: Names of the linear layers that get an adapter; BERT calls its own query, key, value, dense.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.1
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def add_lora(model: Any, settings: LoraSettings) -> None:
    """Put adapters on a transformers model in place; its own weights are frozen, only the adapters train.

    Args:
        model: A transformers model (``PreTrainedModel``).
        settings: Rank, scale, dropout, layers.

    Raises:
        MissingExtraError: peft is not installed.
        InputError: The model has none of the named layers, or a number is out of range.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise MissingExtraError("peft", extra="lora", needed_for="low-rank adaptation") from error
    if settings.rank < 1 or settings.alpha <= 0 or not 0 <= settings.dropout < 1:
        raise InputError(f"{settings} is out of range", mend="use rank >= 1, alpha > 0 and 0 <= dropout < 1")
    linear = {name.rsplit(".", 1)[-1] for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    present = [name for name in settings.targets if name in linear]
    if not present:
        raise InputError(
            f"{type(model).__name__} has none of the layers {', '.join(settings.targets)}",
            where="LoRA targets",
            mend=f"its linear layers are {', '.join(sorted(linear))}: name some of them",
        )
    model.add_adapter(
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            bias="none",
            target_modules=present,
        )
    )


def with_merged_lora(model: SentenceTransformer) -> SentenceTransformer:
    """Return a copy of a model whose adapters are merged into the weights; the model itself if it has none.

    Merging makes a saved model whole: an adapter alone only names its base, by a path that may not exist elsewhere.
    """
    backbone = model.transformers_model
    if backbone is None or not getattr(backbone, "_hf_peft_config_loaded", False):
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer

    merged = copy.deepcopy(model)
    root: Any = merged.transformers_model
    for name, layer in list(root.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, child = name.rpartition(".")
            setattr(root.get_submodule(parent), child, layer.get_base_layer())
    root._hf_peft_config_loaded = False
    if hasattr(root, "peft_config"):
        del root.peft_config
    for parameter in root.parameters():
        parameter.requires_grad_(True)
    return merged
