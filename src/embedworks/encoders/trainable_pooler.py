"""Last-Layer Trainable Pooling: learned latents read the tokens of the last hidden layer (Models 2 and 4)."""

from __future__ import annotations

from typing import Any, Literal, Self, get_args

from sentence_transformers.base.modules import Module
from torch import Tensor
from torch.nn import functional as F

from embedworks.encoders.latent_attention import LatentQueryAttention
from embedworks.encoders.token_states import last_token, masked_mean, padded_states
from embedworks.foundation import InputError

LastLayerScope = Literal["all", "eos"]


class TrainablePooling(Module):
    """What both trainable poolers share as sentence-transformers modules: settings, saving, loading.

    Subclasses list their own settings in ``config_keys`` beside :data:`SIZE_KEYS`; weights are safetensors only.
    """

    embedding_dimension: int

    def get_embedding_dimension(self) -> int:
        """Return the number of components of a pooled vector."""
        return self.embedding_dimension

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write settings and weights; always as safetensors, whatever ``safe_serialization`` says."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=True)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Build the module from its saved settings and weights; arguments as in sentence-transformers."""
        place: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_folder": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
        }
        module = cls(**{**(init_defaults or {}), **cls.load_config(model_name_or_path, **place)})
        cls.load_torch_weights(model_name_or_path, model=module, **place)
        return module


SIZE_KEYS = ["embedding_dimension", "latents", "heads", "head_dimension", "feed_forward_multiple", "zero_init_output"]


class LastLayerTrainablePooling(TrainablePooling):
    """Pool the last layer's tokens through learned latents, then L2-normalise (arXiv 2409.02727, Models 2 and 4).

    Args:
        embedding_dimension: Width d of the backbone's states and of the vectors.
        latents: Number r of learned latents; min(768, d) by default.
        heads: Number of heads; 8 by default.
        head_dimension: Width of one head; d / heads by default.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start exactly at mean pooling (not in the paper); see :class:`LatentQueryAttention`.
        last_layer_scope: ``"all"`` reads every real token, as the paper describes; ``"eos"`` only the last one, as
            the released code does, where the softmax runs over one element and attention does nothing.

    Example:
        >>> import torch
        >>> module = LastLayerTrainablePooling(16, latents=4, heads=2)
        >>> features = {"token_embeddings": torch.ones(1, 3, 16), "attention_mask": torch.ones(1, 3)}
        >>> module(features)["sentence_embedding"].shape
        torch.Size([1, 16])
    """

    # Not a because sentence-transformers declares it without.
    config_keys: list[str] = [*SIZE_KEYS, "last_layer_scope"]  # noqa: RUF012

    def __init__(
        self,
        embedding_dimension: int,
        *,
        latents: int | None = None,
        heads: int | None = None,
        head_dimension: int | None = None,
        feed_forward_multiple: int = 4,
        zero_init_output: bool = False,
        last_layer_scope: LastLayerScope = "all",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Module of sentence-transformers is untyped here
        if last_layer_scope not in get_args(LastLayerScope):
            raise InputError(f"last_layer_scope {last_layer_scope!r} is not known", mend="choose 'all' or 'eos'")
        self.embedding_dimension = embedding_dimension
        self.attention = LatentQueryAttention(
            embedding_dimension,
            latents=latents,
            heads=heads,
            head_dimension=head_dimension,
            feed_forward_multiple=feed_forward_multiple,
            zero_init_output=zero_init_output,
        )
        self.zero_init_output = zero_init_output
        self.last_layer_scope = last_layer_scope
        sizes = self.attention.sizes
        self.latents, self.heads, self.head_dimension = sizes["latents"], sizes["heads"], sizes["head_dimension"]
        self.feed_forward_multiple = feed_forward_multiple

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add ``sentence_embedding``, shape (b, d), to the features; reads ``token_embeddings`` and the mask."""
        states, mask = padded_states(features["token_embeddings"], features)
        if self.last_layer_scope == "eos":
            states = last_token(states, mask)[:, None, :]
            mask = mask.any(dim=1, keepdim=True)
        pooled: Tensor = self.attention(states, mask)
        if self.zero_init_output:
            pooled = pooled + masked_mean(states, mask)
        features["sentence_embedding"] = F.normalize(pooled, dim=-1)
        return features
