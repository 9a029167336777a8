"""Exact cosine search in blocks: the best ``k`` so far are kept, the full matrix of scores never exists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, NonFiniteError

# Float64 products of equal vectors differ in the last bits with the shape of the block; rounding here makes equal
# vectors score equally wherever they stand, and is far finer than what float32 vectors resolve (about 1e-7).
_SCORE_DECIMALS = 9


def top_k(scores: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Select the ``k`` highest scores of each row; equal scores are ordered by ascending column, also at the cut.

    Args:
        scores: Scores, shape (rows, columns), none NaN.
        k: Number to keep; all columns when there are fewer.

    Returns:
        Column numbers and their scores, both of shape (rows, min(k, columns)), best first.

    Example:
        >>> columns, values = top_k(np.array([[0.5, 1.0, 0.5, 0.5]]), 2)
        >>> columns.tolist(), values.tolist()
        ([[1, 0]], [[1.0, 0.5]])
    """
    rows, columns = scores.shape
    k = min(k, columns)
    if k == 0 or rows == 0:
        return np.empty((rows, k), np.int64), np.empty((rows, k), np.float64)
    threshold = np.partition(scores, columns - k, axis=1)[:, columns - k, None]  # (rows, 1), the k-th highest
    row, column = np.nonzero(scores >= threshold)  # at least k a row; more where the cut falls among equals
    value = scores[row, column]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    start = np.searchsorted(row, np.arange(rows))
    kept = (start[:, None] + np.arange(k)).ravel()
    return column[kept].reshape(rows, k), value[kept].reshape(rows, k)


def exact_search(
    queries: NDArray[np.floating],
    documents: NDArray[np.floating],
    *,
    k: int,
    query_block: int = 256,
    document_block: int = 4096,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the ``k`` documents with the highest cosine to each query, exactly.

    Products are taken in float64 and rounded to 9 decimals, so the result does not depend on the block sizes. A zero
    vector has cosine 0 with everything. Memory: one block of scores beside the ``k`` best.

    Args:
        queries: Query vectors, shape (m, d).
        documents: Document vectors, shape (n, d). Equal cosines are ordered by row: sort the rows by id beforehand.
        k: Number of documents a query; at most n are returned.
        query_block: Queries scored at once.
        document_block: Documents scored at once.

    Returns:
        Document rows and cosines, both of shape (m, min(k, n)), best first.

    Raises:
        InputError: The shapes do not fit, or ``k`` is below 1.
        NonFiniteError: A vector holds NaN or infinity.
    """
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        raise InputError(
            f"queries of shape {queries.shape} and documents of shape {documents.shape} have no common dimension",
            where="exact_search",
            mend="encode both with the same model, one row a text",
        )
    if k < 1:
        raise InputError(f"k is {k}", where="exact_search", mend="ask for at least one document")
    found_rows = np.empty((len(queries), min(k, len(documents))), np.int64)
    found_scores = np.empty(found_rows.shape, np.float64)
    for query_start in range(0, len(queries), query_block):
        unit_queries = normalised(queries[query_start : query_start + query_block], "queries", query_start)
        best_rows = np.empty((len(unit_queries), 0), np.int64)
        best_scores = np.empty((len(unit_queries), 0), np.float64)
        for start in range(0, len(documents), document_block):
            unit_documents = normalised(documents[start : start + document_block], "documents", start)
            scores = np.round(unit_queries @ unit_documents.T, _SCORE_DECIMALS)
            block_rows, block_scores = top_k(scores, k)
            # The rows found earlier stand first, so equal scores keep the ascending order across blocks.
            candidates = np.concatenate([best_rows, block_rows + start], axis=1)
            columns, best_scores = top_k(np.concatenate([best_scores, block_scores], axis=1), k)
            best_rows = np.take_along_axis(candidates, columns, axis=1)
        found_rows[query_start : query_start + len(unit_queries)] = best_rows
        found_scores[query_start : query_start + len(unit_queries)] = best_scores
    return found_rows, found_scores


def normalised(vectors: NDArray[np.floating], name: str, first_row: int = 0) -> NDArray[np.float64]:
    """Scale each row to length one in float64; zero rows stay zero.

    Args:
        vectors: Vectors, shape (n, d).
        name: What they are, for the error message.
        first_row: Number of the first row, for the error message.

    Returns:
        Unit vectors, shape (n, d).

    Raises:
        NonFiniteError: A row holds NaN or infinity.
    """
    wide = np.asarray(vectors, np.float64)
    finite = np.isfinite(wide).all(axis=1)
    if not finite.all():
        row = first_row + int(np.argmin(finite))
        raise NonFiniteError(
            "the vector holds NaN or infinity", where=f"{name}, row {row}", mend="check the encoder and its input"
        )
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(wide / np.where(lengths > 0, lengths, 1.0), np.float64)


def paired_cosines(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine of each row of one array with the same row of the other.

    Args:
        first: Vectors, shape (n, d).
        second: Vectors, shape (n, d).

    Returns:
        Cosines in [-1, 1], shape (n,); 0 where a vector is zero.

    Raises:
        InputError: The shapes differ.
        NonFiniteError: A vector holds NaN or infinity.

    Example:
        >>> paired_cosines(np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])).round(2).tolist()
        [0.96]
    """
    if first.shape != second.shape or first.ndim != 2:
        raise InputError(
            f"shapes {first.shape} and {second.shape} differ", where="paired_cosines", mend="give one row a pair"
        )
    cosines = np.einsum("ij,ij->i", normalised(first, "first texts"), normalised(second, "second texts"))
    return np.asarray(np.clip(np.round(cosines, _SCORE_DECIMALS), -1.0, 1.0), np.float64)
