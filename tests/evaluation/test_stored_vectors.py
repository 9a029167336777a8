"""Vectors looked up by text."""

from __future__ import annotations

import numpy as np
import pytest

from embedworks.evaluation.stored_vectors import StoredVectors
from embedworks.foundation import InputError
from embedworks.foundation.protocols import Encoder


def test_it_is_an_encoder_that_gives_back_what_was_stored() -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    stored = StoredVectors(["a", "b", "c"], vectors)
    assert isinstance(stored, Encoder)
    assert stored.dimension == 2
    assert np.array_equal(stored.encode(["c", "a", "c"]), vectors[[2, 0, 2]])
    assert stored.encode([]).shape == (0, 2)


def test_an_unknown_text_is_refused() -> None:
    with pytest.raises(InputError, match="no vector is stored for 'z'"):
        StoredVectors(["a"], np.zeros((1, 2), np.float32)).encode(["a", "z"])


@pytest.mark.parametrize(
    ("texts", "shape", "message"),
    [(["a", "a"], (2, 3), "twice"), (["a"], (2, 3), "shape"), (["a", "b"], (2,), "shape")],
)
def test_what_does_not_fit_is_refused(texts: list[str], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        StoredVectors(texts, np.zeros(shape, np.float32))
