"""Asking for memory early changes nothing that is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from embedworks.index.prefetch import prefetch_row
from embedworks.index.structures.kernels import compiled


@compiled
def _sums(matrix: Any, rows: Any) -> Any:
    totals = np.zeros(rows.shape[0], dtype=np.int64)
    for place in range(rows.shape[0]):
        if place + 1 < rows.shape[0]:
            prefetch_row(matrix, rows[place + 1])
        for component in range(matrix.shape[1]):
            totals[place] += matrix[rows[place], component]
    return totals


@pytest.mark.parametrize("width", [1, 63, 64, 65, 384])
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32])
def test_sums_are_those_without(width: int, kind: Any) -> None:
    generator = np.random.default_rng(width)
    matrix = generator.integers(0, 100, (50, width)).astype(kind)
    rows = generator.integers(0, 50, 200).astype(np.int32)
    np.testing.assert_array_equal(_sums(matrix, rows), matrix[rows].sum(axis=1))
