"""What every engine in the comparison offers: it is built once, made ready for a filter, and asked one query a time."""

from __future__ import annotations

import importlib.util
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.papers import PaperSet

Rows = Sequence[int] | NDArray[np.integer]
Search = Callable[[NDArray[np.float32]], Rows]
"""From a query, float32, shape (d,), to the numbers of the rows found, best first; -1 stands for none."""
K = 10


@dataclass(frozen=True)
class Block:
    """What asking some queries one after the other gave.

    Args:
        rows: For each query the rows found.
        cpu: Processor seconds of all.
        wall: Wall seconds of all.
    """

    rows: list[list[int]]
    cpu: float
    wall: float


class Engine(ABC):
    """An engine; :meth:`build` comes before everything else."""

    name: ClassVar[str]
    """What tables call it."""
    package: ClassVar[str] = ""
    """The module that must be there, where it is not one of our own dependencies."""
    install: ClassVar[str] = "pip install 'embedworks[peers]'"
    """How to get it."""

    @classmethod
    def missing(cls) -> str | None:
        """Return how to install the engine where it is not there."""
        if not cls.package or importlib.util.find_spec(cls.package) is not None:
            return None
        return cls.install

    @abstractmethod
    def build(self, papers: PaperSet, cells: Sequence[Cell], folder: Path) -> None:
        """Take in the papers, with one thread.

        Args:
            papers: The set.
            cells: The filters that will be asked; only what an engine must know of them at building is used.
            folder: An empty directory of its own.
        """

    def settings(self) -> list[list[str]]:
        """Return the ways of searching, each a list of settings from fast to slow; one way with one by default."""
        return [["default"]]

    def supports(self, where: Filter) -> bool:
        """Return whether the engine can express a filter."""
        return True

    @abstractmethod
    def prepare(self, where: Filter, setting: str) -> Search:
        """Make ready for a filter, as far as the engine's interface lets a person do that once for many queries.

        Args:
            where: One that the engine supports.
            setting: One of :meth:`settings`.
        """

    def ask(self, searches: Sequence[Search], queries: NDArray[np.float32], turns: Sequence[int]) -> Block:
        """Ask queries one after the other and take the time.

        Args:
            searches: What :meth:`prepare` returned for each filter.
            queries: Shape (count, d).
            turns: Which of the searches each query goes to, length (count,).
        """
        found: list[Rows] = []
        wall, cpu = time.perf_counter(), time.process_time()
        for query, turn in zip(queries, turns, strict=True):
            found.append(searches[turn](query))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return Block([[int(row) for row in rows if row >= 0] for rows in found], cpu, wall)

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what the engine holds."""
