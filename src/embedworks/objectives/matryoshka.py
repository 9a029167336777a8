"""Matryoshka learning: one objective on the first components of the vectors, at several lengths at once.

Kusupati et al. 2022, "Matryoshka Representation Learning", equation 1 (https://arxiv.org/abs/2205.13147); the
dimensions and weights of KaLM-Embedding-V2 (https://arxiv.org/abs/2506.20923) are 896, 512, 256, 128, 64 and 1, 0.3,
0.2, 0.1, 0.1.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from embedworks.foundation import InputError
from embedworks.objectives.similarity import at_least_float32, unit


class Matryoshka(nn.Module):
    r"""The weighted sum of an objective over the first components of its vectors.

    .. math:: L = \sum_k w_k \, \ell(\text{first } d_k \text{ components, at unit length})

    It goes around every objective of this room: the arguments that its ``forward`` takes by position are vectors and
    are cut; those it takes by keyword only (masks, scores, links, a teacher's similarities) are passed on.

    Args:
        objective: The loss over vectors.
        dimensions: The lengths, whole numbers above zero, each once, in any order.
        weights: One per length, at least 0; 1 each where None.
        normalise: Whether the cut vectors are brought to unit length before the objective sees them. It makes no
            difference to cosines; False keeps lengths for an objective over dot products.

    Raises:
        InputError: Dimensions or weights do not fit.

    Example:
        >>> from embedworks.objectives import InfoNCE
        >>> query, positive = torch.randn(4, 8), torch.randn(4, 8)
        >>> loss = Matryoshka(InfoNCE(), [8, 2], weights=[1.0, 0.5])(query, positive)
        >>> by_hand = InfoNCE()(query, positive) + 0.5 * InfoNCE()(query[:, :2], positive[:, :2])
        >>> torch.allclose(loss, by_hand)
        True
    """

    def __init__(
        self,
        objective: nn.Module,
        dimensions: Sequence[int],
        *,
        weights: Sequence[float] | None = None,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        dimensions = tuple(dimensions)
        weights = (1.0,) * len(dimensions) if weights is None else tuple(weights)
        if not dimensions or len(set(dimensions)) != len(dimensions) or min(dimensions) < 1:
            raise InputError(f"dimensions are {list(dimensions)}", mend="give whole numbers above zero, each once")
        if len(weights) != len(dimensions) or not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
            raise InputError(
                f"weights {list(weights)} of {len(dimensions)} dimensions",
                mend="give one finite number of at least 0 for each, not all 0",
            )
        self.objective = objective
        self.dimensions = dimensions
        self.weights = weights
        self.normalise = normalise
        self._signature = inspect.signature(objective.forward)

    def forward(self, *arguments: object, **keywords: object) -> Tensor:
        """Return the weighted sum; the arguments are those of the objective.

        Raises:
            InputError: A dimension is above that of the vectors, or as for the objective.
        """
        given = self._signature.bind(*arguments, **keywords)
        whole = dict(given.arguments)
        kinds = self._signature.parameters
        vectors = {
            name: value
            for name, value in whole.items()
            if isinstance(value, Tensor) and kinds[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        }
        total: Tensor | None = None
        for dimension, weight in zip(self.dimensions, self.weights, strict=True):
            if weight:
                given.arguments.update({name: self._cut(name, value, dimension) for name, value in vectors.items()})
                loss: Tensor = weight * self.objective(*given.args, **given.kwargs)
                total = loss if total is None else total + loss
        assert total is not None  # not all weights are 0
        return total

    def _cut(self, name: str, vectors: Tensor, dimension: int) -> Tensor:
        if vectors.shape[-1] < dimension:
            raise InputError(
                f"{name} has vectors of dimension {vectors.shape[-1]}", mend=f"dimension {dimension} needs longer ones"
            )
        part = vectors[..., :dimension]
        if not self.normalise:
            return part
        with torch.autocast(part.device.type, enabled=False):
            return unit(at_least_float32(part))

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"dimensions={list(self.dimensions)}, weights={list(self.weights)}, normalise={self.normalise}"
