"""A sample of DEEP1B: vectors of images by a convolutional network, in the format fvecs."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedworks.data.download import File
from embedworks.foundation import StorageError

_ADDRESS = "https://raw.githubusercontent.com/rutgers-db/SeRF/5666c2a/sample_data"
_DIMENSION = 96

DEEP_FILES = (
    File(
        "base.fvecs",
        f"{_ADDRESS}/deep_10k.fvecs",
        3_880_000,
        "820da6846af3fa1239530c55f88f2d77b1f248c571af68d987fd436ac05f422e",
    ),
    File(
        "query.fvecs",
        f"{_ADDRESS}/deep_query.fvecs",
        3_880_000,
        "0359efc4a332e6f79ebeade7665aa314e10b122fea1d54b3878f97c9bb5ba574",
    ),
)


def load_deep(paths: Mapping[str, Path]) -> dict[str, NDArray[np.float32]]:
    """Read the vectors to search and the vectors to search for.

    Args:
        paths: File name to local path.

    Returns:
        ``base`` and ``query``, float32, shape (10000, 96), rows of length 1.

    Raises:
        StorageError: A file is no fvecs file of 96 dimensions.
    """
    return {path.name.partition(".")[0]: _fvecs(path) for path in paths.values()}


def _fvecs(path: Path) -> NDArray[np.float32]:
    """Read rows of a little-endian int32 dimension and as many float32."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        content = stream.read()
    width = 4 * (1 + _DIMENSION)
    rows = np.frombuffer(content[: len(content) // width * width], dtype="<i4").reshape(-1, 1 + _DIMENSION)
    if len(content) % width or (rows[:, 0] != _DIMENSION).any():
        raise StorageError(
            f"is no fvecs file of {_DIMENSION} dimensions", where=str(path), mend="get the published file again"
        )
    return np.ascontiguousarray(rows[:, 1:].view("<f4"), dtype=np.float32)
