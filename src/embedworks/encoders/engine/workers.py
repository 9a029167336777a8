"""Forward passes side by side: on a processor each thread computes batches of its own.

Threads that share one small matrix product wait for each other hundreds of times a batch; threads with a batch each
wait only for the interpreter. The result of a batch also does not depend on how many there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from types import TracebackType
from typing import Any, Final, Self

import torch
from torch import Tensor

from embedworks.encoders.engine.tokens import Batch

_MOST_WORKERS: Final = 8
_BATCHES_A_WORKER: Final = 2


class ForwardWorkers:
    """Computes batches; on an accelerator, or with one thread, in the calling thread.

    Args:
        device: Where the model stands.
    """

    def __init__(self, device: torch.device) -> None:
        self._threads = torch.get_num_threads()
        self._count = min(self._threads, _MOST_WORKERS) if device.type == "cpu" else 1
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(self._threads)  # the workers' own setting is what new threads would start with

    def compute(
        self, forward: Callable[[dict[str, Any]], Tensor], batches: Iterator[Batch]
    ) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch with its vectors, in order; a few batches are worked on ahead of it.

        Args:
            forward: Features to vectors.
            batches: The batches.
        """
        few = list(islice(batches, self._count * _BATCHES_A_WORKER))
        if self._count == 1 or len(few) < self._count * _BATCHES_A_WORKER:
            for batch in chain(few, batches):
                yield batch, forward(batch.features)
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                self._count,
                thread_name_prefix="embedworks-forward",
                initializer=torch.set_num_threads,
                initargs=(self._threads // self._count,),
            )
        ahead: deque[tuple[Batch, Future[Tensor]]] = deque()
        for batch in chain(few, batches):
            ahead.append((batch, self._executor.submit(_without_gradients, forward, batch.features)))
            if len(ahead) > self._count * _BATCHES_A_WORKER:
                done, vectors = ahead.popleft()
                yield done, vectors.result()
        for done, vectors in ahead:
            yield done, vectors.result()


def _without_gradients(forward: Callable[[dict[str, Any]], Tensor], features: dict[str, Any]) -> Tensor:
    with torch.inference_mode():  # which is a setting of each thread
        return forward(features)
