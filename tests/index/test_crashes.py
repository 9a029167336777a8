"""Whatever ends a writer, the index is as before or as after, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FAST = ["create", "add", "replace", "update", "delete", "delete-where", "fusion", "build"]
OTHERS = [
    "add-and-merge",
    "add-and-partition",
    "replace-partition",
    "compact-partition",
    "compact",
    "add-codes-and-partition",
    "update-int8",
    "compact-float16",
]


def run_matrix(folder: Path, modes: list[str], operations: list[str]) -> dict[str, Any]:
    """All operations in one process: starting one takes longer than most of them."""
    done = subprocess.run(
        [sys.executable, str(HERE / "crash_matrix.py"), str(folder), ",".join(modes), *operations],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert list(found) == operations
    return found


def check(seen: dict[str, dict[str, int]] | str, modes: list[str], *, compacts: bool) -> None:
    assert not isinstance(seen, str), seen
    assert list(seen) == modes
    for mode, counts in seen.items():
        assert counts["points"] >= (1 if mode == "torn" else 4)
        assert counts["old"] + counts["new"] == counts["points"]
        # A compaction changes no answer, so its old and new states are one.
        assert counts["old"] > 0 or compacts


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_matrix(tmp_path_factory.mktemp("crashes"), ["exit"], FAST)


@pytest.mark.parametrize("operation", FAST)
def test_an_end_at_any_file_effect_leaves_the_old_state_or_the_new_one(ended: dict[str, Any], operation: str) -> None:
    check(ended[operation], ["exit"], compacts=False)
    assert ended[operation]["exit"]["new"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("operation", [*FAST, *OTHERS])
def test_every_way_to_fail_at_any_file_effect(tmp_path: Path, operation: str) -> None:
    """The plain end of the process is above for the short ones; a power cut takes at least as much."""
    modes = ["raise", "power"] if operation in OTHERS else ["raise", "raise-onwards", "torn", "power"]
    check(run_matrix(tmp_path, modes, [operation])[operation], modes, compacts=operation.startswith("compact"))


def test_a_power_cut_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    check(run_matrix(tmp_path, ["power"], ["add"])["add"], ["power"], compacts=False)


@pytest.mark.parametrize("acknowledged", [1, 4, 9, 17])
def test_a_writer_killed_with_sigkill_loses_nothing_it_acknowledged(index_path: Path, acknowledged: int) -> None:
    Index.create(index_path, dimension=16)
    writer = subprocess.Popen(
        [sys.executable, str(HERE / "killed_writer.py"), str(index_path)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    last = -1
    for line in writer.stdout:
        last = int(line)
        if last + 1 >= acknowledged:
            break
    # A little into the next batch, at another place of it each time.
    time.sleep(0.0007 * (acknowledged % 5))
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    last = int(rest[-1]) if rest else last
    index = Index.open(index_path)
    index.verify()
    batches = len(index) // 5
    assert len(index) % 5 == 0
    # The one after the last acknowledged may have been committed before its line was written.
    assert batches in (last + 1, last + 2)
    for batch in range(last + 1):
        vectors = random_generator(batch, "batch").standard_normal((5, 16))
        items = index.get([f"{batch}-{row}" for row in range(5)])
        for item, vector in zip(items, vectors, strict=True):
            assert item.text == f"row {item.id}"
            np.testing.assert_allclose(item.vector, vector / np.linalg.norm(vector), atol=1e-6)
    assert len(index.search(text="row", mode="lexical", k=1000).hits) == len(index)
    index.add(["afterwards"], np.ones((1, 16)))
    assert len(Index.open(index_path)) == batches * 5 + 1
