"""Texts as matrices of one vector a token: checked, and taken out of padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, NonFiniteError


def unpadded(states: NDArray[np.floating], mask: NDArray[np.generic]) -> list[NDArray[np.floating]]:
    """Take the real tokens out of a padded batch, on whichever side the padding is.

    Args:
        states: One vector a token, shape (n, t, d).
        mask: Not zero at real tokens, shape (n, t).

    Returns:
        One matrix a text, shape (its tokens, d), in the type of ``states``.

    Raises:
        InputError: The shapes do not fit.

    Example:
        >>> [part.tolist() for part in unpadded(np.array([[[1.0], [2.0]], [[3.0], [9.0]]]), np.array([[1, 1], [1, 0]]))]
        [[[1.0], [2.0]], [[3.0]]]
    """
    if states.ndim != 3 or mask.shape != states.shape[:2]:
        raise InputError(
            f"states of shape {states.shape} and a mask of shape {mask.shape}",
            where="unpadded",
            mend="give shapes (n, t, d) and (n, t)",
        )
    return [text[real] for text, real in zip(states, mask.astype(bool), strict=True)]


def check_token_matrices(
    queries: Sequence[NDArray[np.floating]], documents: Sequence[NDArray[np.floating]], *, where: str
) -> None:
    """Refuse texts without any vector and vectors of another dimension.

    Raises:
        InputError: A text is no matrix of at least one vector, or the dimensions differ.
    """
    dimension = next((vectors.shape[-1] for vectors in (*queries, *documents) if vectors.ndim), None)
    for name, texts in (("query", queries), ("document", documents)):
        for row, vectors in enumerate(texts):
            if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != dimension:
                raise InputError(
                    f"vectors of shape {vectors.shape}",
                    where=f"{where}, {name} {row}",
                    mend="give at least one vector a text, all of one dimension",
                )


@dataclass(frozen=True)
class TokenBlock:
    """Some texts end to end.

    Args:
        first: Number of the first text.
        last: Number after the last.
        vectors: All their vectors, shape (tokens, d).
        lengths: Vectors of each text, shape (last - first,).
        starts: Where each begins, shape (last - first,).
    """

    first: int
    last: int
    vectors: NDArray[np.floating]
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]


def token_blocks(
    texts: Sequence[NDArray[np.floating]], *, most: int, dtype: type[np.floating], name: str
) -> Iterator[TokenBlock]:
    """Lay texts end to end in blocks.

    Args:
        texts: One matrix a text.
        most: Vectors a block; a longer text makes a block of its own.
        dtype: Type of the vectors handed out.
        name: What they are, for messages.

    Yields:
        Blocks in order.

    Raises:
        NonFiniteError: A vector holds NaN or infinity.
    """
    first = 0
    while first < len(texts):
        last, size = first, 0
        while last < len(texts) and (last == first or size + len(texts[last]) <= most):
            size += len(texts[last])
            last += 1
        vectors = np.concatenate(texts[first:last]).astype(dtype, copy=False)
        lengths = np.array([len(text) for text in texts[first:last]], dtype=np.int64)
        if not np.isfinite(vectors).all():
            bad = int(np.searchsorted(np.cumsum(lengths), np.argmin(np.isfinite(vectors).all(axis=1)), side="right"))
            raise NonFiniteError("a vector holds NaN or infinity", where=f"{name} {first + bad}")
        yield TokenBlock(first, last, vectors, lengths, np.concatenate([[0], np.cumsum(lengths)[:-1]]))
        first = last
