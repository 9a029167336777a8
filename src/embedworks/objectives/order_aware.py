"""Objectives of graded sentence similarity: the cosines should order and space the pairs as the gold scores do.

"CoDiEmb: A Collaborative yet Distinct Framework for Unified Representation Learning in Information Retrieval and
Semantic Textual Similarity" (https://arxiv.org/abs/2508.11442), its losses for semantic textual similarity: Pearson,
Rank-KL and PRO (preference ranking), and their sum. CoSENT, the usual rival, is theirs to compare with
(https://kexue.fm/archives/8847).

All take pairs of vectors and gold scores from 0 to 1. ``of_similarities`` takes the similarities as they are.
"""

from __future__ import annotations

import abc
import math
from typing import Literal

import torch
from torch import Tensor, nn

from embedworks.foundation import InputError
from embedworks.objectives.similarity import at_least_float32, check_temperature, unit


class _ScoredPairs(nn.Module, abc.ABC):
    """An objective over the cosines of pairs and their gold scores."""

    def forward(self, first: Tensor, second: Tensor, *, score: Tensor) -> Tensor:
        """Return the loss of a batch of pairs.

        Args:
            first: One side of each pair, vectors of shape (n, d), any floating dtype.
            second: The other side, shape (n, d).
            score: The gold scores, from 0 to 1, shape (n,), any floating dtype.

        Returns:
            The loss, a scalar, float32 (float64 for float64 vectors).

        Raises:
            InputError: Shapes do not fit, or a score is not between 0 and 1.
        """
        if first.ndim != 2 or first.shape != second.shape or not first.shape[0]:
            raise InputError(
                f"the sides of the pairs have shapes {tuple(first.shape)} and {tuple(second.shape)}",
                mend="both must be (n, d), n > 0",
            )
        with torch.autocast(first.device.type, enabled=False):
            cosine = (unit(at_least_float32(first)) * unit(at_least_float32(second))).sum(dim=-1)  # (n,)
        return self.of_similarities(cosine, score)

    def of_similarities(self, similarity: Tensor, score: Tensor) -> Tensor:
        """Return the loss of given similarities.

        Args:
            similarity: One number per pair, shape (n,), any floating dtype.
            score: The gold scores, from 0 to 1, shape (n,).

        Returns:
            The loss, a scalar, float32 at least.

        Raises:
            InputError: Shapes do not fit, or a score is not between 0 and 1.
        """
        if similarity.ndim != 1 or similarity.shape != score.shape or not similarity.shape[0]:
            raise InputError(
                f"similarity has shape {tuple(similarity.shape)} and score {tuple(score.shape)}",
                mend="both must be (n,), n > 0",
            )
        with torch.autocast(similarity.device.type, enabled=False):
            similarity = at_least_float32(similarity)
            score = score.detach().to(similarity)
            if not ((score >= 0) & (score <= 1)).all():
                raise InputError(
                    f"scores reach from {score.min().item():g} to {score.max().item():g}",
                    mend="bring them between 0 and 1, such as y / 5 for a scale from 0 to 5",
                )
            return self._loss(similarity, score)

    @abc.abstractmethod
    def _loss(self, similarity: Tensor, score: Tensor) -> Tensor:
        """Return the loss of checked similarities and scores, both (n,) and at least float32."""


class PearsonLoss(_ScoredPairs):
    r"""One minus Pearson's correlation of cosines x and gold scores y over the batch.

    .. math:: L = 1 - \frac{\mathrm{cov}(x, y)}{\mathrm{sd}(x) \, \mathrm{sd}(y)}

    It is 0 where all gold scores are equal (there is nothing to order), and 1, without gradient, where all cosines are
    equal up to rounding (the correlation does not exist and its gradient is unbounded).

    Example:
        >>> objective, score = PearsonLoss(), torch.tensor([0.0, 0.5, 1.0])
        >>> objective.of_similarities(0.3 + 0.1 * score, score).item() < 1e-6
        True
    """

    def _loss(self, similarity: Tensor, score: Tensor) -> Tensor:
        if (score == score[0]).all():
            return similarity.sum() * 0.0
        x, y = similarity - similarity.mean(), score - score.mean()
        # Below this the centred numbers are what the subtraction of the mean left of equal ones.
        rounding = 8 * torch.finfo(x.dtype).eps * math.sqrt(len(x)) * similarity.detach().abs().max()
        if x.detach().norm() <= rounding:
            return similarity.sum() * 0.0 + 1.0
        correlation: Tensor = (x * y).sum() / (x.norm() * y.norm())
        return 1.0 - correlation


class RankKL(_ScoredPairs):
    r"""Divergence of the distribution that the cosines x give from the one that the gold ranks give.

    The ranks of the n gold scores count from 0 for the highest, and equal scores share their mean rank r.

    .. math::
        g_i = \frac{n - 1 - r_i}{n - 1}, \quad T = \mathrm{softmax}(g / t), \quad S = \mathrm{softmax}(x / t), \quad
        L = \frac1n \sum_i T_i \log \frac{T_i}{S_i}

    Args:
        temperature: t, no unit, above zero.
        reduction: ``"batchmean"`` divides by n, as released, so that the weight of this loss beside others falls with
            the batch; ``"sum"`` does not.

    Raises:
        InputError: The temperature is not a finite number above zero, or the reduction is unknown.

    Example:
        >>> objective, score = RankKL(), torch.tensor([0.2, 0.9, 0.4])
        >>> round(objective.of_similarities(torch.tensor([0.0, 1.0, 0.5]), score).item(), 6)
        0.0
    """

    def __init__(self, temperature: float = 0.05, *, reduction: Literal["batchmean", "sum"] = "batchmean") -> None:
        super().__init__()
        if reduction not in ("batchmean", "sum"):
            raise InputError(f"reduction is {reduction!r}", mend="it must be 'batchmean' or 'sum'")
        self.temperature = check_temperature(temperature)
        self.reduction = reduction

    def _loss(self, similarity: Tensor, score: Tensor) -> Tensor:
        pairs = len(score)
        higher = (score[None, :] > score[:, None]).sum(dim=1)
        equal = (score[None, :] == score[:, None]).sum(dim=1)  # itself included
        rank = higher.to(similarity) + (equal.to(similarity) - 1) / 2
        wanted = (pairs - 1 - rank) / max(pairs - 1, 1)
        target = torch.log_softmax(wanted / self.temperature, dim=0)
        given = torch.log_softmax(similarity / self.temperature, dim=0)
        divergence = (target.exp() * (target - given)).sum()
        return divergence / pairs if self.reduction == "batchmean" else divergence

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}, reduction={self.reduction!r}"


class PreferenceRanking(_ScoredPairs):
    r"""PRO: each pair is preferred to all pairs of a lower gold score, the more the further the scores are apart.

    With cosines :math:`x_i`, gold scores :math:`y_i`, :math:`J_k = \{j : y_k - y_j > 10^{-8}\}`,
    :math:`w_{kj} = y_k - y_j` and :math:`w_k = \max_{j \in J_k} w_{kj}`:

    .. math:: l_k = -\log \frac{e^{w_k x_k / t}}{e^{w_k x_k / t} + \sum_{j \in J_k} e^{w_{kj} x_j / t}}

    The loss is the mean of :math:`l_k` over the k with pairs below them; 0 where there is none.

    Args:
        temperature: t, no unit, above zero.

    Raises:
        InputError: The temperature is not a finite number above zero.

    Example:
        >>> objective, score = PreferenceRanking(1.0), torch.tensor([1.0, 0.0])
        >>> round(objective.of_similarities(torch.tensor([1.0, 0.0]), score).item(), 4)  # -log(e / (e + 1))
        0.3133
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def _loss(self, similarity: Tensor, score: Tensor) -> Tensor:
        gap = score[:, None] - score[None, :]  # (n, n): row k, column j
        below = gap > 1e-8
        ranked = below.any(dim=1)
        if not ranked.any():
            return similarity.sum() * 0.0
        gap, below = gap[ranked], below[ranked]
        scaled = similarity / self.temperature
        own = gap.max(dim=1).values * scaled[ranked]  # (k,)
        others = (gap * scaled[None, :]).masked_fill(~below, -torch.inf)  # (k, n)
        return (torch.logsumexp(torch.cat([own[:, None], others], dim=1), dim=1) - own).mean()

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}"


class CoSENT(_ScoredPairs):
    r"""Every pair of a higher gold score should have a higher cosine than every pair of a lower one.

    .. math:: L = \log\Big(1 + \sum_{y_i > y_j} e^{(x_j - x_i) / t}\Big)

    Args:
        temperature: t, no unit, above zero.

    Raises:
        InputError: The temperature is not a finite number above zero.

    Example:
        >>> objective, score = CoSENT(1.0), torch.tensor([1.0, 0.0])
        >>> round(objective.of_similarities(torch.tensor([1.0, 0.0]), score).item(), 4)  # log(1 + 1 / e)
        0.3133
    """

    def __init__(self, temperature: float = 0.05) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def _loss(self, similarity: Tensor, score: Tensor) -> Tensor:
        higher = score[:, None] > score[None, :]  # (n, n): i above j
        wrong = (similarity[None, :] - similarity[:, None]) / self.temperature
        terms = wrong.masked_fill(~higher, -torch.inf).flatten()
        return torch.logsumexp(torch.cat([terms.new_zeros(1), terms]), dim=0)

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}"


class OrderAware(_ScoredPairs):
    r"""CoDiEmb's sum :math:`2 L_{Pearson} + 5 L_{Rank-KL} + 0.5 L_{PRO}`.

    The InfoNCE on the embedding of a middle layer, which CoDiEmb adds, is an
    :class:`~embedworks.objectives.InfoNCE` of its own, over the pairs of the highest score.

    Args:
        pearson: Weight of :class:`PearsonLoss`, at least 0; a part of weight 0 is not computed.
        rank_kl: Weight of :class:`RankKL`.
        preference: Weight of :class:`PreferenceRanking`.
        temperature: That of Rank-KL and of PRO, no unit, above zero.

    Raises:
        InputError: A weight is not a finite number of at least 0, or all are 0, or the temperature is wrong.

    Example:
        >>> first, second = torch.randn(8, 16), torch.randn(8, 16)
        >>> OrderAware()(first, second, score=torch.rand(8)).shape
        torch.Size([])
    """

    def __init__(
        self, *, pearson: float = 2.0, rank_kl: float = 5.0, preference: float = 0.5, temperature: float = 0.05
    ) -> None:
        super().__init__()
        self.weights = (pearson, rank_kl, preference)
        if not all(math.isfinite(w) and w >= 0 for w in self.weights) or not any(self.weights):
            raise InputError(
                f"the weights are {list(self.weights)}", mend="give finite numbers of at least 0, not all 0"
            )
        self.parts = nn.ModuleList([PearsonLoss(), RankKL(temperature), PreferenceRanking(temperature)])

    def _loss(self, similarity: Tensor, score: Tensor) -> Tensor:
        total = similarity.new_zeros(())
        for weight, part in zip(self.weights, self.parts, strict=True):
            if weight:
                assert isinstance(part, _ScoredPairs)
                total = total + weight * part._loss(similarity, score)
        return total
