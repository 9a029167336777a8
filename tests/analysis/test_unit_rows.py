"""Rows are read as unit vectors, whatever their type and size, and what has no direction is refused with its row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedworks.analysis.unit_rows import UnitRows
from embedworks.foundation import InputError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16])
@pytest.mark.parametrize("rows", [1, 3, 2500])
def test_rows_and_mean_are_those_of_the_plain_computation(dtype: type, rows: int) -> None:
    values = (np.random.default_rng(0).uniform(1, 100, (rows, 5))).astype(dtype)
    unit = values.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    read = UnitRows(values, name="x")
    assert len(read) == rows
    assert np.allclose(read.whole(), unit, atol=1e-15)
    assert np.allclose(np.concatenate([block for _, block in read.blocks(1000)]), unit, atol=1e-15)
    assert np.allclose(read.mean, unit.mean(axis=0), atol=1e-14)
    assert np.allclose(read.dots(np.arange(5.0)), unit @ np.arange(5.0), atol=1e-13)


@pytest.mark.parametrize("scale", [1e-200, 1e-300, 1e150, 1e300])
def test_rows_whose_squares_leave_float64_are_read(scale: float) -> None:
    read = UnitRows(np.array([[3.0, 4.0], [0.6, 0.8]]) * [[scale], [1.0]], name="x")
    assert np.allclose(read.whole(), [[0.6, 0.8], [0.6, 0.8]], atol=1e-12)
    assert np.allclose(read.mean, [0.6, 0.8], atol=1e-12)


def test_a_memory_mapped_file_is_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((3000, 4)).astype(np.float16)
    np.save(tmp_path / "x.npy", values)
    mapped = UnitRows(np.load(tmp_path / "x.npy", mmap_mode="r"), name="x")
    assert np.array_equal(mapped.mean, UnitRows(values, name="x").mean)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 0.0], [0.0, 0.0]], "row 1: is zero"),
        ([[1.0, np.nan]], "row 0: holds NaN"),
        ([[1.0, 0.0], [1.0, 1.0], [np.inf, 0.0]], "row 2: holds NaN or infinity"),
        ([1.0, 2.0], r"shape \(2,\)"),
        ([[[1.0]]], r"shape \(1, 1, 1\)"),
        (np.empty((0, 3)), "empty"),
        (np.empty((3, 0)), "empty"),
        ([[1.0], [1.0, 2.0]], "no matrix"),
        ([["a", "b"]], "real numbers"),
        ([[1j, 2]], "real numbers"),
        ([[True, False]], "real numbers"),
        (np.array([[object()]]), "real numbers"),
        ([[1.7e308, 1.7e308]], "too long"),
    ],
)
def test_what_has_no_direction_is_refused(values: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        UnitRows(values, name="x")  # type: ignore[arg-type]


def test_the_row_is_named_across_blocks() -> None:
    values = np.ones((5000, 3))
    values[4321, 1] = np.nan
    with pytest.raises(InputError, match="row 4321"):
        UnitRows(values, name="x")


def test_share_of_repeated_rows() -> None:
    values = np.random.default_rng(0).standard_normal((2000, 6)).astype(np.float32)
    assert UnitRows(values, name="x").duplicate_share == 0.0
    values[1500:] = values[:500]
    assert UnitRows(values, name="x").duplicate_share == pytest.approx(0.25)
    assert UnitRows([[0.0, 1.0], [-0.0, 1.0]], name="x").duplicate_share == pytest.approx(0.5)
    assert UnitRows([[0.0, 1.0], [0.0, 2.0]], name="x").duplicate_share == 0.0, "other lengths are other rows"


@pytest.mark.parametrize("dtype", [np.int16, np.float16, np.float32])
def test_numbers_of_few_digits_are_not_taken_for_repeated(dtype: type) -> None:
    grid = np.stack(np.meshgrid(np.arange(1, 257), np.arange(1, 257)), axis=-1).reshape(-1, 2)
    assert UnitRows(grid.astype(dtype), name="x").duplicate_share == 0.0
