"""Where vectors go: an array in memory, or a memory-mapped ``.npy`` file that survives a kill.

The file grows beside its place as ``.NAME.partial`` with ``.NAME.journal``; it takes its name when it is whole.
Order of effects: rows of a window into the mapped file, the file synced, then the journal's record. At the end: header,
sync, rename, sync of the directory, journal removed.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from embedworks.encoders.engine.journal import Journal, JournalHeader, WindowRecord
from embedworks.foundation import InputError, StorageError
from embedworks.foundation.files import FileOperations

_HEADER_BYTES: Final = 128
_NUMBER_BYTES: Final = 4
_READ_BYTES: Final = 8 * 1024 * 1024


class Destination(Protocol):
    """Takes vectors window by window, in order."""

    def window(self, start: int, stop: int, dimension: int) -> NDArray[np.float32]:
        """Return the place of a window's rows, shape (stop - start, dimension)."""
        ...

    def earlier(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows of earlier windows."""
        ...


class ArrayDestination:
    """An array in memory, allocated once where the number of texts is known, else grown by doubling.

    Args:
        count: Number of texts, or None.
        output: The person's own array, or None.
    """

    def __init__(self, count: int | None, output: NDArray[np.float32] | None) -> None:
        self._count = count
        self._array = output
        self._own = output is None
        self._stop = 0

    def window(self, start: int, stop: int, dimension: int) -> NDArray[np.float32]:
        """Return the place of a window's rows."""
        if self._array is None:
            self._array = np.empty((stop if self._count is None else self._count, dimension), dtype=np.float32)
        if self._array.shape[1] != dimension or (stop > len(self._array) and not self._own):
            raise InputError(
                f"output has shape {self._array.shape}, the vectors need ({stop}, {dimension})", where="output"
            )
        if stop > len(self._array):
            grown = np.empty((max(stop, 2 * len(self._array)), dimension), dtype=np.float32)
            grown[:start] = self._array[:start]
            self._array = grown
        self._stop = stop
        return self._array[start:stop]

    def earlier(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows of earlier windows."""
        assert self._array is not None
        return self._array[rows]

    def result(self, dimension: int) -> NDArray[np.float32]:
        """Return all rows, shape (texts, dimension)."""
        if self._array is None:
            return np.empty((0, dimension), dtype=np.float32)
        return self._array[: self._stop]


class FileDestination:
    """A ``.npy`` file in the making.

    Args:
        path: Where the finished file is to stand.
        files: The file effects.
    """

    def __init__(self, path: Path, *, files: FileOperations) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self.journal_path = path.with_name(f".{path.name}.journal")
        self.journal: Journal | None = None
        self._files = files
        self._descriptor: int | None = None

    def reopen(self, identity: dict[str, Any], *, overwrite: bool) -> Journal | None:
        """Find an earlier run of the same work.

        Args:
            identity: What must be equal.
            overwrite: Whether a finished file, or another run's beginnings, may be replaced.

        Returns:
            Its journal; or None where the work has to begin.

        Raises:
            InputError: The file stands there finished, or an unfinished run is of other texts, model or settings.
            StorageError: The beginnings are damaged, or another process is writing them.
        """
        if self.path.is_dir():
            raise InputError("is a directory", where=str(self.path), mend="name a file in it")
        self._lock()
        journal = self._earlier_journal(discard_damaged=overwrite)
        if journal is not None and not self._begun():
            # Killed after the rename: the file stands whole, only the journal was still to go.
            if journal.header.identity == identity and journal.rows == _header_rows(self.path):
                self.journal = journal
                return journal
            journal = None
        if self.path.exists() and not overwrite:
            raise InputError("exists already", where=str(self.path), mend="choose another place, or pass overwrite")
        if journal is not None and journal.header.identity != identity:
            if not overwrite:
                earlier = journal.header.identity
                differing = sorted(name for name in identity if identity[name] != earlier.get(name, object()))
                raise InputError(
                    f"an unfinished run with other {' and '.join(differing)} has begun this file",
                    where=str(self.path),
                    mend="run it again with what it was begun with, or pass overwrite to begin anew",
                )
            journal = None
        if journal is None:
            self._files.remove(self.journal_path)
        self.journal = journal
        return journal

    def _earlier_journal(self, *, discard_damaged: bool) -> Journal | None:
        try:
            if not self.journal_path.exists():
                return None
            journal = Journal.read(self.journal_path, files=self._files)
            if journal is not None and self._begun():
                self._check(journal)
        except StorageError:
            if discard_damaged:
                return None
            raise
        return journal

    def begin(self, header: JournalHeader, *, count: int | None) -> None:
        """Make the partial file, at its full size where the number of texts is known, and the journal."""
        self._files.write(self.partial, bytes(_HEADER_BYTES))  # the same file, so that the lock on it stays
        if count is not None:
            self._reserve(count * header.dimension)
        self.journal = Journal.create(self.journal_path, header, files=self._files)

    def window(self, start: int, stop: int, dimension: int) -> NDArray[np.float32]:
        """Map the place of a window's rows."""
        self._reserve(stop * dimension)
        offset = _HEADER_BYTES + start * dimension * _NUMBER_BYTES
        return np.memmap(self.partial, dtype=np.float32, mode="r+", offset=offset, shape=(stop - start, dimension))

    def acknowledge(self, rows: NDArray[np.float32], record: WindowRecord) -> None:
        """Flush a window's mapped rows to the disk, then say so in the journal."""
        assert self.journal is not None
        assert isinstance(rows, np.memmap)
        rows.flush()
        self._files.sync(self.partial)
        self.journal.append(record)

    def earlier(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read rows of earlier windows."""
        assert self.journal is not None
        dimension = self.journal.header.dimension
        if not len(rows):
            return np.empty((0, dimension), dtype=np.float32)
        mapped = np.memmap(
            self.partial,
            dtype=np.float32,
            mode="r",
            offset=_HEADER_BYTES,
            shape=(int(rows.max()) + 1, dimension),
        )
        return np.asarray(mapped[rows])

    def finish(self) -> None:
        """Give the whole file its header and its name, and let the journal go."""
        assert self.journal is not None
        if self._begun():
            rows, dimension = self.journal.rows, self.journal.header.dimension
            with self.partial.open("r+b") as stream:
                stream.write(_npy_header(rows, dimension))
                stream.truncate(_HEADER_BYTES + rows * dimension * _NUMBER_BYTES)
            self._files.sync(self.partial)
            self._files.rename(self.partial, self.path)
            self._files.sync_directory(self.path.parent)
        self._files.remove(self.journal_path)
        self._files.sync_directory(self.path.parent)

    def close(self) -> None:
        """Let the lock go; what was acknowledged stays for a later run."""
        if self._descriptor is not None:
            if not self._begun() and self._is_locked_file():
                self.partial.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self) -> None:
        """Take the partial file for this process, making it empty where there is none."""
        import fcntl

        self._descriptor = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = self._is_locked_file()  # not so where another process has just finished and renamed it
        except BlockingIOError:
            mine = False
        if not mine:
            os.close(self._descriptor)
            self._descriptor = None
            raise StorageError(
                "another process is writing this file", where=str(self.path), mend="wait for it, or end it"
            )

    def _is_locked_file(self) -> bool:
        assert self._descriptor is not None
        try:
            return os.path.samestat(os.fstat(self._descriptor), self.partial.stat())
        except FileNotFoundError:
            return False

    def _begun(self) -> bool:
        return self.partial.exists() and self.partial.stat().st_size > 0

    def _reserve(self, numbers: int) -> None:
        """Take the space now: a full disk is then an error here, and not a fault in the mapped memory."""
        size = _HEADER_BYTES + numbers * _NUMBER_BYTES
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size >= size:
            return
        self._files.before("preallocate", self.partial)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._descriptor, 0, size)
        else:
            os.ftruncate(self._descriptor, size)

    def _check(self, journal: Journal) -> None:
        size = _HEADER_BYTES + journal.rows * journal.header.dimension * _NUMBER_BYTES
        if self.partial.stat().st_size < size:
            raise StorageError(
                "is shorter than its journal says", where=str(self.partial), mend="pass overwrite to begin anew"
            )
        start = 0
        with self.partial.open("rb") as stream:
            stream.seek(_HEADER_BYTES)
            for record in journal.windows:
                left = (record.stop - start) * journal.header.dimension * _NUMBER_BYTES
                digest = hashlib.blake2b(digest_size=16)
                while left:
                    content = stream.read(min(left, _READ_BYTES)) or bytes(left)
                    digest.update(content)
                    left -= len(content)
                if digest.hexdigest() != record.rows:
                    raise StorageError(
                        f"rows {start} to {record.stop - 1} differ from the journal",
                        where=str(self.partial),
                        mend="pass overwrite to begin anew",
                    )
                start = record.stop


def rows_digest(rows: NDArray[np.float32]) -> str:
    """Return the digest of a window's bytes."""
    return hashlib.blake2b(np.ascontiguousarray(rows).data, digest_size=16).hexdigest()


def _npy_header(rows: int, dimension: int) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (rows, dimension)})
    header = stream.getvalue()
    assert len(header) == _HEADER_BYTES
    return header


def _header_rows(path: Path) -> int:
    try:
        with path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            shape, _, _ = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, FileNotFoundError):
        return -1
    return int(shape[0])
