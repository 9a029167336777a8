"""A corpus becomes an index whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.data import Corpus
from embedworks.foundation import FileOperations, InputError, StorageError
from embedworks.index import Index, build_index, building
from embedworks.index.writer import writer_lock

TEXTS = ["red ink", "blue ink", "green paint"]
ATTRIBUTES = {"year": [2024, 2025, 2026], "day": [date(2026, 1, 1)] * 3, "tags": [["a"], [], ["b"]]}


class LetterCounts:
    """An encoder a person could have written: counts of the letters e, i and n."""

    name = "letters"
    dimension = 3

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[1 + item.count(letter) for letter in "ein"] for item in items], dtype=np.float32)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus.from_columns(["r", "b", "g"], TEXTS, ATTRIBUTES)


def test_from_an_encoder(corpus: Corpus, index_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_ROWS_A_COMMIT", 2)
    monkeypatch.setattr(building, "_TEXTS_AT_ONCE", 1)
    index = build_index(corpus, LetterCounts(), index_path)
    assert (len(index), index.model, index.dimension, index.path) == (3, "letters", 3, index_path)
    assert [item.text for item in index.get(["r", "b", "g"])] == TEXTS
    assert [item.attributes for item in index.get(["r", "g"])] == [
        {"year": 2024, "day": date(2026, 1, 1), "tags": ["a"]},
        {"year": 2026, "day": date(2026, 1, 1), "tags": ["b"]},
    ]
    answer = index.search(LetterCounts().encode(["green paint"])[0], k=1, where="tags contains 'b'")
    assert answer.hits[0].id == "g"
    assert index.search(text="ink", mode="lexical").passing == 3
    assert [path.name for path in index_path.parent.iterdir()] == ["my.index"]


def test_from_vectors_that_are_mapped_from_a_file(corpus: Corpus, index_path: Path, tmp_path: Path) -> None:
    vectors = LetterCounts().encode(TEXTS)
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float16))
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    index = build_index(corpus, mapped, index_path, model="minilm", lexical=False, progress=True)
    assert (index.model, index.lexical) == ("minilm", False)
    found = np.stack([item.vector for item in index.get(["r", "b", "g"])])
    np.testing.assert_allclose(found, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), atol=1e-6)


def test_nothing_is_left_behind_when_it_fails(corpus: Corpus, index_path: Path) -> None:
    class WrongShape(LetterCounts):
        def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
            return np.ones((len(items), 2), dtype=np.float32)

    class Breaks(LetterCounts):
        def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
            raise RuntimeError("no more memory")

    class FullDisk(FileOperations):
        def before(self, effect: str, path: Path) -> None:
            if effect == "rename" and path == index_path:
                raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"3 texts"):
        build_index(corpus, WrongShape(), index_path)
    with pytest.raises(RuntimeError, match="memory"):
        build_index(corpus, Breaks(), index_path)
    with pytest.raises(InputError, match=r"shape is \(2, 3\) for 3 rows"):
        build_index(corpus, np.ones((2, 3)), index_path)
    with pytest.raises(InputError, match="zero"):
        build_index(corpus, np.zeros((3, 3)), index_path)
    with pytest.raises(StorageError, match="No space left"):
        build_index(corpus, LetterCounts(), index_path, files=FullDisk())
    assert list(index_path.parent.iterdir()) == []


def test_what_stands_there_is_kept(corpus: Corpus, index_path: Path) -> None:
    build_index(corpus, LetterCounts(), index_path)
    before = (index_path / "manifest.json").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        build_index(corpus, LetterCounts(), index_path)
    assert (index_path / "manifest.json").read_bytes() == before
    assert len(Index.open(index_path)) == 3


def test_what_a_killed_build_left_is_removed_but_not_a_build_at_work(corpus: Corpus, index_path: Path) -> None:
    abandoned, at_work = (index_path.with_name(f".tmp-my.index-{name}") for name in ("abandoned", "at-work"))
    for folder in (abandoned, at_work):
        Index.create(folder, dimension=3)
    with writer_lock(at_work, name="build.lock"):
        build_index(corpus, LetterCounts(), index_path)
    assert not abandoned.exists()
    assert at_work.exists()
    assert sorted(path.name for path in index_path.iterdir()) == ["manifest.json", "segments", "writer.lock"]
