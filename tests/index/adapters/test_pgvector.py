"""A collection in PostgreSQL: its writes, its refusals, its graph and the remedies for short lists, its errors."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from embedworks.foundation import InputError, MissingExtraError, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Index
from embedworks.index.adapters import PgvectorCollection, copy_index, portable_schema

ROWS = 3_000


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Vectors in 40 clusters; ``cluster`` is a correlated filter, ``draw`` a random one."""
    generator = random_generator(5, "adapters", "clusters")
    centres = generator.standard_normal((40, 16))
    cluster = generator.integers(0, 40, ROWS)
    vectors = (centres[cluster] + 0.3 * generator.standard_normal((ROWS, 16))).astype(np.float32)
    index = Index.create(tmp_path_factory.mktemp("clustered") / "clustered.index", dimension=16, lexical=False)
    attributes = {"cluster": cluster.tolist(), "draw": generator.random(ROWS).tolist()}
    index.add([f"r{row:04d}" for row in range(ROWS)], vectors, attributes=attributes)
    return index


@pytest.fixture(scope="module", params=["old_postgres", "new_postgres"])
def with_graph(request: pytest.FixtureRequest, clustered: Index) -> Iterator[PgvectorCollection]:
    """The clustered rows behind a graph that is used whatever the filter."""
    address = request.getfixturevalue(request.param)
    collection = PgvectorCollection.create(
        address, "clustered", dimension=16, schema=portable_schema(clustered), exact_below=1
    )
    copy_index(clustered, collection)
    yield collection
    collection.close()


@pytest.mark.parametrize(
    "where",
    [
        None,
        "draw < 0.5",
        "draw < 0.1",
        "draw < 0.005",
        "cluster = 7",
        "cluster = 7 and draw < 0.2",
        "cluster != 7",
        "cluster in (1, 2)",
        "draw < 0.0005",
    ],
)
def test_k_come_back_when_k_pass(with_graph: PgvectorCollection, clustered: Index, where: str | None) -> None:
    generator = random_generator(6, "adapters", "queries")
    found = shared = 0
    every = clustered.search(np.ones(16), k=ROWS, where=where, exact=True)
    passing = {hit.id for hit in every.hits}
    for query in generator.standard_normal((8, 16)):
        for k in (1, 10, 50):
            exact = clustered.search(query, k=k, where=where, exact=True)
            answer = with_graph.search(query, k=k, where=where)
            assert answer.passing == exact.passing
            assert len(answer.hits) == min(k, answer.passing)
            ids = {hit.id for hit in answer.hits}
            assert ids <= passing
            if not answer.approximate:
                assert list(answer.hits) == list(exact.hits)
            scores = [(-hit.score, hit.id) for hit in answer.hits]
            assert scores == sorted(scores)
            shared += len(ids & {hit.id for hit in exact.hits})
            found += len(exact.hits)
    assert shared >= 0.8 * found  # the server draws its graph anew each time


def test_the_remedy_is_said(with_graph: PgvectorCollection, clustered: Index) -> None:
    query = clustered.get(["r0000"])[0].vector
    wide = with_graph.explain(query, k=10, where="draw < 0.3")
    narrow = with_graph.explain(query, k=10, where="draw < 0.002")
    # The query lies in one cluster and the filter wants the farthest two: nothing near it passes.
    every = clustered.search(query, k=ROWS, exact=True).hits
    farthest = list({hit.attributes["cluster"]: hit.score for hit in every})[-2:]
    far = with_graph.search(query, k=10, where=f"cluster in ({farthest[0]}, {farthest[1]})")
    assert len(far.hits) == 10
    if "pgvector 0.6" in wide.server:
        assert "candidate list of" in wide.answer.how
        assert "for want of iterative scans" in wide.answer.how
        assert "exact scan in PostgreSQL" in narrow.answer.how
        assert "no candidate list of 1,000 would hold 26 passing rows" in narrow.answer.how
        assert "came back short with" in far.how
        assert (far.approximate, far.recall) == (False, 1.0)
    else:
        assert "iterative scan" in wide.answer.how
    said = str(wide)
    assert 'filter       ("draw" < %s::double precision)' in said
    assert "Index Scan" in said
    assert wide.to_dict()["server_plan"] == list(wide.plan)
    assert wide.estimated_share == pytest.approx(wide.true_share, abs=0.1)
    assert set(wide.answer.cost.milliseconds) == {"count", "graph"}
    assert "Seq Scan" in str(with_graph.explain(query, k=10, exact=True))


def test_the_recall_of_the_graph_is_measured_and_kept(
    with_graph: PgvectorCollection, clustered: Index, request: pytest.FixtureRequest
) -> None:
    expected = with_graph.search(np.ones(16)).recall
    queries = random_generator(8, "adapters", "queries").standard_normal((30, 16))
    shared = 0
    for query in queries:
        answer = with_graph.search(query)
        assert answer.approximate
        shared += len({hit.id for hit in answer.hits} & {hit.id for hit in clustered.search(query, exact=True).hits})
    assert 0.8 <= expected <= 1
    assert expected == pytest.approx(shared / 300, abs=0.15)
    address = request.getfixturevalue(request.node.callspec.params["with_graph"])
    again = PgvectorCollection.open(address, "clustered", exact_below=1)
    assert again.search(np.ones(16)).recall == expected
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("comment on index clustered_vector_idx is null")
    forgotten = PgvectorCollection.open(address, "clustered", exact_below=1)
    assert forgotten.search(np.ones(16)).recall == pytest.approx(expected, abs=0.05)
    again.close()
    forgotten.close()


def test_iterative_scans_that_give_up_are_followed_by_an_exact_one(new_postgres: str, clustered: Index) -> None:
    collection = PgvectorCollection.open(new_postgres, "clustered", exact_below=1)
    try:
        collection._connection.execute("set hnsw.max_scan_tuples = 1")
        query = clustered.get(["r0000"])[0].vector
        answer = collection.search(query, k=10, where="draw < 0.003")
        assert "came back short" in answer.how
        assert list(answer.hits) == list(clustered.search(query, k=10, where="draw < 0.003", exact=True).hits)
    finally:
        collection.close()


def test_exact_is_exact(with_graph: PgvectorCollection, clustered: Index) -> None:
    for query in random_generator(7, "adapters", "queries").standard_normal((5, 16)):
        answer = with_graph.search(query, k=10, where="draw < 0.6", exact=True)
        assert list(answer.hits) == list(clustered.search(query, k=10, where="draw < 0.6", exact=True).hits)
        assert not answer.approximate


def test_a_long_answer_is_scanned(with_graph: PgvectorCollection, clustered: Index) -> None:
    answer = with_graph.search(np.ones(16), k=1_500)
    assert list(answer.hits) == list(clustered.search(np.ones(16), k=1_500, exact=True).hits)
    assert "at most 1,000 candidates" in answer.how


def test_writes(old_postgres: str, name: str) -> None:
    collection = PgvectorCollection.create(old_postgres, name, dimension=2)
    collection.add(["a", "b"], [[2.0, 0.0], [0.0, 1.0]], texts=["red", None], attributes={"year": [2024, None]})
    with pytest.raises(InputError, match="'b' exists already"):
        collection.add(["c", "b"], np.eye(2))
    with pytest.raises(InputError, match="attribute 'year'"):
        collection.add(["c"], [[1.0, 1.0]], attributes={"year": ["x"]})
    with pytest.raises(InputError, match="no row with the id 'z'"):
        collection.delete(["a", "z"])
    assert collection.count() == 2
    collection.add(["b", "c"], np.eye(2), attributes={"tags": [["x"], []], "none": [None, None]}, replace=True)
    assert collection.schema == pa.schema([("year", pa.int64()), ("tags", pa.list_(pa.string()))])
    assert collection.count("year is null") == 2
    hits = {hit.id: hit for hit in collection.search([1.0, 0.1], k=9).hits}
    assert hits["b"].text is None
    assert hits["b"].attributes == {"year": None, "tags": ["x"]}
    assert hits["c"].attributes["tags"] == []
    collection.delete(["a", "b"])
    collection.delete([])
    collection.add([], np.zeros((0, 2)))
    collection.close()
    again = PgvectorCollection.open(old_postgres, name)
    assert [hit.id for hit in again.search([1.0, 0.0]).hits] == ["c"]
    assert again.search([1.0, 0.0], where="year = 1").hits == []
    again.close()
    with pytest.raises(StorageError, match="closed"):
        again.search([1.0, 0.0])


def test_the_rows_are_there_for_other_programs(old_postgres: str, name: str) -> None:
    collection = PgvectorCollection.create(old_postgres, name, dimension=2)
    collection.add(["a"], [[3.0, 4.0]], attributes={"year": [2024]})
    collection.close()
    with psycopg.connect(old_postgres) as connection:
        row = connection.execute(f'select id, vector::text, year from "{name}"').fetchone()
    assert row == ("a", "[0.6,0.8]", 2024)


def test_refusals_before_anything_is_sent(old_postgres: str, name: str) -> None:
    for bad in ("", "x" * 64, "a\x00b"):
        with pytest.raises(InputError, match="the name"):
            PgvectorCollection.create("nowhere", bad, dimension=2)
    with pytest.raises(InputError, match="16,000"):
        PgvectorCollection.create("nowhere", name, dimension=16_001)
    for schema, what in (
        (pa.schema([("ctid", pa.int64())]), "for itself"),
        (pa.schema([("ö" * 32, pa.int64())]), "64 bytes"),
        (pa.schema([("x", pa.null())]), "no value yet"),
    ):
        with pytest.raises(InputError, match=what):
            PgvectorCollection.create("nowhere", name, dimension=2, schema=schema)
    collection = PgvectorCollection.create(old_postgres, name, dimension=2)
    with pytest.raises(InputError, match="exists already"):
        PgvectorCollection.create(old_postgres, name, dimension=2)
    for columns in ({"kind": ["a\x00"]}, {"tags": [["\x00"]]}):
        with pytest.raises(InputError, match=r"U\+0000"):
            collection.add(["a"], [[1.0, 0.0]], attributes=columns)
    with pytest.raises(InputError, match="years 1 to 9999"):
        collection.add(["a"], [[1.0, 0.0]], attributes={"date": pa.array([10**7], pa.int32()).cast(pa.date32())})
    for vector in ([1.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(InputError):
            collection.search(vector)
    with pytest.raises(InputError):
        collection.search([1.0, 0.0], k=0)
    assert collection.schema == pa.schema([])
    assert collection.count() == 0
    collection.close()


def test_a_long_vector_has_no_graph(old_postgres: str, name: str) -> None:
    collection = PgvectorCollection.create(old_postgres, name, dimension=2_001)
    collection.add(["a"], np.ones((1, 2_001)))
    with pytest.raises(InputError, match="2,000"):
        collection.build_graph()
    assert [hit.id for hit in collection.search(np.ones(2_001)).hits] == ["a"]
    collection.close()


def test_what_is_no_collection(old_postgres: str, name: str) -> None:
    with pytest.raises(StorageError, match="no such table"):
        PgvectorCollection.open(old_postgres, name)
    with psycopg.connect(old_postgres, autocommit=True) as connection:
        connection.execute(f'create table "{name}" (id text, text text, vector text)')
    with pytest.raises(StorageError, match="is no collection"):
        PgvectorCollection.open(old_postgres, name)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql//someone:hunter2@127.0.0.1/x",
        "postgresql://someone:hunter2@127.0.0.1:1/x",
        "host=127.0.0.1 port=1 password=hunter2 dbname",
        "host=127.0.0.1 port=1 password=hunter2 user=someone",
        "postgresql://someone:hunter2@127.0.0.1:notaport/x",
    ],
)
def test_secrets_are_never_told(address: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises((InputError, StorageError)) as caught:
        PgvectorCollection.open(address, name)
    told = [str(caught.value), repr(caught.value), caplog.text, str(caught.value.__cause__)]
    assert caught.value.__suppress_context__
    assert not any("hunter2" in text for text in told)
    assert "\n" not in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'embedworks\[pgvector\]'"):
        PgvectorCollection.open("postgresql://127.0.0.1/x", name)


def test_searches_from_several_threads(in_postgres: PgvectorCollection, original: Index) -> None:
    wrong: list[str] = []

    def search(seed: int) -> None:
        for query in random_generator(seed, "adapters", "threads").standard_normal((8, 8)):
            answer = in_postgres.search(query, k=5, where="words > 0")
            if list(answer.hits) != list(original.search(query, k=5, where="words > 0", exact=True).hits):
                wrong.append(answer.how)

    threads = [threading.Thread(target=search, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_broken_connection_is_an_error_of_one_line(old_postgres: str, name: str) -> None:
    collection = PgvectorCollection.create(old_postgres, name, dimension=2)
    with psycopg.connect(old_postgres, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [collection._connection.info.backend_pid])
    with pytest.raises(StorageError, match="open the collection again") as caught:
        collection.add(["a"], [[1.0, 0.0]])
    assert "\n" not in str(caught.value)
    again = PgvectorCollection.open(old_postgres, name)
    assert again.count() == 0
    again.close()
    collection.close()


WRITER = """
import sys, numpy as np
from embedworks.index.adapters import PgvectorCollection
collection = PgvectorCollection.open(sys.argv[1], sys.argv[2])
for batch in range(100_000):
    collection.add([f"{batch}-{row}" for row in range(37)], np.ones((37, 4)), attributes={"batch": [batch] * 37})
    print(batch, flush=True)
"""


def test_a_killed_write_leaves_whole_batches(old_postgres: str, name: str, tmp_path: Path) -> None:
    PgvectorCollection.create(old_postgres, name, dimension=4).close()
    command = [sys.executable, "-c", WRITER, old_postgres, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as writer:
        assert writer.stdout is not None
        acknowledged = 0
        for line in writer.stdout:
            acknowledged = int(line) + 1
            if acknowledged == 8:
                writer.send_signal(signal.SIGKILL)
                break
        rest = writer.stdout.read().split()
    acknowledged = max([acknowledged, *(int(line) + 1 for line in rest)])
    collection = PgvectorCollection.open(old_postgres, name)
    rows = collection.count()
    assert rows % 37 == 0
    assert rows >= 37 * acknowledged
    assert all(collection.count(f"batch = {batch}") == 37 for batch in range(acknowledged))
    collection.close()
