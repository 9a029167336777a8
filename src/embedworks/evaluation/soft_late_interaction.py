"""Soft late interaction: each query token weighs all tokens of a document (UWE), beside its relatives and MaxSim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.token_matrices import TokenBlock, check_token_matrices, token_blocks
from embedworks.foundation import InputError

Matrices = Sequence[NDArray[np.floating]]
AttentionOn = Literal["dot", "cosine"]
Reduction = Literal["mean", "sum"]

_QUERY_VECTORS_AT_ONCE = 256
_DOCUMENT_VECTORS_AT_ONCE = 16_384
_DECIMALS = {np.float32: 6, np.float64: 12}  # products of equal vectors differ in the last bits with the block


def soft_late_interaction_scores(
    queries: Matrices,
    documents: Matrices,
    *,
    temperature: float = 0.1,
    attention_on: AttentionOn = "dot",
    reduction: Reduction = "mean",
) -> NDArray[np.float64]:
    """Score by soft late interaction (UWE, arXiv 2511.07969, specification equation 6).

    ``score(q, d) = sum_ij A_ij cos(q_i, d_j)``, where row i of A is the softmax over the document's tokens j of
    ``q_i . d_j / temperature``. It is not symmetric: the query comes first. A temperature near 0 leaves the best token
    only (MaxSim where attention is on the cosine), an infinite one gives the mean over the document's tokens.

    Args:
        queries: One matrix a query, shape (its tokens, d), at least one token each, without padding
            (:func:`~embedworks.evaluation.token_matrices.unpadded` takes it out).
        documents: One matrix a document, in the same manner.
        temperature: Above 0; depends on the length of the vectors where attention is on the dot product.
        attention_on: What the softmax is over: the raw dot product as printed, or the cosine.
        reduction: ``"mean"`` over the query's tokens, so that long queries do not score higher; ``"sum"`` as printed.

    Returns:
        Scores, shape (number of queries, number of documents). Computed in float64 and rounded to 12 decimals where
        all vectors are float64, else in float32 and rounded to 6.

    Raises:
        InputError: A text has no vector, the dimensions differ, or a setting is not known.
        NonFiniteError: A vector holds NaN or infinity.

    Example:
        >>> query, document = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> soft_late_interaction_scores([query], [document], temperature=0.5).round(3).tolist()
        [[0.881]]
    """
    where = "soft_late_interaction_scores"
    _check_temperature(temperature, where)
    for name, value, known in (("attention_on", attention_on, AttentionOn), ("reduction", reduction, Reduction)):
        if value not in get_args(known):
            raise InputError(f"{name} {value!r} is not known", where=where, mend=f"use one of {get_args(known)}")
    check_token_matrices(queries, documents, where=where)
    dtype = _computed_in(queries, documents)
    scores = np.empty((len(queries), len(documents)))
    for targets in token_blocks(documents, most=_DOCUMENT_VECTORS_AT_ONCE, dtype=dtype, name="document"):
        target_norms = _inverse_norms(targets.vectors)
        for asked in token_blocks(queries, most=_QUERY_VECTORS_AT_ONCE, dtype=dtype, name="query"):
            products = asked.vectors @ targets.vectors.T  # (query tokens, document tokens)
            cosines = products * _inverse_norms(asked.vectors)[:, None] * target_norms
            logits = products if attention_on == "dot" else cosines.copy()
            expected = _softmax_mean(logits, cosines, targets, temperature)  # (query tokens, documents)
            total = np.add.reduceat(expected.astype(np.float64), asked.starts, axis=0)
            if reduction == "mean":
                total /= asked.lengths[:, None]
            scores[asked.first : asked.last, targets.first : targets.last] = total
    return np.round(scores, _DECIMALS[dtype])


def pooled_target_scores(queries: Matrices, documents: Matrices, *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Score by query tokens weighed for a document of one vector: UWE's pooled target, ConTeXT-match.

    With t the mean of the document's vectors, not normalised: ``score(q, d) = sum_i w_i cos(q_i, t)``, where w is the
    softmax over the query's tokens i of ``q_i . t / temperature`` (arXiv 2505.24640).

    Args:
        queries: As :func:`soft_late_interaction_scores`.
        documents: As :func:`soft_late_interaction_scores`; matrices of one row are pooled already.
        temperature: Above 0.

    Returns:
        Scores, shape (number of queries, number of documents), rounded as there.

    Raises:
        InputError: As there.
        NonFiniteError: As there.
    """
    where = "pooled_target_scores"
    _check_temperature(temperature, where)
    check_token_matrices(queries, documents, where=where)
    if not queries or not documents:
        return np.zeros((len(queries), len(documents)))
    dtype = _computed_in(queries, documents)
    targets = _means(documents, dtype, "document")  # (documents, d)
    scores = np.empty((len(queries), len(documents)))
    for asked in token_blocks(queries, most=_QUERY_VECTORS_AT_ONCE, dtype=dtype, name="query"):
        products = targets @ asked.vectors.T  # (documents, query tokens)
        cosines = products * _inverse_norms(targets)[:, None] * _inverse_norms(asked.vectors)
        scores[asked.first : asked.last] = _softmax_mean(products, cosines, asked, temperature).T
    return np.round(scores, _DECIMALS[dtype])


def mean_vector_scores(queries: Matrices, documents: Matrices) -> NDArray[np.float64]:
    """Score by the cosine of the mean vectors of query and document, the baseline of one vector a text.

    Args:
        queries: As :func:`soft_late_interaction_scores`.
        documents: As :func:`soft_late_interaction_scores`.

    Returns:
        Scores, shape (number of queries, number of documents), rounded as there.

    Raises:
        InputError: As there.
        NonFiniteError: As there.
    """
    check_token_matrices(queries, documents, where="mean_vector_scores")
    if not queries or not documents:
        return np.zeros((len(queries), len(documents)))
    dtype = _computed_in(queries, documents)
    asked, targets = _means(queries, dtype, "query"), _means(documents, dtype, "document")
    cosines = (asked @ targets.T) * _inverse_norms(asked)[:, None] * _inverse_norms(targets)
    return np.asarray(np.round(cosines.astype(np.float64), _DECIMALS[dtype]), np.float64)


def _softmax_mean(
    logits: NDArray[np.floating], values: NDArray[np.floating], columns: TokenBlock, temperature: float
) -> NDArray[np.floating]:
    """Return the mean of values under the softmax over each text's columns; overwrites both arrays.

    Args:
        logits: Shape (rows, tokens).
        values: Shape (rows, tokens).
        columns: Which tokens belong to which text.
        temperature: Divides the logits.

    Returns:
        Shape (rows, texts).
    """
    # The highest of each text is taken off before the division, so that no temperature overflows.
    logits -= np.repeat(np.maximum.reduceat(logits, columns.starts, axis=1), columns.lengths, axis=1)
    with np.errstate(over="ignore", under="ignore"):
        logits /= temperature
        weights = np.exp(logits, out=logits)
        values *= weights
    expected: NDArray[np.floating] = np.add.reduceat(values, columns.starts, axis=1)
    expected /= np.add.reduceat(weights, columns.starts, axis=1)
    return expected


def _computed_in(queries: Matrices, documents: Matrices) -> type[np.float32] | type[np.float64]:
    every = (*queries, *documents)
    return np.float64 if every and all(matrix.dtype == np.float64 for matrix in every) else np.float32


def _means(texts: Matrices, dtype: type[np.floating], name: str) -> NDArray[np.floating]:
    parts = [
        np.add.reduceat(block.vectors, block.starts, axis=0) / block.lengths[:, None].astype(dtype)
        for block in token_blocks(texts, most=_DOCUMENT_VECTORS_AT_ONCE, dtype=dtype, name=name)
    ]
    return np.concatenate(parts)


def _inverse_norms(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return 1 / length; 0 for a zero vector, which has cosine 0 with everything."""
    norms = np.linalg.norm(vectors, axis=1)
    return np.asarray(np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0))


def _check_temperature(temperature: float, where: str) -> None:
    if not temperature > 0:
        raise InputError(f"the temperature is {temperature}", where=where, mend="give a number above 0")
