"""Checkpoints that are there whole or not at all: one sealed directory a step, the newest few kept.

The protocol is written down in docs/decisions/checkpoints-and-resume.md.
"""

from __future__ import annotations

import fcntl
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedworks.foundation import LOCAL_FILES, FileOperations, InputError, StorageError
from embedworks.foundation.staging import staged_directory, verify_directory

LOG = logging.getLogger(__name__)

KIND = "embedworks training checkpoint"
_STEP = re.compile(r"step-(\d{8})")
_LOCK = ".lock"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every file agrees with its manifest."""

    path: Path
    """Its directory."""
    step: int
    """Optimiser steps taken when it was written."""
    metadata: Mapping[str, Any]
    """What the run wrote beside the files."""


class CheckpointStore:
    """The checkpoints of one training run.

    Args:
        directory: The folder of the checkpoints; made when the first is written.
        keep: Number of newest checkpoints kept.
        files: The file effects; tests pass one that fails.
    """

    def __init__(self, directory: Path, *, keep: int, files: FileOperations = LOCAL_FILES) -> None:
        self.directory = directory
        self.keep = keep
        self._files = files

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out while the block runs, and remove what killed runs left half done.

        Raises:
            InputError: Another process writes here.
        """
        self._files.make_directory(self.directory)
        with (self.directory / _LOCK).open("ab") as lock:
            try:
                # The system frees the lock of a killed process; a file with a process number would stay behind.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    "another training run writes here", where=str(self.directory), mend="wait for it, or choose another"
                ) from error
            for leftover in [*self.directory.glob(".tmp-*"), *self.directory.glob(".trash-*")]:
                self._files.remove_tree(leftover)
            yield

    def steps(self) -> list[int]:
        """Return the steps of all checkpoints, whole or damaged, in ascending order."""
        if not self.directory.is_dir():
            return []
        matches = (_STEP.fullmatch(path.name) for path in self.directory.iterdir())
        return sorted(int(match.group(1)) for match in matches if match)

    def latest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; damaged ones that are newer are logged and set aside.

        Returns:
            The checkpoint, or None where no checkpoint was ever finished.

        Raises:
            StorageError: There are checkpoints, and each is damaged or foreign.
        """
        steps = self.steps()
        for step in reversed(steps):
            path = self._place(step)
            try:
                metadata = verify_directory(path, files=self._files)
                if metadata.get("kind") != KIND:
                    raise StorageError("this is no training checkpoint", where=str(path))
            except StorageError as error:
                aside = path.with_name(f"damaged-{path.name}-{uuid.uuid4().hex[:12]}")
                LOG.warning("checkpoint of step %d is passed over and set aside as %s: %s", step, aside.name, error)
                self._files.rename(path, aside)
                self._files.sync_directory(self.directory)
            else:
                return Checkpoint(path, step, metadata)
        if steps:
            raise StorageError(
                f"none of {len(steps)} checkpoints is whole",
                where=str(self.directory),
                mend="restore one from a copy, or train anew in another place",
            )
        return None

    def save(self, step: int, write: Callable[[Path], None], *, metadata: Mapping[str, Any]) -> float:
        """Write a checkpoint; when it is complete, remove those too many.

        Args:
            step: Optimiser steps taken.
            write: Fills the directory it is given.
            metadata: Facts kept in the manifest.

        Returns:
            The seconds it took.

        Raises:
            StorageError: The disk refused; older checkpoints stand as before.
        """
        started = time.monotonic()
        target = self._place(step)
        facts = {**metadata, "kind": KIND, "step": step}
        try:
            with staged_directory(target, metadata=facts, files=self._files) as staging:
                write(staging)
            self._remove_old()
        except OSError as error:
            raise StorageError(
                f"the checkpoint of step {step} was not written ({error.strerror or error})",
                where=str(self.directory),
                mend="free disk space or choose another place, then resume",
            ) from error
        return time.monotonic() - started

    def _remove_old(self) -> None:
        for step in self.steps()[: -self.keep]:
            retired = self.directory / f".trash-{self._place(step).name}-{uuid.uuid4().hex[:12]}"
            self._files.rename(self._place(step), retired)
            self._files.remove_tree(retired)

    def _place(self, step: int) -> Path:
        return self.directory / f"step-{step:08d}"
