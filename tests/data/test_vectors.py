"""A file of vectors is mapped as it is; anything else is refused in one line, and nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedworks.data import read_vectors
from embedworks.foundation import InputError


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8"])
def test_a_matrix_is_mapped_in_its_own_type(tmp_path: Path, kind: str) -> None:
    written = np.arange(6).reshape(2, 3).astype(kind)
    np.save(tmp_path / "vectors.npy", written)
    read = read_vectors(tmp_path / "vectors.npy")
    assert isinstance(read, np.memmap)
    assert read.dtype == written.dtype
    assert (read == written).all()


def _file(folder: Path, content: object) -> Path:
    path = folder / "vectors.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "not there"),
        (b"", r"no \.npy file"),
        (b"PK\x03\x04 not really", r"no \.npy file"),
        (np.array([[{}]], dtype=object), r"no \.npy file"),
        (np.arange(3.0), "no matrix"),
        (np.array([["a"]]), "no matrix"),
        (np.array([[1j]]), "no matrix"),
    ],
    ids=["missing", "empty", "foreign", "pickle", "flat", "text", "complex"],
)
def test_anything_else_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_vectors(_file(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path, np.ones((10, 4)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"no \.npy file"):
        read_vectors(path)


def test_an_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "vectors.npz", a=np.ones((2, 2)))
    with pytest.raises(InputError, match="no"):
        read_vectors(tmp_path / "vectors.npz")
