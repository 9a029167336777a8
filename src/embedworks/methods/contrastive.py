"""The plain default: fine-tune a text encoder contrastively on one's own pairs, with mined hard negatives.

Rooms: ``encoders`` gives the backbone, ``training`` mines positive-aware hard negatives and trains, ``objectives`` has
the loss (InfoNCE, with rows of the same meaning masked), ``evaluation`` judges.

What must show, on Banking77, judged on the test split that nobody trains on: tuning lifts few-shot classification and
clustering over the encoder as it comes, and masking the false negatives that share an intent adds to it, as the rows of
a batch often share one. What mined hard negatives add is measured and reported as well.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embedworks.foundation import environment, progress_bar
from embedworks.methods._fitting import refuse_existing, train_and_save, training_precision
from embedworks.methods._report import Finding, Report, Scale, verdict_over_seeds

if TYPE_CHECKING:
    from embedworks.data import Labelled, Pairs
    from embedworks.encoders import TextEncoder
    from embedworks.evaluation import Result
    from embedworks.training import TrainingSettings

SUMMARY = "fine-tune a text encoder on your own pairs with InfoNCE and mined hard negatives"
PAPER = ""


@dataclass(frozen=True)
class Config:
    """Settings of the contrastive default."""

    backbone: str = "minilm"
    """What to start from: minilm, the directory of a model, or a Hugging Face id."""
    epochs: float = 1.0
    """Passes over the pairs."""
    max_steps: int | None = None
    """Largest number of optimiser steps."""
    max_minutes: float | None = None
    """Largest wall time of training, in minutes; the learning rate has decayed when it is over."""
    batch_size: int = 32
    """Pairs a step."""
    learning_rate: float = 2e-5
    """Peak learning rate of AdamW."""
    temperature: float = 0.05
    """What cosine similarities are divided by."""
    hard_negatives: int = 1
    """Hard negatives a query, mined where the pairs bring none; 0 uses those of the batch alone."""
    mining_margin: float = 0.95
    """A mined negative scores below this share of the positive's score, so that unmarked positives are left out."""
    max_tokens: int = 128
    """Longest text in training, in tokens."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What matrix products run in; auto is bfloat16 where the processor has it."""
    checkpoint_every_steps: int = 500
    """Steps from one checkpoint to the next, where the model is saved."""
    seed: int = 0
    """Seed of the order of pairs, of dropout and of mining."""
    resume: bool = False
    """Whether to go on from the latest checkpoint of a run that was stopped."""

    @classmethod
    def small(cls) -> Config:
        """Return settings that train in about a minute on two cores."""
        return cls(max_minutes=1.0, max_tokens=64)


def fit(data: Pairs, config: Config, *, out: Path | None = None, progress: bool = False) -> TextEncoder:
    """Train on pairs of a query and a text that answers it.

    While it runs, checkpoints lie beside ``out`` in a folder with ``.training`` at its end.

    Args:
        data: Training pairs; negatives are mined among the positives where the pairs bring none.
        config: Settings.
        out: Directory to save the model to.
        progress: Whether to show progress on standard error.

    Returns:
        The tuned encoder.

    Raises:
        InputError: The pairs or a setting cannot be used, or a stopped run lies there and ``resume`` is not set.
        TrainingInterruptedError: SIGTERM or SIGINT came; the state was saved first.
    """
    from embedworks.encoders import load
    from embedworks.foundation.randomness import seed_everything
    from embedworks.training import mine_hard_negatives

    refuse_existing(out)
    settings = training_settings(config)
    seed_everything(config.seed)
    encoder = load(config.backbone)
    if config.hard_negatives and data.negatives is None:
        with reading_at_most(encoder, config.max_tokens):
            data, _ = mine_hard_negatives(
                data,
                lambda texts: encoder.encode(texts, progress=progress),
                negatives_per_query=config.hard_negatives,
                margin=config.mining_margin,
                seed=config.seed,
            )
    facts = {"method": "contrastive", "backbone": config.backbone, "mining_margin": config.mining_margin}
    train_and_save(encoder, data, settings, facts=facts, out=out, progress=progress)
    return encoder


@contextmanager
def reading_at_most(encoder: TextEncoder, tokens: int) -> Iterator[None]:
    """Let the encoder read no more of a text than training will, while the block runs."""
    longest = encoder.model.max_seq_length
    encoder.model.max_seq_length = tokens if longest is None else min(tokens, longest)
    try:
        yield
    finally:
        encoder.model.max_seq_length = longest


def training_settings(config: Config) -> TrainingSettings:
    """Return the trainer's settings for this method's."""
    from embedworks.training import TrainingSettings

    return TrainingSettings(
        epochs=config.epochs,
        max_steps=config.max_steps,
        max_minutes=config.max_minutes,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        temperature=config.temperature,
        hard_negatives_per_query=config.hard_negatives,
        max_tokens=config.max_tokens,
        precision=training_precision(config.precision),
        checkpoint_every_steps=config.checkpoint_every_steps,
        seed=config.seed,
        resume=config.resume,
    )


# The study: the same pairs and seeds, one part left out at a time. ------------------------------------------------

_TUNED, _UNMASKED, _IN_BATCH = "tuned", "tuned without mask", "tuned without hard negatives"
_AS_IT_COMES = "as it comes"
_METRICS = {"classification": "accuracy", "clustering": "v-measure"}


@dataclass(frozen=True)
class _Plan:
    seeds: tuple[int, ...]
    config: Config
    train_texts: int
    test_texts: int
    draws: int


def _plan(scale: Scale) -> _Plan:
    config = Config(batch_size=64, learning_rate=5e-5, max_tokens=64)
    if scale == "quick":
        return _Plan((0,), replace(config, max_steps=8), train_texts=900, test_texts=300, draws=2)
    epochs = 0.4 if scale == "default" else 3.0
    return _Plan((0, 1, 2), replace(config, epochs=epochs), train_texts=10_003, test_texts=3_080, draws=10)


def intent_pairs(labelled: Labelled, *, seed: int, masked: bool) -> Pairs:
    """Pair every text with another one of its label.

    Args:
        labelled: Texts with labels; a label with a single text gives no pair.
        seed: Seed of the draw.
        masked: Whether the pairs carry the label as ids, so that rows of a label are not each other's negatives.
    """
    from embedworks.data import Pairs
    from embedworks.foundation.randomness import random_generator

    members: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labelled.labels):
        members[label].append(row)
    generator = random_generator(seed, "intent pairs")
    rows = [row for row, label in enumerate(labelled.labels) if len(members[label]) > 1]
    partners = []
    for row in rows:
        own = members[labelled.labels[row]]
        place = int(generator.integers(len(own) - 1))
        partners.append(own[place] if own[place] < row else own[place + 1])
    labels = [labelled.labels[row] for row in rows] if masked else None
    texts = labelled.texts
    return Pairs.from_columns(
        [texts[row] for row in rows], [texts[row] for row in partners], query_ids=labels, positive_ids=labels
    )


def reproduce(scale: Scale, *, progress: bool = False) -> Report:
    """Compare the tuned encoder with the one as it comes, without the mask, and without hard negatives.

    Args:
        scale: quick, default (two fifths of a pass over the pairs) or paper (three passes).
        progress: Whether to show progress on standard error.
    """
    from embedworks.data import Labelled, load_data_set
    from embedworks.encoders import load

    started = time.monotonic()
    plan = _plan(scale)
    parts = load_data_set("banking77")
    train = _sample(parts["train"], plan.train_texts, Labelled)
    test = _sample(parts["test"], plan.test_texts, Labelled)
    results: dict[str, list[list[Result]]] = {
        _AS_IT_COMES: [_judge(load(plan.config.backbone), train, test, plan, _AS_IT_COMES)]
    }
    arms = {
        _TUNED: (True, plan.config),
        _UNMASKED: (False, plan.config),
        _IN_BATCH: (True, replace(plan.config, hard_negatives=0)),
    }
    with progress_bar("Training arms", len(plan.seeds) * len(arms), unit="models", enabled=progress) as advance:
        for seed in plan.seeds:
            for arm, (masked, config) in arms.items():
                tuned = fit(intent_pairs(train, seed=seed, masked=masked), replace(config, seed=seed))
                results.setdefault(arm, []).append(_judge(tuned, train, test, plan, arm))
                advance(1)
    findings = [
        _finding("tuning", _TUNED, _AS_IT_COMES, results, task="classification", seeds=plan.seeds),
        _finding("tuning-clusters", _TUNED, _AS_IT_COMES, results, task="clustering", seeds=plan.seeds),
        _finding("mask", _TUNED, _UNMASKED, results, task="classification", seeds=plan.seeds),
        _finding("mask-clusters", _TUNED, _UNMASKED, results, task="clustering", seeds=plan.seeds),
        _finding("hard-negatives", _TUNED, _IN_BATCH, results, task="classification", seeds=plan.seeds),
        _finding("hard-negatives-clusters", _TUNED, _IN_BATCH, results, task="clustering", seeds=plan.seeds),
    ]
    return Report(
        method="contrastive",
        scale=scale,
        seeds=plan.seeds,
        config=asdict(plan.config),
        findings=findings,
        tables={"scores": _score_rows(results)},
        environment=environment(),
        seconds=round(time.monotonic() - started, 1),
    )


def _sample(record: Any, rows: int, kind: type[Labelled]) -> Labelled:
    from embedworks.foundation.randomness import random_generator

    if rows >= len(record):
        return kind.from_columns(record.texts, record.labels)
    chosen = random_generator(0, "banking77 sample").permutation(len(record))[:rows]
    return kind.from_columns([record.texts[row] for row in chosen], [record.labels[row] for row in chosen])


def _judge(encoder: TextEncoder, train: Labelled, test: Labelled, plan: _Plan, system: str) -> list[Result]:
    from embedworks.evaluation import evaluate_classification, evaluate_clustering

    return [
        evaluate_classification(encoder, train, test, system=system, data_set="banking77", draws=plan.draws),
        evaluate_clustering(encoder, test, system=system, data_set="banking77", seeds=plan.draws),
    ]


def _finding(
    name: str,
    ours: str,
    other: str,
    results: dict[str, list[list[Result]]],
    *,
    task: str,
    seeds: Sequence[int],
) -> Finding:
    from embedworks.evaluation.seeded_families import compare_seeded

    # An encoder as it comes has no training seed: it stands beside each.
    runs = {system: results[system] * (len(seeds) // len(results[system])) for system in (other, ours)}
    row = compare_seeded(runs, baseline=other, task=task)[1]
    return Finding(
        name=name,
        claim=f"{ours} has a higher {_METRICS[task]} than {other} on Banking77 test ({task})",
        measured={
            "difference_points": _points(row.difference),
            "sd_over_seeds": _points(row.difference_sd),
            "interval_95_points": [_points(row.low), _points(row.high)],
            "p": row.bootstrap_p,
            "seeds": len(seeds),
        },
        verdict=verdict_over_seeds(row, seeds),
    )


def _points(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 2)


def _score_rows(results: dict[str, list[list[Result]]]) -> list[dict[str, Any]]:
    import statistics

    rows = []
    for system, runs in results.items():
        row: dict[str, Any] = {"system": system, "seeds": len(runs)}
        for task, metric in _METRICS.items():
            values = [100 * result.metrics[metric] for run in runs for result in run if result.task == task]
            row[f"{task} {metric}"] = round(statistics.mean(values), 2)
            row[f"{task} sd over seeds"] = round(statistics.stdev(values), 2) if len(values) > 1 else ""
        rows.append(row)
    return rows
