"""Pooling without parameters, against loops over each text alone."""

from __future__ import annotations

import pytest
import torch

from embedworks.encoders import stock_pooling
from embedworks.encoders.pooling import STOCK_POOLING_MODES

SLOW = {
    "mean": lambda text: sum(text) / len(text),
    "last-token": lambda text: text[-1],
    "weighted-mean": lambda text: sum((t + 1) * state for t, state in enumerate(text)) / sum(range(1, len(text) + 1)),
    "cls": lambda text: text[0],
}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", list(STOCK_POOLING_MODES))
def test_each_pooling_equals_the_loop_on_either_side(name: str, side: str) -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randn(length, 5, generator=generator, dtype=torch.float64) for length in (4, 1, 3)]
    states, mask = torch.full((3, 4, 5), 9.0, dtype=torch.float64), torch.zeros(3, 4, dtype=torch.int64)
    for row, text in enumerate(texts):
        place = slice(4 - len(text), 4) if side == "left" else slice(0, len(text))
        states[row, place], mask[row, place] = text, 1
    got = stock_pooling(name, 5)({"token_embeddings": states, "attention_mask": mask})["sentence_embedding"]
    expected = torch.stack([SLOW[name](list(text)) for text in texts])
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
