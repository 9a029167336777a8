"""Putting an encoder together: backbone, attention direction, adapters, pooling, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Module, Normalize, Transformer

from embedworks.encoders.backbone import (
    MINILM_HUB_NAME,
    PACKAGED_MINILM,
    Attention,
    load_backbone,
    number_of_layers,
)
from embedworks.encoders.direction import attention_direction
from embedworks.encoders.instruction_templates import Instructions
from embedworks.encoders.latent_attention import PUBLISHED_SIZES
from embedworks.encoders.lora import LoraSettings, add_lora
from embedworks.encoders.multi_layer import LayerSummary, LayerWeightMode, MultiLayerTrainablePooling
from embedworks.encoders.pooling import StockPoolingName, stock_pooling
from embedworks.encoders.text_encoder import TextEncoder
from embedworks.encoders.token_query_attention import NV_EMBED_SIZES
from embedworks.encoders.token_query_pooling import LatentAttentionPooling, SelfAttentionPooling
from embedworks.encoders.trainable_pooler import LastLayerScope, LastLayerTrainablePooling
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

TrainablePoolingName = Literal["last-layer-trainable", "multi-layer-trainable", "latent-attention", "self-attention"]
PoolingName = Literal[StockPoolingName, TrainablePoolingName]


@dataclass(frozen=True)
class PoolingSettings:
    """Settings of the trainable poolers; None stands for the size that fits the backbone's width d.

    Args:
        latents: Number r of learned latents; min(768, d), for latent-attention d, but from 64 to 512; self-attention
            has none.
        heads: Attention heads; 8.
        head_dimension: Width of one head; d / heads.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start exactly at the mean of the rows (not in the paper, meant for small data).
        layer_weight_mode: How layer weights enter, multi-layer only: add (published), mul, scalar, mean.
        last_layer_scope: Which tokens the last-layer pooler reads: all, or eos as in the released code.
        paper_form: Latent attention only: as NV-Embed's paper prints it, instead of as it was released.
    """

    latents: int | None = None
    heads: int | None = None
    head_dimension: int | None = None
    feed_forward_multiple: int = 4
    zero_init_output: bool = False
    layer_weight_mode: LayerWeightMode = "add"
    last_layer_scope: LastLayerScope = "all"
    paper_form: bool = False

    @classmethod
    def published(cls) -> PoolingSettings:
        """Return the sizes published with last-layer and multi-layer pooling (for d = 4096)."""
        return cls(**PUBLISHED_SIZES)

    @classmethod
    def nv_embed(cls) -> PoolingSettings:
        """Return the sizes NV-Embed's latent attention was released with (for d = 4096)."""
        return cls(**NV_EMBED_SIZES)


def build(
    backbone: str | Path | PreTrainedConfig = PACKAGED_MINILM,
    *,
    pooling: PoolingName = "mean",
    attention: Attention = "as-is",
    lora: LoraSettings | None = None,
    max_length: int | None = None,
    pooling_settings: PoolingSettings | None = None,
    instructions: Instructions | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 0,
) -> TextEncoder:
    """Put an encoder together; its vectors have length 1.

    The five designs of arXiv 2409.02727 are ``last-token`` causal (Model 1), ``last-layer-trainable`` causal and
    bidirectional (2 and 4), ``multi-layer-trainable`` causal and bidirectional (3 and 5). A layer is summarised by its
    last token under a causal backbone and by the mean over its tokens under a bidirectional one; which of the two a
    backbone is, is tried and not read from a setting.

    Args:
        backbone: ``"minilm"``, a local directory, a Hugging Face id, or a configuration (then give ``tokenizer``).
        pooling: How token states become one vector.
        attention: Direction of attention; refused where the architecture does not take it.
        lora: Train low-rank adapters instead of the backbone's own weights; pooling is trained in full.
        max_length: Longest text in tokens.
        pooling_settings: Sizes and modes of the trainable poolers.
        instructions: What is put before queries and documents; saved with the model as its prompts. Unless they are
            pooled, their tokens are left out of the pooling, in training and encoding.
        tokenizer: Tokenizer of a backbone made from a configuration.
        seed: Seed of every weight that is drawn here.

    Raises:
        InputError: Something does not fit together.
        StorageError: The backbone's directory is unsafe or damaged.
        MissingExtraError: ``lora`` is given and peft is not installed.
    """
    if pooling_settings is not None:
        _check_settings(pooling, pooling_settings)
    transformer = load_backbone(
        backbone,
        attention=attention,
        max_length=max_length,
        tokenizer=tokenizer,
        seed=seed,
        template=instructions.pattern if instructions is not None and not instructions.pooled else None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = _pooling_layers(pooling, transformer, pooling_settings or PoolingSettings())
        if lora is not None:
            add_lora(transformer.model, lora)
    is_name = isinstance(backbone, str | Path)
    on_hub = isinstance(backbone, str) and not Path(backbone).expanduser().is_dir()
    base_model = (MINILM_HUB_NAME if backbone == PACKAGED_MINILM else str(backbone)) if on_hub else None
    name = f"{Path(str(backbone)).name if is_name else 'from-scratch'} {pooling}"
    model = SentenceTransformer(
        modules=[transformer, *layers],
        prompts=None if instructions is None else instructions.prompts(),
        default_prompt_name=None if instructions is None else instructions.default_prompt_name,
        similarity_fn_name="cosine",
    )
    return TextEncoder(model, name=name, base_model=base_model)


def _check_settings(name: PoolingName, settings: PoolingSettings) -> None:
    if name not in get_args(TrainablePoolingName):
        raise InputError(f"pooling {name!r} has no settings", mend="leave pooling_settings out")
    if settings.paper_form and name != "latent-attention":
        raise InputError(f"pooling {name!r} has no paper_form", mend="leave it out, or use pooling='latent-attention'")
    if settings.latents is not None and name == "self-attention":
        raise InputError("pooling 'self-attention' has no latents", mend="leave the number of latents out")


def _pooling_layers(name: PoolingName, transformer: Transformer, settings: PoolingSettings) -> list[Module]:
    dimension = transformer.get_embedding_dimension()
    if name in get_args(StockPoolingName):
        return [stock_pooling(name, dimension), Normalize()]
    if name == "last-layer-trainable":
        return [
            LastLayerTrainablePooling(
                dimension,
                latents=settings.latents,
                heads=settings.heads,
                head_dimension=settings.head_dimension,
                feed_forward_multiple=settings.feed_forward_multiple,
                zero_init_output=settings.zero_init_output,
                last_layer_scope=settings.last_layer_scope,
            )
        ]
    if name == "multi-layer-trainable":
        summary: LayerSummary = "last-token" if attention_direction(transformer.model) == "causal" else "mean"
        return [
            MultiLayerTrainablePooling(
                dimension,
                layers=number_of_layers(transformer),
                layer_summary=summary,
                latents=settings.latents,
                heads=settings.heads,
                head_dimension=settings.head_dimension,
                feed_forward_multiple=settings.feed_forward_multiple,
                zero_init_output=settings.zero_init_output,
                layer_weight_mode=settings.layer_weight_mode,
            )
        ]
    if name == "latent-attention":
        return [
            LatentAttentionPooling(
                dimension,
                latents=settings.latents,
                heads=settings.heads,
                head_dimension=settings.head_dimension,
                feed_forward_multiple=settings.feed_forward_multiple,
                zero_init_output=settings.zero_init_output,
                paper_form=settings.paper_form,
            )
        ]
    if name == "self-attention":
        return [
            SelfAttentionPooling(
                dimension,
                heads=settings.heads,
                head_dimension=settings.head_dimension,
                feed_forward_multiple=settings.feed_forward_multiple,
                zero_init_output=settings.zero_init_output,
            )
        ]
    known = ", ".join((*get_args(StockPoolingName), *get_args(TrainablePoolingName)))
    raise InputError(f"pooling {name!r} is not known", mend=f"choose one of {known}")
