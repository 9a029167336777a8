"""Adding, replacing, deleting, compacting and reading back, against a dictionary that does the same."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from embedworks.foundation import InputError, StorageError
from embedworks.index import Index, store
from embedworks.index.manifest import read_manifest
from embedworks.index.writer import writer_lock

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True)
WORDS = ["", "dune", "kelp dune", "fjord"]


class AgainstADictionary(RuleBasedStateMachine):
    """Any sequence of writes leaves what a dictionary would hold, in this process and in one that opens it anew."""

    @initialize(tmp=st.uuids())
    def create(self, tmp: Any) -> None:
        import tempfile

        self.path = Path(tempfile.mkdtemp()) / f"{tmp}.index"
        self.index = Index.create(self.path, dimension=2)
        self.rows: dict[str, tuple[str | None, int | None]] = {}
        self.has_number = False

    def write(self, ids: list[str], seed: int, *, numbered: bool, replace: bool) -> None:
        texts = [WORDS[(seed + place) % 4] for place in range(len(ids))]
        attributes = {"number": [seed + place for place in range(len(ids))]} if numbered else None
        self.index.add(
            ids, [[1, seed + place] for place in range(len(ids))], texts=texts, attributes=attributes, replace=replace
        )
        for place, name in enumerate(ids):
            self.rows[name] = (texts[place], seed + place if numbered else None)
        self.has_number |= numbered

    @rule(ids=NAMES, seed=st.integers(0, 9), numbered=st.booleans())
    def add(self, ids: list[str], seed: int, numbered: bool) -> None:
        if set(ids) & set(self.rows):
            with pytest.raises(InputError, match="in the index already"):
                self.write(ids, seed, numbered=numbered, replace=False)
        else:
            self.write(ids, seed, numbered=numbered, replace=False)

    @rule(ids=NAMES, seed=st.integers(0, 9), numbered=st.booleans())
    def replace(self, ids: list[str], seed: int, numbered: bool) -> None:
        self.write(ids, seed, numbered=numbered, replace=True)

    @rule(ids=NAMES, seed=st.integers(0, 9), texts=st.booleans(), numbers=st.booleans(), vectors=st.booleans())
    def update(self, ids: list[str], seed: int, texts: bool, numbers: bool, vectors: bool) -> None:
        new: dict[str, Any] = {"texts": [WORDS[seed % 4]] * len(ids)} if texts else {}
        new |= {"attributes": {"number": [seed, None, seed, None][: len(ids)]}} if numbers else {}
        new |= {"vectors": [[1, seed]] * len(ids)} if vectors else {}
        if not set(ids) <= set(self.rows) or not new:
            with pytest.raises(InputError, match=r"no row with the id|nothing to change"):
                self.index.update(ids, **new)
            return
        self.index.update(ids, **new)
        for place, name in enumerate(ids):
            text, number = self.rows[name]
            self.rows[name] = (
                new["texts"][place] if texts else text,
                new["attributes"]["number"][place] if numbers else number,
            )
        self.has_number |= numbers and any(number is not None for number in new["attributes"]["number"])

    @rule(ids=NAMES)
    def delete(self, ids: list[str]) -> None:
        if set(ids) <= set(self.rows):
            assert self.index.delete(ids) == len(ids)
            for name in ids:
                del self.rows[name]
        else:
            with pytest.raises(InputError, match="no row with the id"):
                self.index.delete(ids)

    @rule(ids=NAMES)
    def delete_by_ids_in_a_filter(self, ids: list[str]) -> None:
        present = set(ids) & set(self.rows)
        assert self.index.delete(where=f"id in ({', '.join(map(repr, ids))})") == len(present)
        for name in present:
            del self.rows[name]

    @rule(least=st.integers(0, 9))
    def delete_by_a_number(self, least: int) -> None:
        if not self.has_number:
            with pytest.raises(InputError, match="no attribute 'number'"):
                self.index.delete(where=f"number >= {least}")
            return
        passing = [name for name, (_, number) in self.rows.items() if number is not None and number >= least]
        assert self.index.delete(where=f"number >= {least}") == len(passing)
        for name in passing:
            del self.rows[name]

    @rule()
    def compact(self) -> None:
        self.index.compact()
        named = {file.name for file in read_manifest(self.path).stored_files()} | {"manifest.json", "writer.lock"}
        there = {path.relative_to(self.path).as_posix() for path in self.path.rglob("*") if path.is_file()}
        assert there == named, "what was deleted takes no disk space any more"

    @rule()
    def reopen(self) -> None:
        self.index = Index.open(self.path)

    @invariant()
    def equals_the_dictionary(self) -> None:
        if not hasattr(self, "index"):
            return
        for index in (self.index, Index.open(self.path)):
            assert len(index) == len(self.rows)
            assert all((name in index) == (name in self.rows) for name in "abcdefgh")
            items = index.get(sorted(self.rows))
            found = {item.id: (item.text, item.attributes.get("number")) for item in items}
            assert found == self.rows
            assert sorted(hit.id for hit in index.search([1, 1], k=20).hits) == sorted(self.rows)
            with_dune = sorted(name for name, (text, _) in self.rows.items() if text and "dune" in text)
            assert sorted(hit.id for hit in index.search(text="dune", mode="lexical", k=20).hits) == with_dune
            if self.has_number:
                above = sorted(name for name, (_, number) in self.rows.items() if number is not None and number > 4)
                assert sorted(hit.id for hit in index.search([1, 1], k=20, where="number > 4").hits) == above


AgainstADictionary.TestCase.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, derandomize=True
)
TestAgainstADictionary = AgainstADictionary.TestCase


def test_what_goes_in_comes_out(index_path: Path) -> None:
    index = Index.create(index_path, dimension=2, model="minilm")
    index.add(
        ["a", "b"],
        [[3, 4], [0, -2]],
        texts=["one", None],
        attributes={
            "words": [1, None],
            "weight": [0.5, float("nan")],
            "open": [True, None],
            "date": [date(2026, 1, 31), None],
            "tags": [["x", "y"], {"z"}],
        },
    )
    for opened in (index, Index.open(index_path)):
        first, second = opened.get(["a", "b"])
        assert first.text == "one"
        assert second.text is None
        np.testing.assert_allclose(first.vector, [0.6, 0.8], rtol=1e-7)
        np.testing.assert_allclose(second.vector, [0, -1])
        assert first.attributes == {
            "words": 1,
            "weight": 0.5,
            "open": True,
            "date": date(2026, 1, 31),
            "tags": ["x", "y"],
        }
        assert second.attributes == {"words": None, "weight": None, "open": None, "date": None, "tags": ["z"]}
        assert opened.attributes == {
            "words": "int64",
            "weight": "float64",
            "open": "bool",
            "date": "date",
            "tags": "list<string>",
        }
        assert opened.schema.field("tags").type == pa.list_(pa.string())
        assert (opened.model, opened.dimension, opened.lexical, len(opened)) == ("minilm", 2, True, 2)
    answer = index.search([1, 1], k=1, where="date = '2026-01-31'").to_dict()
    assert answer["hits"][0]["attributes"]["date"] == "2026-01-31"


def test_an_update_changes_what_is_given_and_nothing_else(index_path: Path) -> None:
    index = Index.create(index_path, dimension=2)
    index.add(
        ["a", "b", "c"],
        [[3, 4], [0, 1], [1, 0]],
        texts=["one", "two", None],
        attributes={"words": [1, 2, 3], "tags": [["x"], ["y"], None]},
    )
    index.update(["c", "a"], texts=["three", None], attributes={"words": [30, None], "new": [0.5, 1.5]})
    for opened in (index, Index.open(index_path)):
        first, second, third = opened.get(["a", "b", "c"])
        assert (first.text, first.attributes) == (None, {"words": None, "tags": ["x"], "new": 1.5})
        assert (second.text, second.attributes) == ("two", {"words": 2, "tags": ["y"], "new": None})
        assert (third.text, third.attributes) == ("three", {"words": 30, "tags": None, "new": 0.5})
        np.testing.assert_allclose(first.vector, [0.6, 0.8], rtol=1e-7)
        assert opened.search([1, 1], where="new = 0.5").hits[0].id == "c"
        assert [hit.id for hit in opened.search(text="one three", mode="lexical").hits] == ["c"]
    index.update(["b"], vectors=[[-5, 0]])
    assert index.search([-1, 0], k=1).hits[0].id == "b"
    assert index.get(["b"])[0].text == "two"
    generation = index.listing().generation
    for given, message in (
        ({"ids": ["a", "nobody"], "texts": ["x", "y"]}, "'nobody'"),
        ({"ids": ["a"]}, "nothing to change"),
        ({"ids": ["a"], "attributes": {}}, "nothing to change"),
        ({"ids": ["a"], "vectors": [[0, 0]]}, "zero"),
        ({"ids": ["a"], "texts": ["x", "y"]}, "2 texts for 1 ids"),
        ({"ids": ["a"], "attributes": {"words": ["many"]}}, "whole number"),
        ({"ids": ["a"], "attributes": {"id": ["b"]}}, "reserved"),
    ):
        with pytest.raises(InputError, match=message):
            index.update(**given)
    index.update([], texts=[])
    assert index.listing().generation == generation


def test_many_small_writes_stay_in_few_segments(index_path: Path) -> None:
    index = Index.create(index_path, dimension=4)
    for place in range(70):
        index.add([f"{place:02d}"], np.eye(4)[[place % 4]], texts=[f"number {place}"])
    assert len(index) == 70
    assert len(list((index_path / "segments").iterdir())) <= 24
    assert len(index._store.snapshot.segments) <= 14
    index.compact()
    assert len(index._store.snapshot.segments) == 1
    index.delete([f"{place:02d}" for place in range(40)])
    assert index._store.snapshot.segments[0].entry.rows == 30
    assert sorted(item.id for item in index.get([f"{place}" for place in range(40, 70)]))[0] == "40"
    index.delete([f"{place}" for place in range(40, 70)])
    assert index._store.snapshot.segments == ()
    assert Index.open(index_path).search([1, 0, 0, 0]).hits == []


def test_nothing_changes_when_something_does_not_fit(
    index_path: Path, make_rows: Callable[..., dict[str, Any]]
) -> None:
    index = Index.create(index_path, dimension=8)
    index.add(**make_rows(5))
    before = sorted(path.relative_to(index_path) for path in index_path.rglob("*"))
    content = (index_path / "manifest.json").read_bytes()
    new = make_rows(3, seed=9)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"vectors": np.full((3, 8), np.nan)}, "row 0"),
        ({"vectors": np.ones((3, 7))}, "dimension 8"),
        ({"ids": ["x", "y", "x"]}, "twice"),
        ({"attributes": {"words": ["a", "b", "c"]}}, "whole number"),
        ({"ids": ["x", "item-00001", "y"]}, "'item-00001' is in the index already"),
    ]
    for change, message in wrong:
        with pytest.raises(InputError, match=message):
            index.add(**{**new, **change})
    with pytest.raises(InputError, match="'nobody'"):
        index.delete(["item-00001", "nobody"])
    for given, message in (
        ({}, "nothing says what to delete"),
        ({"ids": ["item-00001"], "where": "words >= 0"}, "both ids and a filter"),
        ({"where": "word >= 0"}, "no attribute 'word'"),
        ({"where": ""}, "the filter is empty"),
    ):
        with pytest.raises(InputError, match=message):
            index.delete(**given)
    assert sorted(path.relative_to(index_path) for path in index_path.rglob("*")) == before
    assert (index_path / "manifest.json").read_bytes() == content
    index.add([], np.zeros((0, 8)))
    assert index.delete([]) == index.delete(where="words < 0") == 0
    assert (index_path / "manifest.json").read_bytes() == content


def test_create_refuses_what_stands_there(index_path: Path, tmp_path: Path) -> None:
    Index.create(index_path, dimension=2)
    with pytest.raises(InputError, match="exists already"):
        Index.create(index_path, dimension=2)
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match="exists already"):
        Index.create(tmp_path / "file", dimension=2)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("text")
    with pytest.raises(InputError, match="exists already"):
        Index.create(tmp_path / "folder", dimension=2)
    (tmp_path / "folder" / "notes").unlink()
    assert len(Index.create(tmp_path / "folder", dimension=2)) == 0
    for dimension in (0, -1, 2.0, True, None):
        with pytest.raises(InputError, match="dimension"):
            Index.create(tmp_path / "other", dimension=dimension)  # type: ignore[arg-type]


def test_a_reader_keeps_its_commit_while_another_writes(
    index_path: Path, make_rows: Callable[..., dict[str, Any]]
) -> None:
    index = Index.create(index_path, dimension=8)
    rows = make_rows(40)
    index.add(**rows)
    reader = Index.open(index_path)
    query = np.ones(8)
    before = reader.search(query, text="dune kelp", mode="hybrid", k=40).hits
    index.delete(rows["ids"][:30])
    index.compact()
    index.add(["new"], np.ones((1, 8)))
    index.set_fusion(index.fusion)
    assert reader.search(query, text="dune kelp", mode="hybrid", k=40).hits == before
    assert len(reader) == 40
    assert len(Index.open(index_path)) == 11
    # A writer begins with the last commit, not with the one it had opened.
    reader.add(["newer"], np.ones((1, 8)))
    assert len(reader) == len(Index.open(index_path)) == 12


def test_one_writer_at_a_time(index_path: Path) -> None:
    index = Index.create(index_path, dimension=2)
    with writer_lock(index_path), pytest.raises(StorageError, match="another writer is changing this index; wait"):
        index.add(["a"], [[1, 0]])
    index.add(["a"], [[1, 0]])
    code = (
        "import sys, time; from pathlib import Path; from embedworks.index.writer import writer_lock\n"
        "with writer_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(index_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(StorageError, match="another writer"):
        index.add(["b"], [[1, 0]])
    other.kill()
    other.wait()
    other.stdout.close()
    index.add(["b"], [[1, 0]])
    assert len(index) == 2


def test_a_filter_deletes_what_passes_it_when_the_change_is_made(index_path: Path) -> None:
    index = Index.create(index_path, dimension=2)
    index.add(["a", "b"], [[1, 0], [0, 1]], attributes={"year": [2024, 2026]})
    other = Index.open(index_path)
    other.update(["b"], attributes={"year": [2023]})
    other.add(["c"], [[1, 1]], attributes={"year": [2022]})
    assert index.delete(where="year < 2024") == 2
    assert [item.id for item in index.get(["a"])] == ["a"]
    assert len(index) == len(Index.open(index_path)) == 1


def test_a_file_that_a_writer_removes_while_it_is_read_is_no_damage(
    index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.create(index_path, dimension=2)
    index.add(["a", "b"], [[1, 0], [0, 1]])
    writer = Index.open(index_path)
    real, calls = store.check_file, []

    def compacted_meanwhile(*given: Any, **options: Any) -> Path:
        calls.append(given)
        if len(calls) == 1:
            writer.delete(["a"])
            writer.compact()
        return real(*given, **options)

    monkeypatch.setattr(store, "check_file", compacted_meanwhile)
    index.verify()
    assert len(calls) > 1
    next(index_path.rglob("vectors.npy")).unlink()
    with pytest.raises(StorageError, match=r"vectors\.npy: is missing"):
        index.verify()


def test_threads_write_one_after_the_other_and_search_meanwhile(index_path: Path) -> None:
    index = Index.create(index_path, dimension=4)
    index.add(["first"], np.ones((1, 4)), texts=["dune"])
    failures: list[BaseException] = []

    def write(worker: int) -> None:
        try:
            for place in range(6):
                index.add([f"{worker}-{place}"], np.ones((1, 4)), texts=["dune"])
        except BaseException as error:
            failures.append(error)

    def search() -> None:
        try:
            for _ in range(60):
                answer = index.search(np.ones(4), text="dune", mode="hybrid", k=100)
                assert len(answer.hits) == answer.passing == answer.rows
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(3)]
    threads += [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(index) == len(Index.open(index_path)) == 19


def test_a_failed_maintenance_does_not_fail_the_write_before_it(
    index_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = Index.create(index_path, dimension=2)
    for place in range(7):
        index.add([f"{place}"], [[1, place]])

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "compacted", full_disk)
    index.add(["7"], [[1, 7]])
    assert "maintenance is left to the next write" in caplog.text
    assert len(Index.open(index_path)) == 8


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import sys, embedworks.index\n"
        "print([name for name in ('torch', 'faiss', 'bm25s', 'sqlglot', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
