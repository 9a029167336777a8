"""From curves over seeds to claims with verdicts, and the tables of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedworks.methods._fanns_curves import WANTED, Built, Curve
from embedworks.methods._report import FEWEST_SEEDS, Finding, Verdict, verdict_of_difference

_YARDSTICK = "acorn-gamma"
_MAY_VIOLATE = "nhq"
_LEAST_RATIO = 1.5
_MOST_SHARE = 0.1
_PLANNED = 0.01
PAIRS = (("serf-2d", "R"), ("stitched-vamana", "EMIS"), ("ung", "EM"))
"""Specialised structures and the questions they are made for."""


@dataclass
class Outcome:
    """What one seed gave.

    Args:
        rows: Papers searched.
        curves: Of structures and engines.
        built: The structures.
        gated: Recall@10 of faiss' graph with a selector, ef 32, by question.
        single: On the correlated question: recall@10 of post-filtering without doubling, and of structures at beam 64.
    """

    rows: int
    curves: list[Curve] = field(default_factory=list)
    built: list[Built] = field(default_factory=list)
    gated: dict[str, float] = field(default_factory=dict)
    single: dict[str, float] = field(default_factory=dict)

    def distances(self, name: str, question: str, recall: float = WANTED) -> float | None:
        """Return a structure's distance computations at a recall."""
        found = [curve for curve in self.curves if (curve.name, curve.question) == (name, question)]
        return found[0].distances_at(recall) if found else None


@dataclass(frozen=True)
class Planned:
    """How often the index's planner chose the scan, by share of passing rows."""

    rows: int
    scans: Mapping[str, float]
    recall: Mapping[str, float]


def judge(values: Sequence[float | None], *, least: float, claimed_from: float = 0.0) -> tuple[dict[str, Any], Verdict]:
    """Judge whether a figure, one a seed, reaches a size.

    Args:
        values: None where a seed could not measure it.
        least: What it must reach.
        claimed_from: What no effect would give.

    Returns:
        Mean, 95 % interval over seeds, p-value of a t-test against no effect; and the verdict.

    Example:
        >>> judge([2.0, 2.1, 1.9], least=1.5, claimed_from=1.0)[1].value
        'shown'
        >>> judge([1.2, 1.21, 1.19], least=1.5, claimed_from=1.0)[1].value
        'not shown'
        >>> judge([2.0, None, 2.0], least=1.5)[1].value
        'not shown'
    """
    from scipy import stats

    known = np.array([value for value in values if value is not None])
    if len(known) < len(values):
        return {"by_seed": list(values)}, Verdict.NOT_SHOWN
    mean = float(known.mean())
    measured: dict[str, Any] = {"mean": round(mean, 4), "by_seed": [round(float(value), 4) for value in known]}
    if len(known) < FEWEST_SEEDS:
        return measured, Verdict.NOT_RESOLVABLE
    spread = float(known.std(ddof=1) / np.sqrt(len(known)))
    half = float(stats.t.ppf(0.975, len(known) - 1)) * spread
    away = mean - claimed_from
    p = float(2 * stats.t.sf(abs(away) / spread, len(known) - 1)) if spread > 0 else float(away == 0)
    measured |= {"interval": [round(mean - half, 4), round(mean + half, 4)], "p": p}
    verdict = verdict_of_difference(away, (away - half, away + half), p, at_least=least - claimed_from)
    return measured, verdict


def findings(outcomes: Sequence[Outcome], planned: Planned | None) -> list[Finding]:
    """Return every claim with its verdict.

    Args:
        outcomes: One a seed.
        planned: What the planner chose; None where the scale has no graph for it.
    """
    made = []
    for name in ("acorn-gamma", "ung"):
        shares = [
            None if (found := one.distances(name, "random 10.0%")) is None else found / one.rows for one in outcomes
        ]
        saved = [None if share is None else _MOST_SHARE - share for share in shares]
        measured, verdict = judge(saved, least=0.0)
        shown = {"share_of_n_by_seed": shares, "below_the_limit_by": measured}
        claim = f"{name} holds recall@10 >= {WANTED} on a random 10 % with fewer than {_MOST_SHARE:.0%} of n distances"
        made.append(Finding(f"crossover-{name}", claim, shown, verdict))
    for question, limit in (("random 1.0%", 0.5), ("correlated", 0.5)):
        measured, verdict = judge([1 - one.gated[question] for one in outcomes], least=1 - limit)
        made.append(
            Finding(
                f"gated-graph-{question.split()[0]}",
                f"faiss HNSW with a selector, ef 32, loses at least half of the answers: {question}",
                {"lost": measured},
                verdict,
                {"recall, 1 % random": 0.197, "recall, 1 % correlated": 0.104, "data": "10k synthetic clusters"},
            )
        )
    if planned is not None:
        few = {share: scans for share, scans in planned.scans.items() if float(share) <= _PLANNED}
        enough = all(scans == 1 for scans in few.values())
        made.append(
            Finding(
                "planner-scans",
                "the planner chooses the exact scan for every query where at most 1 % pass",
                {"scans_by_share": dict(planned.scans), "recall_by_share": dict(planned.recall), "rows": planned.rows},
                Verdict.SHOWN if enough else Verdict.NOT_SHOWN,
            )
        )
    for name, question in PAIRS:
        measured, verdict = judge(
            [_fewer(one, name, question) for one in outcomes], least=_LEAST_RATIO, claimed_from=1.0
        )
        made.append(
            Finding(
                f"specialised-{name}",
                f"on {question} {name} needs {_LEAST_RATIO} times fewer distances than {_YARDSTICK} at recall {WANTED}",
                {"times_fewer": measured},
                verdict,
                {"in queries a second": "up to 10 times"},
            )
        )
    lost, kept = [1 - one.single["post-filter, once"] for one in outcomes], _YARDSTICK
    measured, verdict = judge(lost, least=0.5)
    claim = "with a filter that shuns the query, post-filtering without doubling loses at least half of the answers"
    made.append(Finding("correlated-post-filter", claim, {"lost": measured}, verdict))
    for name in ("stitched-vamana", kept):
        measured, verdict = judge([one.single[name] - 0.9 for one in outcomes], least=0.0)
        claim = f"with the same filter {name} holds recall@10 >= 0.9 at beam 64"
        recalls = [one.single[name] for one in outcomes]
        made.append(Finding(f"correlated-{name}", claim, {"recall_by_seed": recalls, "above_0.9": measured}, verdict))
    own = {built.kind for one in outcomes for built in one.built}
    violations: dict[str, int] = {}
    for one in outcomes:
        for curve in one.curves:
            number = sum(point.violations for point in curve.points)
            if number:
                violations[curve.name] = violations.get(curve.name, 0) + number
    ours = sum(number for name, number in violations.items() if name in own and name != _MAY_VIOLATE)
    made.append(
        Finding(
            "no-violations",
            "no structure but the fusion graph ever returns a row that fails the filter",
            {"violations": ours, "of_others": {name: n for name, n in violations.items() if name not in own}},
            Verdict.SHOWN if ours == 0 else Verdict.NOT_SHOWN,
        )
    )
    return made


def _fewer(outcome: Outcome, name: str, question: str) -> float | None:
    ours, yardstick = outcome.distances(name, question), outcome.distances(_YARDSTICK, question)
    return None if ours is None or yardstick is None else yardstick / ours


def tables(outcomes: Sequence[Outcome]) -> dict[str, list[dict[str, Any]]]:
    """Return the tables: curves, cost at one recall, building, and who wins where.

    Args:
        outcomes: One a seed.
    """
    return {
        "curves": [
            {"seed": seed, "name": curve.name, "question": curve.question, "setting": point.setting}
            | {"recall": round(point.recall, 4), "ms": round(point.milliseconds, 4), "short": round(point.short, 4)}
            | {"distances": None if point.distances is None else round(point.distances, 1)}
            | {"violations": point.violations}
            for seed, one in enumerate(outcomes)
            for curve in one.curves
            for point in curve.points
        ],
        "at_recall": _at_recall(outcomes),
        "builds": _builds(outcomes),
        "winners": _winners(outcomes),
    }


def _mean(values: Sequence[float | None]) -> float | str:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if len(known) == len(values) and known else "not reached"


def _at_recall(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys((curve.question, curve.name) for one in outcomes for curve in one.curves))
    lines = []
    for question, name in sorted(names, key=lambda pair: pair[0]):
        of_it = [c for one in outcomes for c in one.curves if (c.question, c.name) == (question, name)]
        milliseconds = _mean([curve.milliseconds_at() for curve in of_it])
        lines.append(
            {
                "question": question,
                "name": name,
                "distances": _mean([curve.distances_at() for curve in of_it])
                if of_it[0].points[0].distances is not None
                else "",
                "ms": milliseconds,
                "queries_a_second": round(1000 / milliseconds) if isinstance(milliseconds, float) else "",
                "best_recall": round(float(np.mean([max(p.recall for p in c.points) for c in of_it])), 3),
                "short": round(float(np.mean([c.points[-1].short for c in of_it])), 3),
            }
        )
    return lines


def _builds(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    keys = list(dict.fromkeys((built.kind, built.attribute) for one in outcomes for built in one.built))
    lines = []
    for kind, attribute in keys:
        of_it = [b for one in outcomes for b in one.built if (b.kind, b.attribute) == (kind, attribute)]
        lines.append(
            {
                "structure": kind,
                "attribute": attribute,
                "seconds": round(float(np.mean([b.seconds for b in of_it])), 2),
                "MB_beside_vectors": round(float(np.mean([b.megabytes for b in of_it])), 2),
                "peak_MB_while_building": _mean([b.peak_megabytes for b in of_it]),
            }
        )
    return lines


def _winners(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """For every question our fastest structure against the fastest other engine, on the first seed, which has both."""
    lines = []
    first = outcomes[0]
    ours = {built.kind for built in first.built}
    for question in dict.fromkeys(curve.question for curve in first.curves):
        reached = [
            (took, curve.name)
            for curve in first.curves
            if curve.question == question
            and curve.name != _MAY_VIOLATE
            and (took := curve.milliseconds_at()) is not None
        ]
        own = min((pair for pair in reached if pair[1] in ours), default=None)
        other = min((pair for pair in reached if pair[1] not in ours), default=None)
        line: dict[str, Any] = {"question": question}
        if own is not None:
            line |= {"our_best": own[1], "our_ms": round(own[0], 4)}
        if other is not None:
            line |= {"best_other": other[1], "its_ms": round(other[0], 4)}
        if own is not None and other is not None:
            line |= {"ratio": round(other[0] / own[0], 2), "outcome": "win" if other[0] > own[0] else "lose"}
        lines.append(line)
    return lines
