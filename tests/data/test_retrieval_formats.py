"""Behaviour: BEIR folders and TREC files come in as they are found in the wild, and go out readable by others."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.data import (
    Judged,
    read_beir,
    read_trec_qrels,
    read_trec_run,
    write_trec_qrels,
    write_trec_run,
)
from embedworks.foundation import InputError

Writer = Callable[[str, str | bytes], Path]

DOCUMENTS = [
    {"_id": "d1", "title": "Apple", "text": "A red fruit.", "metadata": {}},
    {"_id": "d2", "title": "", "text": "A green fruit."},
    {"_id": "d3", "title": "", "text": ""},
]
QUERIES = [{"_id": "1", "text": "red"}, {"_id": "2", "text": "unjudged"}, {"_id": "3", "text": "green"}]
QRELS = "query-id\tcorpus-id\tscore\n1\td1\t2\n1\td2\t0\n3\td2\t1\n3\td3\t1\n"


def lay_out(folder: Path, *, packed: bool, qrels_name: str) -> None:
    for name, content in (
        ("corpus.jsonl", "".join(json.dumps(row) + "\n" for row in DOCUMENTS)),
        ("queries.jsonl", "".join(json.dumps(row) + "\n" for row in QUERIES)),
        (qrels_name, QRELS),
    ):
        path = folder / (f"{name}.gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("qrels_name", ["qrels/test.tsv", "qrels.tsv"])
def test_beir_folder(tmp_path: Path, packed: bool, qrels_name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lay_out(tmp_path, packed=packed, qrels_name=qrels_name)
    judged = Judged.read(tmp_path)
    assert judged.corpus.ids == ["d1", "d2"]
    assert judged.corpus.texts == ["Apple A red fruit.", "A green fruit."]
    assert judged.corpus.attributes.column_names == ["title"]
    assert judged.query_ids == ["1", "3"]
    assert judged.relevance == {"1": {"d1": 2, "d2": 0}, "3": {"d2": 1}}
    assert "left out 1 documents without text and 1 judgements" in caplog.text


def test_another_relevance_file(tmp_path: Path, write_file: Writer) -> None:
    lay_out(tmp_path, packed=False, qrels_name="qrels.tsv")
    dev = write_file("qrels/dev.tsv", "query-id\tcorpus-id\tscore\n2\td1\t1\n")
    assert read_beir(tmp_path, qrels=dev).relevance == {"2": {"d1": 1}}


def test_what_a_beir_folder_lacks_is_named(tmp_path: Path, write_file: Writer) -> None:
    write_file("corpus.jsonl", '{"_id": "d1", "text": "x"}\n')
    with pytest.raises(InputError, match=r"no queries\.jsonl"):
        Judged.read(tmp_path)
    write_file("queries.jsonl", '{"_id": "1", "text": "x"}\n')
    with pytest.raises(InputError, match=r"no qrels/test\.tsv or qrels\.tsv"):
        Judged.read(tmp_path)
    write_file("qrels.tsv", "query-id\tcorpus-id\tscore\n1\td9\t1\n")
    with pytest.raises(InputError, match="unknown document id 'd9' for query '1'"):
        Judged.read(tmp_path)
    write_file("qrels.tsv", "query-id\tcorpus-id\tscore\n1\td1\t-1\n")
    with pytest.raises(InputError, match=r"qrels\.tsv, row 1, column 'grade': the grade -1"):
        Judged.read(tmp_path)
    write_file("qrels.tsv", "query-id\tcorpus-id\tscore\n1\td1\t1\n1\td1\t2\n")
    with pytest.raises(InputError, match=r"row 2, column 'grade': query '1' and document 'd1' were judged 1 before"):
        Judged.read(tmp_path)
    write_file("qrels.tsv", "query-id\tdocument\tscore\n1\td1\t1\n")
    with pytest.raises(InputError, match="column 'corpus-id' is missing"):
        Judged.read(tmp_path)
    write_file("qrels.tsv", "query-id\tcorpus-id\tscore\n1\td1\t1\n")
    write_file("corpus.jsonl", '{"id": "d1", "text": "x"}\n')
    with pytest.raises(InputError, match="column '_id' is missing"):
        Judged.read(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        Judged.read(tmp_path / "none")


def test_trec_qrels(write_file: Writer) -> None:
    path = write_file("qrels.txt", "1 0 d1 2\n1\tQ0\td2   -1\n\n2 0 d1 0\r\n")
    assert read_trec_qrels(path) == {"1": {"d1": 2, "d2": 0}, "2": {"d1": 0}}


ids = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(ids, st.dictionaries(ids, st.integers(0, 5), min_size=1), min_size=1))
def test_trec_qrels_round_trip(tmp_path_factory: pytest.TempPathFactory, relevance: dict[str, dict[str, int]]) -> None:
    path = tmp_path_factory.mktemp("qrels") / "qrels.txt"
    write_trec_qrels(relevance, path)
    assert read_trec_qrels(path) == relevance


@given(st.dictionaries(ids, st.dictionaries(ids, finite, min_size=1), min_size=1))
def test_trec_run_round_trip(tmp_path_factory: pytest.TempPathFactory, run: dict[str, dict[str, float]]) -> None:
    path = tmp_path_factory.mktemp("run") / "run.txt"
    write_trec_run(run, path)
    assert read_trec_run(path) == run


def test_a_run_is_written_best_first_with_ties_by_id(tmp_path: Path) -> None:
    write_trec_run({"q": {"b": 1.0, "c": 2.0, "a": 1.0}}, tmp_path / "run.txt", tag="mine")
    lines = (tmp_path / "run.txt").read_text().splitlines()
    assert lines == ["q Q0 c 1 2.0 mine", "q Q0 a 2 1.0 mine", "q Q0 b 3 1.0 mine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 0 d1\n", r"line 1: 3 fields, not 4"),
        ("1 0 d1 1\n1 0 d2 high\n", r"line 2: the grade 'high'"),
        ("1 0 d1 1\n1 0 d1 2\n", r"line 2: query '1' and document 'd1' were judged 1 before, and 2 here"),
        ("\n", r"the file has no rows"),
        (b"1 0 d\xff 1\n", r"line 1: byte 0xff"),
    ],
)
def test_bad_trec_qrels(content: str | bytes, message: str, write_file: Writer) -> None:
    with pytest.raises(InputError, match=message):
        read_trec_qrels(write_file("qrels.txt", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 Q0 d1 1 0.5\n", r"line 1: 5 fields, not 6"),
        ("1 Q0 d1 1 nan x\n", r"line 1: the score 'nan'"),
        ("1 Q0 d1 1 high x\n", r"line 1: the score 'high'"),
        ("1 Q0 d1 1 2 x\n1 Q0 d1 2 1 x\n", r"line 2: document 'd1' comes twice for query '1'"),
        ("\n", r"the file has no rows"),
    ],
)
def test_bad_trec_runs(content: str, message: str, write_file: Writer) -> None:
    with pytest.raises(InputError, match=message):
        read_trec_run(write_file("run.txt", content))


@pytest.mark.parametrize("run", [{"a b": {"d": 1.0}}, {"a": {"": 1.0}}, {"a": {"d": float("nan")}}])
def test_what_the_format_cannot_carry_is_refused(run: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_trec_run(run, tmp_path / "run.txt")
    assert list(tmp_path.iterdir()) == []
