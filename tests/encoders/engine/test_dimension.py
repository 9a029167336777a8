"""The first components of vectors, of length 1 again: in memory, in a file, chunked, and as the library cuts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense

from embedworks.encoders import TextEncoder, build, export, load
from embedworks.encoders.engine import Overflow, encode_texts, encode_to_file
from embedworks.foundation import InputError

TEXTS = [f"stone {row % 30} " + "river " * (row % 7) for row in range(40)]
LONG = ["green " * 200, "a short one"]


def cut(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float64]:
    first = vectors[:, :dimension].astype(np.float64)
    return np.asarray(first / np.linalg.norm(first, axis=1, keepdims=True))


@pytest.mark.parametrize("dimension", [1, 2, 24, 63, 64])
def test_the_first_components_have_length_one_again(model: SentenceTransformer, dimension: int) -> None:
    whole, _ = encode_texts(model, TEXTS, precision="float32")
    vectors, _ = encode_texts(model, TEXTS, precision="float32", dimension=dimension)
    assert vectors.shape == (len(TEXTS), dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, cut(whole, dimension), rtol=0, atol=2e-6)


def test_it_is_what_the_library_gives_when_it_cuts_and_normalises(model: SentenceTransformer) -> None:
    expected = model.encode(TEXTS, truncate_dim=16, normalize_embeddings=True, show_progress_bar=False)
    vectors, _ = encode_texts(model, TEXTS, precision="float32", dimension=16)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("overflow", ["truncate", "chunk"])
def test_long_texts_are_joined_before_they_are_cut(model: SentenceTransformer, overflow: Overflow) -> None:
    whole, _ = encode_texts(model, LONG, precision="float32", overflow=overflow)
    vectors, _ = encode_texts(model, LONG, precision="float32", overflow=overflow, dimension=10)
    np.testing.assert_allclose(vectors, cut(whole, 10), rtol=0, atol=2e-6)


def test_duplicates_and_no_texts(model: SentenceTransformer) -> None:
    vectors, report = encode_texts(model, ["red", "stone", "red"], dimension=5)
    assert report.duplicates == 1
    assert np.array_equal(vectors[0], vectors[2])
    assert encode_texts(model, [], dimension=5)[0].shape == (0, 5)


def test_files_hold_what_memory_holds_and_know_their_dimension(tmp_path: Path, model: SentenceTransformer) -> None:
    vectors, _ = encode_texts(model, TEXTS, precision="float32", dimension=12, window=16)
    encode_to_file(model, TEXTS, tmp_path / "v.npy", precision="float32", dimension=12, window=16)
    assert np.array_equal(np.load(tmp_path / "v.npy"), vectors)

    def broken() -> object:
        yield from TEXTS[:30]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_to_file(model, broken(), tmp_path / "w.npy", precision="float32", dimension=12, window=16)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        encode_to_file(model, iter(TEXTS), tmp_path / "w.npy", precision="float32", dimension=13, window=16)
    report = encode_to_file(model, iter(TEXTS), tmp_path / "w.npy", precision="float32", dimension=12, window=16)
    assert report.resumed > 0
    assert np.array_equal(np.load(tmp_path / "w.npy"), vectors)


@pytest.mark.parametrize("dimension", [0, -1, 65, 2.0, True, "8"])
def test_what_is_no_dimension_of_the_vectors_is_refused(model: SentenceTransformer, dimension: object) -> None:
    with pytest.raises(InputError, match="from 1 to 64") as caught:
        encode_texts(model, TEXTS, dimension=dimension)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_model_that_cuts_already_has_no_more_to_give(model: SentenceTransformer) -> None:
    model.truncate_dim = 20
    whole, _ = encode_texts(model, TEXTS, precision="float32")
    assert whole.shape[1] == 20
    vectors, _ = encode_texts(model, TEXTS, precision="float32", dimension=20)
    np.testing.assert_allclose(vectors, cut(whole, 20), rtol=0, atol=2e-6)
    with pytest.raises(InputError, match="from 1 to 20"):
        encode_texts(model, TEXTS, dimension=21)


def test_vectors_that_are_not_normalised_are_when_a_dimension_is_asked_for(model: SentenceTransformer) -> None:
    model.append(Dense(64, 32))
    whole, _ = encode_texts(model, TEXTS, precision="float32")
    assert np.abs(np.linalg.norm(whole, axis=1) - 1).max() > 0.01
    vectors, _ = encode_texts(model, TEXTS, precision="float32", dimension=32)
    np.testing.assert_allclose(vectors, cut(whole, 32), rtol=0, atol=2e-6)


def test_saving_and_exporting_keep_whole_vectors(tmp_path: Path, tiny_directory: Path) -> None:
    encoder: TextEncoder = build(tiny_directory)
    vectors = encoder.encode_query(TEXTS, dimension=16, precision="float32")
    encoder.save(tmp_path / "saved")
    export(encoder, tmp_path / "stock")
    loaded = load(tmp_path / "saved")
    assert loaded.dimension == 64
    assert np.array_equal(loaded.encode_document(TEXTS, dimension=16, precision="float32"), vectors)
    loaded.encode_to(tmp_path / "v.npy", TEXTS, dimension=16, precision="float32")
    assert np.array_equal(np.load(tmp_path / "v.npy"), vectors)
    stock = SentenceTransformer(str(tmp_path / "stock"), local_files_only=True, truncate_dim=16)
    np.testing.assert_allclose(stock.encode(TEXTS, normalize_embeddings=True), vectors, rtol=0, atol=1e-5)
