"""Turn a decoder language model into a text encoder: which pooling, and causal or bidirectional attention.

Paper: Tang and Yang 2024, "Pooling and Attention: What are Effective Designs for LLM-Based Embedding Models?"
(arXiv 2409.02727). Five designs that differ in nothing else are trained on the same triples and compared by task family
with a Wilcoxon test over data sets. Multi-Layers Trainable Pooling, the paper's own, lets learned latents read one
summary of every hidden layer.

Rooms: ``encoders`` has the poolers, the attention switch and the adapters, ``training`` the trainer, the miner and the
small decoder that stands in for a language model, ``evaluation`` the suite and the family table.

What must show: the mechanism exactly; what MiniLM's layers know; the five designs from one checkpoint over several
seeds, with whatever the verdict is. Choices where the paper and its code leave room: layer weights are added, the last
layer is taken after the final norm, the last-layer pooler reads all real tokens (``last_layer_scope="eos"`` is the
released code), padding is masked on either side, and the loss runs at temperature 0.05.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from embedworks.foundation import InputError
from embedworks.methods._fitting import refuse_existing, train_and_save, training_precision

if TYPE_CHECKING:
    from embedworks.data import Pairs
    from embedworks.encoders import TextEncoder
    from embedworks.methods._report import Report, Scale

SUMMARY = "five designs of pooling and attention for turning a decoder language model into a text encoder"
PAPER = "Tang and Yang 2024, arXiv 2409.02727"

DesignName = Literal[
    "eos-causal",
    "last-layer-causal",
    "multi-layer-causal",
    "last-layer-bidirectional",
    "multi-layer-bidirectional",
    "mean-causal",
    "mean-bidirectional",
    "weighted-mean",
]


@dataclass(frozen=True)
class Design:
    """A combination of pooling and attention."""

    pooling: Literal["last-token", "last-layer-trainable", "multi-layer-trainable", "mean", "weighted-mean"]
    """How token states become one vector."""
    attention: Literal["causal", "bidirectional"]
    """What a token may attend to."""
    model: int | None = None
    """Number in the paper; None for the baselines added here."""


DESIGNS: Final[Mapping[DesignName, Design]] = MappingProxyType(
    {
        "eos-causal": Design("last-token", "causal", 1),
        "last-layer-causal": Design("last-layer-trainable", "causal", 2),
        "multi-layer-causal": Design("multi-layer-trainable", "causal", 3),
        "last-layer-bidirectional": Design("last-layer-trainable", "bidirectional", 4),
        "multi-layer-bidirectional": Design("multi-layer-trainable", "bidirectional", 5),
        "mean-causal": Design("mean", "causal"),
        "mean-bidirectional": Design("mean", "bidirectional"),
        "weighted-mean": Design("weighted-mean", "causal"),
    }
)
"""The paper's Models 1 to 5, then baselines it does not have (position-weighted mean: Muennighoff 2022)."""


def find_design(name: str | int) -> DesignName:
    """Return a design's name from its name or its number in the paper.

    Raises:
        InputError: There is no such design.

    Example:
        >>> find_design(3), find_design("mean-causal")
        ('multi-layer-causal', 'mean-causal')
    """
    for known, design in DESIGNS.items():
        if name == known or (design.model is not None and str(name) == str(design.model)):
            return known
    raise InputError(f"there is no design {name!r}", mend=f"choose 1 to 5 or one of {', '.join(DESIGNS)}")


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the published ones for Mistral-7B, :meth:`small` fits MiniLM and two cores."""

    design: DesignName = "multi-layer-bidirectional"
    """Pooling and attention: the paper's Models 1 to 5 in this order, then three baselines."""
    backbone: str = "mistralai/Mistral-7B-v0.1"
    """What to start from: minilm, the directory of a model, or a Hugging Face id."""
    layer_weight_mode: Literal["add", "mul", "scalar", "mean"] = "add"
    """How layer weights enter: a vector a layer added or multiplied, a factor a layer, or a learned mean of layers."""
    last_layer_scope: Literal["all", "eos"] = "all"
    """Which tokens the last-layer pooler reads: all real ones, or only the last as the released code of Model 2."""
    latents: int | None = 768
    """Number of learned latents; min(768, d) where None."""
    heads: int | None = 32
    """Heads of the pooler; 8 where None."""
    head_dimension: int | None = 2048
    """Width of one head; d / heads where None."""
    feed_forward_multiple: int = 4
    """Inner width of the pooler's feed-forward layer, in units of d."""
    zero_init_output: bool = False
    """Whether the pooler starts exactly at the mean of what it reads; not in the paper, meant for small data."""
    lora: bool = True
    """Whether adapters (rank 16, alpha 32, dropout 0.1) are trained instead of the backbone's own weights."""
    batch_size: int = 2048
    """Pairs a step."""
    mini_batch_size: int | None = 16
    """Texts encoded at a time (GradCache); the batch at once where None."""
    epochs: float = 2.0
    """Passes over the pairs, at most."""
    max_steps: int | None = 1000
    """Largest number of optimiser steps."""
    learning_rate: float = 1e-5
    """Peak learning rate of AdamW, reached after a tenth of the training (100 steps), then falling linearly."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    temperature: float = 0.05
    """What cosine similarities are divided by."""
    hard_negatives: int = 1
    """Hard negatives a query; mined with the packaged encoder where the pairs bring none, 0 for those of the batch."""
    max_tokens: int = 1024
    """Longest text in tokens, in training and afterwards."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What matrix products run in during training; auto is bfloat16 where the processor has it."""
    seed: int = 0
    """Seed of the pooler's weights, the order of pairs, dropout and mining."""
    resume: bool = False
    """Whether to go on from the latest checkpoint of a run that was stopped."""

    @classmethod
    def small(cls) -> Config:
        """Return settings for the packaged MiniLM on two cores; the pooler's sizes follow the backbone."""
        return cls(
            backbone="minilm",
            latents=None,
            heads=None,
            head_dimension=None,
            lora=False,
            batch_size=32,
            mini_batch_size=None,
            epochs=1.0,
            max_steps=None,
            learning_rate=5e-5,
            max_tokens=64,
        )


def build_design(config: Config) -> TextEncoder:
    """Put the chosen design together, untrained.

    Raises:
        InputError: The backbone is missing, or does not take the design's attention.
    """
    from embedworks.encoders import LoraSettings, PoolingSettings, build

    design = DESIGNS[find_design(config.design)]
    trainable = design.pooling in ("last-layer-trainable", "multi-layer-trainable")
    sizes = PoolingSettings(
        latents=config.latents,
        heads=config.heads,
        head_dimension=config.head_dimension,
        feed_forward_multiple=config.feed_forward_multiple,
        zero_init_output=config.zero_init_output,
        layer_weight_mode=config.layer_weight_mode,
        last_layer_scope=config.last_layer_scope,
    )
    return build(
        config.backbone,
        pooling=design.pooling,
        attention=design.attention,
        lora=LoraSettings() if config.lora else None,
        max_length=config.max_tokens,
        pooling_settings=sizes if trainable else None,
        seed=config.seed,
    )


def fit(data: Pairs, config: Config, *, out: Path | None = None, progress: bool = False) -> TextEncoder:
    """Train a design on pairs of a query and a text that answers it.

    Args:
        data: Training pairs, with or without hard negatives.
        config: Settings.
        out: Directory to save the model to; must not exist.
        progress: Whether to show progress on standard error.

    Returns:
        The trained encoder.

    Raises:
        InputError: The design, the backbone or the pairs cannot be used, or ``out`` exists.
    """
    from embedworks.encoders import load
    from embedworks.training import TrainingSettings, mine_hard_negatives

    refuse_existing(out)
    settings = TrainingSettings(
        epochs=config.epochs,
        max_steps=config.max_steps,
        batch_size=config.batch_size,
        mini_batch_size=config.mini_batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        temperature=config.temperature,
        hard_negatives_per_query=config.hard_negatives,
        max_tokens=config.max_tokens,
        precision=training_precision(config.precision),
        seed=config.seed,
        resume=config.resume,
    )
    encoder = build_design(config)
    if config.hard_negatives and data.negatives is None:
        data, _ = mine_hard_negatives(
            data,
            load("minilm").encode,
            negatives_per_query=config.hard_negatives,
            seed=config.seed,
            progress=progress,
        )
    facts = {"method": "pooling-and-attention", "design": config.design}
    train_and_save(encoder, data, settings, facts=facts, out=out, progress=progress)
    return encoder


def reproduce(scale: Scale = "default", *, progress: bool = False) -> Report:
    """Check the mechanism, read the layers of a frozen encoder, and run the study of designs.

    Args:
        scale: ``"quick"``: one seed and a few steps; ``"default"``: three seeds of eight designs from one decoder
            pretrained here; ``"paper"``: Mistral-7B as published, on triples of one's own.
        progress: Whether to show progress on standard error.

    Raises:
        InputError: At paper scale, where the weights or the triples are not on this machine.
    """
    from embedworks.methods._pooling_and_attention_study import run_study

    return run_study(scale, progress=progress)
