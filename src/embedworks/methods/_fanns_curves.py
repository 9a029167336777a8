"""Curves: recall against distance computations and queries a second, of our structures and of other engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from embedworks.evaluation.filtered.cells import Cell, Filter
from embedworks.evaluation.filtered.engines.engine import Engine
from embedworks.index.structures import Attributes, Counters, Structure, structure_class
from embedworks.methods._fanns_data import K, Question, Trial

WANTED: Final = 0.95
"""Recall@10 at which structures are compared, the paper's."""
BEAMS: Final = (10, 15, 20, 30, 45, 64, 90, 128, 180, 256, 400, 640, 1000)
"""The papers' ef or L; each curve ends where recall@10 reaches 0.99."""
_ENOUGH: Final = 0.99
_SLOW_SECONDS: Final = 1.0
_MADE_LABELS: Final = ("number_of_sub_categories", "tenth", "hundredth")
PLANS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "pre-filter": (("", ""),),
    "post-filter": (("", ""),),
    "in-filter": (("", ""),),
    "ivf": (("", ""),),
    "acorn-1": (("", ""),),
    "acorn-gamma": (("", ""),),
    "serf-1d": (("date", "R, one-sided"),),
    "serf-2d": (("date", "R"),),
    "filtered-vamana": (("categories", "EMIS"), ("number_of_sub_categories", "EM")),
    "stitched-vamana": (("categories", "EMIS"), ("number_of_sub_categories", "EM")),
    "ung": (("categories", "EMIS"), ("number_of_sub_categories", "EM"), ("tenth", "random 10.0%")),
    "nhq": (("number_of_sub_categories", "EM"),),
}
"""Each structure with the attribute it is built on and the question it is built for; nothing where it takes any."""


@dataclass(frozen=True)
class Point:
    """One setting on one question.

    Args:
        setting: Beam, or what an engine calls it.
        recall: Mean recall@10, the denominator min(10, passing).
        distances: Distance computations a query; None where an engine does not say.
        milliseconds: Processor time a query.
        short: Share of the queries with fewer rows than min(10, passing).
        violations: Rows returned that fail the filter.
    """

    setting: str
    recall: float
    distances: float | None
    milliseconds: float
    short: float
    violations: int


@dataclass
class Curve:
    """A structure or engine on a question, from narrow to wide."""

    name: str
    question: str
    points: list[Point] = field(default_factory=list)

    def distances_at(self, recall: float = WANTED) -> float | None:
        """Return the distance computations at a recall, between two settings; None where it was not reached."""
        return self._at(recall, lambda point: point.distances)

    def milliseconds_at(self, recall: float = WANTED) -> float | None:
        """Return the milliseconds at a recall, likewise."""
        return self._at(recall, lambda point: point.milliseconds)

    def _at(self, recall: float, cost: Callable[[Point], float | None]) -> float | None:
        before: tuple[float, float] | None = None
        for point in self.points:
            value = cost(point)
            if value is None:
                return None
            if point.recall >= recall:
                if before is None or point.recall == before[0]:
                    return value
                return before[1] + (recall - before[0]) / (point.recall - before[0]) * (value - before[1])
            before = point.recall, value
        return None


@dataclass(frozen=True)
class Built:
    """A structure and what building it took.

    Args:
        kind: Its name.
        attribute: What it was built on, or "".
        structure: The structure.
        seconds: Processor seconds.
        megabytes: Of its arrays, beside the vectors.
        peak_megabytes: Most memory in use while building, above what was in use before; None where the system does not
            say.
    """

    kind: str
    attribute: str
    structure: Structure
    seconds: float
    megabytes: float
    peak_megabytes: float | None


def build(kind: str, attribute: str, trial: Trial, *, seed: int, **settings: Any) -> Built:
    """Build a structure over a trial's papers.

    Args:
        kind: Name in the registry.
        attribute: What it is built on, or "".
        trial: The papers.
        seed: Of the structure.
        settings: Others than the published ones.
    """
    cls: Any = structure_class(kind)
    vectors = trial.papers.vectors
    few = min(64, len(vectors))
    table = trial.papers.table.slice(0, few)
    for name in _MADE_LABELS:
        table = table.append_column(name, pa.array(["0"] * few))
    _make(cls, vectors[:few], Attributes(table), attribute, seed, {})  # compiles
    before = _reset_peak()
    begun = time.process_time()
    structure = _make(cls, vectors, trial.attributes, attribute, seed, settings)
    seconds = time.process_time() - begun
    peak = None if before is None else (_status("VmHWM") or before) - before
    return Built(kind, attribute, structure, seconds, structure.nbytes / 1e6, peak)


def _make(cls: Any, vectors: Any, attributes: Attributes, attribute: str, seed: int, settings: dict[str, Any]) -> Any:
    if cls.kind == "pre-filter":
        return cls.build(vectors)
    if attribute:
        return cls.build(vectors, attributes.column(attribute), attribute=attribute, seed=seed, **settings)
    return cls.build(vectors, seed=seed, **settings)


def _status(name: str) -> float | None:
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    lines = [line for line in path.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(lines[0].split()[1]) / 1e3 if lines else None


def _reset_peak() -> float | None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def structure_curve(
    built: Built, trial: Trial, question: Question, *, beams: Sequence[int] = BEAMS, until: float = _ENOUGH
) -> Curve:
    """Search a question with wider and wider beams.

    Args:
        built: The structure.
        trial: Where the queries are.
        question: One whose filters it supports.
        beams: The beams.
        until: Recall at which a curve ends.
    """
    structure, queries = built.structure, trial.papers.queries
    curve = Curve(built.kind, question.name)
    structure.search(queries[question.asked[0]], K, question.wheres[0], beam=beams[0])
    for beam in beams:
        begun = time.process_time()
        found = [
            structure.search(queries[query], K, where, beam=beam)
            for query, where in zip(question.asked, question.wheres, strict=True)
        ]
        took = (time.process_time() - begun) * 1000 / len(found)
        cost = sum((one.counters for one in found), Counters())
        curve.points.append(_point(str(beam), question, [one.rows for one in found], cost.distances / len(found), took))
        if curve.points[-1].recall >= until or structure.kind == "pre-filter":
            break
    return curve


def engine_curves(engine: Engine, trial: Trial, question: Question) -> list[Curve]:
    """Search a question with another engine, one curve for each of its ways.

    Args:
        engine: Built over the trial's papers.
        trial: Where the queries are.
        question: The question.
    """
    filters: list[Filter] = list(dict.fromkeys(question.filters))
    if not all(engine.supports(where) for where in filters):
        return []
    place = {where: number for number, where in enumerate(filters)}
    curves = []
    for way in engine.settings():
        label = way[0].partition(" ")[0]
        several = len(engine.settings()) > 1
        curve = Curve(f"{engine.name}, {label}" if several else engine.name, question.name)
        count = len(question.asked)
        for setting in way:
            searches = [engine.prepare(where, setting) for where in filters]
            turns = [place[where] for where in question.filters]
            look = engine.ask(searches, trial.papers.queries[question.asked[:2]], turns[:2])
            count = int(min(count, max(2, _SLOW_SECONDS * 2 / max(look.wall, 1e-9))))
            block = engine.ask(searches, trial.papers.queries[question.asked[:count]], turns[:count])
            rows = [np.asarray(found, dtype=np.int64) for found in block.rows]
            curve.points.append(_point(setting, question, rows, None, 1000 * block.cpu / count))
            if curve.points[-1].recall >= _ENOUGH:
                break
        curves.append(curve)
    return curves


def cells_for(questions: Sequence[Question]) -> list[Cell]:
    """Return questions as the cells that engines look at when they are built."""
    nothing = np.zeros(0, dtype=np.int64)
    return [Cell(one.name, tuple(dict.fromkeys(one.filters)), nothing, nothing) for one in questions]


def _point(setting: str, question: Question, found: Sequence[Any], distances: float | None, took: float) -> Point:
    recalls, short, violations = [], 0, 0
    for rows, best, where in zip(found, question.best, question.wheres, strict=False):
        recalls.append(len(np.intersect1d(rows, best)) / len(best) if len(best) else 1.0)
        short += len(rows) < len(best)
        violations += int((~where.mask[rows]).sum())
    return Point(setting, float(np.mean(recalls)), distances, took, short / len(found), violations)
