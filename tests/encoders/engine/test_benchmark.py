"""The benchmark's own arithmetic, and that it runs; its figures are measured on a quiet machine, not here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embedworks.encoders.engine import benchmark
from embedworks.encoders.engine.benchmark_arms import Timing, flops, librarys_padding, token_lengths
from embedworks.encoders.engine.benchmark_texts import mixed_texts


def test_operations_are_counted_by_the_formula(model: SentenceTransformer) -> None:
    lengths = np.asarray([3, 5])
    layers, width, inner = 2, 64, 128
    slow = sum(
        2 * layers * (4 * width**2 + 2 * width * inner) * length + 4 * layers * length * width * length
        for length in (3, 5)
    )
    assert flops(model, lengths) == slow


def test_padding_of_the_librarys_batches(model: SentenceTransformer) -> None:
    texts = ["a", "stone river", "a " * 9, "stone"]
    lengths = token_lengths(model, texts)
    assert lengths.tolist() == [3, 4, 11, 3]
    assert librarys_padding(texts, lengths, rows=2) == (2 * 11 + 2 * 3) / 21


def test_ratios_are_per_round_with_an_interval() -> None:
    peer = [Timing(0, seconds, 0) for seconds in (2.0, 3.0, 4.0)]
    ours = [Timing(0, 1.0, 0)] * 3
    ratio = benchmark._ratio(peer, ours, seed=0, clock="cpu")
    assert ratio["rounds"] == [2.0, 3.0, 4.0]
    assert ratio["median"] == 3.0
    assert 2.0 <= ratio["low"] <= 3.0 <= ratio["high"] <= 4.0


def test_an_arm_that_gives_other_vectors_has_no_time() -> None:
    timings = {name: [Timing(1.0, 1.0, 0)] for name in (benchmark.LIBRARY, benchmark.OURS)}
    settings = {"tokens": [10], "work": [1e9], "padding": 1.0, "bound": None, "seed": 0}
    wrong = benchmark._summary(benchmark.OURS, timings, [(1e-3, 0.9999)], **settings)
    assert not wrong["agrees"]
    assert "ratio" not in wrong
    right = benchmark._summary(benchmark.OURS, timings, [(1e-6, 0.9999)], **settings)
    assert right["agrees"]
    assert right["ratio"]["median"] == 1.0


def test_a_round_is_made_of_whole_batches_of_the_librarys() -> None:
    pool = ["x" * length for length in range(1, 321)]
    draws = benchmark._draws(pool, rounds=3, seed=0)
    for drawn in draws:
        assert len(drawn) == 128
        for start in range(0, 128, 32):
            lengths = sorted(map(len, drawn[start : start + 32]))
            assert lengths == list(range(lengths[0], lengths[0] + 32))


def test_texts_are_distinct_and_mixed_and_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDWORKS_DATA", raising=False)
    texts, source = mixed_texts(40, seed=0)
    assert len(set(texts)) == 40
    assert "docstrings" in source
    assert np.mean([len(text) for text in texts[1::2]]) > 3 * np.mean([len(text) for text in texts[::2]])
    assert mixed_texts(40, seed=0)[0] == texts
    assert mixed_texts(40, seed=1)[0] != texts


@pytest.mark.slow
def test_it_runs_and_gives_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_BATCHES_A_ROUND", 1)
    monkeypatch.setattr(benchmark, "_SWEPT_ROWS", (16,))
    figures = benchmark.run(rounds=2, texts=64)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["one_thread"][benchmark.OURS]["agrees"]
    assert figures["one_thread"][benchmark.OURS]["ratio"]["median"] > 0.5
    assert figures["assembly"]["in_memory"]["share_of_encoding"] < 0.02
    assert benchmark.table(figures).row_count == len(figures["one_thread"])
