"""The compiled parts, each against plain Python."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.kernels import compiled, distance, dot, insert, pop, prune, push

# Few values, so that most distances tie.
candidates = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), st.integers(0, 60)),
    max_size=40,
    unique_by=lambda pair: pair[1],
)


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    vectors = random_generator(seed, "unit").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("dimension", [1, 3, 8, 16, 17, 63, 384])
def test_dot_and_distance_equal_float64(dimension: int) -> None:
    vectors = unit(20, dimension, dimension)
    query = unit(1, dimension, 99)[0]
    products = vectors.astype(np.float64) @ query.astype(np.float64)
    for row in range(20):
        assert abs(dot(vectors[row], query) - products[row]) < 1e-6
        assert abs(distance(vectors, row, query) - (2 - 2 * products[row])) < 2e-6
        assert distance(vectors, row, vectors[row]) >= 0


@given(pairs=candidates, capacity=st.integers(1, 12))
def test_a_list_keeps_the_nearest_in_order_and_carries_the_marks(pairs: list[tuple[float, int]], capacity: int) -> None:
    rows, distances = np.zeros(capacity, dtype=np.int32), np.zeros(capacity, dtype=np.float32)
    expanded = np.zeros(capacity, dtype=np.bool_)
    kept: list[tuple[float, int]] = []
    marked: set[int] = set()
    size = 0
    for length, row in pairs:
        size, place = insert(rows, distances, expanded, size, np.int32(row), np.float32(length))
        kept = sorted([*kept, (length, row)])[:capacity]
        assert size == len(kept)
        assert place == (kept.index((length, row)) if (length, row) in kept else capacity)
        assert list(zip(distances[:size].tolist(), rows[:size].tolist(), strict=True)) == kept
        assert {int(rows[at]) for at in range(size) if expanded[at]} == marked & {row for _, row in kept}
        expanded[size // 2] = True
        marked.add(int(rows[size // 2]))


@given(pairs=candidates, removals=st.lists(st.booleans(), max_size=40))
def test_a_heap_gives_back_the_nearest_first(pairs: list[tuple[float, int]], removals: list[bool]) -> None:
    rows, distances = np.zeros(60, dtype=np.int32), np.zeros(60, dtype=np.float32)
    kept: list[tuple[float, int]] = []
    size = 0
    for place, (length, row) in enumerate(pairs):
        size = push(rows, distances, size, np.int32(row), np.float32(length))
        kept.append((length, row))
        assert (distances[0], rows[0]) == min(kept)
        if place < len(removals) and removals[place]:
            size = pop(rows, distances, size)
            kept.remove(min(kept))
    order = []
    while size:
        order.append((float(distances[0]), int(rows[0])))
        size = pop(rows, distances, size)
    assert order == sorted(kept)


@pytest.mark.parametrize("alpha", [1.0, 1.2, 2.0])
@pytest.mark.parametrize("limit", [1, 4, 50])
def test_pruning_equals_the_rule_in_float64(alpha: float, limit: int) -> None:
    vectors = unit(60, 5, 7)
    exact = 2 - 2 * (vectors.astype(np.float64) @ vectors.astype(np.float64).T)
    for row in range(10):
        order = [other for other in np.argsort(exact[row], kind="stable") if other != row]
        expected: list[int] = []
        for other in order:
            if len(expected) < limit and all(alpha * exact[one, other] > exact[row, other] for one in expected):
                expected.append(int(other))
        kept = np.empty(limit, dtype=np.int32)
        lengths = exact[row][order].astype(np.float32)
        size = prune(vectors, np.array(order, dtype=np.int32), lengths, len(order), limit, np.float32(alpha), kept)
        assert kept[:size].tolist() == expected


def test_of_equal_rows_pruning_keeps_one() -> None:
    vectors = np.repeat(unit(1, 4, 0), 5, axis=0)
    kept = np.empty(4, dtype=np.int32)
    order, lengths = np.arange(1, 5, dtype=np.int32), np.zeros(4, dtype=np.float32)
    assert prune(vectors, order, lengths, 4, 4, np.float32(1), kept) == 1
    assert kept[0] == 1


@pytest.mark.parametrize("writable", [True, False])
def test_without_a_place_for_compiled_code_it_is_compiled_anew(
    writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A file stands where the directory would be made: that holds for the root user too, whom no permission stops.
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    source = tmp_path / "doubling.py"
    source.write_text("def twice(number):\n    return 2 * number\n", encoding="utf-8")
    if not writable:
        (tmp_path / "__pycache__").touch()
    spec = importlib.util.spec_from_file_location("doubling", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with caplog.at_level(logging.INFO):
        twice = compiled(module.twice)
    assert twice(21) == 42
    assert bool(list(tmp_path.glob("__pycache__/*.nbc"))) == writable
    assert ("compiled code is not kept" in caplog.text) == (not writable)
