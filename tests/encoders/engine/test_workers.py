from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from embedworks.encoders.engine import encode_texts
from embedworks.encoders.engine.tokens import Batch
from embedworks.encoders.engine.workers import ForwardWorkers


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def batches(count: int) -> Iterator[Batch]:
    return (Batch(np.asarray([number]), {"number": number}) for number in range(count))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("count", [0, 1, 3, 4, 50])
def test_every_batch_comes_once_and_in_order(count: int) -> None:
    with ForwardWorkers(torch.device("cpu")) as workers:
        results = [
            (int(batch.pieces[0]), float(vectors))
            for batch, vectors in workers.compute(lambda features: torch.tensor(features["number"] * 2), batches(count))
        ]
    assert results == [(number, 2.0 * number) for number in range(count)]


@pytest.mark.usefixtures("two_threads")
def test_each_thread_computes_alone_and_leaves_the_setting_as_it_was() -> None:
    seen: set[tuple[str, int]] = set()

    def forward(features: dict[str, int]) -> torch.Tensor:
        seen.add((threading.current_thread().name[:-2], torch.get_num_threads()))
        assert torch.is_inference_mode_enabled()
        return torch.zeros(1)

    with ForwardWorkers(torch.device("cpu")) as workers:
        list(workers.compute(forward, batches(20)))
    assert seen == {("embedworks-forward", 1)}
    assert torch.get_num_threads() == 2
    inherited: list[int] = []
    later = threading.Thread(target=lambda: inherited.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert inherited == [2]


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def forward(features: dict[str, int]) -> torch.Tensor:
        if features["number"] == 7:
            raise RuntimeError("batch 7")
        return torch.zeros(1)

    with ForwardWorkers(torch.device("cpu")) as workers, pytest.raises(RuntimeError, match="batch 7"):
        list(workers.compute(forward, batches(50)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("embedworks-forward")]


@pytest.mark.usefixtures("bfloat16_is_native")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_number_of_threads_does_not_change_a_bit(
    model: SentenceTransformer, texts: list[str], precision: str
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone, _ = encode_texts(model, texts, precision=precision, batch_tokens=128)
        torch.set_num_threads(2)
        together, _ = encode_texts(model, texts, precision=precision, batch_tokens=128)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(alone, together)
