"""The batches of a run, in an order that depends on the seed and the step alone."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embedworks.data import Pairs
from embedworks.foundation.randomness import random_generator
from embedworks.training.identities import Identities, identities_of

Preprocess = Callable[[list[str]], Mapping[str, Any]]

_SCANNED_PER_PLACE = 8
_CHARACTERS_A_TOKEN = 4
_PADDING_BORNE = 1.25
_SMALLEST_PART = 8


def plan_epoch(identities: Identities, *, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Deal all rows of one epoch into batches in which, where possible, no query or positive occurs twice.

    A row that meets its like waits for a later batch. Where too many wait (fewer distinct texts than places in a
    batch), rows are placed all the same, and the mask of the loss keeps them from being each other's negatives. The
    number of batches is always the number of rows by the batch size, rounded up; the last one may be smaller.

    Args:
        identities: The numbers of the texts.
        batch_size: Rows a batch.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.

    Returns:
        The row numbers of each batch; together each row once.
    """
    rows = len(identities.queries)
    stream = deque(random_generator(seed, "order of the pairs", epoch).permutation(rows).tolist())
    waiting: deque[int] = deque()
    batches: list[NDArray[np.int64]] = []
    while stream or waiting:
        batch: list[int] = []
        taken: set[int] = set()
        again: deque[int] = deque()
        patience = _SCANNED_PER_PLACE * batch_size
        while len(batch) < batch_size and patience and (waiting or stream):
            row = waiting.popleft() if waiting else stream.popleft()
            marks = {int(identities.queries[row]), int(identities.positives[row])}
            if taken & marks:
                again.append(row)
                patience -= 1
            else:
                batch.append(row)
                taken |= marks
        waiting.extendleft(reversed(again))
        while len(batch) < batch_size and (waiting or stream):
            batch.append(waiting.popleft() if waiting else stream.popleft())
        batches.append(np.array(batch, dtype=np.int64))
    return batches


class PairBatches:
    """The tokenised batches of a whole run, across epochs; what the trainer takes as its data loader.

    Each batch is a dictionary as sentence-transformers trainers know it: features under ``part0_input_ids`` and so
    on, and under ``label`` what the loss must know of the rows. One part is one forward pass.

    Args:
        pairs: The training pairs.
        preprocess: Turns texts into features, such as ``model.preprocess``.
        batch_size: Pairs a batch.
        total_steps: Number of batches.
        hard_negatives: Largest number of a pair's negatives used.
        mini_batch_size: Texts a part; None for as few parts as padding allows.
        max_tokens: What texts are cut to; None where they are not.
        keep_apart: Whether like texts are dealt into different batches where that is possible.
        seed: The run's seed.
    """

    def __init__(
        self,
        pairs: Pairs,
        preprocess: Preprocess,
        *,
        batch_size: int,
        total_steps: int,
        hard_negatives: int,
        mini_batch_size: int | None,
        max_tokens: int | None = None,
        keep_apart: bool = True,
        seed: int,
    ) -> None:
        instructions = pairs.instructions or [""] * len(pairs)
        self._queries = [f"{instruction}{text}" for instruction, text in zip(instructions, pairs.queries, strict=True)]
        self._positives = pairs.positives
        self._negatives = [row[:hard_negatives] for row in pairs.negatives or [[]] * len(pairs)]
        self._identities = identities_of(pairs)
        self._dealt = self._identities if keep_apart else _all_different(len(pairs))
        self._preprocess = preprocess
        self._batch_size = batch_size
        self._mini_batch_size = mini_batch_size
        self._longest = None if max_tokens is None else _CHARACTERS_A_TOKEN * max_tokens
        self._seed = seed
        self.total_steps = total_steps
        self.start = 0
        self.rows: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches in one pass over the pairs."""
        return batches_in_epoch(len(self._queries), self._batch_size)

    def position(self, step: int) -> dict[str, int]:
        """Return where in the data the batch of a step lies: epoch, batch in it, and what the order hangs on."""
        epoch, batch = divmod(step, self.batches_per_epoch)
        return {"epoch": epoch, "batch": batch, "batches_per_epoch": self.batches_per_epoch, "seed": self._seed}

    def __len__(self) -> int:
        return self.total_steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        plan: list[NDArray[np.int64]] = []
        planned = -1
        for step in range(self.start, self.total_steps):
            epoch, batch = divmod(step, self.batches_per_epoch)
            if epoch != planned:
                plan = plan_epoch(self._dealt, batch_size=self._batch_size, seed=self._seed, epoch=epoch)
                planned = epoch
            self.rows = plan[batch]
            yield self.collate(plan[batch])

    def collate(self, rows: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
        """Tokenise one batch.

        Args:
            rows: Row numbers, shape (b,).

        Returns:
            Features of each part, and under ``label``: ``identities``, int64 of shape (b, 2 + m): query, positive,
            negatives, -1 for an absent one; ``places``, int64: the place of each encoded text among all queries,
            then all positives, then the negatives present, row by row.
        """
        texts = [self._queries[row] for row in rows] + [self._positives[row] for row in rows]
        for row in rows:
            texts += self._negatives[row]
        parts = self._parts(texts)
        batch: dict[str, Any] = {
            "label": {
                "identities": self._numbers(rows),
                "places": torch.tensor([place for part in parts for place in part], dtype=torch.int64),
            }
        }
        for number, part in enumerate(parts):
            for key, value in self._preprocess([texts[place] for place in part]).items():
                batch[f"part{number}_{key}"] = value
        return batch

    def _numbers(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        width = max((len(self._negatives[row]) for row in rows), default=0)
        numbers = torch.full((len(rows), 2 + width), -1, dtype=torch.int64)
        for place, row in enumerate(rows):
            negatives = self._identities.negatives[row][: len(self._negatives[row])]
            known = [int(self._identities.queries[row]), int(self._identities.positives[row]), *negatives]
            numbers[place, : len(known)] = torch.tensor(known)
        return numbers

    def _parts(self, texts: list[str]) -> list[list[int]]:
        """Say which texts are encoded together; lengths in characters stand for lengths in tokens."""
        lengths = [len(text) if self._longest is None else min(len(text), self._longest) for text in texts]
        by_length = sorted(range(len(texts)), key=lambda place: -lengths[place])
        if self._mini_batch_size is not None:
            return [by_length[at : at + self._mini_batch_size] for at in range(0, len(texts), self._mini_batch_size)]
        # A part is padded to its longest text. It ends where that would make the next text a quarter longer than it
        # is; a further forward pass costs about as much as a few short texts, so a part holds some in any case.
        parts: list[list[int]] = []
        for place in by_length:
            starts = not parts or (
                len(parts[-1]) >= _SMALLEST_PART and lengths[parts[-1][0]] > _PADDING_BORNE * lengths[place]
            )
            if starts:
                parts.append([])
            parts[-1].append(place)
        return parts


def _all_different(rows: int) -> Identities:
    numbers = np.arange(rows, dtype=np.int64)
    return Identities(queries=numbers, positives=numbers + rows, negatives=[[] for _ in range(rows)])


def batches_in_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches one pass over the rows has."""
    return math.ceil(rows / batch_size)
