"""The trainable pooler of the pooling-and-attention paper: learned latents read the rows and are averaged."""

from __future__ import annotations

from typing import Final, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embedworks.foundation import InputError


class PoolerSizes(TypedDict):
    """Sizes of a trainable pooler, to be passed on with ``**``."""

    latents: int
    heads: int
    head_dimension: int
    feed_forward_multiple: int


PUBLISHED_SIZES: Final[PoolerSizes] = {
    "latents": 768,
    "heads": 32,
    "head_dimension": 2048,
    "feed_forward_multiple": 4,
}
"""The sizes published for Mistral-7B (d = 4096): an inner width of 65,536, absurd for a small backbone."""


def default_sizes(
    dimension: int,
    *,
    latents: int | None = None,
    heads: int | None = None,
    head_dimension: int | None = None,
    feed_forward_multiple: int = 4,
) -> PoolerSizes:
    """Fill in the sizes that were not given: r = min(768, d) latents, 8 heads of width d / 8.

    Args:
        dimension: Width d of the backbone's states.
        latents: Number r of learned latents.
        heads: Number of attention heads.
        head_dimension: Width of one head.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.

    Raises:
        InputError: A size is below 1, or d is no multiple of the heads and no head width is given.

    Example:
        >>> default_sizes(384)
        {'latents': 384, 'heads': 8, 'head_dimension': 48, 'feed_forward_multiple': 4}
    """
    heads = 8 if heads is None else heads
    given = {"dimension": dimension, "latents": latents, "heads": heads, "head_dimension": head_dimension}
    for name, value in {**given, "feed_forward_multiple": feed_forward_multiple}.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}", where="pooler sizes", mend="give a whole number of at least 1")
    if head_dimension is None:
        if dimension % heads:
            raise InputError(
                f"{heads} heads do not divide the width {dimension}",
                where="pooler sizes",
                mend="choose a number of heads that does, or give head_dimension",
            )
        head_dimension = dimension // heads
    return {
        "latents": min(768, dimension) if latents is None else latents,
        "heads": heads,
        "head_dimension": head_dimension,
        "feed_forward_multiple": feed_forward_multiple,
    }


class GatedFeedForward(nn.Module):
    """Feed-forward layer with a GEGLU gate: ``W2(a * gelu(b))`` with ``a, b = W1 x`` split in halves.

    Args:
        dimension: Width d in and out.
        multiple: Inner width in units of d.
    """

    def __init__(self, dimension: int, *, multiple: int) -> None:
        super().__init__()
        self.inner = nn.Linear(dimension, 2 * multiple * dimension)
        self.outer = nn.Linear(multiple * dimension, dimension)

    def forward(self, states: Tensor) -> Tensor:
        """Transform states of shape (..., d) to the same shape."""
        values, gates = self.inner(states).chunk(2, dim=-1)
        projected: Tensor = self.outer(values * F.gelu(gates))
        return projected


class LatentQueryAttention(nn.Module):
    """Cross-attention in which learned latents are the QUERIES, a feed-forward layer, the mean over the latents.

    Pooling and Attention (arXiv 2409.02727), trainable pooler, steps 2 to 6 without the final normalisation:
    ``q = LN_q(Q) W_q``, ``[k|v] = LN_x(X) W_kv``, ``Z = softmax(q k^T / sqrt(d_h)) v W_o + Q``,
    ``Z <- Z + W2 GEGLU(W1 LN(Z))``, ``e = mean over the latents of Z``. NV-Embed's latent attention is the opposite:
    there the tokens are the queries.

    Args:
        dimension: Width d of rows and output.
        latents: Number r of learned latents; min(768, d) by default.
        heads: Number of heads; 8 by default.
        head_dimension: Width of one head; d / heads by default.
        feed_forward_multiple: Inner width of the feed-forward layer, in units of d.
        zero_init_output: Start with ``W_o = W2 = 0`` and return the CHANGE of the latents, ``mean(Z - Q)``, which is
            then zero; the caller adds the mean of the rows. Not in the paper: a pooler started at random must first
            earn back what it destroys, which small data cannot pay for.
    """

    def __init__(
        self,
        dimension: int,
        *,
        latents: int | None = None,
        heads: int | None = None,
        head_dimension: int | None = None,
        feed_forward_multiple: int = 4,
        zero_init_output: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = default_sizes(
            dimension,
            latents=latents,
            heads=heads,
            head_dimension=head_dimension,
            feed_forward_multiple=feed_forward_multiple,
        )
        self.zero_init_output = zero_init_output
        width = self.sizes["heads"] * self.sizes["head_dimension"]
        self.latents = nn.Parameter(torch.randn(self.sizes["latents"], dimension))
        self.norm_rows = nn.LayerNorm(dimension)
        self.norm_latents = nn.LayerNorm(dimension)
        self.to_queries = nn.Linear(dimension, width, bias=False)
        self.to_keys_values = nn.Linear(dimension, 2 * width, bias=False)
        self.to_output = nn.Linear(width, dimension, bias=False)
        self.norm_feed_forward = nn.LayerNorm(dimension)
        self.feed_forward = GatedFeedForward(dimension, multiple=feed_forward_multiple)
        if zero_init_output:
            for parameter in (*self.to_output.parameters(), *self.feed_forward.outer.parameters()):
                nn.init.zeros_(parameter)

    def forward(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Pool rows into one vector.

        Args:
            rows: Shape (b, n, d).
            mask: True at real rows, shape (b, n).

        Returns:
            Shape (b, d), not normalised. A text without any real row is read as if the rows said nothing.
        """
        queries, keys, values = self._project(rows)
        # A row of the mask with no true entry gives zeros here, not NaN (tested), so empty texts stay finite.
        read = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask[:, None, None, :])  # (b, H, r, d_h)
        states = self.to_output(read.transpose(1, 2).flatten(2)) + self.latents  # (b, r, d)
        states = states + self.feed_forward(self.norm_feed_forward(states))
        pooled: Tensor = (states - self.latents if self.zero_init_output else states).mean(dim=1)
        return pooled

    def attention(self, rows: Tensor, mask: Tensor) -> Tensor:
        """Return what each latent looks at: weights over the rows, shape (b, heads, r, n), each summing to 1.

        Args:
            rows: Shape (b, n, d).
            mask: True at real rows, shape (b, n); other rows get weight 0.
        """
        queries, keys, _ = self._project(rows)
        scores = queries @ keys.transpose(-1, -2) / self.sizes["head_dimension"] ** 0.5  # (b, H, r, n)
        weights: Tensor = scores.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=-1)
        return weights

    def _project(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads, width = self.sizes["heads"], self.sizes["head_dimension"]
        queries = self.to_queries(self.norm_latents(self.latents))  # (r, H * d_h)
        keys, values = self.to_keys_values(self.norm_rows(rows)).chunk(2, dim=-1)  # (b, n, H * d_h) each
        queries = queries.expand(rows.shape[0], -1, -1)
        split = [part.unflatten(-1, (heads, width)).transpose(1, 2) for part in (queries, keys, values)]
        return split[0], split[1], split[2]
