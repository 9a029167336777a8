"""Retrieval: any system that searches a judged corpus, scored query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from embedworks.data import Judged
from embedworks.evaluation.encoding import encode_items
from embedworks.evaluation.exact_search import exact_search
from embedworks.evaluation.result import Result, hash_of
from embedworks.evaluation.retrieval_metrics import RETRIEVAL_METRICS, Run, score_run
from embedworks.foundation import InputError, environment
from embedworks.foundation.protocols import Encoder


class SearchFunction(Protocol):
    """A search over the judged corpus: query texts in, up to ``k`` (document id, score) pairs a query out."""

    def __call__(self, texts: Sequence[str], k: int, /) -> Sequence[Sequence[tuple[str, float]]]:
        """Return the best documents of each query; scores descend, higher is better."""
        ...


def counting_queries(judged: Judged) -> list[str]:
    """Return the ids of the queries with at least one relevant document, in the order of the queries."""
    return [
        query_id
        for query_id in judged.queries["id"].to_pylist()
        if any(grade > 0 for grade in judged.relevance.get(query_id, {}).values())
    ]


def retrieve(
    searcher: Encoder | SearchFunction, judged: Judged, *, k: int, progress: bool = False
) -> dict[str, dict[str, float]]:
    """Run a system over every query of a judged set that has a relevant document.

    Args:
        searcher: An encoder (exact cosine search over its vectors), or a function ``(texts, k)`` that returns
            (document id, score) pairs, such as ``Bm25(...).search``.
        judged: Corpus, queries and relevance.
        k: Number of documents a query; 100 for runs that are to be fused.
        progress: Whether to show progress while encoding.

    Returns:
        Query id to document id to score.

    Raises:
        InputError: The search function returned the wrong number of answers, or a document twice.
    """
    query_ids = counting_queries(judged)
    text_of = dict(zip(judged.query_ids, judged.query_texts, strict=True))
    query_texts = [text_of[query_id] for query_id in query_ids]
    if not query_ids:
        return {}
    if not isinstance(searcher, Encoder):
        if hasattr(searcher, "encode") or not callable(searcher):
            raise InputError(
                f"{type(searcher).__name__} is neither an encoder nor a search function",
                where="retrieval",
                mend="give an object with dimension and encode, or a function (texts, k)",
            )
        answers = searcher(query_texts, k)
        if len(answers) != len(query_ids):
            raise InputError(
                f"{len(answers)} answers for {len(query_ids)} queries",
                where="search function",
                mend="return one list of (document id, score) pairs a query",
            )
        run: dict[str, dict[str, float]] = {}
        for query_id, answer in zip(query_ids, answers, strict=True):
            run[query_id] = {document: float(score) for document, score in answer}
            if len(run[query_id]) != len(answer):
                raise InputError("a document stands twice in an answer", where=f"search function, query {query_id!r}")
        return run
    ids, texts = judged.corpus.ids, judged.corpus.texts
    order = sorted(range(len(ids)), key=ids.__getitem__)  # rows in the order of ids: ties fall to the lower id
    documents = encode_items(searcher, [texts[row] for row in order], role="document", progress=progress)
    queries = encode_items(searcher, query_texts, role="query", progress=progress)
    rows, scores = exact_search(queries, documents, k=k)
    return {
        query_id: {ids[order[row]]: float(score) for row, score in zip(found, values, strict=True)}
        for query_id, found, values in zip(query_ids, rows, scores, strict=True)
    }


def retrieval_result(
    run: Run,
    judged: Judged,
    *,
    system: str,
    data_set: str = "judged set",
    k: int = 10,
    details: Mapping[str, Any] | None = None,
) -> Result:
    """Score a ready run.

    Args:
        run: Query id to document id to score; a query that is missing counts as an empty answer.
        judged: What the run is judged by.
        system: Name of what made the run.
        data_set: Name of the judged set.
        k: Depth of every metric; nDCG at this depth is the primary one.
        details: Further facts to keep.

    Returns:
        nDCG, recall, MRR, MAP, precision and hit rate at ``k``, a value a query.

    Raises:
        InputError: ``k`` is below 1, a score is NaN, or no query has a relevant document.
    """
    if k < 1:
        raise InputError(f"k is {k}", where="retrieval", mend="judge at least the first document")
    names = [f"{metric}@{k}" for metric in RETRIEVAL_METRICS]
    ordered = {query_id: judged.relevance.get(query_id, {}) for query_id in judged.query_ids}
    scores = score_run(run, ordered, metrics=names)
    return Result(
        system=system,
        data_set=data_set,
        task="retrieval",
        metrics=scores.means,
        primary=f"ndcg@{k}",
        unit_ids=scores.query_ids,
        per_unit=scores.per_query,
        data_hash=_hash(judged),
        details={
            "unit": "query",
            "documents": len(judged.corpus),
            "queries": len(scores.query_ids),
            "queries_without_relevant": scores.queries_without_relevant,
            "queries_without_answer": scores.queries_without_answer,
            **(details or {}),
        },
        environment=environment(),
    )


def evaluate_retrieval(
    searcher: Encoder | SearchFunction | Run,
    judged: Judged,
    *,
    system: str,
    data_set: str = "judged set",
    k: int = 10,
    progress: bool = False,
) -> Result:
    """Judge an encoder, a search function or a ready run on a judged set.

    Args:
        searcher: An encoder, a function ``(texts, k)`` that returns (document id, score) pairs, or a run.
        judged: Corpus, queries and relevance.
        system: Name of the system.
        data_set: Name of the judged set.
        k: Depth of every metric.
        progress: Whether to show progress while encoding.

    Returns:
        As :func:`retrieval_result`.

    Raises:
        InputError: As :func:`retrieve` and :func:`retrieval_result`.
    """
    if isinstance(searcher, Mapping):
        return retrieval_result(searcher, judged, system=system, data_set=data_set, k=k)
    how = "exact cosine" if isinstance(searcher, Encoder) else "search function"
    run = retrieve(searcher, judged, k=k, progress=progress)
    return retrieval_result(run, judged, system=system, data_set=data_set, k=k, details={"search": how})


def _hash(judged: Judged) -> str:
    ids, texts = judged.corpus.ids, judged.corpus.texts
    order = np.argsort(np.asarray(ids, dtype=object), kind="stable")
    grades = sorted(
        f"{query}\t{document}\t{grade}"
        for query, documents in judged.relevance.items()
        for document, grade in documents.items()
        if grade > 0
    )
    return hash_of(
        [ids[row] for row in order], [texts[row] for row in order], judged.query_ids, judged.query_texts, grades
    )
