"""Greedy coordinate descent over a structure's settings, and the runs that need more than one structure."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from embedworks.evaluation.filtered.engines.faiss_indexes import FaissGraph
from embedworks.evaluation.filtered.engines.ours import Ours
from embedworks.index import Index
from embedworks.index.structures import hnsw
from embedworks.index.structures.infilter import GraphSearch
from embedworks.index.structures.postfilter import SURPLUS
from embedworks.methods._fanns_curves import WANTED, Built, build, cells_for, structure_curve
from embedworks.methods._fanns_data import K, Question, Trial
from embedworks.methods._fanns_findings import Planned

LISTS: Final[dict[str, tuple[str, str, dict[str, tuple[Any, ...]], dict[str, Any]]]] = {
    "acorn-gamma": (
        "",
        "R",
        {"degree": (16, 24, 32, 48), "compression": (32, 48, 64), "expansion": (8, 12, 16)},
        {"degree": 32, "compression": 64, "expansion": 12},
    ),
    "serf-2d": (
        "date",
        "R",
        {"neighbours": (4, 8, 12, 16), "ef_construction": (60, 100, 150)},
        {"neighbours": 8, "ef_construction": 100},
    ),
    "stitched-vamana": (
        "categories",
        "EMIS",
        {"small_degree": (16, 24, 32), "degree": (32, 48, 64), "alpha": (1.0, 1.2, 1.4)},
        {"small_degree": 32, "degree": 64, "alpha": 1.2},
    ),
    "ung": (
        "number_of_sub_categories",
        "EM",
        {"degree": (16, 24, 32), "alpha": (1.0, 1.2, 1.4)},
        {"degree": 32, "alpha": 1.2},
    ),
}
"""Structure to attribute, question, values of each setting in order, and the published values."""
_BETTER: Final = 1.01
_GATED_BEAM, _CORRELATED_BEAM = "float32 32", 64


def descend(kind: str, trial: Trial, *, seed: int) -> dict[str, Any]:
    """Change one setting by one step at a time for as long as a whole round gains more than 1 %.

    The paper's reward is queries a second at recall 0.95; here it is the inverse of the distance computations there,
    which a busy machine does not change.

    Args:
        kind: A key of :data:`LISTS`.
        trial: Few papers: every step builds anew.
        seed: Of the structures.
    """
    attribute, question, lists, start = LISTS[kind]
    known: dict[tuple[int, ...], float] = {}
    names = list(lists)

    def cost(at: tuple[int, ...]) -> float:
        if at not in known:
            settings = {name: lists[name][place] for name, place in zip(names, at, strict=True)}
            built = build(kind, attribute, trial, seed=seed, **settings)
            found = structure_curve(built, trial, trial.questions[question], until=WANTED).distances_at()
            known[at] = np.inf if found is None else found
        return known[at]

    here = first = tuple(lists[name].index(start[name]) for name in names)
    improved = True
    while improved:
        before = cost(here)
        for axis, name in enumerate(names):
            for step in (-1, 1):
                place = here[axis] + step
                if 0 <= place < len(lists[name]):
                    there = (*here[:axis], place, *here[axis + 1 :])
                    here = min(here, there, key=cost)
        improved = before > _BETTER * cost(here)
    return {
        "structure": kind,
        "question": question,
        "published": str(start),
        "distances": round(cost(first), 1),
        "found": str({name: lists[name][place] for name, place in zip(names, here, strict=True)}),
        "distances_there": round(cost(here), 1),
        "builds": len(known),
    }


def gated(trial: Trial, questions: Sequence[Question], engine: FaissGraph) -> dict[str, float]:
    """Return recall@10 of faiss' graph with a selector, ef 32, by question.

    Args:
        trial: The papers.
        questions: What to ask.
        engine: Built over them.
    """
    recalls = {}
    for question in questions:
        found = []
        for query, where, best in zip(question.asked, question.filters, question.best, strict=True):
            rows = np.asarray(engine.prepare(where, _GATED_BEAM)(trial.papers.queries[query]))
            found.append(len(np.intersect1d(rows, best)) / len(best) if len(best) else 1.0)
        recalls[question.name] = float(np.mean(found))
    return recalls


def correlated(trial: Trial, question: Question, built: Sequence[Built]) -> dict[str, float]:
    """Return recall@10 where the filter shuns the query: post-filtering that asks once, and structures at beam 64.

    Args:
        trial: The papers.
        question: Queries of one field, a filter of another.
        built: Structures, one of them post-filter; ``stitched-vamana`` answers where it was built on categories.
    """
    recalls: dict[str, float] = {}
    for one in built:
        if one.kind == "post-filter":
            recalls["post-filter, once"] = _once(trial, question, cast("GraphSearch", one.structure))
        elif one.kind == "acorn-gamma" or (one.kind, one.attribute) == ("stitched-vamana", "primary_category"):
            beams = (_CORRELATED_BEAM,)
            recalls[one.kind] = structure_curve(one, trial, question, beams=beams).points[0].recall
    return recalls


def _once(trial: Trial, question: Question, structure: GraphSearch) -> float:
    everything = np.ones(structure.rows, dtype=np.bool_)
    found = []
    for query, where, best in zip(question.asked, question.wheres, question.best, strict=True):
        number = min(structure.rows, ceil(SURPLUS * K / max(where.selectivity, 1e-9)))
        vector = trial.papers.queries[query]
        rows, _, _ = hnsw.search_hnsw(
            structure.graph, structure.vectors, vector, everything, number, structure.workspace
        )
        rows = rows[where.mask[rows]][:K]
        found.append(len(np.intersect1d(rows, best)) / len(best) if len(best) else 1.0)
    return float(np.mean(found))


def planned(trial: Trial, questions: Sequence[Question]) -> Planned | None:
    """Ask the index itself, and note how often its planner chose the scan; None where it has no lists to choose.

    Args:
        trial: The papers.
        questions: Random subsets.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours()
        ours.build(trial.papers, cells_for(questions), Path(folder))
        index: Index = ours.index
        scans, recalls, by_lists = {}, {}, 0
        for question in questions:
            exact, found = 0, []
            for query, where, best in zip(question.asked, question.filters, question.best, strict=True):
                answer = index.search(trial.papers.queries[query], where=where.where, k=K)
                exact += answer.cost.lists == 0
                by_lists += answer.cost.lists > 0
                rows = [int(hit.id) for hit in answer.hits]
                found.append(len(np.intersect1d(rows, best)) / len(best) if len(best) else 1.0)
            share = f"{float(question.name.split()[1].rstrip('%')) / 100:g}"
            scans[share], recalls[share] = exact / len(question.asked), float(np.mean(found))
    return Planned(len(trial.papers), scans, recalls) if by_lists else None
