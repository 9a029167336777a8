"""``inspect capacity`` on a folder in the manner of BEIR, ours, and a named set; one line for bad input."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from embedworks.analysis import judge_capacity
from embedworks.data import Corpus, Judged


def _pairs(documents: int) -> dict[str, dict[str, int]]:
    pairs = itertools.combinations([f"d{number}" for number in range(documents)], 2)
    return {f"q{number}": dict.fromkeys(pair, 1) for number, pair in enumerate(pairs)}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Every pair of ten documents is relevant to one query; twenty more are relevant to none."""
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    relevance = _pairs(10)
    corpus = [{"_id": f"d{number}", "title": "", "text": f"text {number}"} for number in range(30)]
    queries = [{"_id": query, "text": f"question {query}"} for query in relevance]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = [f"{query}\t{document}\t1" for query, grades in relevance.items() for document in grades]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return folder


def test_the_answer_is_that_of_the_library(run, beir: Path) -> None:
    outcome = run("inspect", "capacity", beir, "--json", "-")
    assert outcome.code == 0, outcome
    document = json.loads(outcome.out)
    expected = judge_capacity(_pairs(10), dimension=384, documents=30).to_json()
    assert document == {"question": "capacity", "path": str(beir), **expected}
    assert document["densities"]["queries"] == 45
    assert document["verdict"] == "possible"


def test_a_person_is_told_in_words(run, beir: Path) -> None:
    outcome = run("inspect", "capacity", beir, "--dimension", "3")
    assert outcome.code == 0, outcome
    for words in ("45 queries", "yours", "LIMIT", "In exact arithmetic", "sign rank", "3 dimensions are the limit"):
        assert words in " ".join(outcome.out.split())
    assert "limit is likely" in outcome.out
    assert "suffice" not in outcome.out


def test_our_own_folder(run, tmp_path: Path) -> None:
    corpus = Corpus.from_columns(["a", "b", "c"], ["one", "two", "three"])
    judged = Judged.from_columns(corpus, ["q", "r"], ["first", "second"], {"q": {"a": 1}, "r": {"b": 2}})
    judged.write(tmp_path / "judged")
    document = json.loads(run("inspect", "capacity", tmp_path / "judged", "--json", "-").out)
    assert (document["verdict"], document["free_dimension"]) == ("unlikely", 2)
    assert document["bounds"]["upper"] == 2


def _refused(outcome, *words: str) -> None:
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    (line,) = outcome.err.strip().splitlines()
    assert line.startswith("embedworks: ")
    for word in words:
        assert word in line


def test_bad_input_gives_one_line(run, beir: Path, tmp_path: Path, data_folder: Path) -> None:
    _refused(run("inspect", "capacity", tmp_path / "nowhere"), "nowhere", "is no folder")
    _refused(run("inspect", "capacity", "stsb-en"), "stsb-en", "no judged queries")
    _refused(run("inspect", "capacity", beir, "--dimension", "0"), "--dimension")
    _refused(run("inspect", "capacity", beir, beir), "one folder")
    _refused(run("inspect", "capacity", beir, "--distance", "chord"), "no --distance")
    _refused(run("inspect", "depth", beir, "--dimension", "3"), "no --dimension")
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tnobody\t1\n")
    _refused(run("inspect", "capacity", beir), "nobody")
