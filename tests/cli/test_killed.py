"""A training that is killed goes on with the same command and ``--resume``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def _command(pairs: Path, out: Path, *more: str) -> list[str]:
    arguments = ["fit", str(pairs), "--out", str(out), "--epochs", "100", "--max-steps", "30", "--batch-size", "8"]
    fixed = ["--checkpoint-every-steps", "3", "--precision", "float32", "--hard-negatives", "0"]
    return [sys.executable, "-m", "embedworks", *arguments, *fixed, *more]


def _checkpoints(out: Path) -> list[Path]:
    return sorted(out.with_name(f"{out.name}.training").glob("checkpoints/step-*"))


@pytest.mark.slow
def test_a_killed_fit_is_refused_without_resume_and_ends_alike_with_it(pairs_file: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(_command(pairs_file, whole), check=True, capture_output=True, env=environment)
    process = subprocess.Popen(
        _command(pairs_file, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    while not _checkpoints(killed) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it must not have ended before the kill"
    assert not killed.exists()

    refused = subprocess.run(_command(pairs_file, killed), capture_output=True, text=True, env=environment)
    assert refused.returncode == 2
    assert "checkpoints of an earlier run" in refused.stderr
    assert _checkpoints(killed), "what the killed run saved is still there"

    subprocess.run(_command(pairs_file, killed, "--resume"), check=True, capture_output=True, env=environment)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]
