"""hnswlib and usearch: graphs without attributes, one with a Python callback, one without any filter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Engine, K, Search
from embedworks.evaluation.filtered.papers import PaperSet


class Hnswlib(Engine):
    """``callback`` is the library's own filter; ``more`` asks for many rows without one and drops what fails."""

    name: ClassVar[str] = "hnswlib"
    package: ClassVar[str] = "hnswlib"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Build the graph."""
        import hnswlib

        self.graph: Any = hnswlib.Index("ip", papers.vectors.shape[1])
        self.graph.init_index(len(papers), ef_construction=100, M=32, random_seed=0)
        self.graph.add_items(papers.vectors, num_threads=1)

    def settings(self) -> list[list[str]]:
        """Along ef, and along how many rows are asked for."""
        return [
            [f"callback {beam}" for beam in (10, 16, 24, 32, 64, 128, 256)],
            [f"more {number}" for number in (20, 40, 80, 160, 320, 640, 1280, 2560)],
        ]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Make the callback: a look-up in a list, which costs the interpreter least."""
        way, value = setting.split()
        graph, number, mask = self.graph, int(value), where.mask
        if way == "more":

            def many(query: Any) -> Any:
                graph.set_ef(number)
                try:
                    rows = graph.knn_query(query, k=number, num_threads=1)[0][0].astype(np.int64)
                except RuntimeError:  # its way of saying that it found fewer than it was asked for
                    return ()
                return rows[mask[rows]][:K]

            return many
        passes, wanted = mask.tolist().__getitem__, min(K, len(where.rows))

        def called(query: Any) -> Any:
            graph.set_ef(max(number, wanted))
            try:
                return graph.knn_query(query, k=wanted, num_threads=1, filter=passes)[0][0].astype(np.int64)
            except RuntimeError:  # likewise
                return ()

        return called


class Usearch(Engine):
    """No filter in Python: it is asked for more rows, and what fails is dropped."""

    name: ClassVar[str] = "usearch"
    package: ClassVar[str] = "usearch"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Build a graph over float32 and one over 8-bit vectors."""
        from usearch.index import Index

        self.graphs: dict[str, Any] = {}
        for way, dtype in (("float32", "f32"), ("8-bit", "i8")):
            graph = Index(ndim=papers.vectors.shape[1], metric="cos", dtype=dtype, connectivity=32, expansion_add=100)
            graph.add(np.arange(len(papers)), papers.vectors, threads=1)
            self.graphs[way] = graph

    def settings(self) -> list[list[str]]:
        """Along how many rows are asked for."""
        return [[f"{way} {number}" for number in (20, 40, 80, 160, 320, 640, 1280, 2560)] for way in self.graphs]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Keep which rows pass."""
        way, value = setting.split()
        graph, number, mask = self.graphs[way], int(value), where.mask

        def search(query: Any) -> Any:
            graph.expansion_search = number
            rows = graph.search(query, number, threads=1).keys.astype(np.int64)
            return rows[mask[rows]][:K]

        return search
