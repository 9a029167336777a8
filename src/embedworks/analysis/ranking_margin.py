"""Whether given vectors rank every relevant set on top, and by how much: the margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError

_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class RankingCheck:
    """How vectors rank the relevant sets of all queries.

    Args:
        accuracy: Relevant documents among the first |R| of their query, over all relevant documents.
        queries_right: Share of queries whose first |R| are exactly the relevant ones; a tie across the cut is wrong.
        margin: Least difference, over queries, of the lowest relevant score to the highest other score. Above 0 all
            queries are right. Infinite where no query has both relevant and other documents.
    """

    accuracy: float
    queries_right: float
    margin: float

    @property
    def solved(self) -> bool:
        """Whether every query's relevant documents stand strictly above all others."""
        return self.margin > 0


def ranking_check(
    queries: NDArray[np.floating], documents: NDArray[np.floating], relevance: NDArray[np.bool_]
) -> RankingCheck:
    """Rank every document for every query by inner product and look at the cut below the relevant ones.

    Scores are computed in the type of the vectors, so that float32 shows what float32 can tell apart.

    Args:
        queries: Shape (m, d).
        documents: Shape (n, d).
        relevance: Shape (m, n), true where relevant.

    Returns:
        Accuracy, share of right queries, margin.

    Raises:
        InputError: The shapes do not fit.

    Example:
        >>> ranking_check(np.eye(2), np.eye(2), np.eye(2, dtype=bool))
        RankingCheck(accuracy=1.0, queries_right=1.0, margin=1.0)
    """
    if (
        queries.ndim != 2
        or documents.ndim != 2
        or relevance.shape != (len(queries), len(documents))
        or queries.shape[1] != documents.shape[1]
    ):
        raise InputError(
            f"shapes {queries.shape}, {documents.shape} and {relevance.shape} do not fit",
            where="ranking_check",
            mend="give (m, d), (n, d) and (m, n)",
        )
    found, right, margin = 0, 0, np.inf
    for start in range(0, len(queries), _ROWS_AT_ONCE):
        wanted = relevance[start : start + _ROWS_AT_ONCE]
        scores = np.asarray(queries[start : start + _ROWS_AT_ONCE] @ documents.T)
        lowest = np.where(wanted, scores, np.inf).min(axis=1, initial=np.inf)
        highest = np.where(wanted, -np.inf, scores).max(axis=1, initial=-np.inf)
        gaps = lowest - highest
        margin = min(margin, float(gaps.min(initial=np.inf)))
        right += int((gaps > 0).sum())
        # Ties across the cut count as failures: a relevant document must beat every document it could be tied with.
        sizes = wanted.sum(axis=1)
        order = np.lexsort((wanted, -scores), axis=1)  # among equals, those not relevant first
        places = np.arange(scores.shape[1])[None, :] < sizes[:, None]
        found += int((np.take_along_axis(wanted, order, axis=1) & places).sum())
    total = int(relevance.sum())
    return RankingCheck(
        accuracy=found / total if total else 1.0,
        queries_right=right / len(queries) if len(queries) else 1.0,
        margin=margin,
    )
