"""LIMIT: what one vector a text cannot do, measured without texts, with them, and with a way round.

Weller et al. 2025, *On the Theoretical Limitations of Embedding-Based Retrieval*, arXiv 2508.21038. ``fit`` trains free
vectors on one's own judgements: the best that any encoder of a dimension could do on them.

Rooms: ``data`` generates and reads the sets, ``analysis`` has free embeddings, bounds, densities and the exact solution
on a circle, ``evaluation`` has exact search, BM25 and MaxSim.

What must show: critical sizes of free embeddings as published, which a solution they cannot find shows to be a matter
of margin and not of dimension; one vector a text fails on limit-small where BM25 and one vector a token do not; of all
patterns of relevant sets only the dense one is hard.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from embedworks.foundation import InputError, environment, progress_bar
from embedworks.methods._fitting import refuse_existing
from embedworks.methods._report import Finding, Report, Scale

if TYPE_CHECKING:
    from embedworks.analysis import CriticalSize
    from embedworks.data import Judged
    from embedworks.encoders import TextEncoder
    from embedworks.methods._limit_model import FreeVectors

SUMMARY = "whether one vector a text can answer judged queries: free vectors, their critical sizes, and LIMIT's texts"
PAPER = "Weller et al. 2025, arXiv 2508.21038"
RECORD = "Judged"
"""The record kind that :func:`fit` takes, by its name in :mod:`embedworks.data`."""

_BACKBONE = "minilm"


@dataclass(frozen=True)
class Config:
    """Settings of free vectors; the defaults are the published ones."""

    dimension: int = 384
    """Number of components."""
    temperature: float = 0.1
    """What inner products are divided by."""
    learning_rate: float = 0.01
    """Of Adam."""
    max_steps: int = 100_000
    """Largest number of steps."""
    patience: int = 1000
    """Steps without a better loss after which a run is given up."""
    loss: Literal["positives", "queries"] = "positives"
    """Mean over relevant pairs, as the published code, or over queries, as the paper's footnote."""
    margin: float = 1e-6
    """How far relevant scores must stand above the others."""
    starts: int = 1
    """Runs, of which the one with the widest margin is kept."""

    @classmethod
    def small(cls) -> Config:
        """Return settings for two cores: runs that are given up sooner."""
        return cls(max_steps=3000, patience=200)


def fit(data: Judged, config: Config, *, out: Path | None = None, progress: bool = False) -> FreeVectors:
    """Train one vector a query and a document straight on judgements.

    Args:
        data: Judged queries; those without a relevant document get no vector, and all documents that no query wants
            share one.
        config: Settings.
        out: Directory to save the vectors to.
        progress: Whether to show progress on standard error.

    Returns:
        The vectors by id, with ``encode``, ``vectors``, ``margin``, ``save``.

    Raises:
        InputError: The record holds no judgements, ids of queries and documents are the same, or something stands at
            ``out``.
    """
    from embedworks.analysis import FreeEmbeddingSettings, RelevanceMatrix, train_free_embeddings
    from embedworks.methods._limit_model import FreeVectors

    refuse_existing(out)
    relevance = getattr(data, "relevance", None)
    if relevance is None:
        raise InputError(f"{type(data).__name__} holds no judgements", where="limit", mend="give a Judged")
    ids = data.corpus.ids
    shared = set(ids) & set(data.query_ids)
    if shared:
        raise InputError(f"{min(shared)!r} is a query and a document", where="limit", mend="give them different ids")
    matrix = RelevanceMatrix(relevance, documents=len(ids))
    wanted = matrix.dense()
    place = {name: column for column, name in enumerate(matrix.document_ids)}
    if len(ids) > len(place):
        wanted = np.concatenate([wanted, np.zeros((len(wanted), 1), bool)], axis=1)
    settings = FreeEmbeddingSettings(
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        max_steps=config.max_steps,
        patience=config.patience,
        loss=config.loss,
        margin=config.margin,
    )
    with progress_bar("Training free vectors", 1, unit="matrices", enabled=progress) as advance, one_thread():
        runs = train_free_embeddings(wanted, dimension=config.dimension, seeds=range(config.starts), settings=settings)
        advance(1)
    best = max(runs, key=lambda run: (run.check.queries_right, run.check.margin))
    model = FreeVectors(
        matrix.query_ids,
        ids,
        best.queries,
        np.stack([best.documents[place.get(name, len(place))] for name in ids]),
        training_settings={
            "method": "limit",
            **asdict(config),
            "queries_right": best.check.queries_right,
            "accuracy": best.check.accuracy,
            "solved": best.solved,
            "steps": best.steps,
            "margin": best.check.margin if np.isfinite(best.check.margin) else 2.0,
            "margin_asked_for": config.margin,
        },
    )
    if out is not None:
        model.save(out)
    return model


def load(path: str | Path) -> FreeVectors:
    """Open vectors that :func:`fit` saved.

    Args:
        path: Their directory.

    Raises:
        StorageError: The directory is damaged or holds something else.
    """
    from embedworks.methods._limit_model import load_free_vectors

    return load_free_vectors(path)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: steps over small matrices take longer on several, which wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class _Plan:
    """How large a reproduction is."""

    seeds: tuple[int, ...]
    """Starts of free embeddings."""
    dimensions: tuple[int, ...]
    """Dimensions of the critical curve."""
    margin_dimensions: tuple[int, ...]
    """Dimensions in which margins are demanded."""
    pattern_seeds: tuple[int, ...]
    """Sets of texts a pattern."""
    pattern_queries: int
    """Queries of such a set; it has twice as many documents."""
    full_documents: int
    """Documents of the full set that are searched, the 46 relevant ones among them; none where 0."""
    small_texts: bool
    """Whether the published small set is searched."""


_PLANS: dict[Scale, _Plan] = {
    "quick": _Plan((0, 1, 2), (4, 5), (4,), (0,), 45, 0, small_texts=False),
    "default": _Plan((0, 1, 2, 3, 4), tuple(range(4, 13)), (4, 6, 8), (0, 1, 2), 500, 1000, small_texts=True),
    "paper": _Plan((0, 1, 2, 3, 4), tuple(range(4, 17)), (4, 6, 8), (0, 1, 2), 1000, 50_000, small_texts=True),
}


def reproduce(scale: Scale, *, progress: bool = False) -> Report:
    """Measure critical sizes, margins, the exact solution, search on LIMIT's texts, and the ablation of patterns.

    Args:
        scale: quick (free embeddings of two dimensions and small patterns), default, or paper (sets of 2,000 texts,
            and the full 50,000).
        progress: Whether to show progress on standard error.
    """
    from embedworks.data.limit import LIMIT_PATTERNS, limit_items
    from embedworks.encoders import load as load_encoder
    from embedworks.methods import _limit_free as free
    from embedworks.methods import _limit_patterns as patterns
    from embedworks.methods import _limit_search as search

    started = time.monotonic()
    plan = _PLANS[scale]
    circles = free.circle_outcomes()
    with one_thread():
        curve = _curve(plan, progress=progress)
        steps = len(plan.margin_dimensions)
        with progress_bar("Demanding margins", steps, unit="dimensions", enabled=progress) as advance:
            margins = []
            for dimension in plan.margin_dimensions:
                margins.append(free.margin_sizes(dimension, seeds=plan.seeds))
                advance(1)
        preference = free.preference_finding(seeds=plan.seeds)
    encoder = load_encoder(_BACKBONE)
    findings = [
        *free.critical_findings(curve),
        free.margin_finding(margins),
        *free.circle_findings(circles),
        preference,
    ]
    tables = {
        "critical": free.critical_rows(curve),
        "margins": free.margin_rows(margins),
        "circle": free.circle_rows(circles),
    }
    texts, rows = _searches(plan, encoder)
    outcomes = []
    total = len(plan.pattern_seeds) * len(LIMIT_PATTERNS)
    with progress_bar("Searching patterns", total, unit="sets", enabled=progress) as advance:
        for seed in plan.pattern_seeds:
            outcome = patterns.pattern_outcomes(
                encoder,
                limit_items(),
                queries=plan.pattern_queries,
                documents=2 * plan.pattern_queries,
                seed=seed,
                finished=advance,
            )
            outcomes.append(outcome)
    return Report(
        method="limit",
        scale=scale,
        seeds=list(plan.seeds),
        config={"backbone": _BACKBONE, **asdict(Config()), **asdict(plan), "cuts": list(search.CUTS)},
        findings=[*findings, *texts, *patterns.pattern_findings(outcomes)],
        tables={**tables, **rows, "patterns": patterns.pattern_rows(outcomes)},
        environment=environment(),
        seconds=round(time.monotonic() - started, 1),
    )


def _curve(plan: _Plan, *, progress: bool) -> list[CriticalSize]:
    from embedworks.analysis import critical_curve

    with progress_bar("Critical sizes", len(plan.dimensions), unit="dimensions", enabled=progress) as advance:
        return critical_curve(plan.dimensions, seeds=plan.seeds, finished=advance)


def _searches(plan: _Plan, encoder: TextEncoder) -> tuple[list[Finding], dict[str, list[dict[str, object]]]]:
    """Search the published sets with every system; return findings and tables."""
    from embedworks.data import Judged, load_data_set
    from embedworks.evaluation import RememberingEncoder
    from embedworks.methods import _limit_patterns as patterns
    from embedworks.methods import _limit_search as search

    small = load_data_set("limit-small")["test"]
    assert isinstance(small, Judged)
    sets, findings, rows = {"limit-small": small}, [], {}
    if plan.small_texts:
        found = search.systems(RememberingEncoder(encoder), small, tokens=encoder)
        longest = max(len(tokens) for tokens in encoder.model.tokenizer(small.corpus.texts)["input_ids"])
        findings += search.small_findings(found, longest=longest, limit=encoder.model.max_seq_length or 0)
        rows["limit-small"] = search.recall_rows(found)
    if plan.full_documents:
        full = load_data_set("limit")["test"]
        assert isinstance(full, Judged)
        sets["limit"] = full
        part = _first_documents(full, plan.full_documents)
        rows["limit"] = search.recall_rows(
            search.systems(RememberingEncoder(encoder), part), cuts=(*search.CUTS, search.DEEPEST)
        )
    return [*patterns.density_findings(sets), *findings], rows


def _first_documents(judged: Judged, documents: int) -> Judged:
    """Keep the first documents of the full set, where the relevant ones stand before all others."""
    from embedworks.data import Corpus, Judged

    corpus = Corpus.from_columns(judged.corpus.ids[:documents], judged.corpus.texts[:documents])
    return Judged(corpus, judged.queries, judged.relevance)
