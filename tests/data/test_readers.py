"""Behaviour: every file format gives the same record, and a bad file gives one line that names the place."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from embedworks.data import Corpus, Labelled, read_table, readers
from embedworks.data.readers import read_jsonl
from embedworks.foundation import InputError

Writer = Callable[[str, str | bytes], Path]

TABLE = pa.table({"id": ["1", "2"], "text": ['say "hi", now', "zwei\nZeilen ä"], "year": [2020, 2021]})


def _jsonl(table: pa.Table) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()


def _csv(table: pa.Table, delimiter: str) -> bytes:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(table, sink, pa.csv.WriteOptions(delimiter=delimiter))
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    "name",
    [
        "x.parquet",
        "x.arrow",
        "stream.arrow",
        "x.feather",
        "x.csv",
        "x.CSV.gz",
        "x.tsv",
        "x.tsv.gz",
        "x.jsonl",
        "x.v2.jsonl.gz",
        "x.ndjson",
    ],
)
def test_every_format_gives_the_same_corpus(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(TABLE, path)
    elif name == "stream.arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)
    elif name.endswith((".arrow", ".feather")):
        pa.feather.write_feather(TABLE, path)
    else:
        content = _jsonl(TABLE) if "json" in name else _csv(TABLE, "\t" if "tsv" in name else ",")
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    corpus = Corpus.read(path)
    assert corpus.ids == ["1", "2"]
    assert corpus.texts == TABLE["text"].to_pylist()
    assert corpus.attributes.to_pydict() == {"year": [2020, 2021]}


def test_texts_that_look_like_numbers_or_dates_stay_texts(write_file: Writer) -> None:
    path = write_file("x.csv", "id,body,day\n007,2012,2024-05-01\n008,NA,2024-05-02\n")
    corpus = Corpus.read(path, columns={"text": "body"})
    assert corpus.ids == ["007", "008"]
    assert corpus.texts == ["2012", "NA"]
    assert pa.types.is_date(corpus.attributes.schema.field("day").type)


def test_a_byte_order_mark_is_no_part_of_the_first_column(write_file: Writer) -> None:
    for name, content in (("x.csv", "text,label\na,b\n"), ("x.jsonl", '{"text": "a", "label": "b"}\n')):
        assert Labelled.read(write_file(name, b"\xef\xbb\xbf" + content.encode())).labels == ["b"]


def test_a_key_that_a_line_lacks_is_missing(write_file: Writer) -> None:
    corpus = Corpus.read(write_file("x.jsonl", '{"text": "a"}\n\n{"text": "b", "year": 3}\n'))
    assert corpus.attributes.to_pydict() == {"year": [None, 3]}


def test_pieces_of_a_long_file_are_joined(write_file: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_ROWS_AT_ONCE", 2)
    lines = "".join(f'{{"text": "t{row}", "n": {row}{".5" if row > 2 else ""}}}\n' for row in range(5))
    corpus = Corpus.read(write_file("x.jsonl", lines))
    assert corpus.texts == [f"t{row}" for row in range(5)]
    assert corpus.attributes["n"].to_pylist() == [0.0, 1.0, 2.0, 3.5, 4.5]
    with pytest.raises(InputError, match=r"y\.jsonl: cannot be read as JSONL"):
        Corpus.read(write_file("y.jsonl", '{"text": "a", "n": 1}\n' * 2 + '{"text": "a", "n": "one"}\n'))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", r"x\.csv: the file is empty"),
        ("x.jsonl", b"\n\n", r"x\.jsonl: the file has no rows"),
        ("x.csv", b"id,text\n", r"x\.csv: the table has no rows"),
        ("x.csv", b"id,text\n1,caf\xe9\n", r"x\.csv, line 2: byte 0xe9 at position 6 is not UTF-8"),
        ("x.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', r"x\.jsonl, line 2: byte 0xff at position 11 is not UTF-8"),
        ("x.csv", b"id,text\n1,a\0b\n", r"x\.csv, line 2: a NUL character"),
        ("x.csv", "id,text\n1,a".encode("utf-16"), r"x\.csv, line 1: byte 0xff"),
        ("x.jsonl", b'{"text": "a"}\n{"text": \n', r"x\.jsonl, line 2: malformed JSON \(.* at position 10\)"),
        ("x.jsonl", b'{"text": "a"} {"text": "b"}\n', r"x\.jsonl, line 1: malformed JSON \(Extra data"),
        ("x.jsonl", b'{"text": "a", "n": NaN}\n', r"line 1: malformed JSON \(NaN is no JSON number\)"),
        ("x.jsonl", b'["a"]\n', r"x\.jsonl, line 1: a JSON list, not an object"),
        ("x.jsonl", b"[" * 100_000 + b"\n", r"x\.jsonl, line 1: malformed JSON \(maximum recursion"),
        ("x.jsonl", b'{"text": "a", "n": 1}\n{"text": "b", "n": "c"}\n', r"line 2, column 'n': a value of type str"),
        ("x.jsonl", b'{"text": "\\ud800"}\n', r"line 1, column 'text': a value of type str does not fit"),
        ("x.jsonl", b'{"text": "a\\u0000"}\n', r"row 1, column 'text': a NUL character"),
        ("x.csv", b"id,text\n1,a,b\n", r"x\.csv: cannot be read as CSV .*Expected 2 columns, got 3"),
        ("x.csv.gz", b"id,text\n1,a\n", r"x\.csv\.gz: damaged gzip file"),
        ("x.csv.gz", gzip.compress(b"id,text\n1,a\n" * 50)[:-9], r"x\.csv\.gz: damaged gzip file"),
        ("x.parquet", b"PAR1 and nothing more", r"x\.parquet: cannot be read as Parquet"),
        ("x.arrow", b"ARROW1 and nothing", r"x\.arrow: cannot be read as Arrow"),
        ("x.txt", b"hello", r"x\.txt: unknown kind of file '\.txt'; use one of \.parquet"),
        ("x", b"hello", r"x: unknown kind of file '\(no suffix\)'"),
        ("x.parquet.gz", b"hello", r"unknown kind of file '\.parquet\.gz'"),
    ],
)
def test_bad_files_give_one_line(name: str, content: bytes, message: str, write_file: Writer) -> None:
    path = write_file(name, content)
    with pytest.raises(InputError, match=message) as caught:
        Corpus.read(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(TABLE, path)
    whole = path.read_bytes()
    for size in (1, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            Corpus.read(path)


def test_bytes_that_are_no_utf8_inside_parquet_are_refused(tmp_path: Path) -> None:
    broken = pa.array([b"ok", b"\xff\xfe"]).view(pa.string())
    pq.write_table(pa.table({"text": broken}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet: cannot be read as Parquet .*UTF8"):
        Corpus.read(tmp_path / "x.parquet")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Corpus.read(tmp_path / "none.csv")
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(InputError, match="is a folder, not a file"):
        Corpus.read(tmp_path / "x.csv")


def test_too_long_a_line_is_refused(write_file: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_LINE_BYTES", 100)
    with pytest.raises(InputError, match=r"x\.jsonl, line 2: longer than 100 bytes"):
        Corpus.read(write_file("x.jsonl", '{"text": "a"}\n{"text": "' + "b" * 200 + '"}\n'))


def test_a_column_of_jsonl_whose_texts_are_dates_is_one_of_dates(write_file: Writer) -> None:
    lines = ['{"day": "2026-07-01", "odd": "2026-02-30", "some": "2026-07-01", "none": null}', '{"some": "soon"}']
    path = write_file("items.jsonl", "\n".join(lines) + "\n")
    table = read_table(path)
    assert table["day"].to_pylist() == [date(2026, 7, 1), None]
    assert table["odd"].to_pylist() == ["2026-02-30", None]
    assert table["some"].to_pylist() == ["2026-07-01", "soon"]
    assert table["none"].to_pylist() == [None, None]
    assert read_jsonl(path, strings=["day"])["day"].to_pylist() == ["2026-07-01", None]
