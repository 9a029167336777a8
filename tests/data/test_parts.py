"""Parts of a data set are written whole or not at all, and read back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embedworks.data import Corpus, Judged, read_vectors, write_parts
from embedworks.foundation import InputError


def test_every_kind_of_part_comes_back(tmp_path: Path) -> None:
    corpus = Corpus.from_columns(["a", "b"], ["one", "two"], {"year": [2025, None]})
    judged = Judged.from_columns(corpus, ["q"], ["which is first"], {"q": {"a": 1}})
    vectors = np.arange(4, dtype=np.float16).reshape(2, 2)
    written = write_parts({"papers": corpus, "test": judged, "minilm": vectors}, tmp_path / "set")
    assert [path.name for path in written] == ["papers.parquet", "test", "minilm.npy"]
    assert Corpus.read(written[0]) == corpus
    assert Judged.read(written[1]).relevance == {"q": {"a": 1}}
    np.testing.assert_array_equal(read_vectors(written[2]), vectors)
    assert read_vectors(written[2]).dtype == np.float16


def test_what_stands_there_stays(tmp_path: Path) -> None:
    corpus = Corpus.from_columns(["a"], ["one"])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(InputError):
        write_parts({"papers": corpus}, tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="folder does not exist"):
        write_parts({"papers": corpus}, tmp_path / "no" / "set")
