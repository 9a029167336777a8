"""GradCache: the gradient of a large contrastive batch in the memory of a small one.

Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", section 3
(https://arxiv.org/abs/2101.06983). Encode all chunks and keep only the vectors; take the loss's gradient with
respect to the vectors; encode each chunk again, with the random state it had, and pass the gradient through it.
That is what activation checkpointing of each chunk does, so the machinery is torch's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Chunk = TypeVar("Chunk")


def encode_in_chunks(encode: Callable[[Chunk], Tensor], chunks: Sequence[Chunk]) -> Tensor:
    """Encode chunk by chunk; in the backward pass each chunk is encoded again and freed before the next.

    Any objective over the result has the value and the gradient it has over ``torch.cat([encode(c) for c in
    chunks])``: dropout draws the same masks the second time, and autocast is as it was. One chunk's activations are
    alive at a time, for one further forward pass.

    Args:
        encode: Gives the vectors of a chunk, shape (n, d).
        chunks: What ``encode`` takes, at least one.

    Returns:
        The vectors of all chunks, in order, shape (sum of n, d).

    Raises:
        ValueError: There is no chunk.

    Example:
        >>> layer = torch.nn.Linear(3, 2)
        >>> batch = torch.ones(5, 3)
        >>> torch.allclose(encode_in_chunks(layer, batch.split(2)), layer(batch))
        True
    """
    if not chunks:
        raise ValueError("there is no chunk to encode")
    if not torch.is_grad_enabled():
        return torch.cat([encode(chunk) for chunk in chunks])
    return torch.cat([checkpoint(encode, chunk, use_reentrant=False) for chunk in chunks])
