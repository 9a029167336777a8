"""Levels by the published law, and arrays that must fit each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.foundation import StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures.hnsw import build_hnsw
from embedworks.index.structures.layers import LayeredGraph, draw_levels


def generic(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    """Directions in general position: no two distances are equal."""
    vectors = random_generator(seed, "generic").standard_normal((rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_levels_follow_the_published_law_and_do_not_depend_on_the_number_of_rows() -> None:
    levels = draw_levels(200_000, 16, 3)
    assert (levels[:500] == draw_levels(500, 16, 3)).all()
    for level in (1, 2, 3):
        expected = 16.0**-level
        assert abs((levels >= level).mean() - expected) < 4 * math.sqrt(expected / 200_000)


def test_a_graph_that_does_not_fit_is_refused() -> None:
    arrays = build_hnsw(generic(50, 4, 0), degree=4).arrays()
    with pytest.raises(StorageError, match="do not fit"):
        LayeredGraph.restore({**arrays, "links": arrays["links"][:-1]}, 0)
    with pytest.raises(StorageError, match="do not fit"):
        LayeredGraph.restore(arrays, 50)
