"""In which order entries came into an index, so that "new since then" is meant by arrival and not by date.

A paper may be added days after the day it bears. Each look at an index that finds ids not seen before appends one batch
to a log; what is new to a reader is every batch after the last one he was shown. Counting batches needs no clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from embedworks.foundation import FileOperations, StorageError


class Arrivals:
    """The log of arrivals, one JSON list of ids a line; the first line holds what was there from the beginning.

    Args:
        path: The file; it is made by the first look.
        files: The file effects; tests pass one that fails.
    """

    def __init__(self, path: Path, *, files: FileOperations) -> None:
        self._path, self._files = path, files
        self._batches: list[list[str]] = []
        self._known: set[str] = set()
        self._whole_bytes = 0  # of the file, up to the end of its last whole line
        self._read()

    def __len__(self) -> int:
        return len(self._batches)

    def look(self, ids: Iterable[str]) -> bool:
        """Log the ids that were not there at the last look; when this returns they are durable.

        Args:
            ids: The ids of all live rows of the index.

        Returns:
            Whether there were any.

        Raises:
            StorageError: The log is damaged.
        """
        self._read()
        new = [name for name in ids if name not in self._known]
        if not new and self._batches:
            return False
        line = json.dumps(new, ensure_ascii=True).encode() + b"\n"
        size = self._path.stat().st_size if self._path.is_file() else 0
        if size > self._whole_bytes:  # an append was cut off: what it said is among the new ids again
            whole = self._path.read_bytes()[: self._whole_bytes]
            self._files.replace_file(self._path, whole + line)
        elif size == 0:
            self._files.replace_file(self._path, line)
        else:
            self._files.append(self._path, line)
        self._take(new, len(line))
        return True

    def since(self, batches: int) -> set[str]:
        """Return the ids that arrived after the first ``batches`` looks."""
        return {name for batch in self._batches[batches:] for name in batch}

    def _read(self) -> None:
        """Read what another process may have appended."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._whole_bytes)
            lines = stream.read().split(b"\n")[:-1]
        for line in lines:
            try:
                ids = json.loads(line)
            except ValueError as error:
                ids = error
            if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
                mend = "remove the file; nothing counts as new then until more arrives"
                raise StorageError("is damaged", where=str(self._path), mend=mend)
            self._take(ids, len(line) + 1)

    def _take(self, ids: list[str], size: int) -> None:
        self._batches.append(ids)
        self._known.update(ids)
        self._whole_bytes += size
