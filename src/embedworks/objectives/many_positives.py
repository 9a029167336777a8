"""InfoNCE where a query has several positives, slot by slot.

"CoDiEmb: A Collaborative yet Distinct Framework for Unified Representation Learning in Information Retrieval and
Semantic Textual Similarity" (https://arxiv.org/abs/2508.11442), its loss for retrieval.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from embedworks.foundation import InputError
from embedworks.objectives.contrastive import batch_bounds
from embedworks.objectives.similarity import (
    Similarity,
    at_least_float32,
    check_mask,
    check_similarity,
    check_temperature,
    unit,
)


class ManyPositiveInfoNCE(nn.Module):
    r"""One InfoNCE per positive of a query; a query's other positives are never its negatives.

    With positives :math:`p_{ia}` in slots a = 1..m
    and hard negatives :math:`n_{jk}` of the whole batch:

    .. math::
        l_{ia} = -\log \frac{e^{s(q_i, p_{ia})/t}}{\sum_j e^{s(q_i, p_{ja})/t} + \sum_j \sum_k e^{s(q_i, n_{jk})/t}},
        \qquad L = \frac1b \sum_i \frac1m \sum_a l_{ia}

    With one positive a query it is :class:`~embedworks.objectives.InfoNCE`.

    Args:
        temperature: t, no unit, above zero; 0.02 is the published value.
        similarity: ``"cosine"`` normalises the vectors first; ``"dot"`` takes them as they are.

    Raises:
        InputError: The temperature is not a finite number above zero, or the similarity is unknown.

    Example:
        >>> query, positives = torch.randn(4, 8), torch.randn(4, 2, 8)
        >>> ManyPositiveInfoNCE()(query, positives, torch.randn(4, 3, 8)).shape
        torch.Size([])
    """

    def __init__(self, temperature: float = 0.02, *, similarity: Similarity = "cosine") -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.similarity = check_similarity(similarity)

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        present: Tensor | None = None,
        positive_present: Tensor | None = None,
        excluded: Tensor | None = None,
        rows: slice | None = None,
    ) -> Tensor:
        """Return the mean loss over the batch.

        Args:
            query: Query vectors, shape (b, d), any floating dtype.
            positive: Their positives, shape (b, m, d), m > 0.
            negatives: Hard negatives, shape (b, n, d) with n >= 0; every query sees those of all queries.
            present: Which hard negatives exist, shape (b, n), bool; all where None.
            positive_present: Which positives exist, shape (b, m), bool, at least one a query; all where None. A
                query's loss is the mean over those it has. What an absent text holds has no effect, NaN included.
            excluded: Candidates that are no negatives of a query, shape (b, b * m + b * n), bool: the positives of
                query 1, of query 2, and so on, then the hard negatives likewise.
            rows: The rows whose mean loss is wanted, all where None; the others only give candidates.

        Returns:
            The loss, a scalar, float32 (float64 for float64 vectors).

        Raises:
            InputError: Shapes or dtypes do not fit each other, or a query has no positive.
        """
        _check(query, positive, negatives, present, positive_present, excluded)
        batch, slots = positive.shape[:2]
        start, stop = batch_bounds(rows, batch)
        if negatives is None:
            negatives = positive.new_zeros(batch, 0, positive.shape[2])
        with torch.autocast(query.device.type, enabled=False):
            asking = self._vectors(query[start:stop], None)  # (r, d)
            by_slot = self._vectors(positive, positive_present).transpose(0, 1)  # (m, b, d)
            shared = self._vectors(negatives, present).flatten(0, 1)  # (b * n, d)
            logits = torch.cat(
                [
                    torch.einsum("rd,mbd->rmb", asking, by_slot),
                    (asking @ shared.T)[:, None].expand(-1, slots, -1),
                ],
                dim=2,
            )
            logits = logits / self.temperature  # (r, m, b + b * n)
            masked = _masked(batch, positive.shape[1], negatives.shape[1], present, positive_present, excluded)
            if masked is not None:
                logits = logits.masked_fill(masked.to(logits.device)[start:stop], -torch.inf)
            own = logits.diagonal(offset=start, dim1=0, dim2=2).T  # (r, m)
            losses = torch.logsumexp(logits, dim=2) - own
            if positive_present is None:
                return losses.mean()
            has = positive_present[start:stop]
            return (losses.masked_fill(~has, 0.0).sum(dim=1) / has.sum(dim=1)).mean()

    def _vectors(self, vectors: Tensor, present: Tensor | None) -> Tensor:
        if present is not None:
            vectors = vectors.masked_fill(~present.unsqueeze(-1), 0.0)  # before a NaN can reach the gradient
        vectors = at_least_float32(vectors)
        return unit(vectors) if self.similarity == "cosine" else vectors

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}, similarity={self.similarity!r}"


def _masked(
    batch: int,
    slots: int,
    count: int,
    present: Tensor | None,
    positive_present: Tensor | None,
    excluded: Tensor | None,
) -> Tensor | None:
    """Say which candidates of each query's slots are left out, shape (b, m, b + b * n)."""
    given = [mask for mask in (present, positive_present, excluded) if mask is not None]
    if not given:
        return None
    masked = torch.zeros(batch, slots, batch * (1 + count), dtype=torch.bool, device=given[0].device)
    if excluded is not None:
        of_positives, of_negatives = excluded[:, : batch * slots], excluded[:, batch * slots :]
        masked[:, :, :batch] |= of_positives.reshape(batch, batch, slots).transpose(1, 2)
        masked[:, :, batch:] |= of_negatives[:, None]
    if positive_present is not None:
        masked[:, :, :batch] |= ~positive_present.T
    if present is not None:
        masked[:, :, batch:] |= ~present.flatten()
    own = torch.arange(batch, device=masked.device)
    masked[own, :, own] = False
    return masked


def _check(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor | None,
    present: Tensor | None,
    positive_present: Tensor | None,
    excluded: Tensor | None,
) -> None:
    batch, dimension = query.shape if query.ndim == 2 else (0, 0)
    fits = positive.ndim == 3 and positive.shape[0] == batch and positive.shape[2] == dimension and positive.shape[1]
    if not batch or not fits:
        raise InputError(
            f"query has shape {tuple(query.shape)} and positive {tuple(positive.shape)}",
            mend="they must be (b, d) and (b, m, d), b > 0, m > 0",
        )
    count = 0
    if negatives is not None:
        if negatives.ndim != 3 or negatives.shape[0] != batch or negatives.shape[2] != dimension:
            raise InputError(
                f"negatives have shape {tuple(negatives.shape)}", mend=f"they must be ({batch}, n, {dimension})"
            )
        count = negatives.shape[1]
    slots = positive.shape[1]
    check_mask("present", present, (batch, count))
    check_mask("positive_present", positive_present, (batch, slots))
    check_mask("excluded", excluded, (batch, batch * (slots + count)))
    if positive_present is not None and not positive_present.any(dim=1).all():
        row = int((~positive_present.any(dim=1)).nonzero()[0].item())
        raise InputError(f"query {row} has no positive", mend="leave such queries out of the batch")
