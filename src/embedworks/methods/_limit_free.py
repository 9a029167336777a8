"""Free embeddings on all pairs, with and without a demanded margin, beside the exact solution they cannot find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.analysis import (
    CriticalSize,
    FreeEmbeddingSettings,
    circle_documents,
    circle_query,
    critical_size,
    every_subset,
    fit_critical_curve,
    ranking_check,
    train_free_embeddings,
)
from embedworks.foundation.randomness import random_generator
from embedworks.methods._over_seeds import over_seeds, verdict_of_gain
from embedworks.methods._report import FEWEST_SEEDS, Finding, Verdict, verdict_of_check

PUBLISHED_SIZES: Mapping[int, int] = MappingProxyType(
    {4: 10, 5: 14, 6: 19, 7: 24, 8: 28, 9: 32, 10: 36, 11: 42, 12: 47, 13: 54, 14: 62, 15: 70, 16: 79}
)
"""Dimension to critical number of documents for pairs (arXiv 2508.21038, table 6)."""

_JUDGED = (4, 5, 6, 7, 8)
_POINTS_OF_A_FIT = 6  # a cubic has four coefficients
MARGINS = (0.01, 0.05, 0.1)
_QUICKLY = 200  # steps of patience where sizes are compared with each other and not with published ones
_TOO_MANY = 20  # pairs of so many documents no run solves in four dimensions


def critical_findings(curve: Sequence[CriticalSize]) -> list[Finding]:
    """Judge critical sizes against the published ones and the curve against a cubic."""
    judged = {entry.dimension: entry.best for entry in curve if entry.dimension in _JUDGED}
    error = max(abs(best - PUBLISHED_SIZES[dimension]) for dimension, best in judged.items())
    findings = [
        Finding(
            "critical-size",
            f"the best of {len(curve[0].by_seed)} runs solves all pairs of the published number of documents, give or "
            "take one, in each dimension from 4 to 8",
            {"best": _by_dimension(judged), "largest_deviation": error},
            verdict_of_check(error, 1) if set(judged) == set(_JUDGED) else Verdict.NOT_RESOLVABLE,
            {"critical_size": _by_dimension({dimension: PUBLISHED_SIZES[dimension] for dimension in judged})},
        )
    ]
    dimensions, sizes = [entry.dimension for entry in curve], [entry.best for entry in curve]
    published: dict[str, Any] = {"coefficients": [-10.5322, 4.0309, 0.0520, 0.0037], "r_squared": 0.999}
    claim = "a cubic through the critical sizes explains at least 0.99 of their variance"
    if len(curve) < _POINTS_OF_A_FIT:
        return [*findings, Finding("cubic-fit", claim, {}, Verdict.NOT_RESOLVABLE, published)]
    fit = fit_critical_curve(dimensions, sizes)
    measured = {
        "coefficients": [round(value, 4) for value in fit.coefficients],
        "r_squared": round(fit.r_squared, 5),
        "dimensions": [dimensions[0], dimensions[-1]],
    }
    return [*findings, Finding("cubic-fit", claim, measured, verdict_of_check(1 - fit.r_squared, 0.01), published)]


def critical_rows(curve: Sequence[CriticalSize]) -> list[dict[str, Any]]:
    """Return one row a dimension: what each seed solved, and by what margin."""
    return [
        {
            "dimension": entry.dimension,
            "published": PUBLISHED_SIZES.get(entry.dimension, ""),
            "best": entry.best,
            "median": entry.median,
            "by seed": " ".join(str(size) for size in entry.by_seed.values()),
            "margin at the best": entry.margins[entry.best],
            "least dimension in exact arithmetic": "at most 4",
        }
        for entry in curve
    ]


@dataclass(frozen=True)
class MarginSizes:
    """Critical sizes of one dimension by the margin that was demanded."""

    dimension: int
    by_margin: Mapping[float, CriticalSize]


def margin_sizes(dimension: int, *, seeds: Sequence[int], margins: Sequence[float] = MARGINS) -> MarginSizes:
    """Find critical sizes where every relevant document must stand a margin above the others.

    Args:
        dimension: Number of components.
        seeds: One run each.
        margins: What is demanded, ascending; the margin of float32 is put before them.
    """
    found: dict[float, CriticalSize] = {}
    start: int | None = PUBLISHED_SIZES[dimension]
    for margin in (FreeEmbeddingSettings().margin, *margins):
        settings = FreeEmbeddingSettings(margin=margin, patience=_QUICKLY)
        found[margin] = critical_size(dimension, seeds=seeds, start=start, settings=settings)
        start = found[margin].best  # a wider margin solves no more
    return MarginSizes(dimension, found)


def margin_finding(sizes: Sequence[MarginSizes]) -> Finding:
    """Judge whether a demanded margin costs documents, seed by seed over all dimensions."""
    least, widest = min(sizes[0].by_margin), max(sizes[0].by_margin)
    seeds = list(sizes[0].by_margin[least].by_seed)
    lost = over_seeds(
        [
            float(np.mean([one.by_margin[least].by_seed[seed] - one.by_margin[widest].by_seed[seed] for one in sizes]))
            for seed in seeds
        ]
    )
    return Finding(
        "margin",
        f"a demanded margin of {widest:g} between cosines lowers the critical size",
        {
            "documents_fewer": round(lost.mean, 2),
            "interval_95": [round(lost.low, 2), round(lost.high, 2)],
            "p": lost.p,
            "dimensions": [one.dimension for one in sizes],
            "seeds": lost.seeds,
        },
        verdict_of_gain(lost),
    )


def margin_rows(sizes: Sequence[MarginSizes]) -> list[dict[str, Any]]:
    """Return one row a dimension and margin."""
    return [
        {
            "dimension": one.dimension,
            "demanded margin": margin,
            "best": size.best,
            "by seed": " ".join(str(value) for value in size.by_seed.values()),
        }
        for one in sizes
        for margin, size in one.by_margin.items()
    ]


@dataclass(frozen=True)
class CircleOutcome:
    """How the exact vectors in twice as many dimensions as relevant documents rank."""

    documents: int
    relevant: int
    queries: int
    precision: str
    wrong: int
    margin: float
    expected_margin: float | None = None
    """As derived and computed before by other code."""


def circle_outcomes() -> list[CircleOutcome]:
    """Rank with the exact vectors: every set of small numbers, and of 1,000 documents every gap and a sample."""
    outcomes = []
    for documents, relevant, expected in ((46, 2, 3.0e-5), (200, 2, 8.4e-8), (40, 1, None), (16, 3, None)):
        outcomes.append(_circle(every_subset(documents, relevant), relevant, np.float64, expected))
    outcomes.insert(1, _circle(every_subset(46, 2), 2, np.float32, 3.0e-5))
    generator = random_generator(0, "limit", "pairs of a thousand")
    # By symmetry a pair is its distance round the circle; the sample looks at rounding in other places.
    pairs = {(0, place) for place in range(1, 501)}
    while len(pairs) < 20_000:
        first, second = sorted(generator.choice(1000, 2, replace=False).tolist())
        pairs.add((first, second))
    relevance = np.zeros((len(pairs), 1000), bool)
    relevance[np.arange(len(pairs))[:, None], np.asarray(sorted(pairs))] = True
    outcomes.append(_circle(relevance, 2, np.float64, 1.3e-10))
    return outcomes


def _circle(relevance: NDArray[np.bool_], degree: int, precision: Any, expected: float | None) -> CircleOutcome:
    queries, documents = relevance.shape
    asked = np.stack(
        [circle_query(np.flatnonzero(row).tolist(), documents=documents, degree=degree) for row in relevance]
    )
    check = ranking_check(
        asked.astype(precision), circle_documents(documents, degree=degree).astype(precision), relevance
    )
    return CircleOutcome(
        documents,
        degree,
        queries,
        np.dtype(precision).name,
        round((1 - check.queries_right) * queries),
        check.margin,
        expected,
    )


def circle_findings(outcomes: Sequence[CircleOutcome]) -> list[Finding]:
    """Judge that the exact vectors rank every set right, by the margins derived."""
    wrong = sum(outcome.wrong for outcome in outcomes)
    deviations = [
        abs(outcome.margin / outcome.expected_margin - 1)
        for outcome in outcomes
        if outcome.expected_margin is not None and outcome.precision == "float64"
    ]
    return [
        Finding(
            "exact-solution",
            "vectors on a circle rank every set of k documents on top in 2k dimensions, up to 1,000 documents",
            {"queries": sum(outcome.queries for outcome in outcomes), "queries_wrong": wrong},
            verdict_of_check(wrong, 0),
        ),
        Finding(
            "exact-margins",
            "their margins are those derived (3.0e-5, 8.4e-8 and 1.3e-10 for 46, 200 and 1,000 documents), within 5 %",
            {"largest_relative_deviation": round(max(deviations), 4)},
            verdict_of_check(max(deviations), 0.05),
        ),
    ]


def circle_rows(outcomes: Sequence[CircleOutcome]) -> list[dict[str, Any]]:
    """Return one row a case."""
    return [
        {
            "documents": outcome.documents,
            "relevant": outcome.relevant,
            "dimension": 2 * outcome.relevant,
            "queries": outcome.queries,
            "precision": outcome.precision,
            "queries wrong": outcome.wrong,
            "smallest margin": outcome.margin,
        }
        for outcome in outcomes
    ]


def preference_finding(*, seeds: Sequence[int]) -> Finding:
    """Ask whether InfoNCE prefers vectors that are wrong to the exact ones, which are right in the same dimension."""
    import torch

    from embedworks.analysis.free_embedding import loss_and_gradient

    relevance = every_subset(_TOO_MANY, 2)
    wanted = torch.from_numpy(relevance.astype(np.float64))

    def loss(queries: NDArray[Any], documents: NDArray[Any]) -> float:
        scores = torch.from_numpy(queries.astype(np.float64) @ documents.T.astype(np.float64))[None]
        return float(loss_and_gradient(scores, wanted, temperature=FreeEmbeddingSettings().temperature)[0].item())

    exact_queries = [circle_query(np.flatnonzero(row).tolist(), documents=_TOO_MANY, degree=2) for row in relevance]
    exact = loss(np.stack(exact_queries), circle_documents(_TOO_MANY, degree=2))
    runs = train_free_embeddings(
        relevance, dimension=4, seeds=seeds, settings=FreeEmbeddingSettings(patience=_QUICKLY, max_steps=3000)
    )
    gains = [exact - loss(run.queries, run.documents) for run in runs]
    gain = over_seeds(gains)
    verdict = verdict_of_gain(gain) if len(seeds) >= FEWEST_SEEDS else Verdict.NOT_RESOLVABLE
    if any(run.solved for run in runs):
        verdict = Verdict.NOT_SHOWN
    return Finding(
        "loss-prefers-wrong",
        f"for all pairs of {_TOO_MANY} documents in 4 dimensions training ends at a lower loss than that of the exact "
        "vectors, and ranks queries wrong that these rank right",
        {
            "loss_of_exact_vectors": round(exact, 4),
            "loss_lower_by": round(gain.mean, 4),
            "interval_95": [round(gain.low, 4), round(gain.high, 4)],
            "p": gain.p,
            "queries_right_after_training": round(float(np.mean([run.check.queries_right for run in runs])), 4),
            "seeds": gain.seeds,
        },
        verdict,
    )


def _by_dimension(values: Mapping[int, int]) -> dict[str, int]:
    return {f"d={dimension}": value for dimension, value in values.items()}
