"""One cell: each engine's best setting is chosen on some queries, then all are timed on others, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Block, Engine, K, Search
from embedworks.evaluation.filtered.papers import PaperSet
from embedworks.foundation.randomness import random_generator

WANTED_RECALL: Final = 0.99
_SECONDS_TO_TUNE: Final = 0.4
"""Of one setting; a slow engine is asked fewer queries."""
_SECONDS_A_ROUND: Final = 0.15
_FEWEST_TO_TUNE: Final = 4
_FIRST_LOOK: Final = 4
_SLOW: Final = 0.1
"""Seconds a query from which an engine takes part in the first two rounds only."""
_TOO_SLOW: Final = 2.0
"""A way whose setting costs so many times another way's is followed no further."""
_RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Choice:
    """An engine's best setting for a cell.

    Args:
        setting: The fastest that reaches the wanted recall, or that of the highest recall where none does.
        recall: On the queries for tuning.
        seconds: Processor seconds a query there.
        reached: Whether the wanted recall was reached.
    """

    setting: str
    recall: float
    seconds: float
    reached: bool


@dataclass
class Arm:
    """An engine with a setting in a cell, and what it did there."""

    name: str
    engine: Engine
    choice: Choice
    searches: list[Search]
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    """Milliseconds a query, round by round."""
    recalls: list[float] = field(default_factory=list)
    short: int = 0
    violations: int = 0


class Truth:
    """The exact answers of a cell's queries, in float64.

    Args:
        papers: The set.
        cell: The cell.
    """

    def __init__(self, papers: PaperSet, cell: Cell) -> None:
        self._papers, self._cell = papers, cell
        self._known: dict[tuple[int, int], frozenset[int]] = {}
        self._within = [papers.vectors[where.rows] for where in cell.filters]

    def recall(self, query: int, turn: int, rows: Sequence[int]) -> float:
        """Return which share of the min(k, passing) nearest was found; 1 where nothing passes."""
        wanted = self._of(query, turn)
        return len(wanted & set(rows)) / len(wanted) if wanted else 1.0

    def _of(self, query: int, turn: int) -> frozenset[int]:
        if (query, turn) not in self._known:
            rows = self._cell.filters[turn].rows
            scores = self._within[turn].astype(np.float64) @ self._papers.queries[query].astype(np.float64)
            best = np.argsort(-scores, kind="stable")[:K]
            self._known[query, turn] = frozenset(int(row) for row in rows[best])
        return self._known[query, turn]


def choose(engine: Engine, papers: PaperSet, cell: Cell, truth: Truth) -> Choice | None:
    """Find an engine's best setting on the queries for tuning.

    Args:
        engine: Built.
        papers: The set.
        cell: The cell.
        truth: Of the cell.

    Returns:
        None where the engine cannot express a filter of the cell.
    """
    if not all(engine.supports(where) for where in cell.filters):
        return None
    tried: list[Choice] = []
    limit = np.inf
    for way in engine.settings():
        for setting in way:
            tried.append(_try(engine, setting, papers, cell, truth))
            if tried[-1].reached:
                limit = min(limit, _TOO_SLOW * tried[-1].seconds)
            if tried[-1].reached or tried[-1].seconds > limit:
                break
    reached = [choice for choice in tried if choice.reached]
    return min(reached, key=lambda one: one.seconds) if reached else max(tried, key=lambda one: one.recall)


def _try(engine: Engine, setting: str, papers: PaperSet, cell: Cell, truth: Truth) -> Choice:
    searches = [engine.prepare(where, setting) for where in cell.filters]
    first = np.arange(min(_FIRST_LOOK, len(cell.tuning)))
    _asked(engine, searches, papers, cell, cell.tuning[first[:1]], first[:1])  # loads, compiles
    look = _asked(engine, searches, papers, cell, cell.tuning[first], first)
    count = int(np.clip(_SECONDS_TO_TUNE * len(first) / max(look.wall, 1e-9), _FEWEST_TO_TUNE, len(cell.tuning)))
    places = np.arange(count)
    block = look if count <= len(first) else _asked(engine, searches, papers, cell, cell.tuning[places], places)
    recall = float(
        np.mean([
            truth.recall(int(cell.tuning[place]), cell.filter_of(place), rows) for place, rows in enumerate(block.rows)
        ])
    )  # fmt: skip
    return Choice(setting, recall, block.cpu / len(block.rows), recall >= WANTED_RECALL)


def _asked(
    engine: Engine,
    searches: Sequence[Search],
    papers: PaperSet,
    cell: Cell,
    queries: NDArray[np.int64],
    places: NDArray[np.int64],
) -> Block:
    return engine.ask(searches, papers.queries[queries], [cell.filter_of(int(place)) for place in places])


def race(
    arms: Sequence[Arm], papers: PaperSet, cell: Cell, truth: Truth, *, rounds: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Time the arms in turns, in random order within each round, each after a few queries that do not count.

    Args:
        arms: Who takes part; the first is the one that ratios are of.
        papers: The set.
        cell: The cell.
        truth: Of the cell.
        rounds: How many; each has queries of its own.
        seed: Of the order.

    Returns:
        For each arm its figures.
    """
    order = random_generator(seed, "filtered search", cell.name)
    blocks = np.array_split(np.arange(len(cell.measuring)), rounds)
    warm = np.arange(min(_FIRST_LOOK, len(cell.tuning)))
    for number, places in enumerate(blocks):
        for position in order.permutation(len(arms)):
            arm = arms[position]
            if arm.choice.seconds > _SLOW and number > 1:
                continue
            if arm.choice.seconds < _SLOW:
                # What ran before has filled the caches with its own; how long that takes to undo is nobody's speed.
                _asked(arm.engine, arm.searches, papers, cell, cell.tuning[warm], warm)
            count = int(np.clip(_SECONDS_A_ROUND / max(arm.choice.seconds, 1e-9), 1, len(places)))
            block = _asked(arm.engine, arm.searches, papers, cell, cell.measuring[places[:count]], places[:count])
            arm.cpu.append(1000 * block.cpu / count)
            arm.wall.append(1000 * block.wall / count)
            for place, rows in zip(places[:count], block.rows, strict=True):
                _judge(arm, cell.filters[cell.filter_of(int(place))], rows)
                arm.recalls.append(truth.recall(int(cell.measuring[place]), cell.filter_of(int(place)), rows))
    return {arm.name: _figures(arm) for arm in arms}


def _judge(arm: Arm, where: Filter, rows: Sequence[int]) -> None:
    arm.short += len(rows) < min(K, len(where.rows))
    arm.violations += int((~where.mask[np.asarray(rows, dtype=np.int64)]).sum())


def _figures(arm: Arm) -> dict[str, Any]:
    recall = float(np.mean(arm.recalls))
    return {
        "setting": arm.choice.setting,
        "reached_when_tuned": arm.choice.reached,
        "recall_when_tuned": round(arm.choice.recall, 4),
        "recall": round(recall, 4),
        "cpu_ms": round(float(np.median(arm.cpu)), 4),
        "wall_ms": round(float(np.median(arm.wall)), 4),
        "cpu_ms_by_round": [round(value, 4) for value in arm.cpu],
        "queries": len(arm.recalls),
        "short": arm.short,
        "violations": arm.violations,
    }


def ratio(peer: Sequence[float], ours: Sequence[float], *, seed: int) -> dict[str, float]:
    """Return how many times as fast: the median over rounds, with its 90 % bootstrap interval.

    Args:
        peer: Milliseconds by round.
        ours: Likewise; rounds a slow peer sat out are left out.
        seed: Of the bootstrap.

    Example:
        >>> ratio([3.0, 3.0], [1.0, 1.5], seed=0)["median"]
        2.5
    """
    ratios = np.array([a / b for a, b in zip(peer, ours, strict=False)])
    resampled = random_generator(seed, "filtered search", "bootstrap").choice(ratios, size=(_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(resampled, axis=1), [0.05, 0.95])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}
