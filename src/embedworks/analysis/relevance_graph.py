"""How dense a set of relevance judgements is: the graph of queries that share a relevant document.

Densities as in the appendix of LIMIT (arXiv 2508.21038), which found that single-vector retrieval fails on dense ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_ROWS_AT_ONCE = 512  # queries whose overlaps with all others are held at once


class RelevanceMatrix:
    """Which document is relevant to which query, as a sparse 0/1 matrix A of shape (m, n).

    Queries without a relevant document say nothing and are left out.

    Args:
        relevance: Query id to document id to grade; a grade above zero is relevant.
        documents: Number of documents in the corpus, at least those that occur; by default those that occur. Only
            documents that are relevant somewhere have a column; the others are all alike.

    Raises:
        InputError: No query has a relevant document, or the corpus is smaller than what is relevant in it.

    Example:
        >>> matrix = RelevanceMatrix({"q": {"a": 1, "b": 1}, "r": {"b": 2, "c": 0}})
        >>> matrix.query_ids, matrix.document_ids, matrix.dense().astype(int).tolist()
        (['q', 'r'], ['a', 'b'], [[1, 1], [0, 1]])
    """

    def __init__(self, relevance: Mapping[str, Mapping[str, int]], *, documents: int | None = None) -> None:
        from scipy.sparse import csr_array

        chosen = {query: [name for name, grade in grades.items() if grade > 0] for query, grades in relevance.items()}
        self.query_ids = [query for query, names in chosen.items() if names]
        if not self.query_ids:
            raise InputError("no query has a relevant document", where="relevance", mend="give a grade above 0")
        self.document_ids = sorted({name for names in chosen.values() for name in names})
        column = {name: place for place, name in enumerate(self.document_ids)}
        self.documents = len(self.document_ids) if documents is None else documents
        if self.documents < len(self.document_ids):
            raise InputError(
                f"{self.documents} documents, and {len(self.document_ids)} are relevant to a query",
                where="relevance",
                mend="count the whole corpus",
            )
        lists = [sorted(column[name] for name in chosen[query]) for query in self.query_ids]
        starts = np.concatenate([[0], np.cumsum([len(entries) for entries in lists])])
        columns = np.fromiter((place for entries in lists for place in entries), np.int64, int(starts[-1]))
        self.sparse: csr_array = csr_array(
            (np.ones(len(columns), np.float64), columns, starts), shape=(len(lists), len(column))
        )

    def dense(self) -> NDArray[np.bool_]:
        """Return A over the documents that are relevant somewhere, shape (m, n)."""
        return np.asarray(self.sparse.toarray() > 0)

    def distinct(self) -> NDArray[np.bool_]:
        """Return A without repeated rows and columns, with one column for all documents that no query wants.

        Equal queries can share a vector, and so can documents that are relevant to the same queries; whatever ranks
        this matrix right ranks the whole one right, in the same dimension.
        """
        matrix = self.dense()
        if self.documents > matrix.shape[1]:
            matrix = np.concatenate([matrix, np.zeros((len(matrix), 1), bool)], axis=1)
        _, rows = np.unique(matrix, axis=0, return_index=True)
        matrix = matrix[np.sort(rows)]
        _, columns = np.unique(matrix, axis=1, return_index=True)
        return np.asarray(matrix[:, np.sort(columns)])


@dataclass(frozen=True)
class Densities:
    """How much the queries of a judged set share.

    Args:
        queries: Queries with a relevant document, m.
        documents: Documents of the corpus.
        relevant_documents: Documents that are relevant to some query.
        relevant_per_query: Mean number of relevant documents a query.
        edges: Pairs of queries that share a relevant document.
        graph_density: ``2 edges / (m (m - 1))``, 0 with one query.
        average_query_strength: Mean over queries of the summed Jaccard similarity to every other query.
        strengths: That sum, query by query, shape (m,).
    """

    queries: int
    documents: int
    relevant_documents: int
    relevant_per_query: float
    edges: int
    graph_density: float
    average_query_strength: float
    strengths: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a JSON document, without the value of every query."""
        return {
            "queries": self.queries,
            "documents": self.documents,
            "relevant_documents": self.relevant_documents,
            "relevant_per_query": self.relevant_per_query,
            "edges": self.edges,
            "graph_density": self.graph_density,
            "average_query_strength": self.average_query_strength,
        }


def relevance_densities(matrix: RelevanceMatrix) -> Densities:
    """Compute graph density and average query strength of a relevance matrix (appendix of arXiv 2508.21038).

    Args:
        matrix: The matrix.

    Returns:
        The figures, and the strength of every query.

    Example:
        >>> three = RelevanceMatrix({"q": {"a": 1, "b": 1}, "r": {"b": 1, "c": 1}, "s": {"d": 1}})
        >>> found = relevance_densities(three)
        >>> found.edges, round(found.graph_density, 4), round(found.average_query_strength, 4)
        (1, 0.3333, 0.2222)
    """
    sizes = np.asarray(matrix.sparse.sum(axis=1)).ravel()
    number = len(sizes)
    strengths, edges = np.zeros(number), 0
    transposed = matrix.sparse.T.tocsr()
    for start in range(0, number, _ROWS_AT_ONCE):
        overlap = (matrix.sparse[start : start + _ROWS_AT_ONCE] @ transposed).tocoo()
        rows, columns = overlap.coords[0] + start, overlap.coords[1]
        other = rows != columns
        rows, columns, shared = rows[other], columns[other], overlap.data[other]
        edges += len(rows)
        np.add.at(strengths, rows, shared / (sizes[rows] + sizes[columns] - shared))
    return Densities(
        queries=number,
        documents=matrix.documents,
        relevant_documents=len(matrix.document_ids),
        relevant_per_query=float(sizes.mean()),
        edges=edges // 2,
        graph_density=edges / (number * (number - 1)) if number > 1 else 0.0,
        average_query_strength=float(strengths.mean()),
        strengths=strengths,
    )
