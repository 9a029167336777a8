"""What stops a training run before it does harm: a loss or gradient that is no number, and a person's signal."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from embedworks.data import Pairs
from embedworks.foundation import LOCAL_FILES, EmbedworksError, FileOperations, NonFiniteError


class TrainingInterruptedError(EmbedworksError):
    """SIGTERM or SIGINT ended a training run after a finished step, its state saved where there was a place for it.

    Args:
        signal_number: The signal.
        step: Optimiser steps taken.
        folder: Where the checkpoints are; None where none are kept.
    """

    def __init__(self, signal_number: int, *, step: int, folder: Path | None) -> None:
        self.exit_code = 128 + signal_number
        """What a process ends with: 130 after SIGINT, 143 after SIGTERM."""
        self.step = step
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name} after step {step}",
            where="training" if folder is None else str(folder),
            mend="nothing was saved" if folder is None else "resume goes on from here",
        )


class StopSignal:
    """Remembers the first SIGTERM or SIGINT, so that the step it falls into is finished."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take over the two signals while the block runs; in a thread other than the main one, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
            yield
        finally:
            self._restore()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        self._restore()  # a second signal acts at once

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()


class FiniteGuard:
    """Stops a run on a loss or gradient norm that is NaN or infinite, before the optimiser has used it.

    Args:
        pairs: The training pairs, for the ids in the report.
        folder: Where the report goes; none is written where None.
        files: The file effects; tests pass one that fails.
    """

    def __init__(self, pairs: Pairs, *, folder: Path | None, files: FileOperations = LOCAL_FILES) -> None:
        self._pairs = pairs
        self._folder = folder
        self._files = files

    def check(self, name: str, value: float, *, step: int, rows: Sequence[int]) -> None:
        """Raise where a value is not finite.

        Args:
            name: What the value is.
            value: The value.
            step: The step under way, from 1.
            rows: Row numbers of the batch.

        Raises:
            NonFiniteError: It is NaN or infinite; says where the ids of the batch were written.
        """
        if math.isfinite(value):
            return
        where = f"step {step}"
        if self._folder is not None:
            self._files.make_directory(self._folder)
            path = self._folder / f"non-finite-step-{step:08d}.json"
            self._files.replace_json(path, self._report(name, value, step, rows))
            where = f"{where}, batch in {path}"
        raise NonFiniteError(
            f"the {name} is {value}; the weights are as before this step",
            where=where,
            mend="look at the texts of the batch, lower learning_rate, or raise temperature",
        )

    def _report(self, name: str, value: float, step: int, rows: Sequence[int]) -> dict[str, Any]:
        report: dict[str, Any] = {"step": step, "what": name, "value": str(value), "rows": [int(row) for row in rows]}
        for column, ids in (("query_ids", self._pairs.query_ids), ("positive_ids", self._pairs.positive_ids)):
            if ids is not None:
                report[column] = [ids[row] for row in rows]
        return report
