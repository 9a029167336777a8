"""Texts come in, vectors go out: backbones, attention direction, pooling, loading, saving, export.

Comes in: texts, or the name of a model. Goes out: :class:`TextEncoder`, whose ``encode`` gives float32 [n, d].
Start reading at ``text_encoder`` (what a model offers), ``building`` (how one is put together), ``loading``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedworks.encoders.backbone import load_backbone, packaged_minilm
    from embedworks.encoders.building import PoolingSettings, build
    from embedworks.encoders.direction import attention_direction
    from embedworks.encoders.exporting import export
    from embedworks.encoders.from_scratch import decoder_config, train_tokenizer
    from embedworks.encoders.instructed_transformer import InstructedTransformer
    from embedworks.encoders.instruction_templates import TEMPLATES, Instructions, InstructionTemplate
    from embedworks.encoders.latent_attention import PUBLISHED_SIZES, LatentQueryAttention
    from embedworks.encoders.layer_analysis import LayerVectors, layer_embeddings
    from embedworks.encoders.loading import OWN_MODULES, load
    from embedworks.encoders.lora import LoraSettings
    from embedworks.encoders.multi_layer import MultiLayerTrainablePooling
    from embedworks.encoders.pooling import stock_pooling
    from embedworks.encoders.reading_tokens import token_vectors
    from embedworks.encoders.text_encoder import TextEncoder
    from embedworks.encoders.token_query_attention import NV_EMBED_SIZES
    from embedworks.encoders.token_query_pooling import LatentAttentionPooling, SelfAttentionPooling
    from embedworks.encoders.trainable_pooler import LastLayerTrainablePooling

__all__ = [
    "NV_EMBED_SIZES",
    "OWN_MODULES",
    "PUBLISHED_SIZES",
    "TEMPLATES",
    "InstructedTransformer",
    "InstructionTemplate",
    "Instructions",
    "LastLayerTrainablePooling",
    "LatentAttentionPooling",
    "LatentQueryAttention",
    "LayerVectors",
    "LoraSettings",
    "MultiLayerTrainablePooling",
    "PoolingSettings",
    "SelfAttentionPooling",
    "TextEncoder",
    "attention_direction",
    "build",
    "decoder_config",
    "export",
    "layer_embeddings",
    "load",
    "load_backbone",
    "packaged_minilm",
    "stock_pooling",
    "token_vectors",
    "train_tokenizer",
]

_HOMES = {
    "NV_EMBED_SIZES": "token_query_attention",
    "OWN_MODULES": "loading",
    "PUBLISHED_SIZES": "latent_attention",
    "TEMPLATES": "instruction_templates",
    "InstructedTransformer": "instructed_transformer",
    "InstructionTemplate": "instruction_templates",
    "Instructions": "instruction_templates",
    "LastLayerTrainablePooling": "trainable_pooler",
    "LatentAttentionPooling": "token_query_pooling",
    "LatentQueryAttention": "latent_attention",
    "LayerVectors": "layer_analysis",
    "LoraSettings": "lora",
    "MultiLayerTrainablePooling": "multi_layer",
    "PoolingSettings": "building",
    "SelfAttentionPooling": "token_query_pooling",
    "TextEncoder": "text_encoder",
    "attention_direction": "direction",
    "build": "building",
    "decoder_config": "from_scratch",
    "export": "exporting",
    "layer_embeddings": "layer_analysis",
    "load": "loading",
    "load_backbone": "backbone",
    "packaged_minilm": "backbone",
    "stock_pooling": "pooling",
    "token_vectors": "reading_tokens",
    "train_tokenizer": "from_scratch",
}


def __getattr__(name: str) -> Any:
    """Load the file a name lives in when the name is first used, so that importing this room costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
