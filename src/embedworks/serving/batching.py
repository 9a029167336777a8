"""Requests of many clients, encoded together by one thread: bounded in tokens, and one bad text fails alone."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
_SMOOTHING = 0.2  # weight of the newest batch in the running rate


class QueueFullError(Exception):
    """More tokens are waiting than the queue holds.

    Args:
        retry_after_s: Seconds until the waiting work is likely done.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class QueueClosedError(Exception):
    """The server is stopping."""


class BadItemError(Exception):
    """The model could not turn one text into a finite vector.

    Args:
        position: The text's place within its request, from 0.
        reason: What happened.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"item {position}: {reason}")
        self.position = position
        self.reason = reason


@dataclass
class QueueCounts:
    """Counters of the queue since the start, for /metrics."""

    batches: int = 0
    texts: int = 0
    tokens: int = 0
    failed_batches: int = 0
    bad_items: int = 0
    refused: int = 0
    abandoned: int = 0


@dataclass(eq=False)
class _Job:
    texts: Sequence[str]
    tokens: int
    first: int  # place of texts[0] within the request
    future: Future[Vectors] = field(default_factory=Future)


class EncodingQueue:
    """Feeds an encoder from one thread of its own, since neither models nor tokenisers are safe to share.

    Jobs that wait at the same moment are encoded in one call, up to ``batch_tokens``. Nothing waits for a batch to
    fill: while one batch runs, the next one gathers. Urgent jobs (search queries) overtake and are not batched with
    the others, so that a person who types does not wait behind a bulk job; bulk requests are cut into batches.

    Args:
        encode: Turns a list of texts into float32 vectors, shape (len(texts), dimension).
        dimension: Components of a vector.
        batch_tokens: Tokens encoded in one call (a single longer text runs alone).
        queue_tokens: Tokens that may wait or run at once.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], Vectors],
        *,
        dimension: int,
        batch_tokens: int,
        queue_tokens: int,
    ) -> None:
        self._encode = encode
        self._dimension = dimension
        self._batch_tokens = batch_tokens
        self._queue_tokens = queue_tokens
        self._changed = threading.Condition()
        self._urgent: deque[_Job] = deque()
        self._patient: deque[_Job] = deque()
        self._held_tokens = 0
        self._closed = False
        self._tokens_per_second = 5_000.0  # a guess, until the first batch was timed
        self._thread: threading.Thread | None = None
        self.counts = QueueCounts()

    @property
    def held_tokens(self) -> int:
        """Tokens waiting or being encoded now."""
        return self._held_tokens

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="embedworks-encode", daemon=True)
            self._thread.start()

    def close(self, *, timeout_s: float) -> None:
        """Take no more work, fail what waits, and let the batch under way finish within ``timeout_s``."""
        with self._changed:
            self._closed = True
            waiting = [*self._urgent, *self._patient]
            self._urgent.clear()
            self._patient.clear()
            self._changed.notify_all()
        for job in waiting:
            if job.future.set_running_or_notify_cancel():
                self._settle(job, QueueClosedError())
            else:
                self._release(job)
        if self._thread is not None:
            self._thread.join(timeout_s)

    async def encode(self, texts: Sequence[str], tokens: Sequence[int], *, urgent: bool = False) -> Vectors:
        """Encode the texts of one request; if the caller is cancelled, what has not started never starts.

        Args:
            texts: The texts.
            tokens: Number of tokens the model reads of each text.
            urgent: Whether to overtake jobs that are not.

        Returns:
            Float32 vectors, shape (len(texts), dimension), in the order of the texts.

        Raises:
            QueueFullError: Too many tokens are waiting.
            QueueClosedError: The server is stopping.
            BadItemError: One text cannot be encoded; other requests are not touched by it.
        """
        jobs = self._submit(self._cut(texts, tokens), urgent=urgent)
        waiting = [asyncio.wrap_future(job.future) for job in jobs]
        try:
            parts = await asyncio.gather(*waiting)
        finally:
            for job in jobs:
                job.future.cancel()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _cut(self, texts: Sequence[str], tokens: Sequence[int]) -> list[_Job]:
        jobs: list[_Job] = []
        start = held = 0
        for position, count in enumerate(tokens):
            if position > start and held + count > self._batch_tokens:
                jobs.append(_Job(texts[start:position], held, start))
                start, held = position, 0
            held += count
        jobs.append(_Job(texts[start:], held, start))
        return jobs

    def _submit(self, jobs: list[_Job], *, urgent: bool) -> list[_Job]:
        tokens = sum(job.tokens for job in jobs)
        with self._changed:
            if self._closed:
                raise QueueClosedError
            # A person's query still gets in while bulk requests fill the queue; alone, a request of any size does.
            bound = self._queue_tokens + (self._batch_tokens if urgent else 0)
            if self._held_tokens and self._held_tokens + tokens > bound:
                self.counts.refused += 1
                raise QueueFullError(max(1, math.ceil(self._held_tokens / self._tokens_per_second)))
            self._held_tokens += tokens
            (self._urgent if urgent else self._patient).extend(jobs)
            self._changed.notify()
        return jobs

    def _settle(self, job: _Job, outcome: Vectors | Exception) -> None:
        # The room is free before the client hears, so that its next request finds it.
        self._release(job)
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)

    def _release(self, job: _Job) -> None:
        with self._changed:
            self._held_tokens -= job.tokens

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            running = [job for job in batch if job.future.set_running_or_notify_cancel()]
            for job in batch:
                if job not in running:
                    self.counts.abandoned += 1
                    self._release(job)
            if running:
                started = time.perf_counter()
                self._run(running)
                rate = sum(job.tokens for job in running) / max(time.perf_counter() - started, 1e-6)
                self._tokens_per_second += _SMOOTHING * (max(rate, 1.0) - self._tokens_per_second)

    def _next_batch(self) -> list[_Job] | None:
        with self._changed:
            while not (self._urgent or self._patient):
                if self._closed:
                    return None
                self._changed.wait()
            lane = self._urgent or self._patient
            batch = [lane.popleft()]
            tokens = batch[0].tokens
            while lane and tokens + lane[0].tokens <= self._batch_tokens:
                tokens += lane[0].tokens
                batch.append(lane.popleft())
            return batch

    def _run(self, jobs: list[_Job]) -> None:
        texts = [text for job in jobs for text in job.texts]
        try:
            vectors = self._finite_vectors(texts)
        except Exception as error:  # whatever a model raises, the other clients must be answered
            self.counts.failed_batches += 1
            if len(jobs) > 1:
                for job in jobs:
                    self._run([job])
            else:
                self._fail(jobs[0], error)
            return
        self.counts.batches += 1
        self.counts.texts += len(texts)
        self.counts.tokens += sum(job.tokens for job in jobs)
        start = 0
        for job in jobs:
            self._settle(job, vectors[start : start + len(job.texts)])
            start += len(job.texts)

    def _fail(self, job: _Job, error: Exception) -> None:
        position = self._bad_position(job.texts)
        if position is None:  # each half passes alone: the fault is the batch's (memory, say), not an item's
            logger.error("a batch of %d texts failed: %s", len(job.texts), type(error).__name__, exc_info=error)
            self._settle(job, error)
            return
        self.counts.bad_items += 1
        # The text is a client's and stays out of the log.
        logger.warning("an item could not be encoded: %s", type(error).__name__)
        reason = str(error) if isinstance(error, _NotFiniteError) else f"the model raised {type(error).__name__}"
        self._settle(job, BadItemError(job.first + position, reason))

    def _bad_position(self, texts: Sequence[str]) -> int | None:
        if len(texts) == 1:
            return 0
        middle = len(texts) // 2
        for start, half in ((0, texts[:middle]), (middle, texts[middle:])):
            try:
                self._finite_vectors(list(half))
            except Exception:  # the search for the item: whatever it raises, it is in this half
                position = self._bad_position(half)
                return None if position is None else start + position
        return None

    def _finite_vectors(self, texts: list[str]) -> Vectors:
        vectors = np.asarray(self._encode(texts), dtype=np.float32)
        if vectors.shape != (len(texts), self._dimension):
            raise ValueError(f"the encoder returned shape {vectors.shape}, not {(len(texts), self._dimension)}")
        if not np.isfinite(vectors).all():
            raise _NotFiniteError
        return vectors


class _NotFiniteError(Exception):
    def __init__(self) -> None:
        super().__init__("the model's vector is not finite")
