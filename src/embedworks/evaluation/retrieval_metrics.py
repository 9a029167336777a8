"""Ranked-retrieval metrics a query: nDCG, recall, precision, reciprocal rank, average precision, hit rate.

All follow trec_eval (linear gains, every relevant document in the denominator) with one difference: equal scores are
ordered by ascending document id, so a figure never depends on a sort algorithm or on the order of a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from embedworks.foundation import InputError

Run = Mapping[str, Mapping[str, float]]
"""Query id to document id to score; higher is better."""

Relevance = Mapping[str, Mapping[str, int]]
"""Query id to document id to grade; above zero is relevant."""


def rank_documents(scores: Mapping[str, float], *, query_id: str = "", k: int | None = None) -> list[str]:
    """Order documents by descending score, equal scores by ascending id (code points).

    Args:
        scores: Document id to score.
        query_id: Named in the error message.
        k: Number of documents to keep; ``None`` keeps all, more than there are keeps all.

    Returns:
        Document ids, best first.

    Raises:
        InputError: A score is NaN.

    Example:
        >>> rank_documents({"b": 1.0, "a": 1.0, "c": 2.0})
        ['c', 'a', 'b']
    """
    for document_id, score in scores.items():
        if math.isnan(score):
            raise InputError(
                f"the score of document {document_id!r} is NaN",
                where=f"run, query {query_id!r}",
                mend="check the vectors or the scoring function for NaN before ranking",
            )
    ranked = sorted(scores, key=lambda document_id: (-scores[document_id], document_id))
    return ranked if k is None else ranked[:k]


def ndcg_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Normalised discounted cumulative gain with linear gains: sum of grade / log2(rank + 1), over the ideal sum.

    Järvelin and Kekäläinen 2002, in the form of trec_eval's ``ndcg_cut``; grades below zero count as zero.

    Args:
        ranked: Document ids, best first, no repetition.
        grades: Document id to grade; at least one above zero.
        k: Number of ranks looked at.

    Returns:
        A value in [0, 1].

    Example:
        >>> round(ndcg_at_k(["a", "b"], {"b": 1}, 10), 4)
        0.6309
    """
    gain = sum(max(grades.get(document, 0), 0) / math.log2(rank + 2) for rank, document in enumerate(ranked[:k]))
    ideal = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    best = sum(grade / math.log2(rank + 2) for rank, grade in enumerate(ideal[:k]))
    return gain / best


def recall_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Share of the relevant documents found among the first ``k``.

    Args:
        ranked: Document ids, best first, no repetition.
        grades: Document id to grade; at least one above zero.
        k: Number of ranks looked at.

    Returns:
        A value in [0, 1].

    Example:
        >>> recall_at_k(["a", "b"], {"b": 1, "z": 2}, 10)
        0.5
    """
    relevant = sum(grade > 0 for grade in grades.values())
    return _relevant_found(ranked, grades, k) / relevant


def precision_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Relevant documents among the first ``k``, over ``k`` (also when fewer than ``k`` were retrieved).

    Args:
        ranked: Document ids, best first, no repetition.
        grades: Document id to grade.
        k: Number of ranks looked at.

    Returns:
        A value in [0, 1].
    """
    return _relevant_found(ranked, grades, k) / k


def reciprocal_rank_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """One over the rank of the first relevant document, zero when none is among the first ``k``.

    Args:
        ranked: Document ids, best first, no repetition.
        grades: Document id to grade.
        k: Number of ranks looked at.

    Returns:
        A value in [0, 1].
    """
    for rank, document in enumerate(ranked[:k], start=1):
        if grades.get(document, 0) > 0:
            return 1 / rank
    return 0.0


def average_precision_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Sum of the precision at each relevant rank up to ``k``, over the number of all relevant documents.

    trec_eval's ``map_cut``.

    Args:
        ranked: Document ids, best first, no repetition.
        grades: Document id to grade; at least one above zero.
        k: Number of ranks looked at.

    Returns:
        A value in [0, 1].
    """
    found, total = 0, 0.0
    for rank, document in enumerate(ranked[:k], start=1):
        if grades.get(document, 0) > 0:
            found += 1
            total += found / rank
    return total / sum(grade > 0 for grade in grades.values())


def hit_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """One when a relevant document is among the first ``k``, else zero.

    Args:
        ranked: Document ids, best first, no repetition.
        grades: Document id to grade.
        k: Number of ranks looked at.

    Returns:
        0.0 or 1.0.
    """
    return float(_relevant_found(ranked, grades, k) > 0)


def _relevant_found(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> int:
    return sum(grades.get(document, 0) > 0 for document in ranked[:k])


RETRIEVAL_METRICS: Mapping[str, Callable[[Sequence[str], Mapping[str, int], int], float]] = MappingProxyType(
    {
        "ndcg": ndcg_at_k,
        "recall": recall_at_k,
        "mrr": reciprocal_rank_at_k,
        "map": average_precision_at_k,
        "precision": precision_at_k,
        "hit": hit_at_k,
    }
)
"""Short name, as in ``ndcg@10``, to the function."""


@dataclass(frozen=True)
class RetrievalScores:
    """The metrics of one run, query by query.

    Args:
        query_ids: The queries that count, in the order of the relevance judgements.
        per_query: Metric name (``ndcg@10``) to one value a query.
        queries_without_relevant: Queries skipped because no document is relevant to them.
        queries_without_answer: Queries that count with zero because the run holds nothing for them.
    """

    query_ids: list[str]
    per_query: dict[str, list[float]]
    queries_without_relevant: int
    queries_without_answer: int

    @property
    def means(self) -> dict[str, float]:
        """Plain mean of each metric over the queries that count."""
        return {name: math.fsum(values) / len(values) for name, values in self.per_query.items()}


def score_run(run: Run, relevance: Relevance, *, metrics: Sequence[str]) -> RetrievalScores:
    """Score a run against relevance judgements.

    Args:
        run: Query id to document id to score. A judged query that is missing counts as an empty answer.
        relevance: Query id to document id to grade.
        metrics: Names such as ``"ndcg@10"``, ``"recall@100"``.

    Returns:
        One value a metric and query; queries without a relevant document are left out and counted.

    Raises:
        InputError: A metric name is unknown, a score is NaN, or no query has a relevant document.

    Example:
        >>> score_run({"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 1}}, metrics=["mrr@10"]).means
        {'mrr@10': 0.5}
    """
    parsed = {name: _parse_metric(name) for name in metrics}
    deepest = max((k for _, k in parsed.values()), default=0)
    query_ids = [query for query, grades in relevance.items() if any(grade > 0 for grade in grades.values())]
    if not query_ids:
        raise InputError(
            "no query has a relevant document", where="relevance judgements", mend="give at least one grade above 0"
        )
    per_query: dict[str, list[float]] = {name: [] for name in metrics}
    for query_id in query_ids:
        ranked = rank_documents(run.get(query_id, {}), query_id=query_id, k=deepest)
        for name, (function, k) in parsed.items():
            per_query[name].append(function(ranked, relevance[query_id], k))
    return RetrievalScores(
        query_ids=query_ids,
        per_query=per_query,
        queries_without_relevant=len(relevance) - len(query_ids),
        queries_without_answer=sum(not run.get(query_id) for query_id in query_ids),
    )


def _parse_metric(name: str) -> tuple[Callable[[Sequence[str], Mapping[str, int], int], float], int]:
    short, _, depth = name.partition("@")
    if short not in RETRIEVAL_METRICS or not depth.isdecimal() or int(depth) < 1:
        known = ", ".join(f"{metric}@10" for metric in RETRIEVAL_METRICS)
        raise InputError(f"{name!r} is no retrieval metric", where="metrics", mend=f"use a name such as {known}")
    return RETRIEVAL_METRICS[short], int(depth)
