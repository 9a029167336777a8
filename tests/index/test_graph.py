"""The graph: when it is taken, that it keeps the promises, and that exact search steps in where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index, graph, searching, writer

ROWS = 3000


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An index with a graph over 3,000 rows, 100 newer rows outside it, and deleted rows in both."""
    patch = pytest.MonkeyPatch()
    patch.setattr(writer, "GRAPH_ROWS", ROWS)
    patch.setattr(searching, "GRAPH_ROWS", ROWS)
    generator = random_generator(0, "graph")
    centres = generator.standard_normal((20, 16))
    vectors = centres[generator.integers(0, 20, ROWS + 100)] + 0.5 * generator.standard_normal((ROWS + 100, 16))
    share = np.linspace(0, 1, ROWS + 100, endpoint=False)
    generator.shuffle(share)
    index = Index.create(tmp_path_factory.mktemp("graph") / "grown.index", dimension=16)
    for start, end in ((0, ROWS), (ROWS, ROWS + 100)):
        index.add(
            [f"{place:05d}" for place in range(start, end)], vectors[start:end], attributes={"share": share[start:end]}
        )
    index.delete([f"{place:05d}" for place in range(0, ROWS + 100, 50)])
    yield Index.open(index.path)
    patch.undo()


@given(seed=st.integers(0, 10**6), k=st.integers(1, 30), share=st.sampled_from([0.0, 0.001, 0.05, 0.4, 0.8, 1.0, None]))
def test_the_promises_hold_with_the_graph(grown: Index, seed: int, k: int, share: float | None) -> None:
    query = random_generator(seed, "query").standard_normal(16)
    where = None if share is None else f"share < {share}"
    answer = grown.search(query, k=k, where=where)
    exact = grown.search(query, k=k, where=where, exact=True)
    assert len(answer.hits) == len(exact.hits) == min(k, answer.passing)
    if share is not None:
        assert all(hit.attributes["share"] < share for hit in answer.hits)
    assert not any(int(hit.id) % 50 == 0 for hit in answer.hits)
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    everything = {hit.id: hit.score for hit in exact.hits}
    assert all(everything.get(hit.id, hit.score) == hit.score for hit in answer.hits)
    assert answer.approximate == (share is None or share >= 0.4)
    assert not exact.approximate


def test_the_graph_finds_nearly_all(grown: Index) -> None:
    queries = random_generator(1, "queries").standard_normal((100, 16))
    for where, least in ((None, 0.99), ("share < 0.4", 0.97)):
        found = grown.search_batch(queries, where=where)
        exact = grown.search_batch(queries, where=where, exact=True)
        hits = [
            len({hit.id for hit in a.hits} & {hit.id for hit in b.hits}) / 10 for a, b in zip(found, exact, strict=True)
        ]
        assert np.mean(hits) >= least


def test_newer_rows_are_found_beside_the_graph(grown: Index) -> None:
    newest = grown.get(["03099"])[0]
    answer = grown.search(newest.vector, k=1)
    assert answer.hits[0].id == "03099"
    assert answer.how == "graph over 3,000 rows, 3,038 passing, and exact over 98 newer ones"
    assert grown.search(newest.vector, where="share < 0.01").how.startswith("exact over ")


def test_a_short_graph_search_falls_back_to_exact(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = graph.Graph.search

    def short(self: graph.Graph, queries: Any, k: int, allowed: Any) -> Any:
        found = whole(self, queries, k, allowed)
        return [found[0][:-1], *found[1:]]

    monkeypatch.setattr(graph.Graph, "search", short)
    queries = random_generator(2, "queries").standard_normal((2, 16))
    answers = grown.search_batch(queries)
    assert [hit.id for hit in answers[0].hits] == [hit.id for hit in grown.search(queries[0], exact=True).hits]
    assert "exact for 1 of 2 queries" in answers[0].how
    monkeypatch.setattr(graph.Graph, "search", lambda self, queries, k, allowed: [np.zeros(0, np.int64)] * len(queries))
    assert not grown.search(queries[0]).approximate
    assert len(grown.search(queries[0]).hits) == 10


def test_a_selector_that_is_not_asked_does_no_harm(grown: Index) -> None:
    """Whatever faiss gives back, a row that is not allowed is dropped."""
    living = grown._store.snapshot.graph
    assert living is not None
    living.search(np.ones((1, 16), np.float32), 1, None)
    inner = living._living

    class Careless:
        def search(self, queries: Any, k: int, params: Any) -> Any:
            return inner.search(queries, k)

    living._living = Careless()
    try:
        allowed = np.zeros(ROWS, dtype=np.bool_)
        allowed[::2] = True
        found = living.search(np.ones((1, 16), np.float32), 10, allowed)[0]
        assert allowed[found].all()
    finally:
        living._living = inner


def test_the_graph_is_built_when_due_and_dropped_with_its_segments(
    index_path: Path, make_rows: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GRAPH_ROWS", 100)
    index = Index.create(index_path, dimension=8)
    rows = make_rows(330)

    def add(start: int, end: int) -> Any:
        index.add(rows["ids"][start:end], rows["vectors"][start:end])
        entry = index._store.snapshot.manifest.graph
        return None if entry is None else entry.rows

    assert add(0, 99) is None
    assert add(99, 100) == 100
    assert add(100, 199) == 100
    assert add(199, 200) == 200
    assert add(200, 299) == 200
    assert len(list((index_path / "graphs").iterdir())) <= 2
    index.delete(rows["ids"][:60])
    index.compact()
    entry = index._store.snapshot.manifest.graph
    assert entry is not None
    assert entry.rows == len(index) == 239
    Index.open(index_path).verify()
