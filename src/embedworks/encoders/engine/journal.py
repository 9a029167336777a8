"""The journal of a file of vectors: which windows are on the disk, for which texts, model and settings.

One line a record: the CRC-32 of the JSON text, a space, the JSON text. The first record is the header. A record is
appended and synced only after the rows it speaks of are synced, so a record that reads back is true; a torn last line
is what a kill leaves and is dropped; damage anywhere else is refused.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from embedworks.encoders.engine.report import Settled
from embedworks.foundation import StorageError
from embedworks.foundation.files import FileOperations

_VERSION: Final = 1


@dataclass(frozen=True)
class WindowRecord:
    """One finished window.

    Args:
        stop: Row after its last; it starts where the record before it stopped.
        inputs: Digest of all texts up to ``stop``.
        rows: BLAKE2b of the window's bytes in the file.
        tokens: Tokens computed, without padding.
        padded: Tokens computed, with padding.
        truncated: Distinct texts cut; None where unknown.
        duplicates: Texts that repeat an earlier one.
        batches: Forward passes.
    """

    stop: int
    inputs: str
    rows: str
    tokens: int
    padded: int
    truncated: int | None
    duplicates: int
    batches: int


@dataclass(frozen=True)
class JournalHeader:
    """What a run is of, and what it settled before its first window.

    Args:
        identity: Everything that must be equal for a resume: texts, model, settings.
        dimension: Components a vector.
        batch_tokens: The budget chosen.
        settled: What the run computes in, and why.
    """

    identity: dict[str, Any]
    dimension: int
    batch_tokens: int
    settled: Settled


class Journal:
    """An append-only file of records.

    Args:
        path: Where it stands.
        files: The file effects.
        header: The first record.
        windows: The finished windows, in order.
    """

    def __init__(
        self, path: Path, *, files: FileOperations, header: JournalHeader, windows: list[WindowRecord]
    ) -> None:
        self.path = path
        self.header = header
        self.windows = windows
        self._files = files

    @property
    def rows(self) -> int:
        """Number of rows that are on the disk."""
        return self.windows[-1].stop if self.windows else 0

    @classmethod
    def create(cls, path: Path, header: JournalHeader, *, files: FileOperations) -> Journal:
        """Begin a journal; torn within its header it is as good as none."""
        files.write(path, _line({"version": _VERSION, **asdict(header)}))
        files.sync_directory(path.parent)
        return cls(path, files=files, header=header, windows=[])

    @classmethod
    def read(cls, path: Path, *, files: FileOperations) -> Journal | None:
        """Read a journal, cutting a torn last line off the file; None where not even the header is whole.

        Raises:
            StorageError: A record is damaged, or the version is unknown.
        """
        content = path.read_bytes()
        whole, newline, torn = content.rpartition(b"\n")
        if not newline:
            return None
        try:
            records = [_record(line) for line in whole.split(b"\n")]
            header = dict(records[0])
            version = header.pop("version")
            known = JournalHeader(**header | {"settled": Settled(**header["settled"])})
            windows = [WindowRecord(**record) for record in records[1:]]
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise StorageError(
                "the journal is damaged", where=str(path), mend="pass overwrite to begin anew"
            ) from error
        if version != _VERSION:
            raise StorageError(f"journal version {version} is unknown", where=str(path), mend="update embedworks")
        if torn:
            with path.open("r+b") as stream:
                stream.truncate(len(whole) + 1)
            files.sync(path)
        return cls(path, files=files, header=known, windows=windows)

    def append(self, record: WindowRecord) -> None:
        """Acknowledge a window whose rows are on the disk."""
        self._files.append(self.path, _line(asdict(record)))
        self.windows.append(record)


def _line(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _record(line: bytes) -> dict[str, Any]:
    checksum, _, text = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("checksum differs")
    document = json.loads(text)
    if not isinstance(document, dict):
        raise TypeError("a record is a JSON object")
    return document
