"""InfoNCE: the softmax over one positive and many negatives.

van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding", equation 4
(https://arxiv.org/abs/1807.03748); the symmetric form averages both directions, as in CLIP (Radford et al. 2021).
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
        InputError: The temperature is not a finite number above zero, or the similarity is unknown.

    Example:
        >>> query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(InfoNCE(temperature=1.0)(query, query).item(), 4)  # -log(e / (e + 1))
        0.3133
    """

    def __init__(
        self, temperature: float = 0.05, *, symmetric: bool = False, similarity: Similarity = "cosine"
    ) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)
        self.symmetric = symmetric
        self.similarity = check_similarity(similarity)

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        present: Tensor | None = None,
        excluded: Tensor | None = None,
        rows: slice | None = None,
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
            rows: The rows whose mean loss is wanted, all where None; the others only give candidates. Several
                processes that share a batch take their own rows each.

        Returns:
            The loss, a scalar, float32 (float64 for float64 vectors).

        Raises:
            InputError: Shapes or dtypes do not fit each other.
        """
        with torch.autocast(query.device.type, enabled=False):
            queries, candidates, masked = self._prepared(query, positive, negatives, present, excluded)
            batch = queries.shape[0]
            start, stop = batch_bounds(rows, batch)
            logits = self._scaled(queries[start:stop], candidates, None if masked is None else masked[start:stop])
            own = logits.diagonal(offset=start)  # (rows,)
            loss = self.reduce(torch.logsumexp(logits, dim=1) - own)
            if not self.symmetric:
                return loss
            if stop - start == batch:
                mirrored = logits[:, :batch]
            else:
                block = None if masked is None else masked[:, start:stop]
                mirrored = self._scaled(queries, candidates[start:stop], block)  # (b, rows)
            mirror = self.reduce(torch.logsumexp(mirrored, dim=0) - own)
            return (loss + mirror) / 2

    def logits(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        present: Tensor | None = None,
        excluded: Tensor | None = None,
    ) -> Tensor:
        """Return what the softmax is taken over, for looking into it: the arguments are those of ``forward``.

        Returns:
            Similarities over the temperature, minus infinity where a candidate is left out, shape (b, b + b * m),
            float32 at least.

        Raises:
            InputError: Shapes or dtypes do not fit each other.
        """
        with torch.autocast(query.device.type, enabled=False):
            return self._scaled(*self._prepared(query, positive, negatives, present, excluded))

    def reduce(self, losses: Tensor) -> Tensor:
        """Return the mean of the losses of the rows, shape (rows,); a subclass may weigh them."""
        return losses.mean()

    def _prepared(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None,
        present: Tensor | None,
        excluded: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        _check(query, positive, negatives, present, excluded)
        candidates = positive
        if negatives is not None and negatives.shape[1]:
            if present is not None:
                # A NaN in an absent place would reach the gradient through 0 * NaN if it were masked only later.
                negatives = negatives.masked_fill(~present.unsqueeze(-1), 0.0)
            candidates = torch.cat([positive, negatives.flatten(0, 1)])  # (b + b * m, d)
        query, candidates = at_least_float32(query), at_least_float32(candidates)
        if self.similarity == "cosine":
            query, candidates = unit(query), unit(candidates)
        return query, candidates, _masked(query.shape[0], candidates.shape[0], present, excluded, query.device)

    def _scaled(self, query: Tensor, candidates: Tensor, masked: Tensor | None) -> Tensor:
        logits = query @ candidates.T / self.temperature
        return logits if masked is None else logits.masked_fill(masked, -torch.inf)

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return f"temperature={self.temperature}, symmetric={self.symmetric}, similarity={self.similarity!r}"


def batch_bounds(rows: slice | None, batch: int) -> tuple[int, int]:
    """Return the first row and the one after the last of a slice of the batch, or refuse it.

    Raises:
        InputError: The slice selects nothing or skips rows.
    """
    if rows is None:
        return 0, batch
    start, stop, step = rows.indices(batch)
    if step != 1 or start >= stop:
        raise InputError(f"rows {rows} of a batch of {batch}", mend="give a slice of at least one row, in steps of 1")
    return start, stop


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
        raise InputError(
            f"query has shape {tuple(query.shape)} and positive {tuple(positive.shape)}",
            mend="both must be (b, d), b > 0",
        )
    batch, dimension = query.shape
    count = 0
    if negatives is not None:
        if negatives.ndim != 3 or negatives.shape[0] != batch or negatives.shape[2] != dimension:
            raise InputError(
                f"negatives have shape {tuple(negatives.shape)}", mend=f"they must be ({batch}, m, {dimension})"
            )
        count = negatives.shape[1]
    check_mask("present", present, (batch, count))
    check_mask("excluded", excluded, (batch, batch * (1 + count)))
