"""Post-filtering: an HNSW search that knows no filter, asked for more rows until enough of them pass."""

from __future__ import annotations

from functools import cached_property
from math import ceil
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embedworks.index.structures import hnsw
from embedworks.index.structures.filters import RowFilter
from embedworks.index.structures.infilter import GraphSearch
from embedworks.index.structures.structure import Counters, Found, Vectors
from embedworks.index.structures.workspace import checked_query

SURPLUS = 1.2
"""How many more rows are asked for than a filter that is independent of the query would need."""


class PostFilter(GraphSearch):
    """Asks the graph for k' = 1.2 k / selectivity rows, drops those that fail, and doubles k' until k are left.

    When k' has reached the number of rows, it compares all that pass, so k come back where k pass.

    Example:
        >>> import pyarrow as pa
        >>> from embedworks.index.structures import Attributes
        >>> attributes = Attributes(pa.table({"year": [2024, 2026]}))
        >>> post = PostFilter.build(np.eye(2, dtype=np.float32))
        >>> post.search(np.eye(2, dtype=np.float32)[0], 1, attributes.range("year", low=2025), beam=10).rows.tolist()
        [1]
    """

    kind: ClassVar[str] = "post-filter"

    @cached_property
    def _everything(self) -> NDArray[np.bool_]:
        return np.ones(self.rows, dtype=np.bool_)

    def search(self, query: Vectors, k: int, where: RowFilter, *, beam: int) -> Found:
        """Return the k nearest rows that pass, as far as a beam of k' finds them; k' begins at the beam at least."""
        asked = checked_query(query, self.vectors.shape[1], k)
        wanted = min(k, where.count)
        counters = Counters()
        if wanted == 0:
            return self.compare_all(asked, k, where, counters)
        number = max(beam, ceil(SURPLUS * wanted / where.selectivity))
        while number < self.rows:
            rows, distances, cost = hnsw.search_hnsw(
                self.graph, self.vectors, asked, self._everything, number, self.workspace
            )
            passes = where.mask[rows]
            counters = counters + cost + Counters(rejected=len(rows) - int(passes.sum()))
            if passes.sum() >= wanted:
                return Found(rows[passes][:wanted].astype(np.int64), distances[passes][:wanted], counters)
            number *= 2
        return self.compare_all(asked, k, where, counters)
