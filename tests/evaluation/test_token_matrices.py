"""Token matrices out of padded batches, and laid end to end."""

from __future__ import annotations

import numpy as np
import pytest

from embedworks.evaluation.token_matrices import check_token_matrices, token_blocks, unpadded
from embedworks.foundation import InputError, NonFiniteError


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_taken_out_on_either_side(side: str) -> None:
    generator = np.random.default_rng(0)
    texts = [generator.standard_normal((length, 3)) for length in (2, 5, 1)]
    states, mask = np.full((3, 5, 3), np.nan), np.zeros((3, 5), dtype=np.int64)
    for row, text in enumerate(texts):
        place = slice(5 - len(text), 5) if side == "left" else slice(0, len(text))
        states[row, place], mask[row, place] = text, 1
    for got, text in zip(unpadded(states, mask), texts, strict=True):
        np.testing.assert_array_equal(got, text)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="a mask of shape"):
        unpadded(np.ones((2, 3, 4)), np.ones((2, 4)))
    with pytest.raises(InputError, match="here, document 0"):
        check_token_matrices([np.ones((1, 2))], [np.ones((0, 2))], where="here")


@pytest.mark.parametrize("most", [1, 4, 100])
def test_blocks_hold_every_text_once_and_in_order(most: int) -> None:
    texts = [np.full((length, 2), float(row)) for row, length in enumerate((2, 1, 6, 1, 1))]
    blocks = list(token_blocks(texts, most=most, dtype=np.float32, name="text"))
    assert [row for block in blocks for row in range(block.first, block.last)] == [0, 1, 2, 3, 4]
    for block in blocks:
        assert len(block.vectors) <= most or block.last - block.first == 1
        for text, start, length in zip(range(block.first, block.last), block.starts, block.lengths, strict=True):
            assert (block.vectors[start : start + length] == text).all()
            assert length == len(texts[text])
    assert list(token_blocks([], most=most, dtype=np.float32, name="text")) == []


@pytest.mark.parametrize("most", [1, 100])
def test_what_is_not_finite_is_named(most: int) -> None:
    texts = [np.ones((2, 2)), np.ones((1, 2)), np.array([[1.0, 1.0], [np.nan, 1.0]])]
    with pytest.raises(NonFiniteError, match="text 2"):
        list(token_blocks(texts, most=most, dtype=np.float64, name="text"))
