"""Focal-style reweighting of InfoNCE: a query whose positive gets little probability counts more.

"KaLM-Embedding-V2: Superior Training Techniques and Data Inspire A Versatile Embedding Model", section on focal-style
reweighting (https://arxiv.org/abs/2506.20923), after Lin et al. 2017, "Focal Loss for Dense Object Detection"
(https://arxiv.org/abs/1708.02002).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from embedworks.foundation import InputError
from embedworks.objectives.contrastive import InfoNCE
from embedworks.objectives.similarity import Similarity


class FocalInfoNCE(InfoNCE):
    r"""InfoNCE in which each query's loss is weighed by how far its positive is from having all probability.

    With the loss :math:`l_i = -\log P_i` of query i, where :math:`P_i` is the share of its positive in the softmax:

    .. math:: L = \frac1b \sum_i w_i l_i, \qquad w_i = (1 - P_i)^\gamma

    In the symmetric form each direction weighs its own terms by its own probabilities.

    Args:
        temperature: What similarities are divided by; no unit, above zero.
        gamma: The exponent, at least 0; 0 is InfoNCE exactly, and 0.5 is the published value.
        detach_weights: Whether the weights are constants in the backward pass; otherwise the gradient flows through
            them too, as in the focal loss of 2017.
        symmetric: Whether positives also look for their queries.
        similarity: As for :class:`~embedworks.objectives.InfoNCE`.

    Raises:
        InputError: ``gamma`` is not a finite number of at least 0, or as for InfoNCE.

    Example:
        >>> query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(FocalInfoNCE(1.0, gamma=1.0)(query, query).item(), 4)  # 0.3133 * (1 - e / (e + 1))
        0.0842
    """

    def __init__(
        self,
        temperature: float = 0.05,
        *,
        gamma: float = 0.5,
        detach_weights: bool = True,
        symmetric: bool = False,
        similarity: Similarity = "cosine",
    ) -> None:
        super().__init__(temperature, symmetric=symmetric, similarity=similarity)
        if not (math.isfinite(gamma) and gamma >= 0):
            raise InputError(f"gamma is {gamma}", mend="it must be a finite number of at least 0")
        self.gamma = gamma
        self.detach_weights = detach_weights

    def weights(self, losses: Tensor) -> Tensor:
        """Return the weights of rows by their losses.

        Args:
            losses: Minus the log of each positive's probability, shape (rows,).

        Returns:
            The weights, from 0 to 1, falling in the probability, shape (rows,).
        """
        if not self.gamma:
            return torch.ones_like(losses)
        missed = losses > 0
        # Where nothing is missed the power's own derivative is infinite for gamma below 1; the weight there is 0.
        missing = -torch.expm1(-torch.where(missed, losses, torch.ones_like(losses)))  # 1 - P, exact for P near 1
        return torch.where(missed, missing.pow(self.gamma), torch.zeros_like(losses))

    def reduce(self, losses: Tensor) -> Tensor:
        """Return the mean of the weighted losses, shape (rows,)."""
        weights = self.weights(losses.detach() if self.detach_weights else losses)
        return (weights * losses).mean()

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"{super().extra_repr()}, gamma={self.gamma}, detach_weights={self.detach_weights}"
