"""Late interaction: several vectors a text, each query vector matched to its best document vector (Khattab 2020)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.exact_search import normalised, top_k
from embedworks.evaluation.soft_late_interaction import mean_vector_scores, pooled_target_scores
from embedworks.evaluation.soft_late_interaction import soft_late_interaction_scores as soft_scores
from embedworks.evaluation.token_matrices import check_token_matrices
from embedworks.foundation import InputError

TokenScores = Callable[[Sequence[NDArray[np.floating]], Sequence[NDArray[np.floating]]], NDArray[np.float64]]

_QUERIES_AT_ONCE = 512
_COLUMNS_AT_ONCE = 65_536  # vectors of documents scored at once
_DECIMALS = 6  # float32 products of equal vectors differ in the last bits with the shape of the block


def max_sim_scores(
    queries: Sequence[NDArray[np.floating]], documents: Sequence[NDArray[np.floating]]
) -> NDArray[np.float64]:
    """Score by MaxSim: the sum over a query's vectors of the largest cosine to any of the document's vectors.

    ``score(q, d) = sum_i max_j cos(q_i, d_j)`` (ColBERT, arXiv 2004.12832, equation 3).

    Args:
        queries: One matrix a query, shape (vectors, d), at least one vector each.
        documents: One matrix a document, in the same manner.

    Returns:
        Scores, shape (number of queries, number of documents), rounded to 6 decimals.

    Raises:
        InputError: A text has no vector, or the dimensions differ.
        NonFiniteError: A vector holds NaN or infinity.

    Example:
        >>> one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 3.0]])
        >>> max_sim_scores([one], [one, other]).round(3).tolist()
        [[1.0, 0.707]]
    """
    if not queries or not documents:
        return np.zeros((len(queries), len(documents)))
    check_token_matrices(queries, documents, where="max_sim_scores")
    asked = normalised(np.concatenate(queries), "query vectors").astype(np.float32)
    asked_starts = np.cumsum([0, *(len(vectors) for vectors in queries[:-1])])
    scores = np.empty((len(queries), len(documents)))
    first = 0
    while first < len(documents):
        last, columns = first, 0
        while last < len(documents) and (last == first or columns + len(documents[last]) <= _COLUMNS_AT_ONCE):
            columns += len(documents[last])
            last += 1
        block = normalised(np.concatenate(documents[first:last]), "document vectors").astype(np.float32)
        starts = np.cumsum([0, *(len(vectors) for vectors in documents[first : last - 1])])
        for query, start in enumerate(asked_starts):
            cosines = asked[start : start + len(queries[query])] @ block.T
            best = np.maximum.reduceat(cosines, starts, axis=1)  # (vectors of the query, documents)
            scores[query, first:last] = best.sum(axis=0, dtype=np.float64)
        first = last
    return np.round(scores, _DECIMALS)


def max_sim_run(
    query_ids: Sequence[str],
    queries: Sequence[NDArray[np.floating]],
    document_ids: Sequence[str],
    documents: Sequence[NDArray[np.floating]],
    *,
    k: int,
) -> dict[str, dict[str, float]]:
    """Search by MaxSim, exactly.

    Args:
        query_ids: Ids of the queries, shape (m,).
        queries: As :func:`max_sim_scores`.
        document_ids: Ids of the documents, shape (n,).
        documents: As :func:`max_sim_scores`.
        k: Number of documents a query; equal scores are ordered by ascending id.

    Returns:
        Query id to document id to score, as :func:`embedworks.evaluation.retrieval_result` takes it.

    Raises:
        InputError: As :func:`max_sim_scores`, or the numbers of ids and texts differ.
    """
    return late_interaction_run(query_ids, queries, document_ids, documents, k=k, scores=max_sim_scores)


def late_interaction_run(
    query_ids: Sequence[str],
    queries: Sequence[NDArray[np.floating]],
    document_ids: Sequence[str],
    documents: Sequence[NDArray[np.floating]],
    *,
    k: int,
    scores: TokenScores,
) -> dict[str, dict[str, float]]:
    """Rank by any score of token matrices, exactly, a part of the queries at a time.

    Args:
        query_ids: Ids of the queries, shape (m,).
        queries: One matrix a query, as the score takes it.
        document_ids: Ids of the documents, shape (n,).
        documents: One matrix a document, in the same manner.
        k: Number of documents a query; equal scores are ordered by ascending id.
        scores: Queries and documents to scores, shape (queries, documents): one of :data:`TOKEN_SCORES`, or with
            ``functools.partial`` one with settings of its own.

    Returns:
        Query id to document id to score, as :func:`embedworks.evaluation.retrieval_result` takes it.

    Raises:
        InputError: As the score, or the numbers of ids and texts differ, or ``k`` is below 1.

    Example:
        >>> one, other = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0], [3.0, 3.0]])
        >>> run = late_interaction_run(["q"], [one], ["a", "b"], [one, other], k=1, scores=TOKEN_SCORES["soft"])
        >>> list(run["q"])
        ['a']
    """
    where = "late_interaction_run"
    if len(query_ids) != len(queries) or len(document_ids) != len(documents):
        raise InputError("numbers of ids and texts differ", where=where, mend="give one id a text")
    if k < 1:
        raise InputError(f"k is {k}", where=where, mend="ask for at least one document")
    order = sorted(range(len(document_ids)), key=document_ids.__getitem__)
    targets = [documents[row] for row in order]
    run: dict[str, dict[str, float]] = {}
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        part = slice(start, start + _QUERIES_AT_ONCE)
        columns, values = top_k(scores(queries[part], targets), k)
        for query_id, found, given in zip(query_ids[part], columns, values, strict=True):
            run[query_id] = {
                document_ids[order[column]]: float(value) for column, value in zip(found, given, strict=True)
            }
    return run


TOKEN_SCORES: Final[dict[str, TokenScores]] = {
    "mean": mean_vector_scores,
    "max-sim": max_sim_scores,
    "pooled-target": pooled_target_scores,
    "soft": soft_scores,
}
"""The scores of token matrices by name, with their default settings."""
