"""Masks of the candidates that only look like negatives: known positives, duplicates, members of the same class."""

from __future__ import annotations

import torch
from torch import Tensor


def false_negative_mask(query_ids: Tensor, positive_ids: Tensor, negative_ids: Tensor | None = None) -> Tensor:
    """Say which candidates of a batch are known positives of a query, by id.

    The positives of a query are the positives of all rows with its query id. Each of their occurrences among the
    candidates is masked, also as a hard negative (a duplicate of the positive among the negatives), save the one on
    the diagonal, which is the row's own positive.

    Args:
        query_ids: Whole numbers that say which queries mean the same, shape (b,), int64.
        positive_ids: The same for the positives, shape (b,), int64.
        negative_ids: The same, in the numbers of the positives, for the hard negatives, shape (b, m), int64; the
            number of an absent one does not matter.

    Returns:
        True where a candidate is no negative, shape (b, b + b * m), bool, for ``InfoNCE(..., excluded=...)``.

    Example:
        >>> ids = torch.tensor([7, 8, 7])
        >>> false_negative_mask(ids, torch.tensor([1, 2, 3])).int().tolist()  # rows 0 and 2 ask the same
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    """
    same_query = query_ids[:, None] == query_ids[None, :]  # (b, b)
    same_document = positive_ids[:, None] == _candidates(positive_ids, negative_ids)[None, :]  # (b, b + b * m)
    # Counts of at most b ones are exact in float32; there is no matrix product of booleans.
    mask = (same_query.float() @ same_document.float()) > 0
    return mask.fill_diagonal_(False)


def same_class_mask(labels: Tensor, negative_labels: Tensor | None = None) -> Tensor:
    """Say which candidates of a batch are of a query's own class.

    Args:
        labels: The class of each row, shared by query and positive, shape (b,), int64.
        negative_labels: The classes of the hard negatives, shape (b, m), int64; the class of an absent one does
            not matter.

    Returns:
        True where a candidate is no negative, shape (b, b + b * m), bool.

    Example:
        >>> same_class_mask(torch.tensor([0, 1, 0])).int().tolist()
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    """
    mask = labels[:, None] == _candidates(labels, negative_labels)[None, :]
    return mask.fill_diagonal_(False)


def other_rows_mask(
    batch: int, count: int, *, positives: bool = True, device: torch.device | str | None = None
) -> Tensor:
    """Say which candidates of a batch belong to other rows: with them excluded, in-batch negatives are off.

    Args:
        batch: Number of rows b.
        count: Number of hard negatives m of each row.
        positives: Whether the positives of other rows are meant too, or their hard negatives only.
        device: Where the mask is made.

    Returns:
        True where a candidate is of another row, shape (b, b + b * m), bool, for ``InfoNCE(..., excluded=...)``.

    Example:
        >>> other_rows_mask(2, 1).int().tolist()
        [[0, 1, 0, 1], [1, 0, 1, 0]]
        >>> other_rows_mask(2, 1, positives=False).int().tolist()
        [[0, 0, 0, 1], [0, 0, 1, 0]]
    """
    others = ~torch.eye(batch, dtype=torch.bool, device=device)
    first = others if positives else torch.zeros_like(others)
    return torch.cat([first, others.repeat_interleave(count, dim=1)], dim=1)


def _candidates(positive: Tensor, negative: Tensor | None) -> Tensor:
    return positive if negative is None else torch.cat([positive, negative.flatten()])
