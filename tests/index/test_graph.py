"""The graph: when it is taken, that it keeps the promises, and that exact search steps in where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.foundation import InputError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Index, searching, writer
from embedworks.index.planner import Plan

ROWS = 3000


def _plan_of_a_walk(calibration: Any, *, rows: int, passing: int, k: int, wanted_recall: float) -> Plan:
    """Walk where 30 % pass, whatever it costs: at this size a scan is always cheaper."""
    way = "graph" if k <= passing >= 0.3 * rows else "scan"
    return Plan(way, 1.0, 1.0, 0.99, beam=max(128, 2 * k), budget=rows, fewest=0.0)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An index with a graph over 3,000 rows, 100 newer rows outside it, and deleted rows in both."""
    patch = pytest.MonkeyPatch()
    patch.setattr(writer, "GRAPH_ROWS", ROWS)
    patch.setattr(searching, "plan", _plan_of_a_walk)
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


def _same_as_exact(index: Index, query: Any, where: str | None) -> bool:
    exact = index.search(query, where=where, exact=True)
    answer = index.search(query, where=where)
    return not answer.approximate and answer.hits == exact.hits and "did not pay" in answer.how


@pytest.mark.parametrize("limits", [{"budget": 40}, {"fewest": 0.9}, {"beam": 4}], ids=str)
def test_a_walk_that_does_not_pay_is_followed_by_a_scan(
    grown: Index, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any]
) -> None:
    """Over its budget, among rows that fail, or with fewer rows than wanted."""
    monkeypatch.setattr(searching, "plan", lambda *given, **known: replace(_plan_of_a_walk(*given, **known), **limits))
    query = random_generator(2, "queries").standard_normal(16)
    assert _same_as_exact(Index.open(grown.path), query, "share < 0.5")


def test_each_answer_of_a_batch_says_its_own_way(grown: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random_generator(3, "queries")
    queries = generator.standard_normal((12, 16))
    alone = [grown.search(query, where="share < 0.5") for query in queries]
    budget = int(np.median([answer.cost.codes for answer in alone]))
    narrow = {"budget": budget}
    monkeypatch.setattr(searching, "plan", lambda *given, **known: replace(_plan_of_a_walk(*given, **known), **narrow))
    answers = Index.open(grown.path).search_batch(queries, where="share < 0.5")
    assert {answer.approximate for answer in answers} == {True, False}
    for answer in answers:
        assert answer.how.startswith("graph over" if answer.approximate else "exact over")
        assert (answer.recall < 1) == answer.approximate


def test_the_recall_wanted_decides_the_way(grown: Index) -> None:
    query = random_generator(4, "queries").standard_normal(16)
    exact = grown.search(query, recall=1.0)
    assert not exact.approximate
    assert exact.hits == grown.search(query, exact=True).hits
    assert grown.search(query).approximate
    for refused in (0.0, 1.01, float("nan")):
        with pytest.raises(InputError, match="not above 0 and at most 1"):
            grown.search(query, recall=refused)


def test_a_walk_goes_where_the_slow_one_goes(grown: Index) -> None:
    """The compiled walk against the same rule in plain Python, on the scores of the codes."""
    living = grown._store.snapshot.graph
    assert living is not None
    values, bounds = living.codes.values.astype(np.int64), living.codes.bounds
    links, upper, starts = (np.asarray(part) for part in living.layers.read_only)
    from embedworks.index.scoring import encode_query

    for seed in range(5):
        generator = random_generator(seed, "walks")
        query = generator.standard_normal(16)
        query /= np.linalg.norm(query)
        passing = generator.random(ROWS) < 0.3
        code, scale, _ = encode_query(query)
        scores = (values @ code.astype(np.int64)).astype(np.float32) * (bounds[:, 0] * np.float32(scale))
        best = living.layers.entry
        for layer in range(living.layers.top, 0, -1):
            moved = True
            while moved:
                near = [row for row in upper[starts[best] + layer - 1] if row >= 0]
                following = max([best, *near], key=lambda row: scores[row])
                moved, best = following != best, following
        seen, waiting, kept = {best}, [best], [best] if passing[best] else []
        while waiting:
            row = max(waiting, key=lambda row: scores[row])
            if len(kept) == 12 and scores[row] < min(scores[kept]):
                break
            waiting.remove(row)
            for other in links[row]:
                if other < 0 or other in seen:
                    continue
                seen.add(other)
                if len(kept) == 12 and scores[other] <= min(scores[kept]):
                    continue
                waiting.append(other)
                if passing[other]:
                    kept = sorted([*kept, other], key=lambda row: -scores[row])[:12]
        assert set(living.walk(query, passing, beam=12).rows.tolist()) == {int(row) for row in kept}


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
