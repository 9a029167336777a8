"""Contrastive distillation: the student's distribution over its candidates follows a teacher's.

"KaLM-Embedding-V2: Superior Training Techniques and Data Inspire A Versatile Embedding Model", section on contrastive
distillation (https://arxiv.org/abs/2506.20923).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from embedworks.foundation import InputError
from embedworks.objectives.contrastive import InfoNCE, batch_bounds
from embedworks.objectives.false_negatives import other_rows_mask
from embedworks.objectives.similarity import Similarity, at_least_float32, check_temperature


def teacher_similarities(query: Tensor, positive: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Return a teacher's cosines of each query with each candidate, in the order of InfoNCE, without gradient.

    Args:
        query: The teacher's query vectors, shape (b, d), any floating dtype.
        positive: Its positives, shape (b, d).
        negatives: Its hard negatives, shape (b, m, d).

    Returns:
        Cosines, shape (b, b + b * m), float32 at least.

    Raises:
        InputError: Shapes do not fit each other.

    Example:
        >>> teacher_similarities(torch.eye(2), torch.eye(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    with torch.no_grad():
        return InfoNCE(1.0).logits(query, positive, negatives)


class ContrastiveDistillation(nn.Module):
    r"""A contrastive loss, and the divergence of the student's distribution over candidates from the teacher's.

    The candidates of a query are its positive, its own hard negatives and the positives of the other queries. With
    similarities :math:`s_S` of the student and :math:`s_T` of the teacher:

    .. math::
        P_S = \mathrm{softmax}(s_S / t_S), \quad P_T = \mathrm{softmax}(s_T / t_T), \quad
        L = w_C \, L_{contrastive} + w_D \, \frac1b \sum_i \mathrm{KL}(P_T^{(i)} \,\|\, P_S^{(i)})

    Excluded and absent candidates are in neither distribution; a query's own positive always is. No gradient goes to
    the teacher.

    Args:
        contrastive: The contrastive loss, such as an InfoNCE, plain, focal, or with mixed negatives; InfoNCE at the
            student's temperature where None.
        temperature: :math:`t_S`, no unit, above zero.
        teacher_temperature: :math:`t_T`, no unit, above zero; the student's where None.
        contrastive_weight: :math:`w_C`, at least 0; 0 leaves the divergence alone.
        divergence_weight: :math:`w_D`, above 0.
        similarity: Of the student: ``"cosine"`` or ``"dot"``.

    Raises:
        InputError: A temperature is not a finite number above zero, or a weight is wrong.

    Example:
        >>> query, positive = torch.randn(4, 8), torch.randn(4, 8)
        >>> teacher = teacher_similarities(query, positive)
        >>> round(abs(ContrastiveDistillation().divergence(query, positive, teacher=teacher).item()), 6)  # of itself
        0.0
    """

    def __init__(
        self,
        contrastive: nn.Module | None = None,
        *,
        temperature: float = 0.02,
        teacher_temperature: float | None = None,
        contrastive_weight: float = 1.0,
        divergence_weight: float = 1.0,
        similarity: Similarity = "cosine",
    ) -> None:
        super().__init__()
        self.student = InfoNCE(temperature, similarity=similarity)
        self.teacher_temperature = check_temperature(
            temperature if teacher_temperature is None else teacher_temperature, "teacher_temperature"
        )
        weights = (contrastive_weight, divergence_weight)
        if not all(math.isfinite(w) and w >= 0 for w in weights) or not divergence_weight:
            raise InputError(f"the weights are {list(weights)}", mend="give finite numbers, the divergence's above 0")
        self.contrastive = InfoNCE(temperature, similarity=similarity) if contrastive is None else contrastive
        self.contrastive_weight = contrastive_weight
        self.divergence_weight = divergence_weight

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        teacher: Tensor,
        present: Tensor | None = None,
        excluded: Tensor | None = None,
        rows: slice | None = None,
    ) -> Tensor:
        """Return the weighted sum over the batch.

        Args:
            query: The student's query vectors, shape (b, d), any floating dtype.
            positive: Its positives, shape (b, d).
            negatives: Its hard negatives, shape (b, m, d).
            teacher: The teacher's similarities of each query with each candidate, shape (b, b + b * m), any floating
                dtype; see :func:`teacher_similarities`. Those with other queries' hard negatives are not used.
            present: Which hard negatives exist, shape (b, m), bool.
            excluded: Candidates that are no negatives of a query, shape (b, b + b * m), bool.
            rows: The rows whose mean loss is wanted, all where None; the others only give candidates.

        Returns:
            The loss, a scalar, float32 (float64 for float64 vectors).

        Raises:
            InputError: Shapes or dtypes do not fit each other, or a similarity of the teacher that is used is not
                finite.
        """
        masks = {"present": present, "excluded": excluded}
        loss = self.divergence_weight * self.divergence(query, positive, negatives, teacher=teacher, rows=rows, **masks)
        if self.contrastive_weight:
            given = masks | ({} if rows is None else {"rows": rows})
            contrast: Tensor = self.contrastive(query, positive, negatives, **given)
            loss = loss + self.contrastive_weight * contrast
        return loss

    def divergence(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        teacher: Tensor,
        present: Tensor | None = None,
        excluded: Tensor | None = None,
        rows: slice | None = None,
    ) -> Tensor:
        """Return the mean divergence alone; the arguments are those of ``forward``."""
        with torch.autocast(query.device.type, enabled=False):
            logits = self.student.logits(query, positive, negatives, present=present, excluded=excluded)
            batch, candidates = logits.shape
            if tuple(teacher.shape) != tuple(logits.shape) or not teacher.dtype.is_floating_point:
                raise InputError(
                    f"teacher is {teacher.dtype} of shape {tuple(teacher.shape)}",
                    mend=f"it must be similarities of shape {tuple(logits.shape)}",
                )
            start, stop = batch_bounds(rows, batch)
            others = other_rows_mask(batch, candidates // batch - 1, positives=False, device=logits.device)
            left_out = (logits.detach().isneginf() | others)[start:stop]
            logits = logits[start:stop].masked_fill(left_out, -torch.inf)
            wanted = at_least_float32(teacher.detach())[start:stop].to(logits.dtype).masked_fill(left_out, 0.0)
            if not wanted.isfinite().all():
                raise InputError("a similarity of the teacher is not finite", mend="check the teacher's vectors")
            wanted = (wanted / self.teacher_temperature).masked_fill(left_out, -torch.inf)
            target = wanted.log_softmax(dim=1).masked_fill(left_out, 0.0)
            given = logits.log_softmax(dim=1).masked_fill(left_out, 0.0)
            return (target.exp().masked_fill(left_out, 0.0) * (target - given)).sum(dim=1).mean()

    def extra_repr(self) -> str:
        """Return the settings as ``repr`` shows them."""
        return (
            f"teacher_temperature={self.teacher_temperature}, contrastive_weight={self.contrastive_weight}, "
            f"divergence_weight={self.divergence_weight}"
        )
