"""Negatives from all processes: a differentiable all-gather, and an objective over the gathered batch.

The gathered in-batch negatives of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020), with the gradient to
every process's vectors, as CoDiEmb (https://arxiv.org/abs/2508.11442) and KaLM-Embedding-V2
(https://arxiv.org/abs/2506.20923) train.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from embedworks.foundation import InputError


def all_gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes, in the order of their ranks; gradients find their way back.

    Processes may bring different numbers of rows. Where the other sizes differ (hard negatives padded to the widest
    query of each process), they are filled up to the largest: with zeros, False for masks, -1 for whole numbers, which
    is the id of what is absent. Every process must take part, forward and backward. Without a process group it
    returns what it got.

    Args:
        rows: Shape (n, ...), any dtype; the same dtype and number of axes in every process.

    Returns:
        Shape (sum of n, ...). Its gradient is the sum of the gradients of all processes.

    Raises:
        InputError: There is no axis to gather along.

    Example:
        >>> all_gather_rows(torch.tensor([[1.0, 2.0]]))  # one process
        tensor([[1., 2.]])
    """
    if not rows.ndim:
        raise InputError("a single number cannot be gathered", mend="give it an axis of rows")
    if _processes() == 1:
        return rows
    shapes = _shapes(rows)
    if rows.dtype.is_floating_point:
        gathered: Tensor = _GatherRows.apply(rows, shapes)  # type: ignore[no-untyped-call]
        return gathered
    return _gather(rows, shapes)


class CrossDeviceNegatives(nn.Module):
    """An objective whose queries see the candidates of all processes.

    Each process computes the loss of its own rows against the gathered candidates, so the work is shared, and the
    gradient reaches the vectors of every process through the gather. With gradients averaged over processes, as
    ``DistributedDataParallel`` and accelerate do, value and gradient are those of one process with the whole batch,
    whatever the numbers of rows of the processes.

    Args:
        objective: One whose ``forward`` takes ``(query, positive, negatives, present=..., rows=...)``: an InfoNCE,
            plain or focal, a ManyPositiveInfoNCE, a ContrastiveDistillation, or a Matryoshka or MixedNegatives
            around one.

    Example:
        >>> from embedworks.objectives import InfoNCE
        >>> query, positive = torch.randn(4, 8), torch.randn(4, 8)
        >>> torch.equal(CrossDeviceNegatives(InfoNCE())(query, positive), InfoNCE()(query, positive))  # one process
        True
    """

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.objective = objective

    def forward(
        self,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        *,
        present: Tensor | None = None,
        positive_present: Tensor | None = None,
        **of_the_whole_batch: Any,
    ) -> Tensor:
        """Return the mean loss over the rows of all processes, the same number in every process.

        Args:
            query: The query vectors of this process, shape (b, d).
            positive: Their positives, shape (b, d) or (b, m, d).
            negatives: Their hard negatives, shape (b, n, d); in every process or in none.
            present: Which of them exist, shape (b, n), bool.
            positive_present: Which positives exist, shape (b, m), bool.
            of_the_whole_batch: What the objective takes besides, such as ``excluded``, for the gathered batch: make
                it of ids that went through :func:`all_gather_rows`.

        Returns:
            The loss, a scalar; the gradient is this process's part of it.

        Raises:
            InputError: As for the objective.
        """
        if _processes() == 1:
            masks = {"present": present, "positive_present": positive_present}
            given = {name: mask for name, mask in masks.items() if mask is not None}
            loss: Tensor = self.objective(query, positive, negatives, **given, **of_the_whole_batch)
            return loss
        counts = [shape[0] for shape in _shapes(query)]
        if not all(counts):  # said in every process, or the others would wait for the one that stopped
            raise InputError(f"process {counts.index(0)} has no rows", mend="give every process a row of each batch")
        whole: dict[str, Tensor] = {"query": all_gather_rows(query), "positive": all_gather_rows(positive)}
        if positive.ndim == 3:
            whole["positive_present"] = all_gather_rows(_all_where_none(positive_present, positive))
        if negatives is not None:
            whole["negatives"] = all_gather_rows(negatives)
            whole["present"] = all_gather_rows(_all_where_none(present, negatives))
        rank, total = dist.get_rank(), sum(counts)
        start = sum(counts[:rank])
        loss = self.objective(**whole, **of_the_whole_batch, rows=slice(start, start + counts[rank]))
        # The mean over processes of these is the mean over rows, also where processes have different numbers of rows.
        scaled = loss * (counts[rank] * len(counts) / total)
        mean = scaled.detach().clone()
        dist.all_reduce(mean)
        return scaled + (mean / len(counts) - scaled).detach()


class _GatherRows(torch.autograd.Function):
    """All-gather along the first axis; backward, each process gets the sum of all gradients of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, shapes: list[tuple[int, ...]]) -> Tensor:
        ctx.shapes = shapes
        return _gather(rows, shapes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        rank = dist.get_rank()
        start = sum(shape[0] for shape in ctx.shapes[:rank])
        own = ctx.shapes[rank]
        return gradient[(slice(start, start + own[0]), *(slice(size) for size in own[1:]))], None


def _gather(rows: Tensor, shapes: list[tuple[int, ...]]) -> Tensor:
    widest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    absent = -1 if not rows.dtype.is_floating_point and rows.dtype != torch.bool else 0
    own = rows.detach()
    if own.shape != widest:
        padded = own.new_full(widest, absent)
        padded[tuple(slice(size) for size in own.shape)] = own
        own = padded
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in shapes]
    dist.all_gather(parts, own.contiguous())
    return torch.cat([part[: shape[0]] for part, shape in zip(parts, shapes, strict=True)])


def _shapes(rows: Tensor) -> list[tuple[int, ...]]:
    own = torch.tensor(rows.shape, dtype=torch.int64, device=rows.device)
    parts = [torch.empty_like(own) for _ in range(_processes())]
    dist.all_gather(parts, own)
    return [tuple(part.tolist()) for part in parts]


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _all_where_none(present: Tensor | None, vectors: Tensor) -> Tensor:
    return vectors.new_ones(vectors.shape[:2], dtype=torch.bool) if present is None else present
