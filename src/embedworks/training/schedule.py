"""How far a training run is, by steps and by the clock, and the learning rate that follows from it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Budget:
    """A number of steps and, by option, a wall time; whichever is further along says how far the run is.

    The share of the work done is taken at the middle of the coming step. So the first step has a learning rate above
    zero, the last one still has too, and a run bounded by time ends decayed however fast the machine turns out to be.

    Args:
        total_steps: Largest number of steps.
        seconds: Largest wall time in seconds; none where None.
        spent: Seconds that earlier runs have used.
        started: Reading of the clock at which this run began; now where None.
        clock: A monotonic clock in seconds.

    Example:
        >>> [Budget(4).share(step) for step in range(4)]
        [0.125, 0.375, 0.625, 0.875]
    """

    def __init__(
        self,
        total_steps: int,
        seconds: float | None = None,
        *,
        spent: float = 0.0,
        started: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total_steps = total_steps
        self.seconds = seconds
        self._clock = clock
        self._origin = (clock() if started is None else started) - spent
        self._last: float | None = None
        self._recent: deque[float] = deque(maxlen=8)
        self._save_seconds = 0.0

    def elapsed(self) -> float:
        """Return the seconds used so far, earlier runs included."""
        return self._clock() - self._origin

    def credit(self, spent: float) -> None:
        """Count seconds that earlier runs have used."""
        self._origin -= spent

    def begin_step(self) -> None:
        """Note that a step begins."""
        self._last = self._clock()

    def end_step(self) -> None:
        """Note that a step has ended."""
        if self._last is not None:
            self._recent.append(self._clock() - self._last)

    def note_save(self, seconds: float) -> None:
        """Note how long a checkpoint took, so that the last one fits into the time."""
        self._save_seconds = max(self._save_seconds, seconds)

    def share(self, steps_done: int) -> float:
        """Return how much of the work will be done in the middle of the coming step, 0 to 1."""
        by_steps = (steps_done + 0.5) / self.total_steps
        if self.seconds is None:
            return min(by_steps, 1.0)
        step = sum(self._recent) / len(self._recent) if self._recent else 0.0
        by_time = (self.elapsed() + step / 2) / max(self.seconds - self._save_seconds, 1e-9)
        return min(max(by_steps, by_time), 1.0)

    def out_of_time(self) -> bool:
        """Return whether one more step and the last checkpoint would not fit into the wall time."""
        if self.seconds is None:
            return False
        coming = max(self._recent, default=0.0)
        return self.elapsed() + coming + self._save_seconds > self.seconds

    def estimated_steps(self, steps_done: int) -> int:
        """Return the number of steps the whole run is likely to have, as seen from here."""
        if self.seconds is None or not self._recent:
            return self.total_steps
        step = sum(self._recent) / len(self._recent)
        left = max(self.seconds - self._save_seconds - self.elapsed(), 0.0)
        return min(self.total_steps, steps_done + max(int(left / max(step, 1e-9)), 1))


def learning_rate_factor(share: float, warmup_share: float) -> float:
    """Return what the peak learning rate is multiplied by: a linear rise, then a linear fall to zero.

    Args:
        share: Share of the training done, 0 to 1.
        warmup_share: Share in which it rises, at least 0 and less than 1.

    Example:
        >>> [learning_rate_factor(share, 0.5) for share in (0.25, 0.5, 0.75, 1.0)]
        [0.5, 1.0, 0.5, 0.0]
    """
    if share < warmup_share:
        return share / warmup_share
    return (1.0 - share) / (1.0 - warmup_share)
