"""Attention in which the TOKENS are the queries: NV-Embed's latent attention and its self-attention baseline."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedworks.encoders.latent_attention import GatedFeedForward, PoolerSizes, default_sizes
from embedworks.foundation import InputError

NV_EMBED_SIZES: Final[PoolerSizes] = {
    "latents": 512,
    "heads": 8,
    "head_dimension": 4096,
    "feed_forward_multiple": 4,
}
"""The sizes NV-Embed was released with (d = 4096): an inner width of 32,768."""


def token_query_sizes(
    dimension: int,
    *,
    latents: int | None = None,
    heads: int | None = None,
    head_dimension: int | None = None,
    feed_forward_multiple: int = 4,
) -> PoolerSizes:
    """Fill in the sizes that were not given: r = d latents, but from 64 to 512; 8 heads of width d / 8.

    Args:
        dimension: Width d of the backbone's states.
        latents: Number r of learned latents.
        heads: Number of attention heads.
        head_dimension: Width of one head.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.

    Raises:
        InputError: A size is below 1, or d is no multiple of the heads and no head width is given.

    Example:
        >>> token_query_sizes(32)["latents"], token_query_sizes(384)["latents"], token_query_sizes(4096)["latents"]
        (64, 384, 512)
    """
    return default_sizes(
        dimension,
        latents=min(512, max(64, dimension)) if latents is None else latents,
        heads=heads,
        head_dimension=head_dimension,
        feed_forward_multiple=feed_forward_multiple,
    )


class TokenQueryAttention(nn.Module):
    """One block in which each token reads a context and passes a gated feed-forward layer, both added to it.

    NV-Embed (arXiv 2405.17428), the pooler as released, steps 2 to 4: ``q = LN_x(X) W_q``, ``[k|v] = LN_c(C) W_kv``,
    ``Z = softmax(q k^T / sqrt(d_h)) v W_o + X``, ``Z <- Z + W2 GEGLU(W1 LN(Z))``. The context C is an array of latents,
    or the tokens themselves.

    Args:
        dimension: Width d of tokens, context and output.
        heads: Number of heads.
        head_dimension: Width d_h of one head.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start with ``W_o = W2 = 0``, where the block changes nothing.
    """

    def __init__(
        self,
        dimension: int,
        *,
        heads: int,
        head_dimension: int,
        feed_forward_multiple: int,
        zero_init_output: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.head_dimension = heads, head_dimension
        width = heads * head_dimension
        self.norm_tokens = nn.LayerNorm(dimension)
        self.norm_context = nn.LayerNorm(dimension)
        self.to_queries = nn.Linear(dimension, width, bias=False)
        self.to_keys_values = nn.Linear(dimension, 2 * width, bias=False)
        self.to_output = nn.Linear(width, dimension, bias=False)
        self.norm_feed_forward = nn.LayerNorm(dimension)
        self.feed_forward = GatedFeedForward(dimension, multiple=feed_forward_multiple)
        if zero_init_output:
            for parameter in (*self.to_output.parameters(), *self.feed_forward.outer.parameters()):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return what the tokens have become.

        Args:
            tokens: Shape (b, t, d).
            context: What they read: shape (r, d), the same for all texts, or (b, n, d).
            mask: True at the rows of the context that are real, shape (b, n); by default all are.

        Returns:
            Shape (b, t, d); a permutation of the tokens permutes it alike.
        """
        shape = (self.heads, self.head_dimension)
        queries = self.to_queries(self.norm_tokens(tokens)).unflatten(-1, shape).transpose(-3, -2)  # (b, H, t, d_h)
        both = self.to_keys_values(self.norm_context(context)).chunk(2, dim=-1)
        keys, values = (part.unflatten(-1, shape).transpose(-3, -2) for part in both)  # ([b,] H, n, d_h) each
        if context.ndim == 2:
            keys, values = (part.expand(tokens.shape[0], -1, -1, -1) for part in (keys, values))
        # A mask without any true entry gives zeros, not NaN (tested), so empty texts stay finite.
        seen = None if mask is None else mask[:, None, None, :]
        read = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
        states = self.to_output(read.transpose(1, 2).flatten(2)) + tokens
        changed: Tensor = states + self.feed_forward(self.norm_feed_forward(states))
        return changed


class PaperLatentAttention(nn.Module):
    """The pooler as NV-Embed's paper prints it: ``O = softmax(X C^T) C``, then two linear maps with a GELU between.

    Nothing is projected, normalised, scaled or added to the tokens. Each of the heads sees its own d / H components of
    tokens and latents.

    Args:
        dimension: Width d of tokens, latents and output.
        heads: Number H of heads, which must divide d.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.

    Raises:
        InputError: The heads do not divide the width.
    """

    def __init__(self, dimension: int, *, heads: int, feed_forward_multiple: int) -> None:
        super().__init__()
        if dimension % heads:
            raise InputError(f"{heads} heads do not divide the width {dimension}", where="pooler sizes")
        self.heads = heads
        self.inner = nn.Linear(dimension, feed_forward_multiple * dimension)
        self.outer = nn.Linear(feed_forward_multiple * dimension, dimension)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """Return what the tokens have become, shape (b, t, d), from tokens of that shape and latents (r, d)."""
        queries = tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)  # (b, H, t, d / H)
        memory = latents.reshape(len(latents), self.heads, -1).transpose(0, 1)  # (H, r, d / H)
        memory = memory.expand(tokens.shape[0], -1, -1, -1)
        read = F.scaled_dot_product_attention(queries, memory, memory, scale=1.0).transpose(1, 2).flatten(2)
        changed: Tensor = self.outer(F.gelu(self.inner(read)))
        return changed


def drawn_latents(count: int, dimension: int) -> nn.Parameter:
    """Return an array of latents to be learned, drawn from N(0, 1), shape (count, dimension)."""
    return nn.Parameter(torch.randn(count, dimension))
