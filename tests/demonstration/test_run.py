"""The parts of the demonstration that are its own: what is kept from training, and what a small run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedworks.data import Pairs
from embedworks.demonstration import Plan, demonstrate
from embedworks.demonstration.run import _validation_split
from embedworks.index import Index


def _pairs() -> Pairs:
    rows = [(f"query {n} {kind}", f"document {n}", f"q{n}-{kind}", f"d{n}") for n in range(100) for kind in "ab"]
    queries, positives, query_ids, positive_ids = map(list, zip(*rows, strict=True))
    return Pairs.from_columns(queries, positives, query_ids=query_ids, positive_ids=positive_ids)


def test_validation_documents_are_kept_from_training_with_all_their_queries() -> None:
    train, validation = _validation_split(_pairs(), seed=0)
    kept = set(validation.corpus.ids)
    assert len(kept) == 12
    assert kept.isdisjoint(train.positive_ids)
    assert set(train.queries).isdisjoint(validation.query_texts)
    assert len(train) + len(validation.query_ids) == 200
    assert all(set(grades) <= kept for grades in validation.relevance.values())


def test_the_split_follows_the_seed() -> None:
    first, again, other = (_validation_split(_pairs(), seed=seed)[1].corpus.ids for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.slow
def test_a_small_run_leaves_a_model_an_index_and_a_report(tmp_path: Path) -> None:
    lines: list[str] = []
    done = demonstrate(tmp_path / "demo", Plan(max_entries=4_000, training_minutes=0.1), announce=lines.append)
    assert len(lines) == 5
    assert set(done.seconds) == {"read", "build", "train", "judge", "index"}
    assert len(Index.open(done.index_path)) == len(done.corpus) == 4_000
    assert (done.folder / "model" / "model.safetensors").is_file()
    table = json.loads((done.report_path / "comparison.json").read_text())
    assert len(table["rows"]) == 8
    assert {row[1] for row in table["rows"]} == {"BM25", "untuned", "tuned", "hybrid"}
    for theme in ("light", "dark"):
        assert (done.report_path / f"comparison-{theme}.svg").stat().st_size > 1_000
    assert done.retrieval.check_leakage() == []
    again = demonstrate(tmp_path / "demo", Plan(max_entries=4_000, training_minutes=0.05))
    assert len(again.index) == 4_000, "an earlier run in the same folder is replaced"
