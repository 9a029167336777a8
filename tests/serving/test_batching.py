"""The queue: order, merging, bounds, and that one request's trouble stays its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.serving.batching import BadItemError, EncodingQueue, QueueClosedError, QueueFullError


class Recorder:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.calls.append(texts)
        self.entered.set()
        assert self.gate.wait(10)
        if any(text == "poison" for text in texts):
            raise RuntimeError("poison")
        return np.array([[float("nan") if text == "nan" else len(text), 1.0] for text in texts], dtype=np.float32)


def with_queue(
    work: Callable[[EncodingQueue, Recorder], Awaitable[object]], *, batch_tokens: int = 100, queue_tokens: int = 1000
) -> None:
    async def run() -> None:
        recorder = Recorder()
        queue = EncodingQueue(recorder, dimension=2, batch_tokens=batch_tokens, queue_tokens=queue_tokens)
        queue.start()
        try:
            await asyncio.wait_for(work(queue, recorder), 20)
        finally:
            recorder.gate.set()
            queue.close(timeout_s=10)

    asyncio.run(run())


async def entered(recorder: Recorder) -> None:
    assert await asyncio.to_thread(recorder.entered.wait, 10)


async def blocked(queue: EncodingQueue, recorder: Recorder) -> asyncio.Task[object]:
    """Occupy the worker with one text until the gate opens."""
    recorder.gate.clear()
    task = asyncio.create_task(queue.encode(["block"], [1]))
    await entered(recorder)
    return task


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_vectors_come_back_in_order_however_the_request_is_cut(tokens: list[int]) -> None:
    async def work(queue: EncodingQueue, recorder: Recorder) -> None:
        texts = ["x" * place for place in range(len(tokens))]
        vectors = await queue.encode(texts, tokens)
        assert vectors[:, 0].tolist() == list(range(len(tokens)))
        assert [text for call in recorder.calls for text in call] == texts
        assert queue.held_tokens == 0

    with_queue(work, batch_tokens=100)


def test_requests_that_wait_together_are_encoded_together() -> None:
    async def work(queue: EncodingQueue, recorder: Recorder) -> None:
        first = await blocked(queue, recorder)
        others = [asyncio.create_task(queue.encode(["a" * size], [30])) for size in (2, 3, 4, 5)]
        await asyncio.sleep(0)
        recorder.gate.set()
        await first
        vectors = [await other for other in others]
        assert [vector[0, 0] for vector in vectors] == [2, 3, 4, 5]
        assert recorder.calls == [["block"], ["aa", "aaa", "aaaa"], ["aaaaa"]]

    with_queue(work, batch_tokens=100)


def test_a_poison_item_fails_its_own_request_only_and_is_named() -> None:
    async def work(queue: EncodingQueue, recorder: Recorder) -> None:
        first = await blocked(queue, recorder)
        good = asyncio.create_task(queue.encode(["good"], [1]))
        bad = asyncio.create_task(queue.encode(["a", "b", "poison", "c"], [1, 1, 1, 1]))
        not_finite = asyncio.create_task(queue.encode(["nan"], [1]))
        await asyncio.sleep(0)
        recorder.gate.set()
        await first
        assert (await good).tolist() == [[4, 1]]
        with pytest.raises(BadItemError) as caught:
            await bad
        assert caught.value.position == 2
        with pytest.raises(BadItemError, match="not finite"):
            await not_finite
        assert (await queue.encode(["afterwards"], [1])).tolist() == [[10, 1]]
        assert queue.counts.bad_items == 2
        assert queue.held_tokens == 0

    with_queue(work)


def test_the_position_of_a_poison_item_counts_over_the_cuts_of_its_request() -> None:
    async def work(queue: EncodingQueue, _recorder: Recorder) -> None:
        texts = [*("abcdefgh"), "poison"]
        with pytest.raises(BadItemError) as caught:
            await queue.encode(texts, [40] * len(texts))
        assert caught.value.position == 8

    with_queue(work, batch_tokens=100)


def test_a_failure_of_the_batch_as_a_whole_is_passed_on() -> None:
    async def work(queue: EncodingQueue, _recorder: Recorder) -> None:
        def limited(texts: list[str]) -> np.ndarray:
            if len(texts) > 2:
                raise MemoryError
            return np.ones((len(texts), 2), dtype=np.float32)

        queue._encode = limited
        with pytest.raises(MemoryError):
            await queue.encode(["a", "b", "c"], [1, 1, 1])

    with_queue(work)


def test_a_wrong_shape_is_refused() -> None:
    async def work(queue: EncodingQueue, _recorder: Recorder) -> None:
        queue._encode = lambda texts: np.ones((len(texts), 3), dtype=np.float32)
        with pytest.raises(BadItemError, match="ValueError"):
            await queue.encode(["a"], [1])

    with_queue(work)


def test_a_full_queue_refuses_with_a_time_and_lets_queries_in() -> None:
    async def work(queue: EncodingQueue, recorder: Recorder) -> None:
        first = await blocked(queue, recorder)
        waiting = asyncio.create_task(queue.encode(["w"], [95]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError) as caught:
            await queue.encode(["too much"], [10])
        assert caught.value.retry_after_s >= 1
        assert queue.counts.refused == 1
        query = asyncio.create_task(queue.encode(["query"], [5], urgent=True))
        await asyncio.sleep(0)
        recorder.gate.set()
        await asyncio.gather(first, waiting, query)
        assert recorder.calls == [["block"], ["query"], ["w"]]  # the query overtook

    with_queue(work, batch_tokens=50, queue_tokens=100)


def test_a_request_larger_than_the_queue_runs_when_nothing_waits() -> None:
    async def work(queue: EncodingQueue, _recorder: Recorder) -> None:
        assert (await queue.encode(["a"], [500])).shape == (1, 2)

    with_queue(work, batch_tokens=10, queue_tokens=20)


def test_what_was_cancelled_before_it_started_never_starts() -> None:
    async def work(queue: EncodingQueue, recorder: Recorder) -> None:
        first = await blocked(queue, recorder)
        gone = asyncio.create_task(queue.encode(["gone", "also gone"], [60, 60]))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        recorder.gate.set()
        await first
        await queue.encode(["next"], [1])
        assert recorder.calls == [["block"], ["next"]]
        assert queue.counts.abandoned == 2
        assert queue.held_tokens == 0

    with_queue(work)


def test_closing_finishes_the_batch_under_way_and_fails_the_rest() -> None:
    async def work(queue: EncodingQueue, recorder: Recorder) -> None:
        first = await blocked(queue, recorder)
        waiting = asyncio.create_task(queue.encode(["waiting"], [1]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(queue.close, timeout_s=10))
        with pytest.raises(QueueClosedError):
            await waiting
        recorder.gate.set()
        await closing
        assert (await first).shape == (1, 2)
        with pytest.raises(QueueClosedError):
            await queue.encode(["late"], [1])

    with_queue(work)
