"""Exactness: a scan keeps what can still win, and a search list by list opens the lists that the rule names."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from embedworks.index.codes import Codes, encode_rows
from embedworks.index.partition import Partition
from embedworks.index.product_codes import product_codes
from embedworks.index.scanning import (
    best_of_code_lists,
    best_of_codes,
    best_of_lists,
    best_rows,
    falling,
    scan,
    sift_down,
    sink,
    some_equal,
    still_possible,
)
from embedworks.index.scoring import encode_query
from embedworks.index.stored_vectors import StoredRows, as_compiled, read_rows, to_stored

DIMENSION, LISTS = 12, 15
_SCORES = st.floats(-1, 1, width=32)
_NEAR = 1e-5  # more than float32 can move a score, less than scores of random rows lie apart


@given(scores=st.lists(_SCORES, max_size=60))
def test_places_stand_in_falling_order(scores: list[float]) -> None:
    given_scores = np.array(scores, dtype=np.float64)
    order = falling(given_scores)
    assert sorted(order.tolist()) == list(range(len(scores)))
    np.testing.assert_array_equal(given_scores[order], np.sort(given_scores)[::-1])
    in_order = given_scores[order]
    assert some_equal(in_order) == (len(set(scores)) < len(scores))


@given(scores=st.lists(_SCORES, min_size=1, max_size=60), size=st.integers(1, 60), seed=st.integers(0, 2**20))
def test_a_heap_of_places_gives_them_up_lowest_first(scores: list[float], size: int, seed: int) -> None:
    given_scores = np.array(scores, dtype=np.float32)
    heap = np.random.default_rng(seed).permutation(len(scores))[:size]
    among = sorted(given_scores[heap].tolist())
    for root in range(len(heap) // 2 - 1, -1, -1):
        sift_down(heap, given_scores, root, len(heap))
    given_up = []
    for left in range(len(heap) - 1, -1, -1):
        given_up.append(float(given_scores[heap[0]]))
        heap[0] = heap[left]
        sift_down(heap, given_scores, 0, left)
    assert given_up == among


@given(scores=st.lists(_SCORES, max_size=80), k=st.integers(1, 20))
def test_the_heap_of_the_surest_holds_the_k_best_so_far(scores: list[float], k: int) -> None:
    heap = np.full(k, -np.inf, dtype=np.float32)
    for count, score in enumerate(scores, start=1):
        if score > heap[0]:
            sink(heap, np.float32(score))
        best = sorted(scores[:count], reverse=True)[:k]
        assert sorted(heap.tolist(), reverse=True) == best + [-np.inf] * (k - len(best))


@settings(max_examples=60)
@given(seed=st.integers(0, 2**20), k=st.integers(1, 30), count=st.sampled_from([0, 3, 60, 400]), cut=st.floats(0, 1))
def test_a_scan_keeps_what_can_reach_the_k_best_for_sure(seed: int, k: int, count: int, cut: float) -> None:
    """In two parts, with bounds far from each other, against sorting what each row reaches for sure."""
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((500, DIMENSION))
    codes = Codes(*encode_rows((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)))
    codes.bounds[:, 1] += generator.exponential(0.1, 500)
    _read_only(codes.values, codes)
    query = generator.standard_normal(DIMENSION)
    code = encode_query(query / np.linalg.norm(query))
    chosen = np.sort(generator.choice(500, size=count, replace=False))
    numbers = 128 * code[0][0].astype(np.int64) + code[0][1] if code[0].ndim == 2 else code[0].astype(np.int64)
    scores = codes.bounds[chosen, 0].astype(np.float64) * code[1] * (codes.values[chosen].astype(np.int64) @ numbers)
    slacks = codes.bounds[chosen, 1].astype(np.float64) * (1 + code[2]) + code[2] + 4e-6
    surest = np.full(k, -np.inf, dtype=np.float32)
    kept, reach, number = np.empty(64, dtype=np.int64), np.empty(64, dtype=np.float32), 0
    for first, last in ((0, int(cut * count)), (int(cut * count), count)):
        kept, reach, number = scan(codes.values, codes.bounds, chosen, first, last, code, surest, kept, reach, number)
    sure = np.sort(scores - slacks)[::-1][:k]
    assert np.sort(surest)[::-1][: len(sure)] == pytest.approx(sure, abs=1e-6)
    assert (np.sort(surest)[::-1][len(sure) :] == -np.inf).all()
    places = {row: place for place, row in enumerate(chosen.tolist())}
    found = [places[row] for row in kept[:number].tolist()]
    assert found == sorted(set(found))
    assert reach[:number] == pytest.approx((scores + slacks)[found], abs=1e-6)
    assert set(np.flatnonzero(scores + slacks > surest[0] + 1e-6).tolist()) <= set(found)


@given(data=st.data(), count=st.integers(0, 60), threshold=st.one_of(_SCORES, st.just(-np.inf)))
def test_what_reaches_the_threshold_stays_in_its_order(data: st.DataObject, count: int, threshold: float) -> None:
    reach = data.draw(arrays.arrays(np.float32, count + 5, elements=_SCORES))
    kept = np.arange(count + 5) * 3
    expected = np.flatnonzero(reach[:count] >= np.float32(threshold))
    reach_before = reach.copy()
    number = still_possible(kept, reach, count, np.float32(threshold))
    np.testing.assert_array_equal(kept[:number], expected * 3)
    np.testing.assert_array_equal(reach[:number], reach_before[expected])


def _clustered(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    centres = generator.standard_normal((LISTS, DIMENSION))
    rows = centres[generator.integers(0, LISTS, count)] + 0.6 * generator.standard_normal((count, DIMENSION))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _read_only(stored: StoredRows, codes: Codes) -> None:
    """As those of an opened index are; what is compiled for one kind serves no other."""
    for array in (stored, codes.values, codes.bounds):
        array.setflags(write=False)


@dataclass(frozen=True)
class Listed:
    """Rows that stand in lists, and their codes."""

    stored: StoredRows
    codes: Codes
    partition: Partition

    @classmethod
    def of(cls, seed: int, count: int, storage: str) -> Listed:
        generator = np.random.default_rng(seed)
        rows = _clustered(generator, count)
        nearest = (rows @ rows[generator.choice(count, size=min(LISTS, count), replace=False)].T).argmax(axis=1)
        stored = to_stored(rows[np.argsort(nearest, kind="stable")].astype(np.float32), storage)
        sizes = np.bincount(nearest)
        starts = np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.int64)
        true = read_rows(stored)
        means = np.stack([true[first:last].mean(axis=0) for first, last in pairwise(starts)])
        codes = Codes(*(product_codes([stored]) if storage == "pq" else encode_rows(stored)))
        _read_only(stored, codes)
        return cls(stored, codes, Partition(means.astype(np.float32), starts))

    def scored(self, query: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores by codes and what each can be off by, by the book, in float64."""
        factors, errors = self.codes.bounds.astype(np.float64).T
        code, scale, query_error, _ = self.codes.encoded(query)
        if self.codes.codebooks is not None:
            meant = self.codes.codebooks[np.arange(DIMENSION // 2), self.codes.values].reshape(len(factors), -1)
            scores = factors * (meant.astype(np.float64) @ query)
            lengths = 1 - errors**2
            rounding = np.maximum(0, 1 - scores**2 / lengths) + 8 * query_error
            return scores, np.where(lengths < 0.5, errors, errors * np.sqrt(rounding)) + query_error
        numbers = 128 * code[0].astype(np.int64) + code[1] if code.ndim == 2 else code.astype(np.int64)
        scores = factors * scale * (self.codes.values.astype(np.int64) @ numbers)
        return scores, errors + query_error * (1 + errors) + 4e-6

    def expected(self, query: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
        """How far each list is expected to reach: by the codes of the means, in float64."""
        true = read_rows(self.stored)
        spreads = [
            np.sqrt(((true[first:last] - mean) ** 2).sum(axis=1).mean())
            for first, last, mean in zip(
                self.partition.starts, self.partition.starts[1:], self.partition.means, strict=False
            )
        ]
        values, bounds = encode_rows(self.partition.means)
        code, scale, _, _ = encode_query(query)
        numbers = 128 * code[0].astype(np.int64) + code[1] if code.ndim == 2 else code.astype(np.int64)
        by_codes = bounds[:, 0].astype(np.float64) * scale * (values.astype(np.int64) @ numbers)
        return np.asarray(by_codes + margin * np.array(spreads))


def _by_the_rule(
    listed: Listed, rows: NDArray[np.int64], query: NDArray[np.float64], k: int, margin: float, *, leeway: float
) -> list[NDArray[np.int64]]:
    """The rows of each list that is opened, in that order; with leeway the search ends a little later."""
    scores, slacks = listed.scored(query)
    expected = listed.expected(query, margin)
    opened: list[NDArray[np.int64]] = []
    surest: list[float] = []
    for which in np.argsort(-expected):
        ours = rows[(rows >= listed.partition.starts[which]) & (rows < listed.partition.starts[which + 1])]
        if len(ours) == 0:
            continue
        if len(surest) >= k and expected[which] < sorted(surest, reverse=True)[k - 1] - leeway:
            break
        opened.append(ours)
        surest += (scores[ours] - slacks[ours]).tolist()
    return opened


def _drawn_rows(generator: np.random.Generator, listed: Listed, share: float) -> NDArray[np.int64]:
    """Rows that pass: at random, and none of every fourth list."""
    count = len(listed.stored)
    list_of = np.searchsorted(listed.partition.starts, np.arange(count), side="right") - 1
    return np.flatnonzero((generator.random(count) < share) & ((list_of % 4 != 1) | (share == 1.0)))


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**20),
    count=st.sampled_from([1, 5, 80, 400]),
    storage=st.sampled_from(["float32", "float16", "int8", "pq"]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    k=st.sampled_from([1, 2, 7, 30, 500]),
    margin=st.sampled_from([-1.0, 0.0, 0.3, 0.6, 1.0, 4.0]),
)
def test_the_lists_of_the_rule_are_opened_and_searched_exactly(
    seed: int, count: int, storage: str, share: float, k: int, margin: float
) -> None:
    """The compiled search against the same rule in plain Python, which scans list after list in float64."""
    count = max(count, 260) if storage == "pq" else count
    listed = Listed.of(seed, count, storage)
    generator = np.random.default_rng(seed + 1)
    rows = _drawn_rows(generator, listed, share)
    query = generator.standard_normal(DIMENSION) + 2 * read_rows(listed.stored[:1])[0]
    query /= np.linalg.norm(query)
    offsets = rows.searchsorted(listed.partition.starts)
    found, cosines, settled, compared, opened, everything = best_of_lists(
        listed.codes.values, listed.codes.bounds, as_compiled(listed.stored), rows, listed.partition.compiled, offsets,
        query, listed.codes.encoded(query), encode_query(query), k, margin,
    )  # fmt: skip
    sooner = _by_the_rule(listed, rows, query, k, margin, leeway=-_NEAR)
    later = _by_the_rule(listed, rows, query, k, margin, leeway=_NEAR)
    assert len(sooner) <= opened <= len(later)
    among = np.concatenate([np.zeros(0, dtype=np.int64), *later[:opened]])
    assert compared == len(among)
    assert everything == (len(among) == len(rows))
    truth = read_rows(listed.stored) @ query
    best = np.sort(truth[among])[::-1][:k]
    assert len(found) == len(set(found.tolist()))
    assert set(found.tolist()) <= set(among.tolist())
    assert len(found) >= min(k, len(rows)), "k come back where k pass"
    assert cosines == pytest.approx(truth[found], abs=1e-12)
    assert cosines[: len(best)] == pytest.approx(best, abs=1e-12)
    assert (cosines[len(best) :] == cosines[len(best) - 1 : len(best)]).all(), "equals of the last come too"
    assert (np.diff(cosines) <= 0).all()
    assert len(found) <= settled <= compared


@given(seed=st.integers(0, 2**20), k=st.integers(1, 300))
def test_where_lists_are_trusted_to_reach_anywhere_the_answer_is_that_of_a_scan(seed: int, k: int) -> None:
    """A list of a single row reaches as far as that row, so it may stay closed even then."""
    listed = Listed.of(seed % 7, 250, "float32")
    rows = _drawn_rows(np.random.default_rng(seed), listed, 0.6)
    query = np.random.default_rng(seed + 1).standard_normal(DIMENSION)
    query /= np.linalg.norm(query)
    code, codes = encode_query(query), listed.codes
    scanned, cosines, _ = best_rows(codes.values, codes.bounds, listed.stored, rows, query, code, k)
    offsets = rows.searchsorted(listed.partition.starts)
    found, scores, _, compared, opened, everything = best_of_lists(
        codes.values, codes.bounds, listed.stored, rows, listed.partition.compiled, offsets, query, code, code, k, 100.0
    )
    passing = np.diff(offsets)
    assert opened >= (passing > 1).sum()
    assert everything == (compared == len(rows)) == (opened == (passing > 0).sum())
    assert found.tolist() == scanned.tolist()
    assert scores.tobytes() == cosines.tobytes()


@given(seed=st.integers(0, 2**20), k=st.integers(1, 40))
def test_one_call_does_what_its_parts_do(seed: int, k: int) -> None:
    """The search of a vector as it comes: unit length, code, rows, and whether scores tie."""
    listed = Listed.of(seed % 5, 200, "float32")
    repeated = np.array(listed.stored)
    repeated[50:60] = repeated[50]
    codes = Codes(*encode_rows(repeated))
    _read_only(repeated, codes)
    generator = np.random.default_rng(seed)
    rows = _drawn_rows(generator, listed, 0.7)
    rows.setflags(write=False)
    offsets = rows.searchsorted(listed.partition.starts)
    vector = 1e3 * generator.standard_normal(DIMENSION)
    query = vector / np.sqrt((vector * vector).sum())
    found, scores, settled, tied, has_length = best_of_codes(codes.values, codes.bounds, repeated, rows, vector, k)
    parts = best_rows(codes.values, codes.bounds, repeated, rows, query, encode_query(query), k)
    assert has_length
    assert (sorted(found.tolist()), settled) == (sorted(parts[0].tolist()), parts[2])
    assert scores == pytest.approx(parts[1], abs=1e-14)
    assert tied == (len(set(scores.tolist())) < len(scores))
    by_list: Any = best_of_code_lists(
        codes.values, codes.bounds, repeated, rows, listed.partition.compiled, offsets, vector, k, 0.5
    )
    code = encode_query(query)
    apart = best_of_lists(
        codes.values, codes.bounds, repeated, rows, listed.partition.compiled, offsets, query, code, code, k, 0.5
    )
    assert sorted(by_list[0].tolist()) == sorted(apart[0].tolist())
    assert by_list[1] == pytest.approx(apart[1], abs=1e-14)
    assert by_list[2:6] == apart[2:]
    assert by_list[6:] == (len(set(by_list[1].tolist())) < len(by_list[1]), True)


@pytest.mark.parametrize("vector", [np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.full(DIMENSION, np.inf)])
def test_a_vector_without_a_length_is_not_searched(vector: NDArray[np.float64]) -> None:
    listed = Listed.of(0, 80, "float32")
    rows, codes = np.arange(80), listed.codes
    rows.setflags(write=False)
    assert not best_of_codes(codes.values, codes.bounds, listed.stored, rows, vector, 3)[-1]
    found = best_of_code_lists(
        codes.values, codes.bounds, listed.stored, rows, listed.partition.compiled, listed.partition.starts, vector, 3,
        0.5,
    )  # fmt: skip
    assert len(found[0]) == 0
    assert not found[-1]


def test_more_rows_can_win_than_there_was_room_for() -> None:
    """Rows so alike that no bound tells them apart, many times the room that a search begins with."""
    generator = np.random.default_rng(0)
    rows = np.eye(1, DIMENSION) + 1e-4 * generator.standard_normal((1_000, DIMENSION))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    values, bounds = encode_rows(rows)
    _read_only(rows, Codes(values, bounds))
    query = np.ones(DIMENSION) / np.sqrt(DIMENSION)
    found, cosines, settled = best_rows(values, bounds, rows, np.arange(1_000), query, encode_query(query), 5)
    truth = rows.astype(np.float64) @ query
    assert settled > 500
    assert found.tolist() == np.argsort(-truth)[:5].tolist()
    assert cosines == pytest.approx(np.sort(truth)[::-1][:5], abs=1e-12)


def test_few_survive_where_scores_differ() -> None:
    generator = np.random.default_rng(3)
    rows = generator.standard_normal((2_000, 64))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    values, bounds = encode_rows(rows)
    _read_only(rows, Codes(values, bounds))
    query = rows[7].astype(np.float64) / np.linalg.norm(rows[7].astype(np.float64))
    found, _, settled = best_rows(values, bounds, rows, np.arange(2_000), query, encode_query(query), 5)
    assert found[0] == 7
    assert settled < 60


def test_a_larger_margin_opens_more_lists_and_finds_more() -> None:
    listed = Listed.of(1, 2_000, "float32")
    generator = np.random.default_rng(2)
    queries = generator.standard_normal((40, DIMENSION)) + 3 * read_rows(listed.stored[::50])
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rows, truth = np.arange(2_000), queries @ read_rows(listed.stored).T
    opened, shared = [], []
    for margin in (0.0, 0.3, 0.6, 1.0, 2.0):
        answers = [
            best_of_lists(
                listed.codes.values, listed.codes.bounds, listed.stored, rows, listed.partition.compiled,
                listed.partition.starts, query, encode_query(query), encode_query(query), 10, margin,
            )
            for query in queries
        ]  # fmt: skip
        opened.append(sum(answer[4] for answer in answers))
        best = [set(np.argsort(-scores)[:10].tolist()) for scores in truth]
        shared.append(sum(len(set(answer[0].tolist()) & wanted) for answer, wanted in zip(answers, best, strict=True)))
    assert opened == sorted(opened)
    assert shared == sorted(shared)
    assert opened[0] < opened[-1] / 3
    assert shared[-1] == 400
