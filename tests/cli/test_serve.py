"""``embedworks serve`` as a person starts it: a process of its own, asked over HTTP, ended by a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(index_folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "embedworks", "serve", str(index_folder), "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            httpx.get(f"{address}/ready", timeout=5)
            break
        except httpx.TransportError:
            time.sleep(0.1)
    yield process, address
    process.kill()
    process.communicate()


def test_it_answers_and_ends_on_a_signal(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    page = httpx.get(f"{address}/")
    assert page.status_code == 200
    assert "<input" in page.text
    answer = httpx.post(f"{address}/search", json={"query": "rotate a picture", "where": "words > 50", "k": 3}).json()
    assert len(answer["hits"]) == 3
    assert all(hit["attributes"]["words"] > 50 for hit in answer["hits"])
    model = httpx.get(f"{address}/v1/models").json()["data"][0]["id"]
    vector = httpx.post(f"{address}/v1/embeddings", json={"model": model, "input": "a text"}).json()
    assert len(vector["data"][0]["embedding"]) == 384
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert f"Serving at {address}" in said
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_one_line(index_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [
            sys.executable,
            "-m",
            "embedworks",
            "serve",
            str(index_folder),
            "--port",
            str(taken.getsockname()[1]),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2, ended
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
