"""``embedworks add``: what a file holds is found afterwards, and what cannot come in changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedworks.index import Index

NEW = [
    {"id": "music-0", "text": "play a chord on the piano", "words": 6, "kind": "function", "year": 2026},
    {"id": "music-1", "text": "tune the strings of a violin", "words": 6, "kind": "class", "year": 2027},
]
CHANGED = {"id": "files-0", "text": "close a door behind you", "words": 5, "kind": "class", "year": 2030}


def _written(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("name", ["new.parquet", "new.csv", "new.jsonl"])
def test_new_items_are_found_by_meaning_and_by_words(run, index_copy: Path, tmp_path: Path, name: str) -> None:
    outcome = run("add", index_copy, _written(tmp_path / name, NEW), "--json", "-")
    assert outcome.code == 0, outcome
    assert json.loads(outcome.out) == {"index": str(index_copy), "added": 2, "replaced": 0, "items": 62}
    assert "encoding" in outcome.err
    for mode in ("vector", "lexical"):
        answer = json.loads(run("search", index_copy, "tune a violin", "--mode", mode, "--json", "-").out)
        assert answer["hits"][0]["id"] == "music-1"
        assert answer["hits"][0]["attributes"] == {"words": 6, "kind": "class", "year": 2027}
    assert np.allclose(Index.open(index_copy).get(["music-1"])[0].vector, _encoded(NEW[1]["text"]), atol=1e-5)


def test_a_known_id_changes_nothing_unless_it_is_to_be_replaced(run, index_copy: Path, tmp_path: Path) -> None:
    items = _written(tmp_path / "new.jsonl", [*NEW, CHANGED])
    manifest = (index_copy / "manifest.json").read_bytes()
    refused = run("add", index_copy, items)
    assert (refused.code, refused.out) == (2, "")
    line = f"embedworks: {items}: the id 'files-0' is in the index already; leave it out, or put the new row"
    assert refused.err.startswith(line)
    assert len(refused.err.splitlines()) == 1, "nothing was encoded before the refusal"
    assert (index_copy / "manifest.json").read_bytes() == manifest

    taken = run("add", index_copy, items, "--replace")
    assert taken.code == 0, taken
    assert "Added 2 items, replaced 1" in taken.out
    assert "holds 62 now" in " ".join(taken.out.split())
    (item,) = Index.open(index_copy).get(["files-0"])
    assert (item.text, item.attributes["year"]) == (CHANGED["text"], 2030)


def test_vectors_that_are_there_are_not_made_again(run, index_copy: Path, tmp_path: Path) -> None:
    items = _written(tmp_path / "new.parquet", NEW)
    vectors = np.zeros((2, 384), dtype=np.float32)
    vectors[0, 0] = vectors[1, 1] = 1
    np.save(tmp_path / "vectors.npy", vectors)
    outcome = run("add", index_copy, items, "--vectors", tmp_path / "vectors.npy", "--json", "-")
    assert outcome.code == 0, outcome
    assert outcome.err == ""
    assert np.array_equal(Index.open(index_copy).get(["music-1"])[0].vector, vectors[1])


def test_what_does_not_fit_is_one_line(run, index_copy: Path, tmp_path: Path) -> None:
    items = _written(tmp_path / "new.jsonl", NEW)
    later = _written(tmp_path / "later.jsonl", [{**NEW[0], "year": "next year"}])
    np.save(tmp_path / "few.npy", np.ones((1, 384), dtype=np.float32))
    np.save(tmp_path / "short.npy", np.ones((2, 100), dtype=np.float32))
    nameless = tmp_path / "nameless.index"
    Index.create(nameless, dimension=2)
    for arguments, part in (
        ((index_copy, later), "attribute 'year'"),
        ((index_copy, tmp_path / "nowhere.csv"), "nowhere.csv"),
        ((tmp_path / "nowhere.index", items), "is no index"),
        ((index_copy, items, "--vectors", tmp_path / "few.npy"), "1 vectors for 2 ids"),
        ((index_copy, items, "--vectors", tmp_path / "short.npy"), "dimension 384"),
        ((index_copy, items, "--vectors", tmp_path / "few.npy", "--model", "minilm"), "both a model and vectors"),
        ((nameless, items), "--model"),
        ((nameless, items, "--model", "minilm"), "dimension 384, the index's 2"),
    ):
        outcome = run("add", *arguments)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1), outcome
        assert part in outcome.err
    assert (len(Index.open(index_copy)), len(Index.open(nameless))) == (60, 0)


def _encoded(text: str) -> np.ndarray:
    from embedworks.encoders import load

    return load("minilm").encode([text])[0]
