"""Filtered nearest neighbours: every structure and every engine on the same filters, and an index that chooses.

"Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms on Transformer-based Embedding Vectors", 2025,
arXiv 2507.21989. No training: vectors with attributes in, the nearest that pass a filter out.

Rooms: ``index.structures`` has the structures, ``index`` the planner, ``evaluation.filtered`` the other engines.

What must show: walks that ignore the filter lose its answers where few pass or the filter shuns the query; ACORN and
UNG do not, at a tenth of the distances; specialised structures need fewer distances than ACORN; the planner scans where
at most 1 % pass.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedworks.foundation import InputError, environment, progress_bar
from embedworks.methods._report import Report, Scale

if TYPE_CHECKING:
    from embedworks.data import Corpus
    from embedworks.evaluation.filtered.engines import Engine
    from embedworks.index import Index
    from embedworks.methods._fanns_data import Trial
    from embedworks.methods._fanns_findings import Outcome, Planned

SUMMARY = "search among vectors whose attributes pass a filter, by the way that is cheapest for each query"
PAPER = "Benchmarking Filtered Approximate Nearest Neighbor Search Algorithms 2025, arXiv 2507.21989"
RECORD = "Corpus"
"""The record kind that :func:`fit` takes, by its name in :mod:`embedworks.data`."""


@dataclass(frozen=True)
class Config:
    """Settings of an index."""

    backbone: str = "minilm"
    """The encoder: minilm, the directory of a model, or a Hugging Face id."""
    lexical: bool = True
    """Whether texts are indexed by their terms too."""

    @classmethod
    def small(cls) -> Config:
        """Return settings for two cores, which are the default ones."""
        return cls()


def fit(data: Corpus, config: Config, *, out: Path | None = None, progress: bool = False) -> Index:
    """Encode a corpus and index it with all its attributes.

    Args:
        data: Ids, texts and attributes.
        config: Settings.
        out: Directory of the index; it has to be given, since an index lives on disk.
        progress: Whether to show progress on standard error.

    Returns:
        The index, open: ``search(vector, where=...)``, ``explain``.

    Raises:
        InputError: No place is given, or something stands there.
    """
    from embedworks.encoders import load
    from embedworks.index import build_index

    if out is None:
        raise InputError("no place for the index", where="out", mend="name a directory that does not exist")
    return build_index(
        data, load(config.backbone), out, lexical=config.lexical, model=config.backbone, progress=progress
    )


@dataclass(frozen=True)
class _Plan:
    """How large a reproduction is."""

    seeds: int
    """Draws of papers, queries, filters and structures."""
    rows: int | None
    """Papers searched; all where None."""
    queries: int
    """Papers held out as queries."""
    tuning_rows: int
    """Papers of the parameter search."""
    planner_rows: int | None
    """Papers of the index whose planner is watched; all where None, 0 for none."""
    engines: bool
    """Whether other engines take part, where they are installed."""


_PLANS = {
    "quick": _Plan(seeds=3, rows=600, queries=40, tuning_rows=0, planner_rows=0, engines=False),
    "default": _Plan(seeds=3, rows=5000, queries=120, tuning_rows=1000, planner_rows=None, engines=True),
    "paper": _Plan(seeds=5, rows=None, queries=400, tuning_rows=10_000, planner_rows=None, engines=True),
}


def reproduce(scale: Scale, *, progress: bool = False) -> Report:
    """Build every structure, search every form of filter, and judge the claims.

    Args:
        scale: quick (600 papers), default (5,000) or paper (all 40,000; hours).
        progress: Whether to show progress on standard error.
    """
    from embedworks.methods._fanns_data import make_trial
    from embedworks.methods._fanns_findings import findings, tables
    from embedworks.methods._fanns_search import LISTS, descend

    started = time.monotonic()
    plan = _PLANS[scale]
    outcomes: list[Outcome] = []
    planned, tuned = None, []
    steps = plan.seeds + (len(LISTS) if plan.tuning_rows else 0) + (plan.planner_rows != 0)
    with progress_bar("Measuring", steps, unit="parts", enabled=progress) as advance:
        for seed in range(plan.seeds):
            trial = make_trial(rows=plan.rows, queries=plan.queries, seed=seed)
            outcomes.append(_outcome(trial, seed=seed, engines=plan.engines and seed == 0))
            advance(1)
        if plan.tuning_rows:
            small = make_trial(rows=plan.tuning_rows, queries=50, seed=plan.seeds)
            for kind in LISTS:
                tuned.append(descend(kind, small, seed=0))
                advance(1)
        if plan.planner_rows != 0:
            planned = _planned(plan.planner_rows)
            advance(1)
    return Report(
        method="fanns",
        scale=scale,
        seeds=list(range(plan.seeds)),
        config={**asdict(Config()), **asdict(plan)},
        findings=findings(outcomes, planned),
        tables=tables(outcomes) | ({"tuned": tuned} if tuned else {}),
        environment=environment(),
        seconds=round(time.monotonic() - started, 1),
    )


def _outcome(trial: Trial, *, seed: int, engines: bool) -> Outcome:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from embedworks.evaluation.filtered.engines import PEERS
    from embedworks.evaluation.filtered.engines.faiss_indexes import FaissGraph
    from embedworks.methods._fanns_curves import PLANS, build, cells_for, engine_curves, structure_curve
    from embedworks.methods._fanns_findings import Outcome
    from embedworks.methods._fanns_search import correlated, gated

    outcome = Outcome(len(trial.papers))
    questions = trial.questions
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        for kind, attributes in PLANS.items():
            for attribute, meant in attributes:
                built = build(kind, attribute, trial, seed=seed)
                outcome.built.append(built)
                for question in [questions[meant]] if meant else questions.values():
                    if all(built.structure.supports(where) for where in question.wheres):
                        outcome.curves.append(structure_curve(built, trial, question))
        stitched = build("stitched-vamana", "primary_category", trial, seed=seed)
        outcome.single = correlated(trial, questions["correlated"], [*outcome.built, stitched])
        others: list[type[Engine]] = list(PEERS) if engines else [FaissGraph]
        for number, other in enumerate(others):
            if other.missing() is not None:
                continue
            engine = other()
            place = Path(folder) / str(number)
            place.mkdir()
            try:
                engine.build(trial.papers, cells_for(list(questions.values())), place)
                if isinstance(engine, FaissGraph):
                    outcome.gated = gated(trial, [questions["random 1.0%"], questions["correlated"]], engine)
                for question in questions.values() if engines else ():
                    outcome.curves += engine_curves(engine, trial, question)
            finally:
                engine.close()
    return outcome


def _planned(rows: int | None) -> Planned | None:
    from embedworks.methods._fanns_data import make_trial
    from embedworks.methods._fanns_search import planned

    trial = make_trial(rows=rows, queries=100, seed=0)
    return planned(trial, [one for name, one in trial.questions.items() if name.startswith("random")])
