"""What the record kinds share: an Arrow table that was checked at the door, Parquet in and out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq

from embedworks.data.columns import Column, checked_columns, quoted
from embedworks.data.readers import read_table
from embedworks.foundation import LOCAL_FILES, FileOperations, InputError

_LOGGER = logging.getLogger(__name__)
_KIND_KEY, _VERSION_KEY = b"embedworks.kind", b"embedworks.version"
_VERSION = 1


class Record:
    """Base of the record kinds that are one table.

    Args:
        table: An Arrow table with the kind's columns.
        source: Name of the file or object it came from, for messages.
        columns: Our column name to the table's own name, where they differ.

    Raises:
        InputError: A column is missing or a cell cannot be used; names source, row and column.
    """

    COLUMNS: ClassVar[Mapping[str, Column]]
    """The kind's columns."""
    KEEPS_ATTRIBUTES: ClassVar[bool] = False
    """Whether further columns are kept; where they are not, a log line names what was left out."""

    def __init__(self, table: pa.Table, *, source: str = "table", columns: Mapping[str, str] | None = None) -> None:
        refuse_other_kind(table, type(self).__name__, source=source)
        checked, left_out = checked_columns(
            self.prepare(table, columns or {}),
            self.COLUMNS,
            source=source,
            keep_attributes=self.KEEPS_ATTRIBUTES,
            columns=columns,
        )
        if left_out:
            _LOGGER.warning("%s: columns not used by %s: %s", source, type(self).__name__, quoted(left_out))
        self.table: pa.Table = stamped(checked, type(self).__name__)

    @classmethod
    def prepare(cls, table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
        """Return the table to be checked; a kind overrides this to fill in a column that may be left out."""
        return table

    @classmethod
    def from_table(cls, table: pa.Table, *, source: str = "table", columns: Mapping[str, str] | None = None) -> Self:
        """Take an Arrow table; the same as the constructor."""
        return cls(table, source=source, columns=columns)

    @classmethod
    def read(cls, path: str | Path, *, columns: Mapping[str, str] | None = None) -> Self:
        """Read a file: Parquet, CSV, TSV, JSONL or Arrow by its suffix, text formats also gzipped.

        Args:
            path: The file.
            columns: Our column name to the file's own name, where they differ, such as ``{"text": "body"}``.

        Returns:
            The checked record.

        Raises:
            InputError: The file is missing, unreadable, of another kind, or a cell cannot be used.
        """
        mapping = dict(columns or {})
        strings = [mapping.get(name, name) for name, column in cls.COLUMNS.items() if column.form != "number"]
        return cls(read_table(path, strings=strings), source=str(path), columns=mapping)

    def write(self, path: str | Path, *, files: FileOperations = LOCAL_FILES) -> None:
        """Write Parquet atomically; an existing file is replaced whole or not at all.

        Args:
            path: The file to write, in a folder that exists.
            files: The file effects; tests pass one that fails.

        Raises:
            InputError: The folder does not exist.
        """
        write_parquet(self.table, Path(path), files=files)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and bool(self.table.equals(other.table))

    __hash__ = None  # type: ignore[assignment]  # compared by content, as tables are

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} rows: {', '.join(self.table.column_names)})"

    def _list(self, column: str) -> list[Any]:
        return list(self.table[column].to_pylist())

    def _optional_list(self, column: str) -> list[Any] | None:
        return self._list(column) if column in self.table.column_names else None


def stamped(table: pa.Table, kind: str) -> pa.Table:
    """Return the table with its kind and version in the schema metadata, in place of any other metadata."""
    return table.replace_schema_metadata({_KIND_KEY: kind.encode(), _VERSION_KEY: str(_VERSION).encode()})


def refuse_other_kind(table: pa.Table, kind: str, *, source: str) -> None:
    """Refuse a table whose schema metadata says another kind or a later version; one without metadata passes."""
    metadata = table.schema.metadata or {}
    stored = metadata.get(_KIND_KEY, kind.encode()).decode(errors="replace")
    version = metadata.get(_VERSION_KEY, b"1").decode(errors="replace")
    if stored != kind:
        raise InputError(f"holds {stored}, and {kind} is wanted", where=source, mend=f"read it with {stored}.read")
    if version != str(_VERSION):
        raise InputError(
            f"{kind} of version {version} is not known to this version", where=source, mend="update embedworks"
        )


def write_parquet(table: pa.Table, path: Path, *, files: FileOperations = LOCAL_FILES) -> None:
    """Write a table as Parquet atomically."""
    if not path.parent.is_dir():
        raise InputError("the folder does not exist", where=str(path.parent), mend="make it first")
    if path.is_dir():
        raise InputError("is a folder, not a file", where=str(path), mend="name a file in it")
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    files.replace_file(path, memoryview(sink.getvalue()))
