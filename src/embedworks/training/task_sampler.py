"""Which rows of which data set each process trains on at each step: one data set a step, or all of them mixed.

CoDiEmb (https://arxiv.org/abs/2508.11442): every step trains on one data set, the same on all ranks, with a batch size
of its own a task, so that the shares of the tasks follow their sizes and batch sizes. NV-Embed
(https://arxiv.org/abs/2405.17428) mixes all data sets in every batch instead.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class TaskBatch:
    """What one process trains on at one step."""

    data_sets: Rows
    """The place of each row's data set among the data sets, shape (b,), int64."""
    rows: Rows
    """The number of each row in its data set, shape (b,), int64."""


class TaskSampler(ABC):
    """The batches of one process, as a function of the seed and the step alone.

    Processes need not speak with each other: each computes the plan of the whole epoch and takes its own slice of every
    step. Nothing is remembered between calls, so a run is resumed by naming the step it goes on from.

    Args:
        sizes: Name to number of rows of each data set.
        ranks: Number of processes.
        rank: Number of this process, from 0.
        keep_last: Whether the rows that do not fill a last batch make a smaller one, in which ranks differ by a row at
            most; otherwise they are left out of this epoch (each epoch others), as CoDiEmb does.
        seed: The run's seed, the same in all processes.

    Raises:
        InputError: There is no data set, one is empty or too small for a batch, or a number is out of range.
    """

    def __init__(
        self, sizes: Mapping[str, int], *, ranks: int = 1, rank: int = 0, keep_last: bool = True, seed: int = 0
    ) -> None:
        if not sizes:
            _refuse("no data sets", "give at least one")
        for name, size in sizes.items():
            if size < 1:
                _refuse(f"the data set {name!r} has {size} rows", "leave it out, or give it rows")
        if ranks < 1 or not 0 <= rank < ranks:
            _refuse(f"rank is {rank} of {ranks}", "ranks count from 0 to one less than their number")
        self.sizes = dict(sizes)
        self.ranks = ranks
        self.rank = rank
        self.keep_last = keep_last
        self.seed = seed
        self._planned: tuple[int, list[tuple[Rows, Rows]]] | None = None

    @property
    @abstractmethod
    def steps_per_epoch(self) -> int:
        """Number of steps in one pass over the data sets."""

    @abstractmethod
    def _plan(self, epoch: int) -> list[tuple[Rows, Rows]]:
        """Return data sets and rows of each step of an epoch, over all ranks."""

    @abstractmethod
    def _settings(self) -> dict[str, Any]:
        """Return what the plan hangs on, as JSON can hold it."""

    def batch(self, step: int) -> TaskBatch:
        """Return this process's batch of a step, counted from 0 over all epochs."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._planned is None or self._planned[0] != epoch:
            self._planned = (epoch, self._plan(epoch))
        data_sets, rows = self._planned[1][place]
        mine = slice(len(rows) * self.rank // self.ranks, len(rows) * (self.rank + 1) // self.ranks)
        return TaskBatch(data_sets=data_sets[mine], rows=rows[mine])

    def batches(self, *, start: int = 0, stop: int | None = None) -> Iterator[TaskBatch]:
        """Yield the batches from one step to before another; without end, epoch after epoch, where None."""
        step = start
        while stop is None or step < stop:
            yield self.batch(step)
            step += 1

    def state(self, step: int) -> dict[str, Any]:
        """Return what to save with a checkpoint of a number of finished steps; JSON values, the same on every rank."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return {"step": step, "epoch": epoch, "batch": place, "plan": self._fingerprint()}

    def resume(self, state: Mapping[str, Any]) -> int:
        """Return the step to go on from.

        Args:
            state: What :meth:`state` gave, in this process or another.

        Raises:
            InputError: It is of a sampler with other data sets, batch sizes, ranks or another seed.
        """
        if state.get("plan") != self._fingerprint():
            _refuse(
                "the state is of another plan", "keep data sets, batch sizes, number of ranks and seed as they were"
            )
        return int(state["step"])

    def _fingerprint(self) -> str:
        facts = [type(self).__name__, list(self.sizes.items()), self.ranks, self.keep_last, self.seed, self._settings()]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _cut(self, rows: int, batch_size: int) -> list[slice]:
        """Cut rows into global batches."""
        size = batch_size * self.ranks
        starts = list(range(0, rows, size))
        if self.keep_last and len(starts) > 1 and rows - starts[-1] < self.ranks:
            starts.pop()  # too few for a row a rank: they make the batch before them larger
        elif not self.keep_last and rows - starts[-1] < size:
            starts.pop()
        ends = [*starts[1:], rows if self.keep_last else len(starts) * size]
        return [slice(start, end) for start, end in zip(starts, ends, strict=True)]

    def _refuse_too_small(self, what: str, rows: int, batch_size: int) -> None:
        needed = self.ranks if self.keep_last else self.ranks * batch_size
        if rows < needed:
            _refuse(f"{what} {rows} rows, and one step needs {needed}", "leave it out, or take smaller batches")


class SingleTaskSampler(TaskSampler):
    """Batches of one data set each; all of an epoch are dealt in one random order.

    Args:
        sizes: Name to number of rows of each data set.
        batch_sizes: Rows a process and step: one number for all data sets, or a number for each.
        ranks: Number of processes.
        rank: Number of this process, from 0.
        keep_last: As in :class:`TaskSampler`; here for each data set.
        seed: The run's seed, the same in all processes.

    Example:
        >>> sampler = SingleTaskSampler({"search": 4, "likeness": 2}, batch_sizes={"search": 2, "likeness": 1})
        >>> sampler.steps_per_epoch
        4
        >>> sorted(sampler.task(batch) for batch in sampler.batches(stop=4))
        ['likeness', 'likeness', 'search', 'search']
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        batch_sizes: int | Mapping[str, int],
        ranks: int = 1,
        rank: int = 0,
        keep_last: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(sizes, ranks=ranks, rank=rank, keep_last=keep_last, seed=seed)
        self.batch_sizes = sizes_of_batches(self.sizes, batch_sizes)
        for name, size in self.sizes.items():
            self._refuse_too_small(f"the data set {name!r} has", size, self.batch_sizes[name])

    def task(self, batch: TaskBatch) -> str:
        """Return the name of the data set that a batch is of."""
        return list(self.sizes)[int(batch.data_sets[0])]

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in one pass over the data sets."""
        return sum(len(self._cut(size, self.batch_sizes[name])) for name, size in self.sizes.items())

    def _plan(self, epoch: int) -> list[tuple[Rows, Rows]]:
        steps: list[tuple[Rows, Rows]] = []
        for place, (name, size) in enumerate(self.sizes.items()):
            # A generator a data set: its order does not hang on the sizes of the others.
            rows = random_generator(self.seed, "rows of a data set", name, epoch).permutation(size)
            for piece in self._cut(size, self.batch_sizes[name]):
                steps.append((np.full(piece.stop - piece.start, place, dtype=np.int64), rows[piece]))
        order = random_generator(self.seed, "order of the data sets", epoch).permutation(len(steps))
        return [steps[step] for step in order]

    def _settings(self) -> dict[str, Any]:
        return {"batch_sizes": self.batch_sizes}


class MixedSampler(TaskSampler):
    """Batches in which the rows of all data sets are mixed, as they come in one random order of all rows.

    Args:
        sizes: Name to number of rows of each data set.
        batch_size: Rows a process and step.
        ranks: Number of processes.
        rank: Number of this process, from 0.
        keep_last: As in :class:`TaskSampler`.
        seed: The run's seed, the same in all processes.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        batch_size: int,
        ranks: int = 1,
        rank: int = 0,
        keep_last: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(sizes, ranks=ranks, rank=rank, keep_last=keep_last, seed=seed)
        if batch_size < 1:
            _refuse(f"batch_size is {batch_size}", "it must be at least 1")
        self.batch_size = batch_size
        self._starts = np.concatenate([[0], np.cumsum(list(self.sizes.values()))]).astype(np.int64)
        self._refuse_too_small("the data sets have", int(self._starts[-1]), batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps in one pass over the data sets."""
        return len(self._cut(int(self._starts[-1]), self.batch_size))

    def _plan(self, epoch: int) -> list[tuple[Rows, Rows]]:
        total = int(self._starts[-1])
        order = random_generator(self.seed, "rows of all data sets", epoch).permutation(total)
        data_sets = np.searchsorted(self._starts, order, side="right").astype(np.int64) - 1
        rows = order - self._starts[data_sets]
        return [(data_sets[piece], rows[piece]) for piece in self._cut(total, self.batch_size)]

    def _settings(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size}


def sizes_of_batches(names: Sequence[str] | Mapping[str, int], batch_sizes: int | Mapping[str, int]) -> dict[str, int]:
    """Return the batch size of each data set.

    Args:
        names: The names of the data sets.
        batch_sizes: One number for all, or a number for each by name.

    Raises:
        InputError: A data set has no batch size, one has no data set, or a number is below one.
    """
    if isinstance(batch_sizes, int):
        batch_sizes = dict.fromkeys(names, batch_sizes)
    for name in sorted({*names} ^ {*batch_sizes}):
        what = "has no batch size" if name in names else "has a batch size and no rows"
        _refuse(f"the data set {name!r} {what}", "give one for each")
    for name, size in batch_sizes.items():
        if size < 1:
            _refuse(f"the batch size of {name!r} is {size}", "it must be at least 1")
    return {name: batch_sizes[name] for name in names}


def _refuse(what: str, mend: str) -> NoReturn:
    raise InputError(what, where="sampling of tasks", mend=mend)
