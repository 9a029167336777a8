"""Codes are off by no more than they say, so a scan over them loses none of the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedworks.index.codes import Codes, encode_rows
from embedworks.index.product_codes import product_codes
from embedworks.index.scanning import best_rows
from embedworks.index.scoring import code_score, code_slack, cosines_of, encode_query
from embedworks.index.stored_vectors import StoredRows, as_compiled, read_as_float32, read_rows, to_stored
from embedworks.index.structures.kernels import compiled


@compiled
def _all_scores(values: Any, bounds: Any, code: Any) -> Any:
    query, scale, error, surplus = code
    found = np.empty((values.shape[0], 2), dtype=np.float32)
    for row in range(values.shape[0]):
        found[row, 0] = code_score(values[row], bounds[row, 0], query, scale, surplus)
        found[row, 1] = code_slack(query, found[row, 0], bounds[row, 1], error)
    return found


def _unit(seed: int, rows: int, dimension: int, spread: float) -> NDArray[np.float64]:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((rows, dimension)) * np.exp(spread * generator.standard_normal(dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _scored(codes: Codes, query: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found = _all_scores(codes.values, codes.bounds, codes.encoded(query))
    return found[:, 0], found[:, 1]


def _best(codes: Codes, stored: StoredRows, query: NDArray[np.float64], k: int) -> tuple[list[int], list[float], int]:
    for array in (stored, codes.values, codes.bounds):
        array.setflags(write=False)  # as those of an opened index are; what is compiled for one kind serves no other
    everything = np.arange(len(stored))
    found, cosines, looked_at = best_rows(
        codes.values, codes.bounds, as_compiled(stored), everything, query, codes.encoded(query), k
    )
    return found.tolist(), cosines.tolist(), looked_at


def _check(codes: Codes, stored: StoredRows, query: NDArray[np.float64], k: int) -> None:
    scores, slacks = _scored(codes, query)
    truth = read_rows(stored) @ query
    assert (np.abs(truth - scores) <= slacks).all()
    best = np.argsort(-truth, kind="stable")[:k]
    surest = np.sort(scores - slacks)[::-1][min(k, len(stored)) - 1]
    assert (scores[best] + slacks[best] >= surest).all(), "no row of the answer is let go by the scan"
    found, cosines, looked_at = _best(codes, stored, query, k)
    assert cosines[: len(best)] == pytest.approx(truth[best], abs=1e-12)
    assert cosines[len(best) :] == [cosines[len(best) - 1]] * (len(found) - len(best)), "equals of the last come too"
    assert len(found) == len(set(found))
    assert min(k, len(stored)) <= len(found) <= looked_at <= len(stored)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    rows=st.integers(1, 60),
    dimension=st.sampled_from([1, 2, 3, 16, 100, 384]),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    storage=st.sampled_from(["float32", "float16", "int8"]),
    k=st.integers(1, 12),
)
def test_the_bound_holds_and_the_best_survive(
    seed: int, rows: int, dimension: int, spread: float, storage: str, k: int
) -> None:
    stored = to_stored(_unit(seed, rows, dimension, spread), storage)
    _check(Codes(*encode_rows(stored)), stored, _unit(seed + 1, 1, dimension, spread)[0], k)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    dimension=st.sampled_from([1, 2, 3, 8, 15]),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
    clusters=st.sampled_from([1, 5, 1000]),
    near=st.sampled_from([0.0, 1e-4, 0.1, 10.0]),
    k=st.integers(1, 12),
)
def test_the_bound_of_product_codes_holds_and_the_best_survive(
    seed: int, dimension: int, spread: float, clusters: int, near: float, k: int
) -> None:
    """For queries far from all rows and right at one, and for rows so alike that some are coded without an error."""
    generator = np.random.default_rng(seed)
    centres = _unit(seed, clusters, dimension, spread)[generator.integers(0, clusters, 300)]
    rows = centres + 0.01 * generator.standard_normal(centres.shape) / np.sqrt(dimension)
    stored = to_stored(rows / np.linalg.norm(rows, axis=1, keepdims=True), "pq")
    halves = [stored[:120], stored[120:]]
    codes = Codes(*product_codes(halves))
    assert codes.values.shape == (300, (dimension + 1) // 2)
    query = read_rows(stored[:1])[0] + near * _unit(seed + 1, 1, dimension, spread)[0]
    _check(codes, stored, query / np.linalg.norm(query), k)


def test_rows_far_from_every_codeword_keep_their_bound() -> None:
    """Codes learned from other rows: errors above those that the short form of the bound is good for."""
    stored = to_stored(_unit(0, 400, 8, 0.0), "pq")
    _, _, codebooks = product_codes([stored])
    values = np.random.default_rng(1).integers(0, 256, (400, 4)).astype(np.uint8)
    meant = codebooks[np.arange(4), values].reshape(400, 8).astype(np.float64)
    rows = read_rows(stored)
    scales = (np.einsum("rd,rd->r", rows, meant) / np.einsum("rd,rd->r", meant, meant)).astype(np.float32)
    missed = np.linalg.norm(rows - scales[:, np.newaxis].astype(np.float64) * meant, axis=1)
    bounds = np.stack([scales, np.nextafter(missed.astype(np.float32), np.float32(np.inf))], axis=1)
    assert (bounds[:, 1] > 0.75).any()
    assert (bounds[:, 1] < 0.7).any()
    for seed in range(20):
        _check(Codes(values, bounds, codebooks), stored, _unit(seed, 1, 8, 0.0)[0], 5)


def test_product_codes_are_the_same_every_time_and_err_less_than_half_a_row() -> None:
    stored = to_stored(_unit(0, 600, 16, 1.0), "pq")
    once, again = product_codes([stored]), product_codes([stored[:200], stored[200:]])
    assert all((left == right).all() for left, right in zip(once, again, strict=True))
    assert once[1][:, 1].max() < 0.5


@pytest.mark.parametrize("storage", ["float32", "float16", "int8", "pq"])
def test_a_row_read_and_stored_again_keeps_its_direction(storage: str) -> None:
    rows = _unit(0, 50, 40, 2.0)
    stored = to_stored(rows, storage)
    read = read_rows(stored)
    assert np.linalg.norm(read, axis=1) == pytest.approx(1, abs=1e-6 if storage == "float32" else 1e-12)
    assert np.einsum("rd,rd->r", read, rows).min() > 0.9999
    assert (read_as_float32(stored) == read.astype(np.float32)).all()
    if storage != "int8":
        assert np.abs(read - rows).max() < 1e-3
    else:
        assert (to_stored(read, storage) == stored).all()


def test_compiled_code_reads_every_float16() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = bits.view(np.float16)
    finite = bits[np.isfinite(numbers) & (numbers != 0)]
    scores = np.empty(len(finite))
    cosines_of(finite[:, np.newaxis], np.arange(len(finite)), np.ones(1), scores)
    assert (scores == np.sign(finite.view(np.float16))).all()
    rows = np.stack([finite, np.full_like(finite, 0x3C00)], axis=1)
    cosines_of(rows, np.arange(len(rows)), np.array([1.0, 0.0]), scores)
    numbers = rows[:, 0].view(np.float16).astype(np.float64)
    assert scores == pytest.approx(numbers / np.sqrt(numbers**2 + 1), rel=1e-14)


def test_equals_of_the_last_are_kept_for_the_ids_to_decide() -> None:
    vectors = np.repeat(_unit(0, 3, 8, 0.0), [1, 4, 1], axis=0).astype(np.float32)
    query = vectors[1].astype(np.float64) / np.linalg.norm(vectors[1].astype(np.float64))
    found, _, _ = _best(Codes(*encode_rows(vectors)), vectors, query, 2)
    assert sorted(found) == [1, 2, 3, 4]


@pytest.mark.parametrize("k", [10, 300, 500, 700])
def test_long_answers_too(k: int) -> None:
    vectors = _unit(1, 600, 32, 0.0).astype(np.float32)
    query = _unit(2, 1, 32, 0.0)[0]
    found, _, _ = _best(Codes(*encode_rows(vectors)), vectors, query, k)
    assert found == np.argsort(-(vectors.astype(np.float64) @ query), kind="stable")[:k].tolist()


def test_no_sum_leaves_32_bits() -> None:
    """The worst case: every component at its largest, in row and query alike."""
    for dimension in (2, 384, 4096, 65_536):
        row = np.full((1, dimension), 1 / np.sqrt(dimension))
        code, _, _, _ = encode_query(row[0])
        levels = code.astype(np.int64) if code.ndim == 1 else 128 * code[0].astype(np.int64) + code[1]
        assert 127 * int(np.abs(levels).max()) * dimension < 2**31
        scores, slacks = _scored(Codes(*encode_rows(row.astype(np.float32))), row[0])
        assert scores[0] == pytest.approx(1, abs=float(slacks[0]))
        spike = np.zeros((1, dimension))
        spike[0, 0] = 1
        scores, slacks = _scored(Codes(*encode_rows(spike.astype(np.float32))), spike[0])
        assert scores[0] == pytest.approx(1, abs=1e-4)


def test_fewer_rows_than_wanted_all_come_back() -> None:
    vectors = _unit(4, 2, 8, 0.0).astype(np.float32)
    codes = Codes(*encode_rows(vectors))
    for k in (2, 5, 500):
        found, _, looked_at = _best(codes, vectors, _unit(5, 1, 8, 0.0)[0], k)
        assert sorted(found) == [0, 1]
        assert looked_at == 2


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
