"""A staged directory is there whole or not at all, whatever effect fails."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from embedworks.foundation import (
    FileOperations,
    InputError,
    StorageError,
    recover_interrupted_replace,
    staged_directory,
    verify_directory,
)


class FailingAt(FileOperations):
    """Counts effects; at the given one it raises, or ends the process as a power switch would."""

    def __init__(self, failing_effect: int, *, kill: bool) -> None:
        self.count = 0
        self.failing_effect = failing_effect
        self.kill = kill

    def before(self, effect: str, path: Path) -> None:
        self.count += 1
        if self.count == self.failing_effect:
            if self.kill:
                os._exit(137)
            raise OSError(28, "No space left on device", str(path))


def _fill(target: Path, text: str, *, files: FileOperations, overwrite: bool) -> None:
    with staged_directory(target, metadata={"text": text}, overwrite=overwrite, files=files) as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "a.txt").write_text(text)
        (staging / "b.txt").write_text(text * 2)


def _state(target: Path) -> str | None:
    recover_interrupted_replace(target)
    return str(verify_directory(target)["text"]) if target.exists() else None


def _effects(folder: Path, *, overwrite: bool) -> int:
    counting = FailingAt(-1, kill=False)
    target = folder / "counted"
    if overwrite:
        _fill(target, "old", files=FileOperations(), overwrite=False)
    _fill(target, "new", files=counting, overwrite=overwrite)
    return counting.count


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kill", [False, True])
def test_any_failing_effect_leaves_old_or_new(tmp_path: Path, overwrite: bool, kill: bool) -> None:
    total = _effects(tmp_path / "count", overwrite=overwrite)
    assert total > 8
    seen = set()
    for effect in range(1, total + 1):
        target = tmp_path / f"case-{effect}" / "target"
        target.parent.mkdir()
        if overwrite:
            _fill(target, "old", files=FileOperations(), overwrite=False)
        if kill:
            child = os.fork()
            if child == 0:
                _fill(target, "new", files=FailingAt(effect, kill=True), overwrite=overwrite)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 137
        else:
            with pytest.raises(OSError, match="No space left"):
                _fill(target, "new", files=FailingAt(effect, kill=False), overwrite=overwrite)
        state = _state(target)
        assert state in ({"old", "new"} if overwrite else {None, "new"})
        seen.add(state)
    assert len(seen) == 2, "the matrix must reach both sides of the rename"


def test_finished_directory_verifies_and_returns_its_metadata(tmp_path: Path) -> None:
    _fill(tmp_path / "model", "x", files=FileOperations(), overwrite=False)
    assert verify_directory(tmp_path / "model") == {"text": "x"}


def test_existing_target_is_refused_and_untouched(tmp_path: Path) -> None:
    _fill(tmp_path / "model", "first", files=FileOperations(), overwrite=False)
    with pytest.raises(InputError, match="exists already"):
        _fill(tmp_path / "model", "second", files=FileOperations(), overwrite=False)
    assert verify_directory(tmp_path / "model") == {"text": "first"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "b.txt").write_text("x"), "bytes, the manifest says"),
        (lambda folder: (folder / "b.txt").write_text("yy"), "SHA-256 differs"),
        (lambda folder: (folder / "b.txt").unlink(), "file is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "unreadable manifest"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "unreadable manifest"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage, message: str) -> None:
    _fill(tmp_path / "model", "x", files=FileOperations(), overwrite=False)
    damage(tmp_path / "model")
    with pytest.raises(StorageError, match=message) as caught:
        verify_directory(tmp_path / "model")
    assert "\n" not in str(caught.value)


def test_manifest_naming_a_file_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    _fill(tmp_path / "model", "x", files=FileOperations(), overwrite=False)
    manifest = tmp_path / "model" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["files"]["../outside.txt"] = {"bytes": 6, "sha256": "0" * 64}
    manifest.write_text(json.dumps(document))
    with pytest.raises(StorageError, match="outside the directory"):
        verify_directory(tmp_path / "model")
