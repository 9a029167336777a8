"""A mistake gives one clear line and exit code 2, and what exists stays as it was."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Run = Callable[..., object]


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def _refused(outcome, *parts: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("embedworks: ")
    for part in parts:
        assert part in lines[0], (part, lines[0])


def test_missing_column(run, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "txt": ["hello"]}), tmp_path / "items.parquet")
    outcome = run("index", tmp_path / "items.parquet", "--out", tmp_path / "x.index")
    _refused(outcome, "items.parquet", "'text'", "txt")
    assert not (tmp_path / "x.index").exists()


@pytest.mark.parametrize("name", ["empty.parquet", "empty.csv", "empty.jsonl", "empty.arrow"])
def test_empty_file(run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    outcome = run("index", tmp_path / name, "--out", tmp_path / "x.index")
    _refused(outcome, name)
    assert not (tmp_path / "x.index").exists()


@pytest.mark.parametrize("name", ["bad.csv", "bad.jsonl"])
def test_bytes_that_are_not_utf8(run, tmp_path: Path, name: str) -> None:
    good = b"id,text\n1,hello\n" if name.endswith("csv") else b'{"id": "1", "text": "hello"}\n'
    bad = b"2,caf\xe9\n" if name.endswith("csv") else b'{"id": "2", "text": "caf\xe9"}\n'
    (tmp_path / name).write_bytes(good + bad)
    outcome = run("index", tmp_path / name, "--out", tmp_path / "x.index")
    _refused(outcome, name, "UTF-8")


def test_duplicate_ids(run, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b", "a"], "text": ["x", "y", "z"]}), tmp_path / "items.parquet")
    outcome = run("index", tmp_path / "items.parquet", "--out", tmp_path / "x.index")
    _refused(outcome, "items.parquet", "'a'")


def test_vectors_with_nan(index_folder: Path, tmp_path: Path) -> None:
    from embedworks.foundation import InputError
    from embedworks.index import Index

    folder = shutil.copytree(index_folder, tmp_path / "my.index")
    before = _digest(folder)
    opened = Index.open(folder)
    vectors = np.ones((2, opened.dimension), dtype=np.float32)
    vectors[1, 3] = np.nan
    with pytest.raises(InputError, match="row 1"):
        opened.add(["new-1", "new-2"], vectors, texts=["a", "b"])
    assert _digest(folder) == before
    assert len(Index.open(folder)) == 60


def test_unknown_attribute_in_where(run, index_folder: Path) -> None:
    before = _digest(index_folder)
    outcome = run("search", index_folder, "array", "--where", "word > 50")
    _refused(outcome, "'word'", "words")
    assert _digest(index_folder) == before


@pytest.mark.parametrize(
    "where", ["words >", "words > 50; drop table items", "__import__('os')", "words > (select 1)", "kind = 3", "("]
)
def test_a_where_that_is_not_a_filter(run, index_folder: Path, where: str) -> None:
    _refused(run("search", index_folder, "array", "--where", where))


def test_truncated_index_files(run, index_folder: Path, tmp_path: Path) -> None:
    files = [path for path in _digest(index_folder) if (index_folder / path).stat().st_size > 0]
    assert len(files) >= 3
    for name in files:
        folder = shutil.copytree(index_folder, tmp_path / name.replace("/", "_") / "my.index")
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        _refused(run("search", folder, "array", "--mode", "lexical"))
        assert (folder / name).read_bytes() == whole[: len(whole) // 2]


class _Exploit:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('the pickle was run')",))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "1_Pooling/weights.pkl"])
def test_model_directory_with_a_pickle(run, tmp_path: Path, items_file: Path, name: str) -> None:
    from embedworks.encoders import load

    load("minilm").save(tmp_path / "model")
    (tmp_path / "model" / name).write_bytes(pickle.dumps(_Exploit()))
    outcome = run("index", items_file, "--model", tmp_path / "model", "--out", tmp_path / "x.index")
    _refused(outcome, Path(name).name, "safetensors")
    assert not (tmp_path / "x.index").exists()


def test_out_that_exists_is_untouched(run, items_file: Path, pairs_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    for arguments in (
        ("index", items_file, "--out", tmp_path / "out"),
        ("fit", pairs_file, "--out", tmp_path / "out"),
    ):
        _refused(run(*arguments), "exists already")
    assert _digest(tmp_path / "out").keys() == {"mine.txt"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "nowhere.index", "text"),
        ("index", "nowhere.parquet", "--out", "x.index"),
        ("add", "nowhere.index", "nowhere.parquet"),
        ("delete", "nowhere.index", "an-id"),
        ("compact", "nowhere.index"),
        ("verify", "nowhere.index"),
        ("fit", "nowhere.parquet", "--out", "model"),
        ("fit", "nowhere.parquet", "--method", "contrastiv", "--out", "model"),
        ("evaluate", "minilm", "--on", "stsb-eng"),
        ("evaluate", "./nowhere/model", "--on", "stsb-en"),
        ("compare", "one.json", "two.json"),
        ("compare", "one.json"),
        ("reproduce", "nothing"),
        ("data", "nothing"),
        ("serve", "nowhere.index"),
    ],
)
def test_what_is_not_there(run, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(run(*arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_result(run, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"scores": [1, 2]}')
    _refused(run("compare", tmp_path / "a.json", tmp_path / "b.json"), "a.json")
