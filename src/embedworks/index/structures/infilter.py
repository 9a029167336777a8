"""In-filtering: the search walks over all rows of an HNSW graph and keeps those that pass (hnswlib's rule)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from numpy.typing import NDArray

from embedworks.index.structures import hnsw
from embedworks.index.structures.filters import RowFilter
from embedworks.index.structures.layers import LayeredGraph
from embedworks.index.structures.prefilter import scan
from embedworks.index.structures.structure import Arrays, Counters, Found, Structure, Vectors, checked_vectors
from embedworks.index.structures.workspace import Workspace, checked_query, fixed


class GraphSearch(Structure):
    """What the ways to search an HNSW graph have in common: the graph.

    Args:
        vectors: Rows of length 1, float32, shape (n, d).
        graph: Built over them; two ways of searching may share it.
    """

    def __init__(self, vectors: Vectors, graph: LayeredGraph) -> None:
        super().__init__(fixed(vectors))
        self.graph = graph
        self.workspace = Workspace(len(vectors))

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        degree: int = hnsw.DEGREE,
        construction_beam: int = hnsw.CONSTRUCTION_BEAM,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Build the graph.

        Args:
            vectors: Rows of length 1, float32, shape (n, d).
            degree: The papers' M.
            construction_beam: The papers' efConstruction.
            seed: Of the levels; one seed gives one graph.
            progress: Whether to show a bar.

        Raises:
            InputError: A row cannot be used, or a setting is out of range.
        """
        rows = checked_vectors(vectors)
        graph = hnsw.build_hnsw(rows, degree=degree, construction_beam=construction_beam, seed=seed, progress=progress)
        return cls(rows, graph)

    def arrays(self) -> Arrays:
        """Return the graph."""
        return self.graph.arrays()

    def facts(self) -> dict[str, Any]:
        """Return where searches begin."""
        return {"entry": self.graph.entry}

    @classmethod
    def restore(cls, vectors: Vectors, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Return the graph over the vectors."""
        return cls(vectors, LayeredGraph.restore(arrays, facts["entry"]))

    def compare_all(self, query: Vectors, k: int, where: RowFilter, before: Counters) -> Found:
        """Compare the query with every row that passes, after a walk that did not find enough of them."""
        rows, distances = scan(self.vectors, query, where.passing, min(k, where.count))
        return Found(rows, distances, before + Counters(distances=where.count), exact=True)


class InFilter(GraphSearch):
    """Walks over the graph as if there were no filter, and keeps the rows that pass.

    It goes on until ``beam`` rows that pass are nearer than anything left to visit, so a restrictive filter costs many
    distances (about beam / selectivity) but little recall. Where the walk ends with fewer than k rows and more pass
    (rows that no list names, such as most of many equal ones), it compares all that pass: k come back where k pass.

    Example:
        >>> import numpy as np
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"year": [2024, 2026]}))
        >>> walk = InFilter.build(np.eye(2, dtype=np.float32))
        >>> walk.search(np.eye(2, dtype=np.float32)[0], 1, attributes.range("year", low=2025), beam=10).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "in-filter"

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows that pass, as far as a beam of max(beam, k) finds them."""
        asked = checked_query(query, self.vectors.shape[1], k)
        wanted = min(k, where.count)
        if wanted == 0:
            return self.compare_all(asked, k, where, Counters())
        rows, distances, counters = hnsw.search_hnsw(
            self.graph, self.vectors, asked, where.mask, max(beam, wanted), self.workspace
        )
        if len(rows) < wanted:
            return self.compare_all(asked, k, where, counters)
        return Found(rows[:wanted].astype("int64"), distances[:wanted], counters)
