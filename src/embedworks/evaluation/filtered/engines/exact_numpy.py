"""Exact pre-filtering in NumPy: what a person without an engine would write, in its two fastest forms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Engine, K, Rows, Search
from embedworks.evaluation.filtered.papers import PaperSet


class ExactNumpy(Engine):
    """The rows that pass are known beforehand. ``gather`` multiplies them alone, ``all`` multiplies everything."""

    name: ClassVar[str] = "NumPy exact"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Keep the vectors."""
        self.vectors = papers.vectors

    def settings(self) -> list[list[str]]:
        """Two ways."""
        return [["gather"], ["all"]]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Keep the numbers of the rows that pass."""
        vectors, rows = self.vectors, where.rows
        if setting == "gather":
            return lambda query: _best(vectors[rows] @ query, rows)
        return lambda query: _best((vectors @ query)[rows], rows)


def _best(scores: NDArray[np.float32], rows: NDArray[np.int64]) -> Rows:
    if len(rows) <= K:
        return rows[np.argsort(-scores)]
    best = np.argpartition(scores, -K)[-K:]
    return rows[best[np.argsort(-scores[best])]]
