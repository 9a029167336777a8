"""Online hard-negative mixing: harder negatives made from the vectors of a query's own.

"KaLM-Embedding-V2: Superior Training Techniques and Data Inspire A Versatile Embedding Model", section on online
hard-negative mixing (https://arxiv.org/abs/2506.20923).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.objectives.contrastive import InfoNCE
from embedworks.objectives.similarity import at_least_float32, check_mask, check_temperature, unit


def mix_pairs(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    r"""Return :math:`\lambda n_a + (1 - \lambda) n_b` at unit length, of negatives at unit length.

    Args:
        first: :math:`n_a`, shape (..., d), any floating dtype.
        second: :math:`n_b`, the same shape.
        share: :math:`\lambda` from 0 to 1, shape (...).

    Returns:
        The mixed negatives, shape (..., d), float32 at least; zero where the two cancel.

    Example:
        >>> mix_pairs(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor(1.0))
        tensor([1., 0.])
    """
    with torch.autocast(first.device.type, enabled=False):
        first, second = unit(at_least_float32(first)), unit(at_least_float32(second))
        weight = share.to(first).unsqueeze(-1)
        return unit(weight * first + (1 - weight) * second)


def mix_list(query: Tensor, negatives: Tensor, *, usable: Tensor | None = None, temperature: float = 1.0) -> Tensor:
    r"""Return :math:`\sum_k \alpha_k n_k` at unit length, with weights by similarity to the query.

    .. math:: \alpha = \mathrm{softmax}_k(\cos(q, n_k) / t)

    Args:
        query: Shape (b, d), any floating dtype.
        negatives: The negatives of each query, shape (b, m, d), m > 0.
        usable: Which of them to mix, shape (b, m), bool; all where None. A row without any gives zeros.
        temperature: t, no unit, above zero.

    Returns:
        One mixed negative a query, shape (b, d), float32 at least.

    Raises:
        InputError: The temperature is not a finite number above zero.

    Example:
        >>> mix_list(torch.tensor([[1.0, 0.0]]), torch.tensor([[[5.0, 0.0], [2.0, 0.0]]]))
        tensor([[1., 0.]])
    """
    check_temperature(temperature)
    with torch.autocast(query.device.type, enabled=False):
        query, negatives = unit(at_least_float32(query)), unit(at_least_float32(negatives))
        logits = torch.einsum("bd,bmd->bm", query, negatives) / temperature
        if usable is not None:
            # The least number, not minus infinity: a row without any would be NaN.
            logits = logits.masked_fill(~usable, torch.finfo(logits.dtype).min)
            negatives = negatives.masked_fill(~usable.unsqueeze(-1), 0.0)
        return unit(torch.einsum("bm,bmd->bd", logits.softmax(dim=1), negatives))


@dataclass(frozen=True)
class MixedBatch:
    """A batch whose hard negatives are the given ones and, behind them, the mixed ones.

    Attributes:
        negatives: Shape (b, m + s, d), float32 at least.
        present: Which exist, shape (b, m + s), bool.
        excluded: Candidates that are no negatives of a query, shape (b, b + b * (m + s)), bool: what was excluded
            before, and the mixed negatives of other queries.
        mixed: Which candidates are mixed and in a query's denominator, shape (b, b + b * (m + s)), bool.
    """

    negatives: Tensor
    present: Tensor
    excluded: Tensor
    mixed: Tensor


class MixedNegatives(nn.Module):
    r"""An objective whose queries also see synthetic negatives, mixed from their own hard negatives.

    For each query, ``pairwise`` times: :math:`n' = \lambda n_a + (1 - \lambda) n_b` of two different negatives drawn
    at random, :math:`\lambda \sim \mathrm{Beta}(2, 2)`; and once, if ``listwise``: :math:`n' = \sum_k \alpha_k n_k`,
    :math:`\alpha = \mathrm{softmax}(\cos(q, n_k) / t)`. All are brought to unit length and join the denominator of
    their own query only. Negatives that are absent, or known to be none of the query, are not mixed; a query with
    fewer than two to mix gets none.

    The draws follow from the seed and the number of batches seen in training mode, which ``state_dict`` holds; outside
    training mode the count stands still.

    Args:
        objective: An InfoNCE over cosines, plain, focal, or inside a Matryoshka.
        pairwise: How many pair-wise mixtures a query, at least 0; as many as there are hard negatives where None.
        listwise: Whether there is a list-wise one.
        temperature: t of the list-wise weights, no unit, above zero.
        detach: Whether no gradient flows through the mixed vectors.
        seed: Of the draws.

    Raises:
        InputError: The objective is over dot products, nothing is to be mixed, or the temperature is wrong.

    Example:
        >>> query, positive, negatives = torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 3, 8)
        >>> plain = InfoNCE()(query, positive, negatives)
        >>> bool(MixedNegatives(InfoNCE())(query, positive, negatives) > plain)  # the denominators have grown
        True
    """

    def __init__(
        self,
        objective: nn.Module,
        *,
        pairwise: int | None = None,
        listwise: bool = True,
        temperature: float = 1.0,
        detach: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if any(isinstance(part, InfoNCE) and part.similarity != "cosine" for part in objective.modules()):
            raise InputError("mixed negatives have unit length", mend="use an objective with similarity='cosine'")
        if (pairwise is not None and pairwise < 0) or (pairwise == 0 and not listwise):
            raise InputError(
                f"pairwise is {pairwise} and listwise {listwise}", mend="ask for at least one mixed negative"
            )
        self.objective = objective
        self.pairwise = pairwise
        self.listwise = listwise
        self.temperature = check_temperature(temperature)
        self.detach = detach
        self.seed = seed
        self.batches_seen = 0

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor,
        *,
        present: Tensor | None = None,
        excluded: Tensor | None = None,
        rows: slice | None = None,
    ) -> Tensor:
        """Return the objective's loss over the batch with the mixed negatives; the arguments are those of InfoNCE.

        Raises:
            InputError: Shapes or dtypes do not fit each other.
        """
        batch = self.mix(query, negatives, present=present, excluded=excluded)
        if self.training:
            self.batches_seen += 1
        loss: Tensor = self.objective(
            query, positive, batch.negatives, present=batch.present, excluded=batch.excluded, rows=rows
        )
        return loss

    def mix(
        self, query: Tensor, negatives: Tensor, *, present: Tensor | None = None, excluded: Tensor | None = None
    ) -> MixedBatch:
        """Return the batch with the mixed negatives that the next call of ``forward`` would see.

        Args:
            query: Query vectors, shape (b, d), any floating dtype.
            negatives: Hard negatives, shape (b, m, d).
            present: Which exist, shape (b, m), bool.
            excluded: Candidates that are no negatives of a query, shape (b, b + b * m), bool.

        Returns:
            What InfoNCE takes, and which of its candidates are mixed.

        Raises:
            InputError: Shapes or dtypes do not fit each other.
        """
        if query.ndim != 2 or negatives.ndim != 3 or query.shape != (negatives.shape[0], negatives.shape[2]):
            raise InputError(
                f"query has shape {tuple(query.shape)} and negatives {tuple(negatives.shape)}",
                mend="they must be (b, d) and (b, m, d)",
            )
        batch, count = negatives.shape[:2]
        check_mask("present", present, (batch, count))
        check_mask("excluded", excluded, (batch, batch * (1 + count)))
        device = query.device
        if present is None:
            present = torch.ones(batch, count, dtype=torch.bool, device=device)
        if excluded is None:
            excluded = torch.zeros(batch, batch * (1 + count), dtype=torch.bool, device=device)
        negatives = at_least_float32(negatives.masked_fill(~present.unsqueeze(-1), 0.0))
        every = torch.arange(batch, device=device)
        of_negatives = excluded[:, batch:].reshape(batch, batch, count)
        # A known false negative in a mixture would push the query from its own positive.
        usable = present & ~of_negatives[every, every]  # (b, m)
        enough = usable.sum(dim=1) >= 2  # (b,)
        synthetic = self._synthetic(query, negatives, usable)  # (b, s, d)
        made = synthetic.shape[1]
        own = torch.eye(batch, dtype=torch.bool, device=device)[:, :, None].expand(-1, -1, made)
        present_now = torch.cat([present, enough[:, None].expand(-1, made)], dim=1)
        left_out = torch.cat([of_negatives, ~own], dim=2).flatten(1)
        mixed = torch.cat([torch.zeros_like(of_negatives), own & enough[:, None, None]], dim=2).flatten(1)
        return MixedBatch(
            negatives=torch.cat([negatives, synthetic], dim=1),
            present=present_now,
            excluded=torch.cat([excluded[:, :batch], left_out], dim=1),
            mixed=torch.cat([torch.zeros_like(excluded[:, :batch]), mixed], dim=1),
        )

    def _synthetic(self, query: Tensor, negatives: Tensor, usable: Tensor) -> Tensor:
        batch, count, dimension = negatives.shape
        if count < 2:
            return negatives.new_zeros(batch, 0, dimension)
        if self.detach:
            query, negatives = query.detach(), negatives.detach()
        parts = []
        wanted = count if self.pairwise is None else self.pairwise
        if wanted:
            generator = random_generator(self.seed, "negative mixing", self.batches_seen)
            order = generator.random((batch, wanted, count)) + ~usable.cpu().numpy()[:, None]  # the usable come first
            chosen = torch.from_numpy(np.argsort(order, axis=2)[:, :, :2].copy()).to(query.device)  # (b, w, 2)
            share = torch.from_numpy(generator.beta(2.0, 2.0, size=(batch, wanted))).to(query.device)
            every = torch.arange(batch, device=query.device)[:, None]
            parts.append(mix_pairs(negatives[every, chosen[..., 0]], negatives[every, chosen[..., 1]], share))
        if self.listwise:
            parts.append(mix_list(query, negatives, usable=usable, temperature=self.temperature)[:, None])
        return torch.cat(parts, dim=1).to(negatives)

    def get_extra_state(self) -> Tensor:
        """Return how many batches were seen, for ``state_dict``."""
        return torch.tensor(self.batches_seen)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on after as many batches as were seen when the state was saved."""
        self.batches_seen = int(state.item())

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return (
            f"pairwise={self.pairwise}, listwise={self.listwise}, temperature={self.temperature}, "
            f"detach={self.detach}, seed={self.seed}"
        )
