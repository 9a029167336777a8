"""What every structure is made of: answers, counters, and the refusal of filters and rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index.structures import Attributes, Counters, checked_vectors
from embedworks.index.structures.prefilter import PreFilter
from embedworks.index.structures.structure import Vectors


def signs(rows: int, seed: int) -> Vectors:
    """Corners of a cube: products are exact in float32, most distances tie, rows repeat."""
    return random_generator(seed, "signs").choice(np.float32([-0.25, 0.25]), size=(rows, 16)).astype(np.float32)


def test_padding_says_where_nothing_was_found() -> None:
    vectors = signs(3, 2)
    attributes = Attributes(pa.table({"place": [0, 1, 2]}))
    found = PreFilter.build(vectors).search(vectors[0], 5, attributes.range("place", low=1), beam=1)
    rows, distances = found.padded(5)
    assert sorted(rows[:2].tolist()) == [1, 2]
    assert rows[2:].tolist() == [-1] * 3
    assert np.isinf(distances[2:]).all()
    assert rows.dtype == np.int64


def test_counters_add() -> None:
    assert Counters(1, 2, 3) + Counters(10, 20, 30) == Counters(11, 22, 33)


def test_a_filter_a_structure_does_not_answer_is_refused() -> None:
    class Choosy(PreFilter):
        def supports(self, where: object) -> bool:
            return False

    with pytest.raises(InputError, match="pre-filter answers no filter of the form no filter"):
        Choosy(signs(5, 0)).refuse_unsupported(Attributes(pa.table({"x": np.arange(5)})).everything())


def test_rows_are_taken_as_contiguous_float32_and_the_bad_one_is_named() -> None:
    rows = np.asfortranarray(signs(6, 1).astype(np.float64))
    taken = checked_vectors(rows)
    assert taken.dtype == np.float32
    assert taken.flags.c_contiguous
    assert (taken == rows).all()
    rows[4] *= 1.1
    with pytest.raises(InputError, match="vectors, row 4"):
        checked_vectors(rows)
    with pytest.raises(InputError, match="at least one row"):
        checked_vectors(rows[:, :0])
