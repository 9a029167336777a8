"""A collection in Milvus: its writes, its refusals, its graph and the remedies for short lists, its errors."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embedworks.foundation import InputError, MissingExtraError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Index
from embedworks.index.adapters import MilvusCollection, copy_index, portable_schema


@pytest.fixture(scope="module")
def with_graph(original: Index, milvus_file: str) -> MilvusCollection:
    """The original behind a graph that is used whatever the filter."""
    collection = MilvusCollection.create(
        milvus_file, "with_graph", dimension=8, schema=portable_schema(original), exact_below=1
    )
    copy_index(original, collection)
    return collection


@pytest.mark.parametrize("where", [None, "words > 0", "kind = 'a'", "open and words = 1", "tags contains 'a'"])
def test_k_come_back_when_k_pass(with_graph: MilvusCollection, original: Index, where: str | None) -> None:
    found = shared = 0
    for query in random_generator(6, "adapters", "queries").standard_normal((5, 8)):
        for k in (1, 10):
            exact = original.search(query, k=k, where=where, exact=True)
            answer = with_graph.search(query, k=k, where=where)
            assert len(answer.hits) == min(k, exact.passing)
            assert "HNSW graph of Milvus" in answer.how
            assert answer.approximate
            shared += len({hit.id for hit in answer.hits} & {hit.id for hit in exact.hits})
            found += len(exact.hits)
            scanned = with_graph.search(query, k=k, where=where, exact=True)
            assert list(scanned.hits) == list(exact.hits)
            assert not scanned.approximate
    assert shared >= 0.9 * found


def test_the_recall_of_the_graph_is_measured_and_kept(
    with_graph: MilvusCollection, milvus_file: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = with_graph.search(np.ones(8)).recall
    assert 0.8 <= expected <= 1
    again = MilvusCollection.open(milvus_file, "with_graph", exact_below=1)
    assert again.search(np.ones(8)).recall == expected
    assert "never measured" not in caplog.text
    again._client.alter_collection_properties("with_graph", {"embedworks.recall": ""})
    forgotten = MilvusCollection.open(milvus_file, "with_graph", exact_below=1)
    assert forgotten.search(np.ones(8)).recall == pytest.approx(expected, abs=0.05)
    assert "never measured" in caplog.text


def test_few_passing_rows_are_read(original: Index, milvus_file: str, with_graph: MilvusCollection) -> None:
    collection = MilvusCollection.open(milvus_file, "with_graph")
    answer = collection.search(np.ones(8), k=10, where="words > 0")
    assert "exact scan of rows read from Milvus" in answer.how
    assert list(answer.hits) == list(original.search(np.ones(8), k=10, where="words > 0", exact=True).hits)


def test_a_short_list_is_mended_and_told(
    with_graph: MilvusCollection, original: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = with_graph._client.search
    asked: list[int] = []

    def short(*arguments: Any, **settings: Any) -> Any:
        asked.append(settings["search_params"]["params"]["ef"])
        found = search(*arguments, **settings)
        return [found[0][:2]] if len(asked) <= misses else found

    monkeypatch.setattr(with_graph._client, "search", short)
    for misses, way in ((1, "candidate list of 800; a candidate list of 100"), (2, "exact scan of rows read")):
        asked.clear()
        said = with_graph.explain(np.ones(8), k=10, where="words > 0")
        assert way in said.answer.how
        assert "a candidate list of 100 came back short with 2 of 10" in str(said)
        assert asked == [100, 800]
        assert "filter       int_words > 0" in str(said)
        assert said.answer.approximate == (misses == 1)
    asked.clear()
    hits = with_graph.search(np.ones(8), k=10, where="words > 0").hits
    assert list(hits) == list(original.search(np.ones(8), k=10, where="words > 0", exact=True).hits)


def test_writes(milvus_file: str, name: str) -> None:
    schema = pa.schema([("year", pa.int64()), ("tags", pa.list_(pa.string()))])
    collection = MilvusCollection.create(milvus_file, name, dimension=2, schema=schema)
    collection.add(["a", "b"], [[2.0, 0.0], [0.0, 1.0]], texts=["red", None], attributes={"year": [2024, None]})
    with pytest.raises(InputError, match="'b' exists already"):
        collection.add(["c", "b"], np.eye(2))
    with pytest.raises(InputError, match="'z'"):
        collection.delete(["a", "z"])
    with pytest.raises(InputError, match="made without this attribute"):
        collection.add(["c"], [[1.0, 0.0]], attributes={"new": [1]})
    assert collection.count() == 2
    collection.add(["b", 'say "c"\\'], np.eye(2), attributes={"tags": [["x"], []], "none": [None, None]}, replace=True)
    hits = {hit.id: hit for hit in collection.search([1.0, 0.1], k=9).hits}
    assert hits["b"].attributes == {"year": None, "tags": ["x"]}
    assert hits['say "c"\\'].attributes["tags"] == []
    collection.delete(["a", 'say "c"\\'])
    collection.delete([])
    collection.add([], np.zeros((0, 2)))
    again = MilvusCollection.open(milvus_file, name)
    assert again.schema == schema
    assert [hit.id for hit in again.search([1.0, 0.0]).hits] == ["b"]
    assert again.search([1.0, 0.0], where="year = 1").hits == []


def test_refusals_before_anything_is_sent(milvus_file: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in ("", "9x", "a b", "x" * 256, 'a"; drop'):
        with pytest.raises(InputError, match="cannot be used"):
            MilvusCollection.create("nowhere", bad, dimension=2)
    with pytest.raises(InputError, match="32,768"):
        MilvusCollection.create("nowhere", name, dimension=32_769)
    with pytest.raises(InputError, match="no value yet"):
        MilvusCollection.create("nowhere", name, dimension=2, schema=pa.schema([("x", pa.null())]))
    schema = pa.schema([("kind", pa.string()), ("tags", pa.list_(pa.string()))])
    collection = MilvusCollection.create(milvus_file, name, dimension=2, schema=schema)
    with pytest.raises(InputError, match="exists already"):
        MilvusCollection.create(milvus_file, name, dimension=2)
    for columns, what in (
        ({"kind": ["é" * 32_768]}, "65,536 bytes"),
        ({"tags": [[str(member) for member in range(4_097)]]}, "4,097 members"),
    ):
        with pytest.raises(InputError, match=what):
            collection.add(["a"], [[1.0, 0.0]], attributes=columns)
    with pytest.raises(InputError, match="65,536 bytes"):
        collection.add(["a"], [[1.0, 0.0]], texts=["x" * 65_536])

    def fail(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr(collection._client, "query", fail)
    monkeypatch.setattr(collection._client, "search", fail)
    with pytest.raises(InputError, match="LIKE with an underscore"):
        collection.search([1.0, 0.0], where="kind like 'a_'")


def test_a_large_batch_is_sent_in_whole_requests(milvus_file: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedworks.index.adapters.milvus_wire._BYTES_A_REQUEST", 1_000)
    collection = MilvusCollection.create(milvus_file, name, dimension=2)
    sent: list[int] = []
    insert = collection._client.insert
    monkeypatch.setattr(collection._client, "insert", lambda place, rows: (sent.append(len(rows)), insert(place, rows)))
    collection.add([f"r{row}" for row in range(100)], np.ones((100, 2)))
    assert sum(sent) == collection.count() == 100
    assert 1 < len(sent) < 100


def test_more_near_ties_than_one_answer_holds(
    original: Index, in_milvus: MilvusCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedworks.index.adapters.milvus_search._MOST_ROWS", 20)
    answer = in_milvus.search(np.ones(8), k=30)
    assert "exact scan of rows read from Milvus" in answer.how
    assert list(answer.hits) == list(original.search(np.ones(8), k=30, exact=True).hits)


def test_what_is_no_collection(milvus_file: str, name: str) -> None:
    with pytest.raises(StorageError, match="no such collection"):
        MilvusCollection.open(milvus_file, name)


def test_secrets_are_never_told(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StorageError) as caught:
        MilvusCollection.open("http://someone:hunter2@127.0.0.1:1", name, token="root:hunter3")
    told = [str(caught.value), repr(caught.value), caplog.text]
    assert caught.value.__suppress_context__
    assert not any("hunter" in text for text in told)
    assert "\n" not in str(caught.value)
    logging.getLogger("pymilvus").handlers.clear()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'embedworks\[milvus\]'"):
        MilvusCollection.open("http://127.0.0.1:19530", name)


WRITER = """
import sys, numpy as np
from embedworks.index.adapters import MilvusCollection
collection = MilvusCollection.open(sys.argv[1], "killed")
for batch in range(100_000):
    collection.add([f"{batch}-{row}" for row in range(37)], np.ones((37, 4)), attributes={"batch": [batch] * 37})
    print(batch, flush=True)
"""


def test_a_killed_write_leaves_whole_batches(tmp_path: Path) -> None:
    file = str(tmp_path / "killed.db")
    MilvusCollection.create(file, "killed", dimension=4, schema=pa.schema([("batch", pa.int64())])).close()
    command = [sys.executable, "-W", "ignore", "-c", WRITER, file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = 0
        for line in writer.stdout:
            acknowledged = int(line) + 1
            if acknowledged == 8:
                writer.send_signal(signal.SIGKILL)
                break
        rest = writer.stdout.read().split()
    acknowledged = max([acknowledged, *(int(line) + 1 for line in rest)])
    collection = MilvusCollection.open(file, "killed")
    rows = collection.count()
    assert rows % 37 == 0
    assert rows >= 37 * acknowledged
    collection.close()
