"""Hybrid search: the best of the vector side and of the lexical side, joined into one ranking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.index.answers import Fusion


def fused_scores(
    vector: NDArray[np.float64], lexical: NDArray[np.float64], ids: list[str], fusion: Fusion
) -> NDArray[np.float64]:
    """Join two scores of the same candidates.

    Args:
        vector: Cosines, shape (candidates,).
        lexical: BM25 scores, zero where no term matches, shape (candidates,).
        ids: The candidates' ids, which settle ties of rank.
        fusion: Method and weight.

    Returns:
        One score a candidate, higher is better, shape (candidates,).

    Example:
        >>> fused_scores(np.array([0.9, 0.1]), np.array([0.0, 4.0]), ["a", "b"], Fusion(vector_weight=0.75)).tolist()
        [0.75, 0.25]
    """
    weight = fusion.vector_weight
    if fusion.method == "score":
        return weight * _scaled(vector) + (1 - weight) * _scaled(lexical)
    by_vector = weight / (fusion.constant + _ranks(vector, ids))
    by_terms = (1 - weight) / (fusion.constant + _ranks(lexical, ids))
    # A row without any term of the query stands in no lexical ranking, however few rows do.
    return by_vector + np.where(lexical > 0, by_terms, 0.0)


def _scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    if scores.size == 0 or scores.max() == scores.min():
        return np.zeros_like(scores)
    scaled: NDArray[np.float64] = (scores - scores.min()) / (scores.max() - scores.min())
    return scaled


def _ranks(scores: NDArray[np.float64], ids: list[str]) -> NDArray[np.float64]:
    """Ranks from 1, ties by id."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], ids[place]))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    return ranks
