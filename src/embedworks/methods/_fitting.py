"""The end of every text method's ``fit``: train with checkpoints beside the place of the model, save it, tidy up."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embedworks.foundation import InputError

if TYPE_CHECKING:
    from embedworks.data import Pairs
    from embedworks.encoders import TextEncoder
    from embedworks.training import TrainingLog, TrainingSettings


def refuse_existing(out: Path | None) -> None:
    """Refuse a place that is taken before any work is done.

    Raises:
        InputError: Something stands at ``out``.
    """
    if out is not None and out.exists():
        raise InputError("exists already", where=str(out), mend="choose another --out, or remove it first")


def training_precision(
    wanted: Literal["auto", "float32", "bfloat16"],
) -> Literal["float32", "bfloat16"]:
    """Return what to train in: ``auto`` is bfloat16 where the processor has it."""
    from embedworks.encoders.engine import native_bfloat16

    if wanted == "auto":
        return "bfloat16" if native_bfloat16() else "float32"
    return wanted


def train_and_save(
    encoder: TextEncoder,
    pairs: Pairs,
    settings: TrainingSettings,
    *,
    facts: Mapping[str, Any],
    out: Path | None,
    progress: bool,
) -> TrainingLog:
    """Train an encoder in place and save it.

    While it trains, checkpoints lie beside ``out`` in a folder with ``.training`` at its end; a run that was killed
    goes on from them with ``settings.resume``. The folder goes when the model is saved.

    Args:
        encoder: What to train.
        pairs: What to train on.
        settings: How.
        facts: What the model's card says besides; JSON values.
        out: Directory to save the model to; nothing is written where None.
        progress: Whether to show progress on standard error.

    Returns:
        The log of the training.
    """
    from embedworks.training import fit_pairs

    run_folder = None if out is None else out.with_name(f"{out.name}.training")
    log = fit_pairs(encoder.model, pairs, settings, out=run_folder, progress=progress)
    edge = max(1, min(5, log.steps // 2))  # steps averaged at either end of the run
    encoder.training_settings = {
        **facts,
        **settings.to_dict(),
        "pairs": len(pairs),
        "steps": log.steps,
        "seconds": round(log.seconds, 2),
        "stopped_by": log.stopped_by,
        "first_loss": sum(log.losses[:edge]) / edge,
        "last_loss": sum(log.losses[-edge:]) / edge,
    }
    if out is not None and run_folder is not None:
        encoder.save(out)
        shutil.rmtree(run_folder)
    return log
