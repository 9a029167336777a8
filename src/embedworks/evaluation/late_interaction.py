"""Late interaction: several vectors a text, each query vector matched to its best document vector (Khattab 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.exact_search import normalised, top_k
from embedworks.foundation import InputError

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
    for name, texts in (("query", queries), ("document", documents)):
        for row, vectors in enumerate(texts):
            if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != queries[0].shape[-1]:
                raise InputError(
                    f"vectors of shape {vectors.shape}",
                    where=f"max_sim_scores, {name} {row}",
                    mend="give at least one vector a text, all of one dimension",
                )
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
    if len(query_ids) != len(queries) or len(document_ids) != len(documents):
        raise InputError("numbers of ids and texts differ", where="max_sim_run", mend="give one id a text")
    order = sorted(range(len(document_ids)), key=document_ids.__getitem__)
    columns, values = top_k(max_sim_scores(queries, [documents[row] for row in order]), k)
    return {
        query_id: {document_ids[order[column]]: float(value) for column, value in zip(found, scores, strict=True)}
        for query_id, found, scores in zip(query_ids, columns, values, strict=True)
    }
