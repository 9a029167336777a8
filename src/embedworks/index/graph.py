"""The approximate side: one HNSW graph of faiss over the rows, stored without the vectors, which the segments hold.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable Small World
graphs" (2018). The numbers here are measured; see the decision page "When the graph pays".
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import StorageError

GRAPH_KIND = "faiss-hnsw-flat"
# Below this many rows an exact scan takes less than about 2.5 ms on one thread, and the graph saves nothing noticeable.
GRAPH_ROWS = 20_000
# Below this share of passing rows the graph loses neighbours, and the exact scan of what passes costs about the same.
GRAPH_SHARE = 0.3
# An answer longer than this is found by exact search: the beam would have to be wider than the graph is good for.
GRAPH_ANSWER = 200
BEAM = 128
BEAM_FILTERED = 256
_LINKS = 32
_BEAM_AT_BUILD = 100


def build_graph(blocks: Iterable[NDArray[np.float32]], dimension: int) -> NDArray[np.uint8]:
    """Build the graph over rows of unit length.

    Args:
        blocks: float32 rows in their order, each of shape (any, dimension).
        dimension: Components of a row.

    Returns:
        The bytes to store, uint8, without the vectors.
    """
    import faiss

    graph = faiss.IndexHNSWFlat(dimension, _LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = _BEAM_AT_BUILD
    for block in blocks:
        graph.add(np.ascontiguousarray(block))
    stored: NDArray[np.uint8] = faiss.serialize_index(graph, faiss.IO_FLAG_SKIP_STORAGE)
    return stored


class Graph:
    """A stored graph, brought to life at the first search, because many who open an index never need it.

    Args:
        stored: The bytes of the file, mapped.
        blocks: The vectors it was built over, in the same order.
        dimension: Components of a vector.
        name: The path of the file, for error messages.
    """

    def __init__(
        self, stored: NDArray[np.uint8], blocks: Sequence[NDArray[np.float32]], *, dimension: int, name: str
    ) -> None:
        self.rows = sum(len(block) for block in blocks)
        self._stored, self._blocks, self._dimension, self._name = stored, blocks, dimension, name
        self._lock = threading.Lock()
        self._living: Any = None

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> list[NDArray[np.int64]]:
        """Return up to k rows a query, in no order that is promised.

        Args:
            queries: Rows of unit length, shape (queries, dimension).
            k: How many rows are wanted.
            allowed: Which rows may come back, shape (rows,), or None for all.

        Returns:
            For every query the rows found, int64, all of them allowed; fewer than k when the graph found no more.
        """
        import faiss

        graph = self._alive()
        beam = max(BEAM if allowed is None else BEAM_FILTERED, 2 * k)
        parameters = faiss.SearchParametersHNSW(efSearch=beam)  # type: ignore[attr-defined]
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
            parameters = faiss.SearchParametersHNSW(efSearch=beam, sel=selector)  # type: ignore[attr-defined]
        _, found = graph.search(np.ascontiguousarray(queries), k, params=parameters)
        found = [rows[rows >= 0] for rows in found]
        # faiss has had a mode in which the selector was not asked; a row that must not come back does not.
        return found if allowed is None else [rows[allowed[rows]] for rows in found]

    def _alive(self) -> Any:
        with self._lock:
            if self._living is None:
                import faiss

                try:
                    graph = faiss.deserialize_index(np.array(self._stored), faiss.IO_FLAG_SKIP_STORAGE)
                except RuntimeError as error:
                    raise StorageError("is no readable graph", where=self._name, mend="build it again") from error
                if not isinstance(graph, faiss.IndexHNSWFlat) or graph.ntotal != self.rows:
                    raise StorageError("holds a graph of other rows", where=self._name, mend="build it again")
                storage = faiss.IndexFlatIP(self._dimension)
                for block in self._blocks:
                    storage.add(np.ascontiguousarray(block))
                graph.storage, graph.own_fields = storage, False
                # faiss keeps a bare pointer to the storage; both must live equally long.
                self._living, self._storage = graph, storage
            return self._living
