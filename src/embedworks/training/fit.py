"""Train a SentenceTransformer on pairs, in place."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from embedworks.data import Pairs
from embedworks.foundation import InputError, progress_bar
from embedworks.objectives import InfoNCE
from embedworks.training import training_state
from embedworks.training.batches import PairBatches, batches_in_epoch
from embedworks.training.bridge import EmbeddingTrainer
from embedworks.training.checkpoints import Checkpoint, CheckpointStore
from embedworks.training.contrastive_loss import ContrastiveLoss
from embedworks.training.guards import FiniteGuard, StopSignal, TrainingInterruptedError
from embedworks.training.identities import fingerprint
from embedworks.training.schedule import Budget
from embedworks.training.settings import RESUMABLE_CHANGES, TrainingLog, TrainingSettings

LOG = logging.getLogger(__name__)

_WARMING_STEPS = 3


def fit_pairs(
    model: SentenceTransformer,
    pairs: Pairs,
    settings: TrainingSettings | None = None,
    *,
    out: Path | None = None,
    progress: bool = False,
) -> TrainingLog:
    """Train an encoder so that each query lies near its positive and far from the other texts (InfoNCE).

    Args:
        model: The encoder; its weights are changed in place, on the device they are on.
        pairs: What to train on; instructions, where there are any, are put before the queries as they are.
        settings: How to train; the defaults where None.
        out: The run's folder, for checkpoints and, should it come to that, the report of a batch that gave NaN.
            Nothing is written where None. The trained model is not saved there: the caller does that.
        progress: Whether to show a bar on standard error.

    Returns:
        The log of the run. On one processor thread, the same model, pairs and settings give the same log and
        weights to the last bit, also when the run was killed and resumed, unless ``max_minutes`` is set.

    Raises:
        InputError: The folder holds checkpoints, and ``resume`` is not set or they come from other settings, pairs
            or another model; ``torchrun`` started several processes; or in-batch negatives are off and no pair has
            hard ones.
        NonFiniteError: The loss or the gradient became NaN or infinite.
        StorageError: Checkpoints are damaged, or the disk is full.
        TrainingInterruptedError: SIGTERM or SIGINT came; the state was saved first where there is a folder.
    """
    started = time.monotonic()
    settings = settings or TrainingSettings()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Each process would train on all pairs, and all would write the same checkpoints.
        raise InputError("started in several processes", where="training", mend="train in one process, on one device")
    if settings.in_batch_negatives == "off":
        _refuse_without_negatives(pairs)
    store = CheckpointStore(out / "checkpoints", keep=settings.keep_checkpoints) if out is not None else None
    identity = {"settings": settings.to_dict(), "pairs_sha256": fingerprint(pairs), "model": _shapes(model)}
    with ExitStack() as stack:
        if store is not None:
            stack.enter_context(store.locked())
        resumed = None if store is None else _checkpoint_to_resume(store, settings, identity)
        total_steps = _total_steps(len(pairs), settings)
        if resumed is not None and resumed.metadata["finished"]:
            return _log_of_finished(model, pairs, settings, resumed)
        stack.enter_context(_prepared(model, settings))
        budget = Budget(
            total_steps, None if settings.max_minutes is None else settings.max_minutes * 60, started=started
        )
        stop = StopSignal()
        trainer = EmbeddingTrainer(
            model,
            loss=ContrastiveLoss(
                model,
                InfoNCE(settings.temperature, symmetric=settings.symmetric),
                precision=settings.precision,
                cached=settings.mini_batch_size is not None,
                in_batch_negatives=settings.in_batch_negatives,
            ),
            batches=PairBatches(
                pairs,
                model.preprocess,
                batch_size=settings.batch_size,
                total_steps=total_steps,
                hard_negatives=settings.hard_negatives_per_query,
                mini_batch_size=settings.mini_batch_size,
                max_tokens=settings.max_tokens,
                # Batches in which no class occurs twice would not be those that "all" is there to study.
                keep_apart=settings.in_batch_negatives != "all",
                seed=settings.seed,
            ),
            settings=settings,
            budget=budget,
            guard=FiniteGuard(pairs, folder=out),
            stop=stop,
            store=store,
            identity=identity,
            on_step=stack.enter_context(_step_bar(budget, enabled=progress)),
        )
        stack.enter_context(stop.watched())
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed.path))
        step = trainer.state.global_step
        if stop.received is not None:
            raise TrainingInterruptedError(stop.received, step=step, folder=None if store is None else store.directory)
        return _log(
            pairs,
            settings,
            step=step,
            seconds=budget.elapsed(),
            resumed_from=None if resumed is None else resumed.step,
            facts={name: getattr(trainer, name) for name in ("losses", "gradient_norms", "learning_rates")},
        )


def _refuse_without_negatives(pairs: Pairs) -> None:
    without = len(pairs) if pairs.negatives is None else sum(not row for row in pairs.negatives)
    if without == len(pairs):
        raise InputError(
            "in_batch_negatives is 'off', and no pair has hard negatives",
            where="training",
            mend="mine some with mine_hard_negatives, or leave in-batch negatives on",
        )
    if without:
        LOG.warning(
            "%d of %d pairs have no hard negatives and teach nothing without in-batch ones", without, len(pairs)
        )


def _total_steps(rows: int, settings: TrainingSettings) -> int:
    steps = max(math.ceil(settings.epochs * batches_in_epoch(rows, settings.batch_size)), 1)
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def _shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def _checkpoint_to_resume(
    store: CheckpointStore, settings: TrainingSettings, identity: dict[str, Any]
) -> Checkpoint | None:
    if not settings.resume:
        if store.steps():
            raise InputError(
                "holds checkpoints of an earlier run",
                where=str(store.directory),
                mend="resume it, or choose another folder",
            )
        return None
    latest = store.latest()
    if latest is None:
        return None
    then, now = latest.metadata["settings"], identity["settings"]
    changed = [
        f"{name} was {then.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*then, *now} - RESUMABLE_CHANGES)
        if then.get(name) != now.get(name)
    ]
    if latest.metadata["pairs_sha256"] != identity["pairs_sha256"]:
        changed.append("the pairs are others")
    if latest.metadata["model"] != identity["model"]:
        changed.append("the model is of another form")
    if changed:
        raise InputError(
            f"the checkpoint belongs to another run: {', '.join(changed)}",
            where=str(latest.path),
            mend="choose another folder, or take back the change",
        )
    return latest


def _log_of_finished(
    model: SentenceTransformer, pairs: Pairs, settings: TrainingSettings, finished: Checkpoint
) -> TrainingLog:
    facts = training_state.read_facts(finished.path)
    training_state.load_weights(finished.path, model)
    return _log(pairs, settings, step=finished.step, seconds=facts["seconds"], resumed_from=finished.step, facts=facts)


def _log(
    pairs: Pairs,
    settings: TrainingSettings,
    *,
    step: int,
    seconds: float,
    resumed_from: int | None,
    facts: dict[str, Any],
) -> TrainingLog:
    return TrainingLog(
        settings=settings,
        pairs=len(pairs),
        steps=step,
        epochs=step / batches_in_epoch(len(pairs), settings.batch_size),
        seconds=seconds,
        stopped_by="steps" if step >= _total_steps(len(pairs), settings) else "time",
        resumed_from=resumed_from,
        losses=tuple(facts["losses"]),
        gradient_norms=tuple(facts["gradient_norms"]),
        learning_rates=tuple(facts["learning_rates"]),
    )


@contextmanager
def _prepared(model: SentenceTransformer, settings: TrainingSettings) -> Iterator[None]:
    """Cut texts and freeze layers while the block runs; leave the model as it was, but for its weights."""
    longest, training = model.max_seq_length, model.training
    learning = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        if settings.max_tokens is not None and (longest is None or settings.max_tokens < longest):
            model.max_seq_length = settings.max_tokens
        _freeze(model, settings.frozen_layers)
        yield
    finally:
        model.max_seq_length = longest
        model.train(training)
        for parameter, wanted in learning.items():
            parameter.requires_grad_(wanted)
            parameter.grad = None


def _freeze(model: SentenceTransformer, layers: int) -> None:
    if not layers:
        return
    stacks = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    name, stack = max(stacks, key=lambda found: len(found[1]), default=("", nn.ModuleList()))
    if layers > len(stack):
        raise InputError(
            f"frozen_layers is {layers}, and the model has {len(stack)} layers",
            where="training settings",
            mend="freeze fewer",
        )
    first_kept = f"{name}.{layers}."
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.startswith(first_kept):
            return
        parameter.requires_grad_(False)


@contextmanager
def _step_bar(budget: Budget, *, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Show steps, rate and time left; under a time bound the number of steps is measured before the bar appears."""
    with ExitStack() as stack:
        shown = 0
        total = 0
        advance: Callable[[int], None] | None = None

        def on_step(step: int) -> None:
            nonlocal advance, shown, total
            if advance is None:
                if budget.seconds is not None and step < min(_WARMING_STEPS, budget.total_steps):
                    return
                total = budget.estimated_steps(step)
                advance = stack.enter_context(progress_bar("Training", total, unit="steps", enabled=enabled))
            reached = min(step, total)
            advance(reached - shown)
            shown = reached

        yield on_step
