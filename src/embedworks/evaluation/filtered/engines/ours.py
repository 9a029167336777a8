"""Our index as anyone uses it: ``Index.search(vector, where=...)``, the planner choosing the way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Block, Engine, Rows, Search
from embedworks.evaluation.filtered.papers import PaperSet
from embedworks.index import Index


class Ours(Engine):
    """The default. Its search takes the filter as text; one it has seen lately it remembers, as it does for everyone.

    Settings: ``default``; ``new filter``, where no filter is the text of one before, so that each is parsed and
    evaluated; ``exact``, where all rows that pass are scanned.
    """

    name: ClassVar[str] = "embedworks"

    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Write the index; rows carry their numbers as ids."""
        path = folder / "papers.index"
        Index.create(path, dimension=papers.vectors.shape[1], lexical=False)
        Index.open(path).add([str(row) for row in range(len(papers))], papers.vectors, attributes=papers.table)
        # The other engines hold their vectors in memory. Filters that never come back would push those that do out of
        # what one reader remembers.
        self.index, self._fresh = Index.open(path, in_memory=True), Index.open(path, in_memory=True)
        self._spaces = count(1)

    def settings(self) -> list[list[str]]:
        """Only the default: nothing is to be set."""
        return [["default"]]

    def prepare(self, where: Filter, setting: str) -> Search:
        """Return the search; what it returns is looked at by :meth:`ask`."""
        index, text = self.index, where.where
        if setting == "new filter":
            fresh = self._fresh
            return lambda query: fresh.search(query, where=text + " " * next(self._spaces)).hits  # type: ignore[return-value]
        return lambda query: index.search(query, where=text, exact=setting == "exact").hits  # type: ignore[return-value]

    def ask(self, searches: Sequence[Search], queries: NDArray[np.float32], turns: Sequence[int]) -> Block:
        """Take the time of the searches alone: no engine's time contains reading what a row holds."""
        answers: list[Any] = []

        def kept(search: Search) -> Search:
            def searched(query: NDArray[np.float32]) -> Rows:
                answers.append(search(query))
                return ()

            return searched

        timed = super().ask([kept(search) for search in searches], queries, turns)
        rows = [[int(hit.id) for hit in hits] for hits in answers]
        return Block(rows, timed.cpu, timed.wall)
