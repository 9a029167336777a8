"""NV-Embed's latent-attention pooling and its self-attention baseline, as sentence-transformers modules."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from embedworks.encoders.token_query_attention import (
    PaperLatentAttention,
    TokenQueryAttention,
    drawn_latents,
    token_query_sizes,
)
from embedworks.encoders.token_states import masked_mean, padded_states, readable_tokens
from embedworks.encoders.trainable_pooler import SIZE_KEYS, TrainablePooling
from embedworks.foundation import InputError


class LatentAttentionPooling(TrainablePooling):
    """Let every token read an array of learned latents, average the tokens, L2-normalise (NV-Embed, arXiv 2405.17428).

    Args:
        embedding_dimension: Width d of the backbone's states and of the vectors.
        latents: Number r of learned latents; d by default, but from 64 to 512.
        heads: Number of heads; 8 by default.
        head_dimension: Width of one head; d / heads by default, and always in the paper's form.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start exactly at mean pooling (not in the paper; the released form only).
        paper_form: False for the pooler as released (:class:`TokenQueryAttention`, which adds to the tokens), True for
            the one that the paper prints (:class:`PaperLatentAttention`, which replaces them).

    Example:
        >>> import torch
        >>> module = LatentAttentionPooling(16, latents=4, heads=2)
        >>> features = {"token_embeddings": torch.ones(1, 3, 16), "attention_mask": torch.ones(1, 3)}
        >>> module(features)["sentence_embedding"].shape
        torch.Size([1, 16])
    """

    # Not a because sentence-transformers declares it without.
    config_keys: list[str] = [*SIZE_KEYS, "paper_form"]  # noqa: RUF012

    def __init__(
        self,
        embedding_dimension: int,
        *,
        latents: int | None = None,
        heads: int | None = None,
        head_dimension: int | None = None,
        feed_forward_multiple: int = 4,
        zero_init_output: bool = False,
        paper_form: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Module of sentence-transformers is untyped here
        sizes = token_query_sizes(
            embedding_dimension,
            latents=latents,
            heads=heads,
            head_dimension=head_dimension,
            feed_forward_multiple=feed_forward_multiple,
        )
        if paper_form and zero_init_output:
            raise InputError(
                "the paper's form adds nothing to the tokens, so zeroed outputs would give zero vectors",
                where="latent-attention pooling",
                mend="leave out zero_init_output or paper_form",
            )
        if paper_form and sizes["head_dimension"] * sizes["heads"] != embedding_dimension:
            raise InputError(
                f"the paper's form splits the width {embedding_dimension} into its {sizes['heads']} heads",
                where="latent-attention pooling",
                mend="leave out head_dimension, and choose heads that divide the width",
            )
        self.embedding_dimension = embedding_dimension
        self.latents, self.heads, self.head_dimension = sizes["latents"], sizes["heads"], sizes["head_dimension"]
        self.feed_forward_multiple = feed_forward_multiple
        self.zero_init_output = zero_init_output
        self.paper_form = paper_form
        self.latent_array = drawn_latents(self.latents, embedding_dimension)
        self.attention: PaperLatentAttention | TokenQueryAttention
        if paper_form:
            self.attention = PaperLatentAttention(
                embedding_dimension, heads=self.heads, feed_forward_multiple=feed_forward_multiple
            )
        else:
            self.attention = TokenQueryAttention(
                embedding_dimension,
                heads=self.heads,
                head_dimension=self.head_dimension,
                feed_forward_multiple=feed_forward_multiple,
                zero_init_output=zero_init_output,
            )

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add ``sentence_embedding``, shape (b, d), to the features; reads ``token_embeddings`` and the mask."""
        states, mask = padded_states(features["token_embeddings"], features)
        # The keys are the latents, so the attention needs no mask; padding is left out of the mean.
        pooled: Tensor = masked_mean(self.attention(states, self.latent_array), mask)
        features["sentence_embedding"] = F.normalize(pooled, dim=-1)
        return features


class SelfAttentionPooling(TrainablePooling):
    """Let every token read all tokens, average the tokens, L2-normalise: NV-Embed's baseline for its latents.

    The block is that of :class:`LatentAttentionPooling` in its released form, with the tokens in the latents' place.

    Args:
        embedding_dimension: Width d of the backbone's states and of the vectors.
        heads: Number of heads; 8 by default.
        head_dimension: Width of one head; d / heads by default.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start exactly at mean pooling (not in the paper).
    """

    # Not a because sentence-transformers declares it without.
    config_keys: list[str] = [key for key in SIZE_KEYS if key != "latents"]  # noqa: RUF012

    def __init__(
        self,
        embedding_dimension: int,
        *,
        heads: int | None = None,
        head_dimension: int | None = None,
        feed_forward_multiple: int = 4,
        zero_init_output: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Module of sentence-transformers is untyped here
        sizes = token_query_sizes(
            embedding_dimension,
            heads=heads,
            head_dimension=head_dimension,
            feed_forward_multiple=feed_forward_multiple,
        )
        self.embedding_dimension = embedding_dimension
        self.heads, self.head_dimension = sizes["heads"], sizes["head_dimension"]
        self.feed_forward_multiple = feed_forward_multiple
        self.zero_init_output = zero_init_output
        self.attention = TokenQueryAttention(
            embedding_dimension,
            heads=self.heads,
            head_dimension=self.head_dimension,
            feed_forward_multiple=feed_forward_multiple,
            zero_init_output=zero_init_output,
        )

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add ``sentence_embedding``, shape (b, d), to the features; reads ``token_embeddings`` and the masks."""
        states, mask = padded_states(features["token_embeddings"], features)
        changed = self.attention(states, states, readable_tokens(features, mask))
        features["sentence_embedding"] = F.normalize(masked_mean(changed, mask), dim=-1)
        return features
