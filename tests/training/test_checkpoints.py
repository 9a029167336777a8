"""Checkpoints under faults: at each effect of the writer an error, a kill and a power cut leave the old or the new."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from embedworks.foundation import FileOperations, InputError, StorageError
from embedworks.foundation.staging import staged_directory
from embedworks.training import CheckpointStore

CONTENT = {"model.bin": 3_000, "state/part.bin": 10, "empty.bin": 0}


def fill(step: int):
    def write(folder: Path) -> None:
        for name, size in CONTENT.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(bytes([step]) * size)

    return write


def assert_whole(checkpoint, steps: set[int]) -> None:
    assert checkpoint is not None
    assert checkpoint.step in steps
    assert checkpoint.metadata["note"] == f"of {checkpoint.step}"
    for name, size in CONTENT.items():
        assert (checkpoint.path / name).read_bytes() == bytes([checkpoint.step]) * size


def save(store: CheckpointStore, step: int) -> None:
    store.save(step, fill(step), metadata={"note": f"of {step}"})


class Faulty(FileOperations):
    """Counts effects; at the n-th it fails as told."""

    def __init__(self, at: int, fault: str, root: Path) -> None:
        self.count, self.at, self.fault, self.root = 0, at, fault, root
        self.synced: set[tuple[int, int]] = set()

    def before(self, effect: str, path: Path) -> None:
        self.count += 1
        if self.count == self.at:
            if self.fault == "error":
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            if self.fault == "power cut":
                self._lose_what_was_not_flushed()
            os._exit(137)

    def sync(self, path: Path) -> None:
        super().sync(path)
        self._note(path)

    def write(self, path: Path, content: bytes | memoryview) -> None:
        super().write(path, content)
        self._note(path)

    def _note(self, path: Path) -> None:
        self.synced.add((path.stat().st_ino, path.stat().st_size))

    def _lose_what_was_not_flushed(self) -> None:
        for path in self.root.rglob("*"):
            if path.is_file() and path.name != ".lock" and (path.stat().st_ino, path.stat().st_size) not in self.synced:
                os.truncate(path, path.stat().st_size // 2)


def save_with_fault(root: Path, at: int, fault: str) -> str:
    """Saves step 3 over steps 1 and 2; returns what became of the process."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            faulty = Faulty(at, fault, root)
            for path in root.rglob("*"):
                if path.is_file():
                    faulty._note(path)
            try:
                with CheckpointStore(root, keep=2, files=faulty).locked():
                    save(CheckpointStore(root, keep=2, files=faulty), 3)
                code = 0
            except (StorageError, OSError):
                code = 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return {0: "done", 1: "refused", 137: "killed"}[os.waitstatus_to_exitcode(status)]


@pytest.mark.parametrize("fault", ["error", "kill", "power cut"])
def test_crash_matrix(tmp_path, fault):
    outcomes = []
    for at in range(1, 100):
        root = tmp_path / str(at)
        store = CheckpointStore(root, keep=2)
        with store.locked():
            save(store, 1)
            save(store, 2)
        outcome = save_with_fault(root, at, fault)
        outcomes.append(outcome)
        with store.locked():
            found = store.latest()
            assert_whole(found, {3} if outcome == "done" else {2, 3})
            assert not list(root.glob("damaged-*"))  # a crash leaves nothing damaged under a good name
            save(store, 4)
            assert_whole(store.latest(), {4})
            assert not [path.name for path in root.iterdir() if path.name.startswith((".tmp-", ".trash-"))]
        assert len(store.steps()) <= 2
        if outcome == "done":
            break
    assert outcomes[-1] == "done"
    assert len(outcomes) > 12  # the matrix had something to fail
    assert set(outcomes[:-1]) == ({"refused"} if fault == "error" else {"killed"})


def test_a_full_disk_is_one_line_and_keeps_the_old(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    save(store, 1)
    with pytest.raises(StorageError, match="step 2 was not written") as caught:
        save(CheckpointStore(tmp_path, keep=1, files=Faulty(4, "error", tmp_path)), 2)
    assert "\n" not in str(caught.value)
    assert_whole(store.latest(), {1})


def test_the_newest_few_are_kept_and_removed_only_afterwards(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for step in range(1, 6):
        save(store, step)
        assert store.steps() == [step] if step == 1 else [step - 1, step]


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "manifest", "no manifest"])
def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path, caplog, damage):
    store = CheckpointStore(tmp_path, keep=3)
    save(store, 1)
    save(store, 2)
    newest = tmp_path / "step-00000002"
    if damage == "truncate":
        os.truncate(newest / "model.bin", 100)
    elif damage == "alter":
        (newest / "model.bin").write_bytes(bytes([9]) * 3_000)
    elif damage == "remove":
        (newest / "model.bin").unlink()
    elif damage == "manifest":
        (newest / "manifest.json").write_text("{")
    else:
        (newest / "manifest.json").unlink()
    with caplog.at_level(logging.WARNING):
        assert_whole(store.latest(), {1})
    assert "checkpoint of step 2 is passed over" in caplog.text
    assert len(list(tmp_path.glob("damaged-step-00000002-*"))) == 1
    save(store, 2)  # its place is free again
    assert_whole(store.latest(), {2})


def test_all_damaged_is_an_error_and_not_a_fresh_start(tmp_path):
    store = CheckpointStore(tmp_path, keep=3)
    save(store, 1)
    (tmp_path / "step-00000001" / "model.bin").unlink()
    with pytest.raises(StorageError, match="none of 1 checkpoints is whole"):
        store.latest()


def test_a_foreign_directory_is_no_checkpoint(tmp_path):
    store = CheckpointStore(tmp_path, keep=3)
    save(store, 1)
    with staged_directory(tmp_path / "step-00000007", metadata={"kind": "an index"}) as staging:
        (staging / "x").write_bytes(b"x")
    assert_whole(store.latest(), {1})


def test_nothing_there_is_none(tmp_path):
    assert CheckpointStore(tmp_path / "new", keep=1).latest() is None
    assert CheckpointStore(tmp_path, keep=1).latest() is None


def test_an_existing_step_is_never_overwritten(tmp_path):
    store = CheckpointStore(tmp_path, keep=3)
    save(store, 1)
    with pytest.raises(InputError, match="exists already"):
        save(store, 1)


def test_two_runs_cannot_share_a_folder(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    with store.locked(), pytest.raises(InputError, match="another training run"), store.locked():
        pass
    with store.locked():
        pass
