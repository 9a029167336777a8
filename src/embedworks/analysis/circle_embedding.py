"""The exact construction in 2k dimensions: documents on a circle, any k of them above all others, for any number.

It is the counter-example to reading a critical number of documents as a law of dimension: what it shows is that
dimension alone does not stop all k-subsets from being ranked, the margin does, which shrinks like n**(-2k) or so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError


def circle_documents(documents: int, *, degree: int) -> NDArray[np.float64]:
    """Place documents on the trigonometric moment curve.

    Document j stands at the angle ``t = 2 pi j / n`` and has the vector
    ``(cos t, sin t, cos 2t, sin 2t, ..., cos rt, sin rt) / sqrt(r)``.

    Args:
        documents: Number of documents n.
        degree: Degree r; sets that form up to r arcs of the circle can be ranked on top.

    Returns:
        Unit vectors, shape (n, 2 r).

    Raises:
        InputError: A number is below 1.

    Example:
        >>> circle_documents(4, degree=1).round(6).tolist()
        [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-0.0, -1.0]]
    """
    if documents < 1 or degree < 1:
        raise InputError(f"{documents} documents, degree {degree}", where="circle_documents", mend="give at least 1")
    angles = 2 * np.pi * np.arange(documents)[:, None] / documents * np.arange(1, degree + 1)  # (n, r)
    pairs = np.stack([np.cos(angles), np.sin(angles)], axis=2)  # (n, r, 2)
    return np.asarray(pairs.reshape(documents, 2 * degree) / np.sqrt(degree))


def arcs_of(members: Sequence[int], documents: int) -> list[tuple[int, int]]:
    """Split a set of places on a circle into arcs of neighbours.

    Args:
        members: Places, each in 0 to documents - 1.
        documents: Number of places on the circle.

    Returns:
        First place and number of places of each arc; none for the empty set.

    Example:
        >>> arcs_of([0, 1, 4, 9], 10)
        [(4, 1), (9, 3)]
    """
    chosen = sorted(set(members))
    if len(chosen) == documents:
        return [(0, documents)]
    firsts = [place for place in chosen if (place - 1) % documents not in chosen]
    lengths = []
    for first in firsts:
        length = 1
        while (first + length) % documents in chosen:
            length += 1
        lengths.append(length)
    return list(zip(firsts, lengths, strict=True))


def circle_query(members: Sequence[int], *, documents: int, degree: int) -> NDArray[np.float64]:
    """Return the query that ranks a set of places on top of all others.

    With an arc centred at c of half-width w, ``cos w - cos(t - c)`` is at most 0 on the arc and above 0 elsewhere; the
    product over the set's arcs is a trigonometric polynomial of their number as its degree, at most 0 on the set and
    above 0 elsewhere. The query is minus its coefficients but the constant, scaled to length 1. For single places
    this is ``prod (1 - cos(t - t_s))``.

    Args:
        members: The set, as places in 0 to documents - 1.
        documents: Number of documents n on the circle.
        degree: Degree r of the documents' vectors.

    Returns:
        Unit vector, shape (2 r,); any one for the empty set or the set of all, which rank nothing.

    Raises:
        InputError: A place is not on the circle, or the set forms more than r arcs.

    Example:
        >>> scores = circle_documents(9, degree=2) @ circle_query([2, 6], documents=9, degree=2)
        >>> sorted(np.argsort(-scores)[:2].tolist())
        [2, 6]
    """
    if any(not 0 <= place < documents for place in members):
        raise InputError("a place is not on the circle", where="circle_query", mend=f"give 0 to {documents - 1}")
    arcs = arcs_of(members, documents)
    if len(arcs) > degree:
        raise InputError(
            f"the set forms {len(arcs)} arcs and the degree is {degree}", where="circle_query", mend="raise the degree"
        )
    query = np.zeros(2 * degree)
    if not members or len(set(members)) == documents:
        query[0] = 1.0
        return query
    step = 2 * np.pi / documents
    polynomial = np.ones(1, np.complex128)  # coefficients of exp(i j t), j from -r to r
    for first, length in arcs:
        half = (length - 1) / 2 * step
        turn = np.exp(-1j * (first * step + half))
        polynomial = np.convolve(polynomial, np.array([-np.conj(turn) / 2, np.cos(half), -turn / 2]))
    positive = polynomial[len(arcs) + 1 :]  # of exp(i j t), j from 1
    query[: 2 * len(positive)] = np.stack([-2 * positive.real, 2 * positive.imag], axis=1).ravel()
    return np.asarray(query / np.linalg.norm(query))


def circle_order(relevance: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Look for an order of the documents round a circle in which every relevant set forms few arcs.

    The given order and one that puts documents of the same queries side by side (reverse Cuthill-McKee) are tried;
    the better is returned, so that ``2 arcs`` dimensions suffice, not that fewer would not.

    Args:
        relevance: Shape (m, n), true where relevant.

    Returns:
        The document at each place, shape (n,), and the largest number of arcs of any row, at least 1.

    Example:
        >>> rows = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 1, 0]], bool)
        >>> circle_order(rows)[1]
        1
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    sparse = csr_array(relevance.astype(np.float64))
    joined = reverse_cuthill_mckee((sparse.T @ sparse).tocsr(), symmetric_mode=True)
    best = np.arange(relevance.shape[1], dtype=np.int64)
    arcs = _most_arcs(relevance)
    if _most_arcs(relevance[:, joined]) < arcs:
        best, arcs = np.asarray(joined, np.int64), _most_arcs(relevance[:, joined])
    return best, max(arcs, 1)


def _most_arcs(relevance: NDArray[np.bool_]) -> int:
    begins = relevance & ~np.roll(relevance, 1, axis=1)
    return int(begins.sum(axis=1).max())
