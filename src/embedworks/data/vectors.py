"""Vectors in a file: one .npy matrix, a row an item, mapped and not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError

_MEND = "make one with: embedworks encode minilm texts.parquet --out vectors.npy"


def read_vectors(path: str | Path) -> NDArray[Any]:
    """Map a file of vectors.

    Args:
        path: An .npy file of a matrix of real numbers, shape (n, d).

    Returns:
        The matrix in the type it was stored in, read-only, mapped from the file.

    Raises:
        InputError: The file is missing, is no .npy file, or holds something else than a matrix of numbers.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("is not there", where=str(file), mend="give an .npy file of vectors")
    try:
        vectors: NDArray[Any] = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise InputError("is no .npy file of numbers", where=str(file), mend=_MEND) from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise InputError("holds no matrix of numbers", where=str(file), mend=_MEND)
    return vectors
