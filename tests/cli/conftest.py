"""A small corpus of the tests' own making, and a runner that returns what a person at a terminal would see."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

TOPICS = {
    "arrays": "reshape an array without copying its data",
    "files": "open a file and read its lines one by one",
    "network": "send a request to a server and wait for the answer",
    "dates": "convert a date to text in a given calendar",
    "images": "rotate and crop a picture before saving it",
    "text": "split a string at every separator and trim the parts",
}


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command line in this process."""
    from embedworks.cli import main

    def run_command(*arguments: str | Path) -> Outcome:
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run_command


@pytest.fixture(scope="session")
def items_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty items with attributes of every plain kind."""
    path = tmp_path_factory.mktemp("items") / "items.parquet"
    rows = [
        {
            "id": f"{topic}-{number}",
            "text": f"{sentence}, variant {number}" + " with a longer explanation" * (number % 3),
            "words": 5 + number * 10,
            "kind": "function" if number % 2 else "class",
            "year": 2020 + number,
        }
        for topic, sentence in TOPICS.items()
        for number in range(10)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty training pairs over the same topics."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    queries = [f"how to {topic} {number}" for topic in TOPICS for number in range(10)]
    positives = [f"{sentence}, variant {number}" for sentence in TOPICS.values() for number in range(10)]
    pq.write_table(pa.table({"query": queries, "positive": positives}), path)
    return path


@pytest.fixture(scope="session")
def index_folder(items_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the sixty items, made with the packaged encoder."""
    import embedworks.api as ew

    folder = tmp_path_factory.mktemp("index") / "my.index"
    ew.index(items_file, out=folder)
    return folder


@pytest.fixture
def index_copy(index_folder: Path, tmp_path: Path) -> Path:
    """An index of its own for a test that changes it."""
    return Path(shutil.copytree(index_folder, tmp_path / "my.index"))
