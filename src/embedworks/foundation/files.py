"""Every effect on stored files goes through this layer, so that tests can count the effects and fail any one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any


class FileOperations:
    """The file effects that durable writers are made of, one method each.

    A test subclass overrides :meth:`before` to raise, to end the process or to damage the file at the n-th effect
    (the crash matrix); production code uses the shared :data:`LOCAL_FILES`.
    """

    def before(self, effect: str, path: Path) -> None:
        """Called before each effect; does nothing in production.

        Args:
            effect: One of write, append, sync, sync_directory, rename, remove, remove_tree, make_directory.
            path: The path the effect acts on.
        """

    def write(self, path: Path, content: bytes | memoryview) -> None:
        """Write a new file and flush it to the disk (an existing one is overwritten in place: stage first)."""
        self.before("write", path)
        with path.open("wb") as stream:
            stream.write(content)
            stream.flush()
            self.before("sync", path)
            os.fsync(stream.fileno())

    def append(self, path: Path, content: bytes | memoryview) -> None:
        """Append to a file and flush it to the disk."""
        self.before("append", path)
        with path.open("ab") as stream:
            stream.write(content)
            stream.flush()
            self.before("sync", path)
            os.fsync(stream.fileno())

    def sync(self, path: Path) -> None:
        """Flush a file that another library wrote to the disk."""
        self.before("sync", path)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Flush a directory's entries to the disk, so that a rename in it survives a power cut."""
        self.before("sync_directory", path)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename atomically within one file system; a file at the target is replaced."""
        self.before("rename", target)
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Remove a file; one that is gone already is no error."""
        self.before("remove", path)
        path.unlink(missing_ok=True)

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all it holds."""
        self.before("remove_tree", path)
        shutil.rmtree(path)

    def make_directory(self, path: Path) -> None:
        """Make a directory and its missing parents."""
        self.before("make_directory", path)
        path.mkdir(parents=True, exist_ok=True)

    def replace_file(self, path: Path, content: bytes | memoryview) -> None:
        """Put a whole file in place atomically: a reader sees the old bytes or the new ones, never a mixture."""
        staging = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:12]}")
        try:
            self.write(staging, content)
            self.rename(staging, path)
        except OSError:
            staging.unlink(missing_ok=True)
            raise
        self.sync_directory(path.parent)

    def replace_json(self, path: Path, document: Any) -> None:
        """Put a JSON document in place atomically; NaN and infinity are refused, as JSON has no such numbers."""
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        self.replace_file(path, f"{text}\n".encode())


LOCAL_FILES = FileOperations()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
