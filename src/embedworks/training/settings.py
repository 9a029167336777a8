"""What a contrastive training run is told, and what it tells afterwards."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from embedworks.foundation import InputError

InBatchNegatives = Literal["masked", "all", "off"]
"""Which texts of a batch's other pairs are negatives of a query."""

RESUMABLE_CHANGES = frozenset({"resume", "checkpoint_every_steps", "keep_checkpoints"})
"""Settings that may differ between the runs before and after a resume, as no number depends on them."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train an encoder on pairs; training ends at the first of ``epochs``, ``max_steps``, ``max_minutes``.

    Raises:
        InputError: A value is out of its range.

    Example:
        >>> TrainingSettings(max_steps=100, learning_rate=5e-5).batch_size
        32
    """

    epochs: float = 1.0
    """Passes over the pairs; fractions are allowed."""
    max_steps: int | None = None
    """Largest number of optimiser steps; no bound where None."""
    max_minutes: float | None = None
    """Largest wall time in minutes, set-up and checkpoints included, summed over resumed runs. The learning rate
    follows the time, so that it has decayed when the time is over. Such a run depends on the machine's speed."""
    batch_size: int = 32
    """Pairs a step."""
    learning_rate: float = 2e-5
    """Peak learning rate of AdamW, after the warm-up; then it falls linearly to zero."""
    warmup_share: float = 0.1
    """Share of the training, 0 to 1, in which the learning rate rises linearly."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases and normalisation weights have none."""
    temperature: float = 0.05
    """What cosine similarities are divided by."""
    symmetric: bool = False
    """Whether positives also look for their queries."""
    in_batch_negatives: InBatchNegatives = "masked"
    """Which texts of the batch's other pairs are negatives of a query: ``"masked"`` takes their positives and hard
    negatives but for those known to mean what its own positive means; ``"all"`` takes them whatever they mean;
    ``"off"`` takes none, so that a query sees its own hard negatives alone (NV-Embed's second stage)."""
    hard_negatives_per_query: int = 4
    """Largest number of a pair's negatives used, from the front of its list; 0 leaves them out."""
    max_tokens: int | None = 128
    """Longest text in training, in tokens; the rest is cut. The model's own bound where None."""
    mini_batch_size: int | None = None
    """Texts encoded at a time (GradCache): memory of this many, gradient of the whole batch, a third more time.
    The batch is encoded at once where None."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the encoder's matrix products run in; weights, loss and optimiser are float32 in both."""
    gradient_clip: float | None = 1.0
    """Largest 2-norm of the gradient; longer ones are shortened to it. No bound where None."""
    frozen_layers: int = 0
    """Number of transformer layers, from the input on, that stay as they are, with the token embeddings."""
    checkpoint_every_steps: int = 500
    """Steps from one checkpoint to the next; the end of the training is one in any case."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints kept."""
    seed: int = 0
    """Seed of the order of the pairs and of dropout."""
    resume: bool = False
    """Whether to go on from the latest checkpoint; from the start where there is none."""

    def __post_init__(self) -> None:
        above_zero = ("epochs", "learning_rate", "temperature", "max_minutes", "gradient_clip")
        at_least_one = (
            "max_steps", "batch_size", "max_tokens", "mini_batch_size", "checkpoint_every_steps", "keep_checkpoints",
        )  # fmt: skip
        not_negative = ("weight_decay", "hard_negatives_per_query", "frozen_layers", "seed")
        for name in above_zero:
            self._refuse(name, "above 0", lambda value: value > 0)
        for name in at_least_one:
            self._refuse(name, "at least 1", lambda value: value >= 1)
        for name in not_negative:
            self._refuse(name, "at least 0", lambda value: value >= 0)
        self._refuse("warmup_share", "from 0 to less than 1", lambda value: 0 <= value < 1)
        self._refuse("in_batch_negatives", "masked, all or off", lambda value: value in ("masked", "all", "off"))
        if self.in_batch_negatives == "off":
            without = "in_batch_negatives='off' leaves no negatives but hard ones, and the mirror of symmetric has none"
            self._refuse("hard_negatives_per_query", f"at least 1, as {without}", lambda value: value >= 1)
            self._refuse("symmetric", f"False, as {without}", lambda value: not value)
        self._refuse("precision", "float32 or bfloat16", lambda value: value in ("float32", "bfloat16"))

    def _refuse(self, name: str, wanted: str, fits: Any) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if (isinstance(value, float) and not math.isfinite(value)) or not fits(value):
            raise InputError(f"{name} is {value}", where="training settings", mend=f"it must be {wanted}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON can hold them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class TrainingLog:
    """What happened in a training run, resumed parts included."""

    settings: TrainingSettings
    """What the run was told."""
    pairs: int
    """Number of training pairs."""
    steps: int
    """Optimiser steps taken."""
    epochs: float
    """Passes over the pairs."""
    seconds: float
    """Wall time from call to return, summed over resumed runs."""
    stopped_by: Literal["steps", "time"]
    """Which bound ended the training; ``epochs`` counts as steps."""
    resumed_from: int | None
    """The step this run started from; None where it started from the beginning."""
    losses: tuple[float, ...]
    """The loss of each step, before its update."""
    gradient_norms: tuple[float, ...]
    """The 2-norm of each step's gradient, before clipping."""
    learning_rates: tuple[float, ...]
    """The learning rate of each step."""

    def to_dict(self) -> dict[str, Any]:
        """Return the log as JSON can hold it."""
        return dataclasses.asdict(self)
