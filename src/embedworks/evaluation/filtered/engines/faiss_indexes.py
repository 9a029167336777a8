"""faiss: its graph, its inverted lists and its scan, each over float32 and over 8-bit codes, with an ID selector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Engine, K, Search
from embedworks.evaluation.filtered.papers import PaperSet

_BEAMS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
_PROBES = (2, 4, 8, 16, 32, 64, 128)


class _Faiss(Engine):
    factories: ClassVar[dict[str, str]]
    """Name of the way to the index it searches, in the words of ``faiss.index_factory``."""
    sweep: ClassVar[tuple[int, ...]] = (0,)

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Train and fill every index."""
        import faiss

        faiss.omp_set_num_threads(1)
        self.indexes: dict[str, Any] = {}
        for way, factory in self.factories.items():
            index = faiss.index_factory(papers.vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            if hasattr(index, "hnsw"):
                index.hnsw.efConstruction = 100
            index.train(papers.vectors)
            index.add(papers.vectors)
            self.indexes[way] = index

    def settings(self) -> list[list[str]]:
        """A way an index, along its beam or its number of lists."""
        return [[f"{way} {value}" if value else way for value in self.sweep] for way in self.factories]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Pack the rows that pass into faiss' bitmap."""
        import faiss as module

        faiss: Any = module  # its stubs know the C++ signatures alone
        way, _, value = setting.partition(" ")
        index = self.indexes[way]
        bits = np.packbits(where.mask, bitorder="little")
        selector = faiss.IDSelectorBitmap(bits)
        parameters = self.parameters(faiss, selector, int(value or 0))

        def search(query: Any, _kept: Any = (bits, selector)) -> Any:
            return index.search(query[np.newaxis], K, params=parameters)[1][0]

        return search

    parameters: Callable[..., Any]


class FaissGraph(_Faiss):
    """HNSW; the walk goes everywhere, the selector gates what is kept."""

    name: ClassVar[str] = "faiss HNSW"
    factories: ClassVar[dict[str, str]] = {"float32": "HNSW32", "8-bit": "HNSW32_SQ8"}
    sweep: ClassVar[tuple[int, ...]] = _BEAMS

    @staticmethod
    def parameters(faiss: Any, selector: Any, value: int) -> Any:
        """Return its search parameters."""
        return faiss.SearchParametersHNSW(sel=selector, efSearch=value)


class FaissLists(_Faiss):
    """Inverted lists."""

    name: ClassVar[str] = "faiss IVF"
    factories: ClassVar[dict[str, str]] = {"float32": "IVF200,Flat", "8-bit": "IVF200,SQ8"}
    sweep: ClassVar[tuple[int, ...]] = _PROBES

    @staticmethod
    def parameters(faiss: Any, selector: Any, value: int) -> Any:
        """Return its search parameters."""
        return faiss.SearchParametersIVF(sel=selector, nprobe=value)


class FaissScan(_Faiss):
    """A scan of what passes."""

    name: ClassVar[str] = "faiss Flat"
    factories: ClassVar[dict[str, str]] = {"float32": "Flat", "8-bit": "SQ8"}

    @staticmethod
    def parameters(faiss: Any, selector: Any, value: int) -> Any:
        """Return its search parameters."""
        return faiss.SearchParameters(sel=selector)
