"""The comparison of filtered search runs end to end on made papers, judges recall and filters itself, and says who is
not installed."""

from __future__ import annotations

import datetime
import io

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from embedworks.evaluation.filtered import PaperSet, cells_of, run, search_benchmark, table
from embedworks.evaluation.filtered.cells import Condition
from embedworks.evaluation.filtered.engines import PEERS
from embedworks.evaluation.filtered.engines.exact_numpy import ExactNumpy
from embedworks.evaluation.filtered.engines.faiss_indexes import FaissGraph, FaissScan
from embedworks.evaluation.filtered.engines.graph_libraries import Hnswlib
from embedworks.evaluation.filtered.race import Arm, Choice, Truth, choose, race, ratio
from embedworks.foundation import StorageError

CATEGORIES = ["cs.CV", "cs.CL", "cs.AI", "cs.GR", "cs.LG", "cs.RO", "cs.IR", "cs.GT"]


def made_papers(rows: int = 400, queries: int = 24) -> PaperSet:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((rows + queries, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    categories = [[str(name) for name in random.permutation(CATEGORIES)[: random.integers(1, 4)]] for _ in range(rows)]
    authors = [[f"O'Neil {number}" for number in random.permutation(12)[:3]] for _ in range(rows)]
    start = datetime.date(2025, 1, 1)
    days = [start + datetime.timedelta(days=int(day)) for day in random.integers(0, 200, size=rows)]
    attributes = pa.table(
        {
            "date": pa.array(days, pa.date32()),
            "primary_category": [names[0] for names in categories],
            "categories": categories,
            "authors": authors,
            "number_of_authors": [3] * rows,
            "number_of_categories": [len(names) for names in categories],
            "draw": random.random(rows),
        }
    )
    asked = ["cs.CV" if number % 2 else "cs.CL" for number in range(queries)]
    return PaperSet([f"p{row}" for row in range(rows)], vectors[:rows], attributes, vectors[rows:], asked)


def test_a_run_compares_every_cell_with_who_is_there(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(search_benchmark, "read_paper_set", lambda **_: made_papers())
    monkeypatch.setattr(Hnswlib, "missing", classmethod(lambda cls: "pip install something"))
    figures = run(rounds=2, peers=[ExactNumpy, FaissScan, FaissGraph, Hnswlib])
    assert figures["not_installed"] == {"hnswlib": "pip install something"}
    assert "pip install something" in caplog.text
    assert len(figures["cells"]) == 12
    for cell in figures["cells"]:
        ours, exact = cell["engines"]["embedworks"], cell["engines"]["NumPy exact"]
        assert ours["recall"] == exact["recall"] == 1
        assert ours["violations"] == ours["short"] == exact["violations"] == 0
        assert ours["queries"] >= 4
        assert cell["ratio"]["low"] <= cell["ratio"]["median"] <= cell["ratio"]["high"]
        assert set(cell["ratios"]) <= {"NumPy exact", "faiss Flat", "faiss HNSW"}
    assert [row["cell"] for row in figures["tables"]["cells"]] == [cell["cell"] for cell in figures["cells"]]
    assert {row["engine"] for row in figures["tables"]["engines"]} >= {"embedworks", "faiss HNSW"}
    summary = figures["summary"]
    assert len(summary["at_least_as_fast"]) + len(summary["slower"]) == 12
    written = io.StringIO()
    Console(file=written, width=200).print(table(figures))
    assert "correlated" in written.getvalue()


def test_conditions_mean_the_same_as_text_and_as_masks(tmp_path) -> None:
    from embedworks.index import Index

    papers = made_papers()
    index = Index.create(tmp_path / "x", dimension=16, lexical=False)
    index.add(papers.ids, papers.vectors, attributes=papers.table)
    for cell in cells_of(papers):
        for where in cell.filters:
            found = index.search(papers.queries[0], where=where.where, k=len(papers), exact=True)
            assert {hit.id for hit in found.hits} == {papers.ids[row] for row in where.rows}, where.where


def test_tuning_and_measuring_share_no_query() -> None:
    for cell in cells_of(made_papers()):
        assert not set(cell.tuning) & set(cell.measuring)


def test_recall_counts_against_what_passes() -> None:
    papers = made_papers()
    cell = cells_of(papers)[3]  # 0.1 %: a single row passes
    truth, turn = Truth(papers, cell), 0
    (row,) = cell.filters[turn].rows
    assert truth.recall(0, turn, [int(row)]) == 1
    assert truth.recall(0, turn, []) == 0


def test_the_fastest_setting_that_reaches_the_recall_is_chosen() -> None:
    papers = made_papers()
    cell = cells_of(papers)[0]
    engine = FaissGraph()
    engine.build(papers, [cell], None)
    chosen = choose(engine, papers, cell, Truth(papers, cell))
    assert chosen.reached
    assert chosen.recall >= 0.99
    monkeyed = FaissGraph()
    monkeyed.indexes = engine.indexes
    monkeyed.settings = lambda: [["float32 1"]]
    poor = choose(monkeyed, papers, cell, Truth(papers, cell))
    assert not poor.reached


def test_violations_and_short_answers_are_counted() -> None:
    papers = made_papers()
    cell = cells_of(papers)[0]

    class Careless(ExactNumpy):
        def prepare(self, where, setting):
            outside = np.flatnonzero(~where.mask)[:3]
            return lambda query: outside

    engine = Careless()
    engine.build(papers, [cell], None)
    arm = Arm("careless", engine, Choice("x", 0, 1e-6, False), [engine.prepare(f, "x") for f in cell.filters])
    figures = race([arm], papers, cell, Truth(papers, cell), rounds=2, seed=0)["careless"]
    assert figures["violations"] == 3 * figures["queries"]
    assert figures["short"] == figures["queries"]
    assert figures["recall"] == 0


def test_ratio_of_equal_times_is_one() -> None:
    assert ratio([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], seed=0) == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_literals() -> None:
    day = float(datetime.date(2026, 1, 2).toordinal())
    assert Condition("date", "between", day, day).text == "date >= '2026-01-02' and date <= '2026-01-02'"
    assert Condition("number_of_authors", "between", high=5.0).text == "number_of_authors <= 5"
    assert Condition("authors", "has", value="O'Neil").text == "authors contains 'O''Neil'"


def test_without_the_data_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("EMBEDWORKS_DATA", str(tmp_path))
    monkeypatch.setenv("EMBEDWORKS_CACHE", str(tmp_path))
    with pytest.raises(StorageError, match="EMBEDWORKS_DATA"):
        run(rounds=1)


def test_every_peer_says_how_to_get_it() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
    assert all("pip install" in peer.install for peer in PEERS)
