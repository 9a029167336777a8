"""Hybrid search: two runs made into one by ranks or by scores, the weight chosen on training queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embedworks.evaluation.retrieval_metrics import Relevance, Run, rank_documents, score_run
from embedworks.foundation import InputError

FusionMethod = Literal["min-max", "z-score", "reciprocal-rank"]
FUSION_METHODS: tuple[FusionMethod, ...] = ("min-max", "z-score", "reciprocal-rank")

RECIPROCAL_RANK_CONSTANT = 60
"""The constant of Cormack, Clarke and Büttcher 2009."""


def fuse(first: Run, second: Run, *, method: FusionMethod, weight: float) -> dict[str, dict[str, float]]:
    """Fuse two runs: ``weight * first + (1 - weight) * second`` over comparable scores.

    What is added up, query by query:

    * ``"reciprocal-rank"``: 1 / (60 + rank), 0 for a document the run does not hold (Cormack et al. 2009, Eq. 1,
      weighted);
    * ``"min-max"``: (score - lowest) / (highest - lowest) within the query's list, 0 for a document not in it (that
      is, as good as the last one found); a list whose scores are all equal gives 1;
    * ``"z-score"``: (score - mean) / standard deviation within the list, the list's lowest value for a document not
      in it; a list whose scores are all equal gives 0.

    Args:
        first: Query id to document id to score, deep enough (100 documents a query is usual).
        second: Another run over the same corpus.
        method: How scores are made comparable.
        weight: Weight of the first run, 0 to 1.

    Returns:
        A run over the union of queries and documents.

    Raises:
        InputError: The weight or the method is out of range, or a score is NaN or infinite.

    Example:
        >>> fuse({"q": {"a": 3.0, "b": 1.0}}, {"q": {"b": 9.0, "c": 5.0}}, method="min-max", weight=0.5)
        {'q': {'a': 0.5, 'b': 0.5, 'c': 0.0}}
    """
    _check(method, weight)
    comparable_first = {query: _comparable(scores, method, query) for query, scores in first.items()}
    comparable_second = {query: _comparable(scores, method, query) for query, scores in second.items()}
    return _mix(comparable_first, comparable_second, weight)


@dataclass(frozen=True)
class FusionChoice:
    """A fusion weight and what it was chosen on.

    Args:
        method: How scores were made comparable.
        weight: The chosen weight of the first run.
        metric: The metric that was maximised.
        curve: Weight to mean of the metric on the training queries.
        queries: Number of training queries that counted.
    """

    method: FusionMethod
    weight: float
    metric: str
    curve: dict[float, float]
    queries: int


def choose_fusion_weight(
    first: Run,
    second: Run,
    relevance: Relevance,
    *,
    method: FusionMethod = "min-max",
    metric: str = "ndcg@10",
    steps: int = 20,
) -> FusionChoice:
    """Choose the weight with the best mean metric on training queries, over an even grid from 0 to 1.

    Among equally good weights the one nearest to one half is taken, then the lower. Never pass the queries the
    fused system is judged on.

    Args:
        first: Run of the first system on the training queries.
        second: Run of the second system on the same queries.
        relevance: Judgements of the training queries.
        method: How scores are made comparable, as in :func:`fuse`.
        metric: Metric to maximise, such as ``"ndcg@10"``.
        steps: Number of steps of the grid; 20 tries 0, 0.05, ... 1.

    Returns:
        The weight of the first run, with the whole curve.

    Raises:
        InputError: As in :func:`fuse`, or no training query has a relevant document.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}", where="choose_fusion_weight", mend="give at least 1")
    _check(method, 0.5)
    judged_first = {query: _comparable(first.get(query, {}), method, query) for query in relevance}
    judged_second = {query: _comparable(second.get(query, {}), method, query) for query in relevance}
    curve: dict[float, float] = {}
    queries = 0
    for step in range(steps + 1):
        scores = score_run(_mix(judged_first, judged_second, step / steps), relevance, metrics=[metric])
        curve[step / steps] = scores.means[metric]
        queries = len(scores.query_ids)
    weight = max(curve, key=lambda candidate: (curve[candidate], -abs(candidate - 0.5), -candidate))
    return FusionChoice(method=method, weight=weight, metric=metric, curve=curve, queries=queries)


@dataclass(frozen=True)
class _Comparable:
    scores: dict[str, float]
    absent: float


def _comparable(scores: Mapping[str, float], method: FusionMethod, query_id: str) -> _Comparable:
    if not scores:
        return _Comparable({}, 0.0)
    if method == "reciprocal-rank":
        ranked = rank_documents(scores, query_id=query_id)
        return _Comparable({doc: 1 / (RECIPROCAL_RANK_CONSTANT + rank) for rank, doc in enumerate(ranked, 1)}, 0.0)
    values: Sequence[float] = list(scores.values())
    if not all(map(math.isfinite, values)):
        document = next(name for name, score in scores.items() if not math.isfinite(score))
        raise InputError(
            f"the score of document {document!r} is {scores[document]}",
            where=f"run, query {query_id!r}",
            mend="give finite scores, or fuse by reciprocal rank",
        )
    if method == "min-max":
        lowest, spread = min(values), max(values) - min(values)
        if spread == 0:
            return _Comparable(dict.fromkeys(scores, 1.0), 0.0)
        return _Comparable({doc: (score - lowest) / spread for doc, score in scores.items()}, 0.0)
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    if deviation == 0 or max(values) == min(values):
        return _Comparable(dict.fromkeys(scores, 0.0), 0.0)
    standard = {doc: (score - mean) / deviation for doc, score in scores.items()}
    return _Comparable(standard, min(standard.values()))


def _mix(
    first: Mapping[str, _Comparable], second: Mapping[str, _Comparable], weight: float
) -> dict[str, dict[str, float]]:
    nothing = _Comparable({}, 0.0)
    fused: dict[str, dict[str, float]] = {}
    for query in dict.fromkeys([*first, *second]):
        left, right = first.get(query, nothing), second.get(query, nothing)
        fused[query] = {
            doc: weight * left.scores.get(doc, left.absent) + (1 - weight) * right.scores.get(doc, right.absent)
            for doc in dict.fromkeys([*left.scores, *right.scores])
        }
    return fused


def _check(method: str, weight: float) -> None:
    if method not in FUSION_METHODS:
        raise InputError(
            f"{method!r} is no fusion method", where="fuse", mend=f"use one of {', '.join(FUSION_METHODS)}"
        )
    if not 0 <= weight <= 1:
        raise InputError(f"weight is {weight}", where="fuse", mend="give the first run's weight, from 0 to 1")
