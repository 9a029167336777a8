"""The ablation of LIMIT: the same texts and questions, and only the pattern of relevant sets changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from embedworks.analysis import RelevanceMatrix, relevance_densities
from embedworks.data.limit import LIMIT_PATTERNS, generate_limit
from embedworks.evaluation import Bm25, RememberingEncoder, retrieve
from embedworks.methods._limit_search import BM25, DEEPEST, SINGLE, Recalls, recalls
from embedworks.methods._over_seeds import over_seeds, verdict_of_gain
from embedworks.methods._report import FEWEST_SEEDS, Finding, Verdict, verdict_of_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedworks.data import Judged
    from embedworks.foundation.protocols import Encoder

PUBLISHED_PATTERNS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "GritLM": {"random": 61.8, "dense": 10.4, "cycle": 56.6, "disjoint": 63.2},
        "E5-Mistral": {"random": 40.4, "dense": 4.8, "cycle": 36.6, "disjoint": 38.8},
        "BM25": {"random": 96.1, "dense": 93.0, "cycle": 96.0, "disjoint": 96.6},
    }
)
"""Recall at 100 in per cent (arXiv 2508.21038, table 3)."""

PUBLISHED_DENSITIES = (0.085481, 28.4653)
_CUT = 20  # of a thousand documents a hundred are a tenth
_WIDE = 2.0  # times the recall of the dense pattern
_BM25_POINTS = 5.0


@dataclass(frozen=True)
class PatternOutcome:
    """What one pattern of one seed gives."""

    found: Mapping[str, Recalls]
    graph_density: float
    strength: float


def pattern_outcomes(
    encoder: Encoder,
    items: Sequence[str],
    *,
    queries: int,
    documents: int,
    seed: int,
    finished: Callable[[int], None] = lambda _number: None,
) -> dict[str, PatternOutcome]:
    """Make every pattern from one seed, and search each with one vector a text and with BM25.

    Args:
        encoder: Gives the vectors; a text that several patterns share is encoded once.
        items: Things to like.
        queries: Queries of each pattern.
        documents: Documents of each pattern.
        seed: Seed of names, fillers and the random pattern.
        finished: Called with 1 after each pattern.
    """
    remembering = RememberingEncoder(encoder)
    outcomes: dict[str, PatternOutcome] = {}
    for pattern in LIMIT_PATTERNS:
        judged = generate_limit(items, pattern=pattern, queries=queries, documents=documents, seed=seed)
        lexical = Bm25(judged.corpus.ids, judged.corpus.texts, stop_words=False)
        runs = {
            SINGLE: retrieve(remembering, judged, k=DEEPEST),
            BM25: retrieve(lexical.search, judged, k=DEEPEST),
        }
        density = relevance_densities(RelevanceMatrix(judged.relevance, documents=len(judged.corpus)))
        outcomes[pattern] = PatternOutcome(
            {system: recalls(run, judged) for system, run in runs.items()},
            density.graph_density,
            density.average_query_strength,
        )
        finished(1)
    return outcomes


def pattern_findings(outcomes: Sequence[Mapping[str, PatternOutcome]]) -> list[Finding]:
    """Judge, over seeds, how much easier than the dense pattern the others are for one vector a text, and for BM25."""
    findings = []
    for pattern in LIMIT_PATTERNS:
        if pattern == "dense":
            continue
        ratios = [_recall(one, pattern, SINGLE) / max(_recall(one, "dense", SINGLE), 1e-9) for one in outcomes]
        findings.append(_ratio_finding(pattern, ratios, outcomes))
    distances = [
        abs(_recall(one, pattern, BM25) - _recall(one, "dense", BM25)) for one in outcomes for pattern in LIMIT_PATTERNS
    ]
    findings.append(
        Finding(
            "patterns-bm25",
            f"recall of BM25 at {_CUT} under every pattern lies within {_BM25_POINTS:g} points of the dense one, in "
            "each set",
            {"largest_distance_points": round(max(distances), 2), "sets": len(outcomes)},
            verdict_of_check(max(distances), _BM25_POINTS) if len(outcomes) >= FEWEST_SEEDS else Verdict.NOT_RESOLVABLE,
            {"recall_at_100": dict(PUBLISHED_PATTERNS["BM25"])},
        )
    )
    return findings


def _ratio_finding(pattern: str, ratios: Sequence[float], outcomes: Sequence[Mapping[str, PatternOutcome]]) -> Finding:
    claim = (
        f"one vector a text finds at least {_WIDE:g} times as much at {_CUT} under the pattern {pattern} as under dense"
    )
    published = {
        name: round(values[pattern] / values["dense"], 1)
        for name, values in PUBLISHED_PATTERNS.items()
        if name != "BM25"
    }
    measured: dict[str, Any] = {
        "recall": round(float(np.mean([_recall(one, pattern, SINGLE) for one in outcomes])), 2),
        "recall_dense": round(float(np.mean([_recall(one, "dense", SINGLE) for one in outcomes])), 2),
        "ratio": round(float(np.mean(ratios)), 2),
        "sets": len(outcomes),
    }
    if len(outcomes) < FEWEST_SEEDS:
        return Finding(f"pattern-{pattern}", claim, measured, Verdict.NOT_RESOLVABLE, {"ratio_at_100": published})
    beyond = over_seeds([ratio - _WIDE for ratio in ratios])
    measured["ratio_interval_95"] = [round(beyond.low + _WIDE, 2), round(beyond.high + _WIDE, 2)]
    measured["p_of_more_than_claimed"] = beyond.p
    return Finding(f"pattern-{pattern}", claim, measured, verdict_of_gain(beyond), {"ratio_at_100": published})


def _recall(outcomes: Mapping[str, PatternOutcome], pattern: str, system: str) -> float:
    return outcomes[pattern].found[system].at[_CUT]


def pattern_rows(outcomes: Sequence[Mapping[str, PatternOutcome]]) -> list[dict[str, Any]]:
    """Return one row a pattern and system: means over the seeds."""

    def mean(values: Sequence[float], digits: int = 1) -> float:
        return round(float(np.mean(values)), digits)

    return [
        {
            "pattern": pattern,
            "system": system,
            **{
                f"recall@{cut}": mean([one[pattern].found[system].at[cut] for one in outcomes])
                for cut in (2, _CUT, DEEPEST)
            },
            "graph density": mean([one[pattern].graph_density for one in outcomes], 5),
            "average query strength": mean([one[pattern].strength for one in outcomes], 3),
        }
        for pattern in LIMIT_PATTERNS
        for system in (SINGLE, BM25)
    ]


def density_findings(sets: Mapping[str, Judged]) -> list[Finding]:
    """Judge the densities of the published judgements against the published figures, digit by digit."""
    findings = []
    for name, judged in sets.items():
        found = relevance_densities(RelevanceMatrix(judged.relevance, documents=len(judged.corpus)))
        measured = round(found.graph_density, 6), round(found.average_query_strength, 4)
        error = max(abs(one - other) for one, other in zip(measured, PUBLISHED_DENSITIES, strict=True))
        findings.append(
            Finding(
                f"densities-{name}",
                f"graph density and average query strength of {name} are the published ones, in every digit",
                {"graph_density": measured[0], "average_query_strength": measured[1]},
                verdict_of_check(error, 1e-9),
                {"graph_density": PUBLISHED_DENSITIES[0], "average_query_strength": PUBLISHED_DENSITIES[1]},
            )
        )
    return findings
