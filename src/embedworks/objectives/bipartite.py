"""Many-to-many InfoNCE over a bipartite graph.

"Unified Work Embeddings: Contrastive Learning of a Bidirectional Multi-task Ranker", the loss of one graph
(https://arxiv.org/abs/2511.07969); it has the form of Khosla et al. 2020, "Supervised Contrastive Learning", equation 2
(https://arxiv.org/abs/2004.11362), between two sides.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embedworks.foundation import InputError
from embedworks.objectives.similarity import (
    Similarity,
    at_least_float32,
    check_mask,
    check_similarity,
    check_temperature,
    unit,
)


class BipartiteInfoNCE(nn.Module):
    r"""Many-to-many InfoNCE: every query looks for all targets linked to it, and every target for its queries.

    With :math:`P(q)` the targets of the batch linked to q:

    .. math::
        L(Y|Q) = \operatorname{mean}_{q: P(q) \neq \emptyset} -\frac{1}{|P(q)|} \sum_{y \in P(q)} \log
        \frac{e^{s(q, y)/t}}{\sum_{y' \in Y} e^{s(q, y')/t}}, \qquad L(Y, Q) = L(Y|Q) + L(Q|Y)

    Linked targets stay in the denominator. Without any link in the batch the loss is 0.

    Args:
        temperature: t, no unit, above zero; published: 0.05 between skills and titles, 0.02 for the other graphs.
        symmetric: Whether targets also look for their queries; the two directions are summed, not averaged.
        similarity: ``"cosine"`` normalises the vectors first; ``"dot"`` takes them as they are.

    Raises:
        InputError: The temperature is not a finite number above zero, or the similarity is unknown.

    Example:
        >>> linked = torch.tensor([[True, True, False], [False, False, True]])
        >>> BipartiteInfoNCE()(torch.randn(2, 8), torch.randn(3, 8), linked=linked).shape
        torch.Size([])
    """

    def __init__(self, temperature: float = 0.05, *, symmetric: bool = True, similarity: Similarity = "cosine") -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.symmetric = symmetric
        self.similarity = check_similarity(similarity)

    def forward(self, query: Tensor, target: Tensor, *, linked: Tensor) -> Tensor:
        """Return the loss of a batch of the graph.

        Args:
            query: Vectors of one side, shape (q, d), any floating dtype.
            target: Vectors of the other side, shape (t, d).
            linked: Which pairs belong together, shape (q, t), bool.

        Returns:
            The loss, a scalar, float32 (float64 for float64 vectors).

        Raises:
            InputError: Shapes or dtypes do not fit each other.
        """
        if query.ndim != 2 or target.ndim != 2 or query.shape[1] != target.shape[1]:
            raise InputError(
                f"query has shape {tuple(query.shape)} and target {tuple(target.shape)}",
                mend="they must be (q, d) and (t, d)",
            )
        with torch.autocast(query.device.type, enabled=False):
            query, target = at_least_float32(query), at_least_float32(target)
            if self.similarity == "cosine":
                query, target = unit(query), unit(target)
            return self.of_scores(query @ target.T, linked)

    def of_scores(self, scores: Tensor, linked: Tensor, reverse_scores: Tensor | None = None) -> Tensor:
        """Return the loss of given scores, such as those of a late interaction over tokens.

        Args:
            scores: Of each query with each target, shape (q, t), any floating dtype.
            linked: Which pairs belong together, shape (q, t), bool.
            reverse_scores: Of each target, as the one that asks, with each query, shape (t, q), for scores that
                differ by direction; the transpose of ``scores`` where None.

        Returns:
            The loss, a scalar, float32 at least.

        Raises:
            InputError: Shapes or dtypes do not fit each other, or reverse scores are given and not used.
        """
        if scores.ndim != 2 or not scores.numel():
            raise InputError(f"scores have shape {tuple(scores.shape)}", mend="they must be (q, t), both above 0")
        check_mask("linked", linked, tuple(scores.shape))
        if reverse_scores is not None and (not self.symmetric or reverse_scores.shape != scores.T.shape):
            raise InputError(
                f"reverse_scores have shape {tuple(reverse_scores.shape)} beside scores {tuple(scores.shape)}",
                mend="give them as (t, q), to a symmetric loss",
            )
        with torch.autocast(scores.device.type, enabled=False):
            loss = self._one_way(scores, linked)
            if self.symmetric:
                loss = loss + self._one_way(scores.T if reverse_scores is None else reverse_scores, linked.T)
            return loss

    def _one_way(self, scores: Tensor, linked: Tensor) -> Tensor:
        has = linked.any(dim=1)
        log_share = torch.log_softmax(at_least_float32(scores) / self.temperature, dim=1)  # (q, t)
        links = linked.sum(dim=1).clamp(min=1)
        losses = -log_share.masked_fill(~linked, 0.0).sum(dim=1) / links  # 0 where nothing is linked
        return losses.sum() / has.sum().clamp(min=1)

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}, similarity={self.similarity!r}"
