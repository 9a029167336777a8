"""Training in stages, one after another on the same model, each with its own pairs and settings.

Lee et al. 2025, "NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models"
(https://arxiv.org/abs/2405.17428), section 3.2: the first stage trains on retrieval pairs with in-batch negatives; the
second adds classification and clustering, where a batch-mate's positive is often of the query's own class, and switches
in-batch negatives off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedworks.data import Pairs
from embedworks.foundation import InputError
from embedworks.training.fit import fit_pairs
from embedworks.training.settings import TrainingLog, TrainingSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass(frozen=True)
class Stage:
    """One stage of a training."""

    pairs: Pairs
    """What it trains on."""
    settings: TrainingSettings
    """How; the learning rate rises and falls once in each stage."""


def fit_stages(
    model: SentenceTransformer, stages: Sequence[Stage], *, out: Path | None = None, progress: bool = False
) -> tuple[TrainingLog, ...]:
    """Train an encoder stage by stage, in place.

    Each stage is a run of :func:`~embedworks.training.fit_pairs` with an optimiser of its own, as published. A training
    that was killed goes on in the stage it was in: give every stage ``resume``, and the finished ones are only loaded.

    Args:
        model: The encoder.
        stages: The stages, in order.
        out: Folder of the training; stage n writes its checkpoints under ``stage-n``. Nothing is written where None.
        progress: Whether to show a bar a stage on standard error.

    Returns:
        The log of each stage.

    Raises:
        InputError: There is no stage, only some stages have ``resume``, or as :func:`~embedworks.training.fit_pairs`.
    """
    if not stages:
        raise InputError("no stages", where="training in stages", mend="give at least one")
    if len({stage.settings.resume for stage in stages}) > 1:
        # A stage that began anew after others had been loaded would look resumed and not be.
        raise InputError("only some stages have resume", where="training in stages", mend="set it for all, or for none")
    return tuple(
        fit_pairs(
            model,
            stage.pairs,
            stage.settings,
            out=None if out is None else out / f"stage-{number}",
            progress=progress,
        )
        for number, stage in enumerate(stages, start=1)
    )
