"""``embedworks verify``: an index that is whole is said to be, and one flipped byte is found in its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_a_whole_index(run, index_folder: Path) -> None:
    assert json.loads(run("verify", index_folder, "--json", "-").out) == {
        "index": str(index_folder),
        "items": 60,
        "whole": True,
    }
    outcome = run("verify", index_folder)
    assert outcome.code == 0, outcome
    assert "is whole: 60 items" in " ".join(outcome.out.split())


@pytest.mark.parametrize("opened_unread", [False, True])
def test_a_flipped_byte_is_named_and_the_exit_code_says_so(
    run, index_copy: Path, monkeypatch: pytest.MonkeyPatch, opened_unread: bool
) -> None:
    """Small files are read whole at opening, large ones only here: a limit of 0 makes every file a large one."""
    if opened_unread:
        monkeypatch.setattr("embedworks.index.manifest.HASHED_AT_OPENING", 0)
    (vectors,) = index_copy.rglob("vectors.npy")
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    for form in ((), ("--json", "-")):
        outcome = run("verify", index_copy, *form)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1), outcome
        assert f"{vectors}: its SHA-256 differs" in outcome.err


def test_a_missing_file_is_named(run, index_copy: Path) -> None:
    (vectors,) = index_copy.rglob("vectors.npy")
    vectors.unlink()
    outcome = run("verify", index_copy)
    assert outcome.code == 2
    assert f"{vectors}: is missing" in outcome.err
