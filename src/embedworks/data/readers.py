"""Files to Arrow tables, by suffix: Parquet, CSV, TSV, JSONL, Arrow; text formats strictly UTF-8, also gzipped."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from embedworks.foundation import InputError

MAX_LINE_BYTES = 16 * 2**20
"""Longest line of a text file that is read, in bytes."""
_ROWS_AT_ONCE = 50_000

_TEXT_SUFFIXES = {".csv": "CSV", ".tsv": "TSV", ".jsonl": "JSONL", ".ndjson": "JSONL"}
_BINARY_SUFFIXES = {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Arrow", ".ipc": "Arrow"}


def read_table(path: str | Path, *, strings: Sequence[str] = ()) -> pa.Table:
    """Read a file into an Arrow table, by its suffix.

    Args:
        path: ``.parquet``, ``.arrow``, ``.feather``, ``.ipc``; ``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, the last
            four also with ``.gz`` behind.
        strings: CSV columns to be read as text even if every cell looks like a number or a date.

    Returns:
        The table, with types as the file says or, in text formats, as they are inferred.

    Raises:
        InputError: No such file, an unknown suffix, an empty or damaged file, or bytes that are not UTF-8.
    """
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    require_file(path)
    if kind in _TEXT_SUFFIXES:
        if _TEXT_SUFFIXES[kind] == "JSONL":
            return read_jsonl(path, strings=strings)
        return read_csv(path, delimiter="\t" if kind == ".tsv" else ",", strings=strings)
    if kind in _BINARY_SUFFIXES and kind == suffixes[-1]:
        return _read_parquet(path) if kind == ".parquet" else _read_arrow(path)
    known = ", ".join([*_BINARY_SUFFIXES, *_TEXT_SUFFIXES])
    raise InputError(
        f"unknown kind of file {''.join(suffixes[-2:]) or '(no suffix)'!r}",
        where=str(path),
        mend=f"use one of {known}; the last four may be gzipped (.gz)",
    )


def require_file(path: Path) -> None:
    """Refuse a path that is missing, is a folder or is empty."""
    if not path.exists():
        raise InputError("no such file", where=str(path), mend="check the path")
    if path.is_dir():
        raise InputError("is a folder, not a file", where=str(path), mend="name a file in it")
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=str(path), mend="give a file with rows")


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a UTF-8 text file, gzipped or not, without their line ends.

    Args:
        path: The file; ``.gz`` is decompressed on the way.

    Yields:
        Line number from 1, and the line.

    Raises:
        InputError: A line is not UTF-8, holds a NUL character or is longer than :data:`MAX_LINE_BYTES`.
    """
    require_file(path)
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                yield number, _decoded(line, f"{path}, line {number}")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"damaged gzip file ({error})", where=str(path), mend="it is truncated or no gzip; get it again"
        ) from None


def _decoded(line: bytes, where: str) -> str:
    if len(line) > MAX_LINE_BYTES:
        raise InputError(f"longer than {MAX_LINE_BYTES:,} bytes", where=where, mend="split the line")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte 0x{line[error.start]:02x} at position {error.start + 1} is not UTF-8",
            where=where,
            mend="save the file as UTF-8",
        ) from None
    if "\0" in text:
        raise InputError("a NUL character", where=where, mend="remove it; is this a text file?")
    return text.rstrip("\r\n")


def read_csv(
    path: str | Path,
    *,
    delimiter: str = ",",
    quote: str | bool = '"',
    names: Sequence[str] | None = None,
    strings: Sequence[str] = (),
) -> pa.Table:
    """Read a CSV or TSV file; types of other columns are inferred.

    Args:
        path: The file, gzipped or not.
        delimiter: The sign between cells.
        quote: The quoting sign, or False where quotes are plain text.
        names: The column names of a file without a header line.
        strings: Columns to be read as text whatever they look like.

    Returns:
        The table.

    Raises:
        InputError: Not UTF-8, or a row with a wrong number of cells.
    """
    path = Path(path)
    for _ in text_lines(path):  # strict UTF-8 and line limits with a line number, which the Arrow reader cannot give
        pass
    read = pa.csv.ReadOptions(column_names=names, use_threads=False, block_size=MAX_LINE_BYTES * 4)
    parse = pa.csv.ParseOptions(delimiter=delimiter, quote_char=quote, newlines_in_values=quote is not False)
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(strings, pa.string()))
    try:
        return pa.csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    except (pa.ArrowException, OSError) as error:
        _refuse("CSV", path, error)


def read_jsonl(path: str | Path, *, strings: Sequence[str] = ()) -> pa.Table:
    """Read a file of one JSON object a line; a key that a line lacks is a missing cell.

    JSON has no dates: a column whose every text is one (``2026-07-01``) becomes a column of dates, as in CSV.

    Args:
        path: The file, gzipped or not.
        strings: Columns to be read as text even if every cell looks like a date.

    Returns:
        The table, columns in order of first appearance.

    Raises:
        InputError: A line is no JSON object, or a column's cells are of different types; names the line.
    """
    path = Path(path)
    pieces: list[pa.Table] = []
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in text_lines(path):
        if line.strip():
            rows.append(_json_object(line, f"{path}, line {number}"))
            numbers.append(number)
        if len(rows) == _ROWS_AT_ONCE:
            pieces.append(_piece(rows, numbers, path))
            rows, numbers = [], []
    if rows:
        pieces.append(_piece(rows, numbers, path))
    if not pieces:
        raise InputError("the file has no rows", where=str(path), mend="give at least one JSON object")
    try:
        table = pa.concat_tables(pieces, promote_options="permissive")
    except pa.ArrowException as error:
        _refuse("JSONL", path, error)
    return _with_dates(table, strings)


def _with_dates(table: pa.Table, strings: Sequence[str]) -> pa.Table:
    for place, field in enumerate(table.schema):
        column = table.column(place)
        if field.name in strings or not pa.types.is_string(field.type) or column.null_count == len(column):
            continue
        if pc.all(pc.match_substring_regex(column, r"^\d{4}-\d{2}-\d{2}$")).as_py():
            with suppress(pa.ArrowInvalid):  # 2026-02-30 is no date, and stays text
                table = table.set_column(place, field.name, column.cast(pa.date32()))
    return table


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at position {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise InputError(f"malformed JSON ({reason})", where=where, mend="write one JSON object a line") from None
    if not isinstance(document, dict):
        raise InputError(
            f"a JSON {type(document).__name__}, not an object", where=where, mend="write one JSON object a line"
        )
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _piece(rows: list[dict[str, Any]], numbers: list[int], path: Path) -> pa.Table:
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            position = _odd_one_out(cells)
            raise InputError(
                f"a value of type {type(cells[position]).__name__} does not fit the lines before it",
                where=f"{path}, line {numbers[position]}, column {name!r}",
                mend="give the column values of one type",
            ) from None
    return pa.table(columns)


def _odd_one_out(cells: list[Any]) -> int:
    example = next((cell for cell in cells if cell is not None), None)
    for position, cell in enumerate(cells):
        try:
            pa.array([example, cell])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            return position
    return len(cells) - 1


def _read_parquet(path: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        _refuse("Parquet", path, error)
    return table


def _read_arrow(path: Path) -> pa.Table:
    try:
        with pa.OSFile(str(path)) as stream:
            try:
                table = pa.ipc.open_file(stream).read_all()
            except pa.ArrowInvalid:  # not the file form: the stream form, as the datasets library writes it
                stream.seek(0)
                table = pa.ipc.open_stream(stream).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        _refuse("Arrow", path, error)
    return table


def _refuse(kind: str, path: Path, error: Exception) -> NoReturn:
    raise InputError(
        f"cannot be read as {kind} ({' '.join(str(error).split())[:300]})",
        where=str(path),
        mend="it is damaged, truncated or of another kind",
    ) from None
