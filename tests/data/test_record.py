"""Behaviour: every record kind goes through Parquet unchanged, and a wrong kind or a crash spoils nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedworks.data import Corpus, Judged, Labelled, Pairs, Record, ScoredPairs
from embedworks.foundation import FileOperations, InputError, StorageError

RECORDS: list[Record] = [
    Corpus.from_columns(["a", "b"], ["red", "blue"], {"year": [2020, None], "tags": [["x"], []], "ok": [True, False]}),
    Pairs.from_columns(["q"], ["p"], negatives=[["n", "m"]], query_ids=["1"], positive_ids=["2"], tasks=["t"]),
    Pairs.from_columns(["q"], ["p"]),
    ScoredPairs.from_columns(["a"], ["b"], [2.5]),
    Labelled.from_columns(["t", "u"], [1, 0], ids=[7, 8]),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_parquet_round_trip(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.parquet"
    record.write(path)
    assert type(record).read(path) == record
    metadata = pq.read_schema(path).metadata
    assert metadata[b"embedworks.kind"] == type(record).__name__.encode()
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.parquet"]


texts = st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text and text.isprintable())


@given(st.lists(st.tuples(texts, texts, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=20))
def test_any_printable_text_survives(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float]]
) -> None:
    a, b, scores = (list(column) for column in zip(*rows, strict=True))
    record = ScoredPairs.from_columns(a, b, scores)
    path = tmp_path_factory.mktemp("any") / "pairs.parquet"
    record.write(path)
    again = ScoredPairs.read(path)
    assert (again.a, again.b, again.scores) == (a, b, scores)


def test_a_wrong_kind_is_refused(tmp_path: Path) -> None:
    Labelled.from_columns(["t"], ["x"]).write(tmp_path / "labelled.parquet")
    with pytest.raises(InputError, match=r"labelled\.parquet: holds Labelled, and Corpus is wanted"):
        Corpus.read(tmp_path / "labelled.parquet")


def test_a_later_version_is_refused() -> None:
    table = RECORDS[0].table.replace_schema_metadata({"embedworks.kind": "Corpus", "embedworks.version": "2"})
    with pytest.raises(InputError, match="version 2 is not known"):
        Corpus(table)


def test_a_user_file_needs_no_metadata_and_may_name_its_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [10, 20], "body": ["x", "y"], "year": [1, 2]}), tmp_path / "items.parquet")
    corpus = Corpus.read(tmp_path / "items.parquet", columns={"id": "key", "text": "body"})
    assert corpus.ids == ["10", "20"]
    assert corpus.texts == ["x", "y"]
    assert corpus.attributes.column_names == ["year"]


def test_row_numbers_become_ids_where_there_is_no_id_column() -> None:
    assert Corpus(pa.table({"text": ["x", "y", "z"]})).ids == ["0", "1", "2"]


def test_columns_of_no_use_are_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    pairs = Pairs(pa.table({"query": ["q"], "positive": ["p"], "negative": ["n"]}), source="pairs.parquet")
    assert pairs.table.column_names == ["query", "positive"]
    assert "pairs.parquet: columns not used by Pairs: 'negative'" in caplog.text


class FailingAt(FileOperations):
    """Raise at the n-th effect, as a full disk does."""

    def __init__(self, position: int) -> None:
        self.left = position

    def before(self, effect: str, path: Path) -> None:
        if self.left == 0:
            raise OSError(28, "No space left on device", str(path))
        self.left -= 1


@pytest.mark.parametrize("position", range(3))
def test_a_failed_write_leaves_the_old_file(position: int, tmp_path: Path) -> None:
    path = tmp_path / "corpus.parquet"
    old = Corpus.from_columns(["old"], ["text"])
    old.write(path)
    with pytest.raises(OSError, match="No space"):
        Corpus.from_columns(["new"], ["text"]).write(path, files=FailingAt(position))
    assert Corpus.read(path) == old
    assert [entry.name for entry in tmp_path.iterdir()] == ["corpus.parquet"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the folder does not exist"):
        RECORDS[0].write(tmp_path / "none" / "x.parquet")


def judged(**changes: Any) -> Judged:
    corpus = Corpus.from_columns(["a", "b"], ["red apple", "green pear"])
    queries = pa.table({"id": ["q1", "q2"], "text": ["red", "green"], "kind": ["x", "y"]})
    return Judged(corpus, queries, changes.get("relevance", {"q1": {"a": 2, "b": 0}, "q2": {"b": 1}}))


def test_judged_round_trip(tmp_path: Path) -> None:
    one = judged()
    one.write(tmp_path / "set")
    names = {"corpus.parquet", "manifest.json", "queries.parquet", "relevance.parquet"}
    assert {entry.name for entry in (tmp_path / "set").iterdir()} == names
    again = Judged.read(tmp_path / "set")
    assert again.corpus == one.corpus
    assert again.relevance == one.relevance == {"q1": {"a": 2, "b": 0}, "q2": {"b": 1}}
    assert again.queries.column_names == ["id", "text", "kind"]
    assert (again.query_ids, again.query_texts) == (["q1", "q2"], ["red", "green"])


def test_judged_is_not_replaced_unless_asked(tmp_path: Path) -> None:
    judged().write(tmp_path / "set")
    with pytest.raises(InputError, match="exists already"):
        judged().write(tmp_path / "set")
    judged(relevance={"q1": {"a": 1}}).write(tmp_path / "set", overwrite=True)
    assert Judged.read(tmp_path / "set").relevance == {"q1": {"a": 1}}


def test_a_damaged_judged_folder_is_refused(tmp_path: Path) -> None:
    judged().write(tmp_path / "set")
    path = tmp_path / "set" / "queries.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StorageError, match=r"queries\.parquet"):
        Judged.read(tmp_path / "set")


@pytest.mark.parametrize("position", range(8))
def test_a_failed_judged_write_leaves_the_old_folder(position: int, tmp_path: Path) -> None:
    judged().write(tmp_path / "set")
    with pytest.raises(OSError, match="No space"):
        judged(relevance={"q1": {"a": 1}}).write(tmp_path / "set", overwrite=True, files=FailingAt(position))
    assert Judged.read(tmp_path / "set").relevance == judged().relevance


@pytest.mark.parametrize(
    ("relevance", "message"),
    [
        ({"q3": {"a": 1}}, r"unknown query id 'q3'.*did you mean 'q2' or 'q1'"),
        ({"q1": {"c": 1}}, "unknown document id 'c' for query 'q1'"),
        ({"q1": {"a": -1}}, "the grade -1 for query 'q1' and document 'a'"),
        ({"q1": {"a": 0.5}}, "the grade 0.5"),
        ({"q1": {"a": True}}, "the grade True"),
        ({}, "no query is judged"),
        ({"q1": {}}, "no query is judged"),
    ],
)
def test_bad_relevance_is_refused(relevance: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judged(relevance=relevance)


def test_numpy_grades_become_whole_numbers() -> None:
    import numpy as np

    grade = judged(relevance={"q1": {"a": np.int64(3)}}).relevance["q1"]["a"]
    assert (grade, type(grade)) == (3, int)
