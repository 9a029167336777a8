"""One directory, its last commit, and the way from one commit to the next."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from embedworks.foundation import FileOperations, InputError, StorageError
from embedworks.index.manifest import MANIFEST_NAME, Manifest, StoredFile, check_file, commit, read_manifest
from embedworks.index.snapshot import Snapshot, open_snapshot
from embedworks.index.writer import LOCK_NAME, clean, compacted, compaction_due, partition_due, partitioned, writer_lock

_LOGGER = logging.getLogger(__name__)

Change = Callable[[Snapshot], Manifest | None]


class Store:
    """An opened index directory.

    Args:
        path: The directory.
        files: The file effects of its writes.
        in_memory: Whether vectors and codes are read into memory instead of mapped.
    """

    def __init__(self, path: Path, *, files: FileOperations, in_memory: bool = False) -> None:
        self.path, self.files, self._in_memory = path, files, in_memory
        self._verified: set[StoredFile] = set()
        self._writing = threading.Lock()
        self.snapshot = open_snapshot(path, verified=self._verified, in_memory=in_memory)

    @staticmethod
    def create(path: Path, manifest: Manifest, *, files: FileOperations) -> None:
        """Commit the first manifest of a new index.

        Raises:
            InputError: Something stands at the path that is not the rest of an interrupted creation.
            StorageError: The disk refused.
        """
        left = [entry.name for entry in path.iterdir()] if path.is_dir() else []
        foreign = [name for name in left if name != LOCK_NAME and not name.startswith(".tmp-")]
        if (path.exists() and not path.is_dir()) or foreign:
            mend = "choose another place, or open it" if MANIFEST_NAME in left else "choose another place"
            raise InputError("exists already", where=str(path), mend=mend)
        try:
            files.make_directory(path)
            commit(path, manifest, files)
            files.sync_directory(path.resolve().parent)
        except OSError as error:
            raise not_written(path, error) from error

    def change(self, change: Change) -> bool:
        """Make one commit, alone; when this returns, it is durable and :attr:`snapshot` shows it.

        Args:
            change: Takes the last commit, writes new files, and returns the manifest to commit, or None for no change.

        Returns:
            Whether there was anything to change.

        Raises:
            StorageError: Another writer is at work, or the disk refused.
        """
        with self._writing, writer_lock(self.path):
            if read_manifest(self.path).generation != self.snapshot.manifest.generation:
                self.snapshot = self._reopened()
            try:
                clean(self.path, self.snapshot.manifest, self.files)
                manifest = change(self.snapshot)
                if manifest is None:
                    return False
                commit(self.path, manifest, self.files)
            except OSError as error:
                raise not_written(self.path, error) from error
            self.snapshot = self._reopened()
            return True

    def refresh(self) -> bool:
        """Go on to the last commit if another process made one since; return whether it did."""
        with self._writing:
            newer = read_manifest(self.path).generation != self.snapshot.manifest.generation
            if newer:
                self.snapshot = self._reopened()
        return newer

    def _reopened(self) -> Snapshot:
        return open_snapshot(self.path, verified=self._verified, previous=self.snapshot, in_memory=self._in_memory)

    def maintain(self) -> None:
        """Keep segments few and the partition present; each step is a commit of its own.

        The change it follows is durable already, so a step that cannot be done now is left to the next writer and only
        logged.
        """

        def merge(snapshot: Snapshot) -> Manifest | None:
            names = compaction_due(snapshot)
            return compacted(self.path, snapshot, names, self.files) if names else None

        def partition(snapshot: Snapshot) -> Manifest | None:
            return partitioned(self.path, snapshot, self.files) if partition_due(snapshot) else None

        try:
            while compaction_due(self.snapshot) and self.change(merge):
                continue
            if partition_due(self.snapshot):
                self.change(partition)
        except StorageError as error:
            _LOGGER.warning("maintenance is left to the next write: %s", error)

    def verify(self) -> None:
        """Read every file of the last commit whole and compare it with its SHA-256.

        Raises:
            StorageError: A file is missing or altered; it is named.
        """
        for file in read_manifest(self.path).stored_files():
            try:
                check_file(self.path, file, verified=self._verified, whole=True)
            except FileNotFoundError as error:
                raise StorageError("is missing", where=str(error.filename), mend="restore it from a copy") from error


def not_written(directory: Path, error: OSError) -> StorageError:
    """Build the error for a disk that refused."""
    reason = error.strerror or str(error)
    mend = "what was there is kept; see to the disk, open the index again and repeat the call"
    return StorageError(f"could not be written: {reason}", where=str(directory), mend=mend)
