"""Products of bytes against int64, the two forms of a query against float64 and each other, and no such instruction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from embedworks.index import Index
from embedworks.index.byte_products import DIGIT, LARGEST_QUERY, available, digit_product
from embedworks.index.codes import encode_rows
from embedworks.index.scoring import code_score, code_slack, encode_query, query_in_digits, query_in_words
from embedworks.index.structures.kernels import compiled

needs_instruction = pytest.mark.skipif(not available(), reason="this processor has no AVX-512 VNNI")
OTHER_PROCESSOR = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}


@compiled
def _products(rows: Any, digits: Any) -> Any:
    found = np.empty(rows.shape[0], dtype=np.int32)
    for row in range(rows.shape[0]):
        found[row] = digit_product(rows[row], digits)
    return found


@compiled
def _scores(values: Any, bounds: Any, code: Any) -> Any:
    query, scale, error, surplus = code
    found = np.empty((values.shape[0], 2), dtype=np.float32)
    for row in range(values.shape[0]):
        found[row, 0] = code_score(values[row], bounds[row, 0], query, scale, surplus)
        found[row, 1] = code_slack(query, found[row, 0], bounds[row, 1], error)
    return found


def _true_products(rows: NDArray[np.int8], digits: NDArray[np.int8]) -> NDArray[np.int32]:
    """The low 32 bits of the product of unsigned bytes and a query of two digits."""
    query = DIGIT * digits[0].astype(np.int64) + digits[1].astype(np.int64)
    products: NDArray[np.int32] = ((rows.astype(np.int64) + 128) @ query).astype(np.int32)
    return products


def _unit(generator: np.random.Generator, rows: int, dimension: int, *, spread: float = 1.0) -> NDArray[np.float64]:
    vectors = generator.standard_normal((rows, dimension)) * np.exp(spread * generator.standard_normal(dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@needs_instruction
@pytest.mark.parametrize("dimension", [*range(1, 66), 96, 127, 128, 129, 191, 192, 193, 384, 768, 999, 1000])
def test_products_are_those_of_whole_numbers(dimension: int) -> None:
    generator = np.random.default_rng(dimension)
    rows = generator.integers(-127, 128, (4, dimension)).astype(np.int8)
    rows = np.concatenate([rows, np.full((1, dimension), 127), np.full((1, dimension), -127)]).astype(np.int8)
    for digits in (
        generator.integers(-128, 128, (2, dimension)),
        np.full((2, dimension), -128),
        np.zeros((2, dimension)),
    ):
        digits = digits.astype(np.int8)
        np.testing.assert_array_equal(_products(rows, digits), _true_products(rows, digits))


@needs_instruction
@given(data=st.data(), dimension=st.integers(1, 200))
def test_any_bytes_are_multiplied(data: st.DataObject, dimension: int) -> None:
    rows = data.draw(arrays.arrays(np.int8, (2, dimension)))
    digits = data.draw(arrays.arrays(np.int8, (2, dimension)))
    np.testing.assert_array_equal(_products(rows, digits), _true_products(rows, digits))


@needs_instruction
def test_every_digit_and_every_byte_meet() -> None:
    """Each pair of a byte and a digit alone, in a lane of the tail and in a full one."""
    bytes_ = np.repeat(np.arange(-128, 128), 256).astype(np.int8)
    digits = np.tile(np.arange(-128, 128), 256).astype(np.int8)
    for dimension, lane in ((1, 0), (64, 63), (70, 69)):
        rows = np.full((256, dimension), -128, dtype=np.int8)  # a byte of -128 is 0 where it is unsigned
        for digit in range(-128, 128):
            query = np.zeros((2, dimension), dtype=np.int8)
            query[1, lane] = digit
            rows[:, lane] = bytes_[digits == digit]
            np.testing.assert_array_equal(_products(rows, query), (rows[:, lane].astype(np.int32) + 128) * digit)


@needs_instruction
def test_a_product_reads_nothing_behind_the_end() -> None:
    """A row of any length at the very end of an array, beside other bytes than 0."""
    generator = np.random.default_rng(0)
    for dimension in (1, 63, 65, 130):
        around = generator.integers(-127, 128, (3, dimension)).astype(np.int8)
        digits = generator.integers(-128, 128, (2, dimension)).astype(np.int8)
        np.testing.assert_array_equal(_products(around[1:2], digits), _true_products(around[1:2], digits))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    dimension=st.sampled_from([1, 2, 3, 16, 63, 64, 65, 100, 384, 1000]),
    spread=st.sampled_from([0.0, 1.0, 4.0]),
)
def test_both_forms_of_a_query_score_within_the_bound(seed: int, dimension: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    rows = _unit(generator, 40, dimension, spread=spread)
    query = _unit(generator, 1, dimension, spread=spread)[0]
    values, bounds = encode_rows(rows.astype(np.float32))
    truth = rows.astype(np.float32).astype(np.float64) @ query
    encoders = [query_in_words, *([query_in_digits] if available() else [])]
    found = [_scores(values, bounds, encode(query)).astype(np.float64) for encode in encoders]
    for scores in found:
        assert (np.abs(scores[:, 0] - truth) <= scores[:, 1]).all()
        assert scores[:, 1].max() <= 2 * bounds[:, 1].max() + 4e-3, "the bound is of use"
    assert (np.abs(found[0][:, 0] - found[-1][:, 0]) <= found[0][:, 1] + found[-1][:, 1]).all()


@given(seed=st.integers(0, 2**20), dimension=st.sampled_from([1, 2, 7, 64, 384, 4096, 70_000]))
def test_both_forms_stand_for_the_query(seed: int, dimension: int) -> None:
    """Levels times the scale are as near as is said, within their range, and the surplus is what 128 adds."""
    query = _unit(np.random.default_rng(seed), 1, dimension)[0]
    levels, scale, missed, surplus = query_in_words(query)
    assert levels.dtype == np.int16
    assert np.linalg.norm(query - scale * levels.astype(np.float64)) <= missed < 0.01
    assert surplus == 0
    digits, scale, missed, surplus = query_in_digits(query)
    assert digits.dtype == np.int8
    levels = DIGIT * digits[0].astype(np.int64) + digits[1]
    assert np.abs(levels).max() <= LARGEST_QUERY
    assert (np.abs(digits[1].astype(np.int64)) <= DIGIT // 2).all()
    assert np.linalg.norm(query - scale * levels) <= missed < 0.01
    assert surplus == np.int64(128 * levels.sum()).astype(np.int32)


def test_the_largest_numbers_of_a_query_fit_two_digits() -> None:
    for component in (1.0, -1.0):
        digits, _, missed, _ = query_in_digits(np.array([component, 0.0]))
        assert (DIGIT * digits[0].astype(np.int64) + digits[1]).tolist() == [component * LARGEST_QUERY, 0]
        assert missed < 1e-12


@pytest.mark.parametrize("dimension", [1_500, 2_500, 4_099, 10_007, 65_536])
@pytest.mark.parametrize("encode", [query_in_words, query_in_digits])
def test_no_sum_leaves_32_bits_however_levels_are_rounded(encode: Any, dimension: int) -> None:
    """Every component but one lies just above the middle of two levels, and the row is at its largest everywhere."""
    for levels in {int((2**31 - 2**16) / (127 * dimension) - half) for half in (-0.5, 0.0, 0.5, 1.0)}:
        query = np.full(dimension, levels - 0.5)
        query[0] = levels - 1e-4
        code, _, _, _ = encode(query / np.linalg.norm(query))
        numbers = code.astype(np.int64) if code.ndim == 1 else DIGIT * code[0].astype(np.int64) + code[1]
        assert 127 * np.abs(numbers).sum() < 2**31


def test_a_row_like_the_query_is_not_lost_to_a_sum_too_large(index_path: Path) -> None:
    rows = np.concatenate([np.full((1, 2_500), 0.02), np.eye(2_500)[:5]])
    query = np.full(2_500, 6_763.5)
    query[0] = 6_764 - 1e-4
    index = Index.create(index_path, dimension=2_500, lexical=False)
    index.add([f"{row}" for row in range(6)], rows)
    assert [hit.id for hit in index.search(query, k=2).hits] == ["0", "1"]


def test_the_form_that_is_used_is_that_of_this_processor() -> None:
    assert encode_query is (query_in_digits if available() else query_in_words)


@pytest.fixture(scope="module")
def shared_index(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float64]]:
    generator = np.random.default_rng(5)
    index = Index.create(tmp_path_factory.mktemp("processors") / "shared.index", dimension=70, lexical=False)
    centres = generator.standard_normal((9, 70))
    index.add(
        [f"{row:04d}" for row in range(600)],
        centres[generator.integers(0, 9, 600)] + 0.3 * generator.standard_normal((600, 70)),
        attributes={"even": [row % 2 == 0 for row in range(600)]},
    )
    return index.path, generator.standard_normal((5, 70))


_SEARCH = """
import json, sys
import numpy as np
from embedworks.index import Index
from embedworks.index.byte_products import available
index, queries = Index.open(sys.argv[1]), np.array(json.loads(sys.argv[2]))
found = [[(hit.id, hit.score) for hit in index.search(query, k=8, where="even").hits] for query in queries]
print(json.dumps({"available": available(), "found": found}))
"""


@pytest.mark.parametrize(
    "settings", [OTHER_PROCESSOR, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_FEATURES": "+sse2"}], ids=str
)
def test_code_for_another_processor_has_no_such_instruction(settings: dict[str, str]) -> None:
    """The processor at hand says nothing about the one that is compiled for."""
    line = "from embedworks.index.byte_products import available; print(available())"
    done = subprocess.run(
        [sys.executable, "-c", line], env={**os.environ, **settings}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_a_search_compiled_for_another_processor_finds_the_same(
    shared_index: tuple[Path, NDArray[np.float64]],
) -> None:
    path, queries = shared_index
    done = subprocess.run(
        [sys.executable, "-c", _SEARCH, str(path), json.dumps(queries.tolist())],
        env={**os.environ, **OTHER_PROCESSOR},
        capture_output=True,
        text=True,
        check=True,
    )
    other = json.loads(done.stdout)
    assert other["available"] is False
    for query, found in zip(queries, other["found"], strict=True):
        hits = Index.open(path).search(query, k=8, where="even").hits
        assert [name for name, _ in found] == [hit.id for hit in hits]
        assert [score for _, score in found] == pytest.approx([hit.score for hit in hits], abs=1e-13)
