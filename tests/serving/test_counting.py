"""Token counts equal the tokeniser's own, whatever its settings and whoever else counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from embedworks.foundation import InputError
from embedworks.serving.counting import TokenCounter


@pytest.fixture
def backend() -> Any:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "red": 1, "apple": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def encoder_with(backend: Any, limit: int | None = 3) -> Any:
    return SimpleNamespace(
        model=SimpleNamespace(tokenizer=SimpleNamespace(backend_tokenizer=backend), max_seq_length=limit)
    )


def test_counts_ignore_the_models_padding_and_truncation(backend: Any) -> None:
    backend.enable_truncation(2)
    backend.enable_padding()
    counter = TokenCounter(encoder_with(backend))
    assert counter.exact
    assert counter.count(["red", "red apple pie now", ""]) == [1, 4, 0]
    assert counter.read([1, 4, 0]) == [1, 3, 0]
    assert len(backend.encode("red apple pie").ids) == 2  # the model's own is as it was


def test_many_threads_may_count_while_the_model_reconfigures_its_own(backend: Any) -> None:
    counter = TokenCounter(encoder_with(backend))

    def count(number: int) -> list[int]:
        if number % 5 == 0:
            backend.enable_truncation(1 + number)
        return counter.count(["red apple"] * 200)

    with ThreadPoolExecutor(8) as pool:
        assert all(counts == [2] * 200 for counts in pool.map(count, range(100)))


def test_ids_become_text_and_foreign_ids_are_refused(backend: Any) -> None:
    counter = TokenCounter(encoder_with(backend))
    assert counter.decode([1, 2]) == "red apple"
    for ids in ([3], [-1], [2**40]):
        with pytest.raises(InputError, match="between 0 and 2"):
            counter.decode(ids)


def test_an_encoder_without_a_tokeniser_is_estimated() -> None:
    counter = TokenCounter(SimpleNamespace())
    assert not counter.exact
    assert counter.count(["", "12345678"]) == [1, 3]
    assert counter.read([10**9]) == [10**9]
    with pytest.raises(InputError, match="texts themselves"):
        counter.decode([1])
