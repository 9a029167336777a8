"""What every objective does to vectors first: float32 at least, unit length, similarity; and the checks at its door."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from embedworks.foundation import InputError

Similarity = Literal["cosine", "dot"]


def at_least_float32(vectors: Tensor) -> Tensor:
    """Return the vectors in float32, or as they are where they are of higher precision."""
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def unit(vectors: Tensor) -> Tensor:
    """Return the vectors at length 1; a zero vector stays zero.

    Args:
        vectors: Shape (..., d), any floating dtype.

    Returns:
        The same shape and dtype.
    """
    norm = vectors.norm(dim=-1, keepdim=True)
    # Not max(norm, 1e-12): that gives a zero vector a gradient of 1e12, and clipping then silences all other rows.
    return vectors / torch.where(norm > 0, norm, torch.ones_like(norm))


def check_temperature(temperature: float, name: str = "temperature") -> float:
    """Return the temperature, or refuse it.

    Raises:
        InputError: It is not a finite number above zero.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"{name} is {temperature}", mend="it must be a finite number above zero")
    return temperature


def check_similarity(similarity: Similarity) -> Similarity:
    """Return the name of a similarity, or refuse it.

    Raises:
        InputError: It is unknown.
    """
    if similarity not in ("cosine", "dot"):
        raise InputError(f"similarity is {similarity!r}", mend="it must be 'cosine' or 'dot'")
    return similarity


def check_mask(name: str, mask: Tensor | None, shape: tuple[int, ...]) -> None:
    """Refuse a mask that is not boolean or not of the shape.

    Raises:
        InputError: So it is.
    """
    if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != shape):
        raise InputError(
            f"{name} is {mask.dtype} of shape {tuple(mask.shape)}", mend=f"it must be bool of shape {shape}"
        )
