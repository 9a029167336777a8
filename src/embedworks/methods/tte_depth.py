"""Statistical depth: rank a corpus' texts from central to outlying, and test whether two corpora are alike.

Seegmiller and Preum 2023, *Statistical Depth for Ranking and Characterizing Transformer-Based Text Embeddings*, arXiv
2310.15010. No training: one number a text and one p-value a pair of corpora.

Rooms: ``analysis`` has depth, Q, the tests and the choice of examples; ``encoders`` gives the vectors.

What must show: under a true null the test keeps its level; another field and a contamination of one fifth are found;
shuffled words are not, and a classifier sees them; the deepest examples of each class beat random ones.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from embedworks.foundation import InputError, environment, progress_bar
from embedworks.methods._fitting import refuse_existing
from embedworks.methods._report import Report, Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedworks.data import Corpus, Labelled
    from embedworks.encoders import TextEncoder
    from embedworks.methods._tte_depth_model import DepthModel

SUMMARY = "rank texts from central to outlying and test whether two corpora are alike, by statistical depth"
PAPER = "Seegmiller and Preum 2023, arXiv 2310.15010"
RECORD = "Corpus"
"""The record kind that :func:`fit` takes, by its name in :mod:`embedworks.data`."""


@dataclass(frozen=True)
class Config:
    """Settings of a depth model."""

    backbone: str = "minilm"
    """The encoder: minilm, the directory of a model, or a Hugging Face id."""
    distance: Literal["cosine", "chord", "angular"] = "cosine"
    """Distance between vectors; cosine keeps the corpus' mean alone, the others keep every vector."""

    @classmethod
    def small(cls) -> Config:
        """Return settings for two cores, which are the published ones: one pass over the texts."""
        return cls()


def fit(data: Corpus | Labelled, config: Config, *, out: Path | None = None, progress: bool = False) -> DepthModel:
    """Measure how central every text of a corpus is, and keep what placing new texts in it needs.

    Args:
        data: A record with ``texts``, at least two; about 500 give a stable comparison.
        config: Settings.
        out: Directory to save the model to.
        progress: Whether to show progress on standard error.

    Returns:
        A model with ``encode``, ``depths``, ``centrality``, ``compare``, ``order``, ``save``.

    Raises:
        InputError: The record holds no texts or too few, or something stands at ``out``.
    """
    from embedworks.analysis.depth import depths, find_distance
    from embedworks.analysis.unit_rows import UnitRows
    from embedworks.encoders import load
    from embedworks.methods._tte_depth_model import DepthModel

    refuse_existing(out)
    find_distance(config.distance)
    texts = getattr(data, "texts", None)
    if texts is None:
        raise InputError(f"{type(data).__name__} holds no texts", where="tte-depth", mend="give a Corpus")
    encoder = load(config.backbone)
    vectors = encoder.encode(texts, progress=progress)
    model = DepthModel(
        encoder,
        backbone=str(Path(config.backbone).resolve()) if Path(config.backbone).is_dir() else config.backbone,
        distance=config.distance,
        corpus_depths=depths(vectors, distance=config.distance, progress=progress),
        mean=UnitRows(vectors, name="corpus").mean,
        vectors=None if config.distance == "cosine" else vectors,
    )
    if out is not None:
        model.save(out)
    return model


def load(path: str | Path) -> DepthModel:
    """Open a model that :func:`fit` saved.

    Args:
        path: Its directory.

    Raises:
        StorageError: The directory is damaged or holds something else.
    """
    from embedworks.methods._tte_depth_model import load_depth_model

    return load_depth_model(path)


@dataclass(frozen=True)
class _Plan:
    """How large a reproduction is."""

    seeds: int
    """Disjoint sets of groups of titles, and splits of the examples."""
    group_texts: int
    """Titles a group."""
    splits: int
    """Random splits a seed under the null."""
    permutations: int
    """Permutations of each permutation test."""
    draws: int
    """Random choices of examples a split."""


_PLANS = {
    "quick": _Plan(seeds=3, group_texts=100, splits=100, permutations=99, draws=30),
    "default": _Plan(seeds=10, group_texts=300, splits=300, permutations=499, draws=100),
    "paper": _Plan(seeds=10, group_texts=500, splits=1000, permutations=999, draws=100),
}


def reproduce(scale: Scale, *, progress: bool = False) -> Report:
    """Measure calibration, power, the blind spot and the choice of examples on arXiv titles and abstracts.

    Args:
        scale: quick (100 titles a group), default (300) or paper (500, what the paper recommends).
        progress: Whether to show progress on standard error.
    """
    from embedworks.encoders import load as load_encoder
    from embedworks.methods import _tte_depth_corpora as corpora
    from embedworks.methods import _tte_depth_examples as examples
    from embedworks.methods._tte_depth_data import disjoint_groups, read_papers

    started = time.monotonic()
    plan, config = _PLANS[scale], Config()
    papers = read_papers()
    groups = disjoint_groups(papers, seeds=plan.seeds, size=plan.group_texts)
    vectors = _encoded(load_encoder(config.backbone), corpora.texts_of(groups), progress=progress)
    outcomes, nulls, splits = [], [], []
    with progress_bar("Comparing corpora", plan.seeds, unit="seeds", enabled=progress) as advance:
        for seed, of_seed in enumerate(vectors):
            outcomes.append(corpora.pair_outcomes(of_seed, permutations=plan.permutations, seed=seed))
            pool = np.concatenate([of_seed["reference"], of_seed[corpora.NULL]])
            nulls.append(corpora.null_splits(pool, splits=plan.splits, seed=seed))
            splits.append(examples.example_outcomes(papers, split=seed, draws=plan.draws))
            advance(1)
    return Report(
        method="tte-depth",
        scale=scale,
        seeds=list(range(plan.seeds)),
        config={**asdict(config), **asdict(plan)},
        findings=corpora.corpora_findings(outcomes, nulls) + examples.example_findings(splits),
        tables={
            "pairs": corpora.pair_rows(outcomes),
            "released": corpora.released_rows(outcomes),
            "examples": examples.example_rows(splits),
        },
        environment=environment(),
        seconds=round(time.monotonic() - started, 1),
    )


def _encoded(
    encoder: TextEncoder, texts: list[dict[str, list[str]]], *, progress: bool
) -> list[dict[str, NDArray[np.float32]]]:
    """Encode all groups of all seeds in one run of the engine, so that it can sort them by length."""
    flat = [text for of_seed in texts for group in of_seed.values() for text in group]
    vectors: Any = iter(encoder.encode(flat, progress=progress))
    return [{name: np.stack([next(vectors) for _ in group]) for name, group in of_seed.items()} for of_seed in texts]
