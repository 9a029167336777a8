"""Replacing a file is atomic, and JSON that is not JSON is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedworks.foundation import FileOperations, sha256_of
from embedworks.foundation.files import LOCAL_FILES


class FailingAt(FileOperations):
    def __init__(self, failing_effect: int) -> None:
        self.count = 0
        self.failing_effect = failing_effect

    def before(self, effect: str, path: Path) -> None:
        self.count += 1
        if self.count == self.failing_effect:
            raise OSError(5, "Input/output error", str(path))


@pytest.mark.parametrize("effect", [1, 2, 3, 4])
def test_replacing_a_file_leaves_old_or_new(tmp_path: Path, effect: int) -> None:
    path = tmp_path / "state.json"
    LOCAL_FILES.replace_json(path, {"version": "old"})
    with pytest.raises(OSError, match="Input/output"):
        FailingAt(effect).replace_json(path, {"version": "new"})
    assert json.loads(path.read_text())["version"] == ("new" if effect == 4 else "old")
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_a_number_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        LOCAL_FILES.replace_json(tmp_path / "x.json", {"score": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_sha256_is_the_published_test_vector(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
