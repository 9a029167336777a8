"""InfoNCE: the softmax over one positive and many negatives.

van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4
(https://arxiv.org/abs/1807.03748); the symmetric form averages both directions, as in CLIP (Radford et al. 2021).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Similarity = Literal["cosine", "dot"]


class InfoNCE(nn.Module):
    r"""Pull each query to its positive, away from all other positives of the batch and from all hard negatives.

    With candidates :math:`c_1 \dots c_{b(1+m)}` (the b positives, then the m hard negatives of query 1, of query 2,
    and so on), similarity s, temperature t and the set :math:`M_i` of candidates that are no negatives of query i:

    .. math:: L = -\frac1b \sum_i \log \frac{e^{s(q_i, p_i)/t}}{\sum_{j \notin M_i} e^{s(q_i, c_j)/t}}

    The symmetric form is the mean of this and of its mirror, in which each positive looks for its query among all
    queries (hard negatives have no part in the mirror). Similarities and the log-sum-exp are computed in float32 at
    least, also inside autocast: in bfloat16 a logit of 100 is known to the nearest half only.

    Args:
        temperature: What similarities are divided by; no unit, above zero.
        symmetric: Whether positives also look for their queries.
        similarity: ``"cosine"`` normalises the vectors first (a zero vector stays zero, with a finite gradient);
            ``"dot"`` takes them as they are.

    Raises:
        ValueError: The temperature is not a finite number above zero, or the similarity is unknown.

    Example:
        >>> query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(InfoNCE(temperature=1.0)(query, query).item(), 4)  # -log(e / (e + 1))
        0.3133
    """

    def __init__(
        self, temperature: float = 0.05, *, symmetric: bool = False, similarity: Similarity = "cosine"
    ) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature is {temperature}; it must be a finite number above zero")
        if similarity not in ("cosine", "dot"):
            raise ValueError(f"similarity is {similarity!r}; it must be 'cosine' or 'dot'")
        self.temperature = temperature
        self.symmetric = symmetric
        self.similarity = similarity

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        present: Tensor | None = None,
        excluded: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss over the batch.

        Args:
            query: Query vectors, shape (b, d), any floating dtype.
            positive: Their positives, shape (b, d).
            negatives: Hard negatives, shape (b, m, d) with m >= 0; every query sees those of all queries.
            present: Which hard negatives exist, shape (b, m), bool; all where None. What an absent one holds has no
                effect, NaN included.
            excluded: Candidates that are no negatives of a query, shape (b, b + b * m), bool, in the order of the
                class docstring; see :func:`~embedworks.objectives.false_negative_mask`. A query's own positive is
                never left out.

        Returns:
            The loss, a scalar, float32 (float64 for float64 vectors).

        Raises:
            ValueError: Shapes or dtypes do not fit each other.
        """
        _check(query, positive, negatives, present, excluded)
        with torch.autocast(query.device.type, enabled=False):
            logits = self._logits(query, positive, negatives, present)  # (b, b + b * m)
            batch = logits.shape[0]
            masked = _masked(batch, logits.shape[1], present, excluded, logits.device)
            if masked is not None:
                logits = logits.masked_fill(masked, -torch.inf)
            own = logits.diagonal()  # (b,)
            loss = (torch.logsumexp(logits, dim=1) - own).mean()
            if not self.symmetric:
                return loss
            mirror = (torch.logsumexp(logits[:, :batch], dim=0) - own).mean()
            return (loss + mirror) / 2

    def _logits(self, query: Tensor, positive: Tensor, negatives: Tensor | None, present: Tensor | None) -> Tensor:
        candidates = positive
        if negatives is not None and negatives.shape[1]:
            if present is not None:
                # A NaN in an absent place would reach the gradient through 0 * NaN if it were masked only later.
                negatives = negatives.masked_fill(~present.unsqueeze(-1), 0.0)
            candidates = torch.cat([positive, negatives.flatten(0, 1)])  # (b + b * m, d)
        query, candidates = _at_least_float32(query), _at_least_float32(candidates)
        if self.similarity == "cosine":
            query, candidates = _unit(query), _unit(candidates)
        return query @ candidates.T / self.temperature

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}, similarity={self.similarity!r}"


def _at_least_float32(vectors: Tensor) -> Tensor:
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def _unit(vectors: Tensor) -> Tensor:
    norm = vectors.norm(dim=-1, keepdim=True)
    # Not max(norm, 1e-12): that gives a zero vector a gradient of 1e12, and clipping then silences all other rows.
    return vectors / torch.where(norm > 0, norm, torch.ones_like(norm))


def _masked(
    batch: int, candidates: int, present: Tensor | None, excluded: Tensor | None, device: torch.device
) -> Tensor | None:
    if excluded is None and (present is None or not present.shape[1]):
        return None
    masked = torch.zeros(batch, candidates, dtype=torch.bool, device=device)
    if excluded is not None:
        masked |= excluded
    if present is not None and present.shape[1]:
        masked[:, batch:] |= ~present.flatten()
    masked.fill_diagonal_(False)
    return masked


def _check(
    query: Tensor, positive: Tensor, negatives: Tensor | None, present: Tensor | None, excluded: Tensor | None
) -> None:
    if query.ndim != 2 or query.shape != positive.shape or not query.shape[0]:
        raise ValueError(
            f"query has shape {tuple(query.shape)} and positive {tuple(positive.shape)}; both must be (b, d), b > 0"
        )
    batch, dimension = query.shape
    count = 0
    if negatives is not None:
        if negatives.ndim != 3 or negatives.shape[0] != batch or negatives.shape[2] != dimension:
            raise ValueError(f"negatives have shape {tuple(negatives.shape)}; they must be ({batch}, m, {dimension})")
        count = negatives.shape[1]
    wanted = {"present": (present, (batch, count)), "excluded": (excluded, (batch, batch * (1 + count)))}
    for name, (mask, shape) in wanted.items():
        if mask is not None and (mask.dtype != torch.bool or tuple(mask.shape) != shape):
            raise ValueError(f"{name} is {mask.dtype} of shape {tuple(mask.shape)}; it must be bool of shape {shape}")
