"""Codes are off by no more than they say, so a scan over them loses none of the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.index.codes import encode_rows
from embedworks.index.scanning import best_rows, code_scores, cosines_of, encode_query, possible


def _unit(seed: int, rows: int, dimension: int, spread: float) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((rows, dimension)) * np.exp(spread * generator.standard_normal(dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _scored(rows: NDArray[np.float32], query: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    values, bounds = encode_rows(rows)
    code, scale, error = encode_query(query)
    scores, slacks = np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=np.float32)
    code_scores(values, bounds, np.arange(len(rows)), code, scale, error, scores, slacks)
    return scores, slacks


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    rows=st.integers(1, 60),
    dimension=st.sampled_from([1, 2, 3, 16, 100, 384]),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    k=st.integers(1, 12),
)
def test_the_bound_holds_and_the_best_survive(seed: int, rows: int, dimension: int, spread: float, k: int) -> None:
    vectors = _unit(seed, rows, dimension, spread).astype(np.float32)
    query = _unit(seed + 1, 1, dimension, spread)[0]
    scores, slacks = _scored(vectors, query)
    truth = vectors.astype(np.float64) @ query
    assert (np.abs(truth - scores) <= slacks).all()
    best = np.argsort(-truth, kind="stable")[:k]
    assert set(best.tolist()) <= set(possible(scores, slacks, k).tolist())
    found, cosines, looked_at = best_rows(*encode_rows(vectors), vectors, np.arange(rows), query, k)
    assert cosines[: len(best)] == pytest.approx(truth[best], abs=1e-12)
    assert (cosines[len(best) :] == cosines[len(best) - 1]).all(), "only equals of the last come on top"
    assert len(found) == len(set(found.tolist()))
    assert min(k, rows) <= len(found) <= looked_at <= rows


def test_equals_of_the_last_are_kept_for_the_ids_to_decide() -> None:
    vectors = np.repeat(_unit(0, 3, 8, 0.0), [1, 4, 1], axis=0).astype(np.float32)
    query = vectors[1].astype(np.float64) / np.linalg.norm(vectors[1].astype(np.float64))
    found, _, _ = best_rows(*encode_rows(vectors), vectors, np.arange(6), query, 2)
    assert sorted(found.tolist()) == [1, 2, 3, 4]


@pytest.mark.parametrize("k", [10, 300, 500, 700])
def test_long_answers_too(k: int) -> None:
    vectors = _unit(1, 600, 32, 0.0).astype(np.float32)
    query = _unit(2, 1, 32, 0.0)[0]
    found, _, _ = best_rows(*encode_rows(vectors), vectors, np.arange(600), query, k)
    assert found.tolist() == np.argsort(-(vectors.astype(np.float64) @ query), kind="stable")[:k].tolist()


def test_no_sum_leaves_32_bits() -> None:
    """The worst case: every component at its largest, in row and query alike."""
    for dimension in (2, 384, 4096, 65_536):
        row = np.full((1, dimension), 1 / np.sqrt(dimension))
        code, _, _ = encode_query(row[0])
        assert 127 * int(np.abs(code).max()) * dimension < 2**31
        scores, slacks = _scored(row.astype(np.float32), row[0])
        assert scores[0] == pytest.approx(1, abs=float(slacks[0]))
        spike = np.zeros((1, dimension))
        spike[0, 0] = 1
        scores, slacks = _scored(spike.astype(np.float32), spike[0])
        assert scores[0] == pytest.approx(1, abs=1e-4)


def test_few_survive_where_scores_differ() -> None:
    vectors = _unit(3, 2_000, 64, 0.0).astype(np.float32)
    scores, slacks = _scored(vectors, vectors[7].astype(np.float64) / np.linalg.norm(vectors[7].astype(np.float64)))
    survivors = possible(scores, slacks, 5)
    assert 7 in survivors
    assert len(survivors) < 60


def test_fewer_rows_than_wanted_all_survive() -> None:
    scores = np.array([0.1, 0.9], dtype=np.float32)
    for k in (5, 500):
        assert possible(scores, np.zeros(2, dtype=np.float32), k).tolist() == [0, 1]


def test_exact_scores_are_those_of_float64() -> None:
    vectors = _unit(5, 40, 384, 1.0).astype(np.float32)
    query = _unit(6, 1, 384, 1.0)[0]
    rows = np.array([7, 3, 3, 39])
    scores = np.empty(4)
    cosines_of(vectors, rows, query, scores)
    assert scores == pytest.approx(vectors[rows].astype(np.float64) @ query, abs=1e-14)
    alone = np.empty(1)
    cosines_of(vectors, rows[1:2], query, alone)
    assert alone[0] == scores[1] == scores[2], "a row's score does not depend on its company"
