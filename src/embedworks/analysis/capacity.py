"""Is the dimension of single vectors likely to be what limits search on one's own judged data?

Three looks, from the judgements alone: how dense the graph of queries is, between which bounds the least dimension
lies, and the smallest dimension in which vectors trained straight on the judgements rank every relevant set on top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis.circle_embedding import circle_documents, circle_order, circle_query
from embedworks.analysis.free_embedding import FreeEmbeddingSettings, train_free_embeddings
from embedworks.analysis.ranking_margin import ranking_check
from embedworks.analysis.relevance_graph import Densities, RelevanceMatrix, relevance_densities
from embedworks.analysis.sign_rank import DimensionBounds, dimension_bounds
from embedworks.foundation import InputError

PUBLISHED_DENSITIES: Mapping[str, tuple[float, float]] = {
    "NQ": (0.0, 0.0),
    "HotpotQA": (0.000037, 0.1104),
    "SciFact": (0.001449, 0.4222),
    "FollowIR Core17": (0.025641, 0.5912),
    "LIMIT": (0.085481, 28.4653),
}
"""Graph density and average query strength of known sets (arXiv 2508.21038, table 1)."""

DENSE_STRENGTH = 4.0
"""Average query strength from which a set counts as dense: the geometric mean of FollowIR Core17's and LIMIT's."""

_MARGIN = 1e-3  # what half precision can store of scores near 1
_CELLS = 1_000_000  # largest matrix to train on: about 10 ms a step
_STARTS = (0, 1)
_MAX_STEPS = 3000
_PATIENCE = 200  # where free vectors solve a matrix at all, they do so within some hundred steps


class CapacityVerdict(StrEnum):
    """Whether the dimension is likely to be the limit."""

    UNLIKELY = "unlikely"
    POSSIBLE = "possible"
    LIKELY = "likely"


@dataclass(frozen=True)
class Capacity:
    """What the judgements say about the dimension that they need.

    Args:
        densities: Of the whole graph of queries.
        bounds: Of the least dimension, over the queries looked at.
        upper_margin: Least difference of cosines by which the exact vectors of the upper bound rank a relevant document
            above another; 0 or below where float64 cannot tell. None where the bound comes from a rank alone.
        dimension: The dimension asked about.
        queries_looked_at: Different queries trained on: all, or those of the largest strength where there are many.
        documents_looked_at: Different documents of theirs, one for all that no query wants.
        free_dimension: The smallest dimension tried in which trained vectors rank every relevant set on top by
            ``margin``; None where none up to ``dimension`` did.
        tried: Dimension to the best share of right queries in it.
        margin: The margin asked for.
        verdict: Whether the dimension is likely to be the limit.
        reason: Why, in a sentence.
    """

    densities: Densities
    bounds: DimensionBounds
    upper_margin: float | None
    dimension: int
    queries_looked_at: int
    documents_looked_at: int
    free_dimension: int | None
    tried: dict[int, float]
    margin: float
    verdict: CapacityVerdict
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON document, with the densities of known sets beside one's own."""
        return {
            "densities": self.densities.to_json(),
            "published_densities": {
                name: {"graph_density": density, "average_query_strength": strength}
                for name, (density, strength) in PUBLISHED_DENSITIES.items()
            },
            "bounds": {
                "lower": self.bounds.lower,
                "lower_by": self.bounds.lower_by,
                "upper": self.bounds.upper,
                "upper_by": self.bounds.upper_by,
                "upper_margin": self.upper_margin,
                "sign_rank": [self.bounds.sign_rank_lower, self.bounds.sign_rank_upper],
            },
            "dimension": self.dimension,
            "queries_looked_at": self.queries_looked_at,
            "documents_looked_at": self.documents_looked_at,
            "free_dimension": self.free_dimension,
            "tried": [{"dimension": dimension, "queries_right": share} for dimension, share in self.tried.items()],
            "margin": self.margin,
            "verdict": self.verdict.value,
            "reason": self.reason,
        }


def judge_capacity(
    relevance: Mapping[str, Mapping[str, int]],
    *,
    dimension: int,
    documents: int | None = None,
    finished: Callable[[int], None] = lambda _number: None,
) -> Capacity:
    """Judge whether a dimension is likely to be what limits single-vector search on judged data.

    *Likely*: vectors trained on the judgements themselves do not rank them right in this dimension. *Possible*: they
    do, but the graph of queries is so dense that encoders, which must get there from text, have failed on such sets
    far above the dimension that free vectors need. *Unlikely*: neither.

    Args:
        relevance: Query id to document id to grade; above zero is relevant.
        dimension: Dimension of the vectors in question.
        documents: Number of documents of the corpus; by default those that are relevant somewhere.
        finished: Called with 1 after each dimension tried.

    Returns:
        Densities, bounds, the dimension free vectors need, and the verdict with its reason.

    Raises:
        InputError: The dimension is below 1, or no query has a relevant document.

    Example:
        >>> four = judge_capacity({"q": {"a": 1}, "r": {"b": 1}}, dimension=384, documents=1000)
        >>> four.verdict.value, four.free_dimension
        ('unlikely', 2)
    """
    if dimension < 1:
        raise InputError(f"dimension {dimension}", where="judge_capacity", mend="give the length of your vectors")
    matrix = RelevanceMatrix(relevance, documents=documents)
    densities = relevance_densities(matrix)
    looked_at = _hardest(matrix, densities)
    bounds = dimension_bounds(looked_at)
    settings = FreeEmbeddingSettings(margin=_MARGIN, max_steps=_MAX_STEPS, patience=_PATIENCE)
    tried: dict[int, float] = {}
    free: int | None = None
    for size in dimensions_to_try(dimension):
        runs = train_free_embeddings(looked_at, dimension=size, seeds=_STARTS, settings=settings)
        tried[size] = max(run.check.queries_right for run in runs)
        finished(1)
        if any(run.solved for run in runs):
            free = size
            break
    verdict, reason = _verdict(densities, dimension, free, tried)
    return Capacity(
        densities=densities,
        bounds=bounds,
        upper_margin=_circle_margin(looked_at) if bounds.upper_by.startswith("documents on a circle") else None,
        dimension=dimension,
        queries_looked_at=looked_at.shape[0],
        documents_looked_at=looked_at.shape[1],
        free_dimension=free,
        tried=tried,
        margin=_MARGIN,
        verdict=verdict,
        reason=reason,
    )


def dimensions_to_try(dimension: int) -> list[int]:
    """Return 2, 3, 4, 6, 8, 12, ... below the dimension, and the dimension.

    Example:
        >>> dimensions_to_try(10)
        [2, 3, 4, 6, 8, 10]
    """
    below = sorted({size for power in range(1, 32) for size in (2**power, 3 * 2 ** (power - 1))} - {1})
    return [size for size in below if size < dimension] + [dimension]


def _hardest(matrix: RelevanceMatrix, densities: Densities) -> NDArray[np.bool_]:
    """Return the distinct matrix, of the queries of largest strength where all are too many to train on."""
    chosen = len(matrix.query_ids)
    order = np.argsort(-densities.strengths, kind="stable")
    while True:
        rows = np.sort(order[:chosen])
        columns = np.unique(matrix.sparse[rows].indices)
        if chosen == 1 or chosen * (len(columns) + 1) <= _CELLS:
            break
        chosen = max(1, chosen * 3 // 4)
    kept = {
        matrix.query_ids[row]: dict.fromkeys([matrix.document_ids[place] for place in matrix.sparse[[row]].indices], 1)
        for row in rows
    }
    return RelevanceMatrix(kept, documents=matrix.documents).distinct()


def _circle_margin(relevance: NDArray[np.bool_]) -> float | None:
    order, arcs = circle_order(relevance)
    placed = relevance[:, order]
    queries = [circle_query(np.flatnonzero(row).tolist(), documents=len(row), degree=arcs) for row in placed]
    margin = ranking_check(np.stack(queries), circle_documents(placed.shape[1], degree=arcs), placed).margin
    return margin if np.isfinite(margin) else None


def _verdict(
    densities: Densities, dimension: int, free: int | None, tried: Mapping[int, float]
) -> tuple[CapacityVerdict, str]:
    strength = densities.average_query_strength
    if free is None:
        return CapacityVerdict.LIKELY, (
            f"vectors of {dimension} dimensions trained on the judgements themselves rank only "
            f"{100 * tried[dimension]:.1f} % of the queries right, and an encoder has to do it from text"
        )
    if strength >= DENSE_STRENGTH:
        return CapacityVerdict.POSSIBLE, (
            f"free vectors need only {free} of {dimension} dimensions, but the queries share documents densely "
            f"(average strength {strength:.2f}; from {DENSE_STRENGTH:g} on single-vector encoders are known to fail "
            "whatever their dimension): compare with BM25 and several vectors a text"
        )
    return CapacityVerdict.UNLIKELY, (
        f"free vectors need {free} of {dimension} dimensions, and the queries share few documents (average strength "
        f"{strength:.2f}): where search fails here, look at the encoder and the texts first"
    )
