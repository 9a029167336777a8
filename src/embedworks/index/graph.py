"""The approximate side: an HNSW graph over the rows of one segment, built by faiss, searched over codes.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs" (2018). Only the neighbour lists are stored, as plain arrays; vectors and codes stay in the segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import StorageError
from embedworks.index.codes import Codes
from embedworks.index.structures.structure import Arrays, Counters
from embedworks.index.structures.workspace import Workspace, fixed

if TYPE_CHECKING:
    from embedworks.index.structures.layers import LayeredGraph

GRAPH_KIND: Final = "hnsw"
GRAPH_ROWS: Final = 20_000
"""Fewer rows are scanned faster than a graph pays for itself."""
_DEGREE: Final = 32
_BEAM_AT_BUILD: Final = 100
_NO_BUDGET: Final = 2**62


def build_graph(vectors: NDArray[np.float32]) -> LayeredGraph:
    """Build the graph over rows of length 1.

    Args:
        vectors: float32, shape (n, d).
    """
    import faiss

    from embedworks.index.structures.layers import LayeredGraph

    built = faiss.IndexHNSWFlat(vectors.shape[1], _DEGREE, faiss.METRIC_INNER_PRODUCT)
    built.hnsw.efConstruction = _BEAM_AT_BUILD
    built.add(np.ascontiguousarray(vectors))
    hnsw: Any = built.hnsw
    levels = (faiss.vector_to_array(hnsw.levels) - 1).astype(np.int8)
    firsts = faiss.vector_to_array(hnsw.offsets).astype(np.int64)[:-1]
    neighbours = faiss.vector_to_array(hnsw.neighbors).astype(np.int32)
    ends = faiss.vector_to_array(hnsw.cum_nneighbor_per_level).astype(np.int64)
    width = int(ends[2] - ends[1])
    # One line a row and layer, those of a row together, from layer 1 upwards.
    rows = np.repeat(np.arange(len(levels)), levels)
    layers = np.concatenate([np.arange(level) for level in levels]) if len(rows) else rows
    upper = neighbours[(firsts[rows] + ends[1] + layers * width)[:, np.newaxis] + np.arange(width)]
    links = neighbours[firsts[:, np.newaxis] + np.arange(int(ends[1]))]
    return LayeredGraph(levels, links, upper, int(hnsw.entry_point))


@dataclass(frozen=True, eq=False)
class Walk:
    """What a walk through the graph found.

    Args:
        rows: Rows that pass, in no order, int64; none where it gave up.
        counters: What it cost.
        gave_up: Whether it went over its budget, or met too few rows that pass.
    """

    rows: NDArray[np.int64]
    counters: Counters
    gave_up: bool


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph and the codes it is searched over.

    Args:
        arrays: The neighbour lists, as :class:`LayeredGraph` stores them.
        entry: The row where every search begins.
        codes: Of the same rows.
        name: Its directory, for error messages.
    """

    arrays: Arrays
    entry: int
    codes: Codes
    name: str = "graph"

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.arrays["levels"])

    @cached_property
    def layers(self) -> LayeredGraph:
        """The neighbour lists; many who open an index never search its graph, so they are looked at here first.

        Raises:
            StorageError: They are damaged.
        """
        from embedworks.index.structures.layers import LayeredGraph

        for part in ("links", "upper_links"):
            links = self.arrays[part]
            # Compiled code follows a link wherever it leads.
            if links.size and not -1 <= links.min() <= links.max() < self.rows:
                raise StorageError("names rows that do not exist", where=self.name, mend="build the index again")
        return LayeredGraph.restore(self.arrays, self.entry)

    @cached_property
    def _codes(self) -> tuple[NDArray[Any], NDArray[np.float32]]:
        return fixed(self.codes.values), fixed(self.codes.bounds)

    @cached_property
    def _workspace(self) -> Workspace:
        return Workspace(self.rows)

    def walk(
        self,
        query: NDArray[np.float64],
        passing: NDArray[np.bool_],
        *,
        beam: int,
        budget: int | None = None,
        fewest: float = 0.0,
    ) -> Walk:
        """Find rows near a query that pass, by codes.

        Args:
            query: Of length 1, float64, shape (d,).
            passing: Which rows pass, bool, shape (n,).
            beam: How many passing rows are kept.
            budget: Most scores to compute; it gives up beyond.
            fewest: It gives up where less than this share of the first rows it meets pass.

        Raises:
            StorageError: The stored links are damaged.
        """
        from embedworks.index.graph_search import search_graph

        code, scale, _ = self.codes.encoded(query)
        space = self._workspace
        rows, compared, hops, rejected, gave_up = search_graph(
            *self._codes,
            *self.layers.read_only,
            self.layers.entry,
            self.layers.top,
            code,
            scale,
            fixed(passing),
            beam,
            _NO_BUDGET if budget is None else budget,
            fewest,
            space.seen,
            space.stamps(1),
            space.open_rows,
            space.open_distances,
        )
        return Walk(rows, Counters(distances=compared, hops=hops, rejected=rejected), gave_up)
