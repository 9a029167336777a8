"""Product codes: two components at a time are replaced by the nearest of 256 codewords, one byte for both.

Jégou, Douze and Schmid, "Product quantization for nearest neighbor search" (2011); faiss finds the codewords. What a
code stands for is scaled so that the rest of the row stands at a right angle to it; with x = y + r, y and r at a right
angle, and |q| = |x| = 1,

    |<q, x> - <q, y>| = |<q - y <q, y> / |y|^2, r>| <= |r| sqrt(1 - <q, y>^2 / |y|^2),

which is what a scan relies on. It holds for every row, so what is left out is left out for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index.codes import rounded_up
from embedworks.index.stored_vectors import StoredRows, read_rows

CODED_ROWS: Final = 4_096
"""Codebooks cost as much as this many codes of 96 bytes; a smaller segment is coded by whole numbers."""
COMPONENTS: Final = 2
CODEWORDS: Final = 256
_TRAINED_ON: Final = 16 * CODEWORDS
_ROUNDS: Final = 8
_ROWS_AT_ONCE: Final = 8_192


def product_codes(
    blocks: Sequence[StoredRows], *, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Find codewords for some rows, and their codes.

    Args:
        blocks: Rows that follow each other, float32, float16 or int8, each of shape (any, d); at least 256 in all.
        seed: Of the sample and of the first codewords.

    Returns:
        Values, bounds and codebooks, as in :class:`embedworks.index.codes.Codes`; where d is odd, a component that is
        always 0 was added.
    """
    import faiss

    count, dimension = sum(len(block) for block in blocks), blocks[0].shape[1]
    parts = -(-dimension // COMPONENTS)
    firsts = np.cumsum([0, *(len(block) for block in blocks)])
    generator = random_generator(seed, "product codes")
    chosen = np.sort(generator.choice(count, size=min(_TRAINED_ON, count), replace=False))
    sample = [
        block[chosen[(chosen >= first) & (chosen < first + len(block))] - first]
        for first, block in zip(firsts, blocks, strict=False)
    ]
    quantizer = faiss.ProductQuantizer(parts * COMPONENTS, parts, 8)
    quantizer.cp.seed, quantizer.cp.niter = int(generator.integers(2**31)), _ROUNDS
    quantizer.cp.min_points_per_centroid, quantizer.cp.max_points_per_centroid = 1, _TRAINED_ON
    quantizer.train(np.concatenate([_even(read_rows(block)) for block in sample]).astype(np.float32))
    codebooks = faiss.vector_to_array(quantizer.centroids).reshape(parts, CODEWORDS, COMPONENTS)
    values = np.empty((count, parts), dtype=np.uint8)
    bounds = np.empty((count, 2), dtype=np.float32)
    for first, block in zip(firsts, blocks, strict=False):
        for start in range(0, len(block), _ROWS_AT_ONCE):
            rows = _even(read_rows(block[start : start + _ROWS_AT_ONCE]))
            part = slice(first + start, first + start + len(rows))
            values[part] = quantizer.compute_codes(rows.astype(np.float32))
            meant = codebooks[np.arange(parts), values[part]].reshape(len(rows), -1).astype(np.float64)
            squares = np.einsum("rd,rd->r", meant, meant)
            scales = np.einsum("rd,rd->r", rows, meant) / np.where(squares > 0, squares, 1)
            bounds[part, 0] = scales
            rest = rows - bounds[part, :1].astype(np.float64) * meant
            bounds[part, 1] = rounded_up(np.sqrt(np.einsum("rd,rd->r", rest, rest)))
    return values, bounds, codebooks


def _even(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a component of 0 where their number is odd."""
    return np.pad(rows, ((0, 0), (0, rows.shape[1] % COMPONENTS)))
