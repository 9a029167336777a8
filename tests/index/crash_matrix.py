"""Runs one kind of write again and again, failing at its first, second, ... file effect, and checks what is left.

Run as a program: ``python crash_matrix.py FOLDER OPERATION MODE...``; prints what it saw as JSON, and ends with an
error when a state is neither the old one nor the new one. Each attempt is a forked child that ends without a clean-up.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedworks.data import Corpus
from embedworks.foundation import FileOperations, StorageError
from embedworks.foundation.randomness import random_generator
from embedworks.index import Fusion, Index, Storage, build_index, calibration, segments, writer
from embedworks.index.manifest import read_manifest

UNTOUCHED, REFUSED, DONE_AFTER_FAULT = 0, 3, 4
KILLED = 137


class FaultyOperations(FileOperations):
    """Counts the effects and fails at one of them in the given way.

    ``raise`` fails once as a full disk does, ``raise-onwards`` from then on; ``exit`` ends the process at once;
    ``torn`` ends it with only a part of the bytes written; ``power`` ends it as a power cut does: what was not flushed
    is gone, whether the bytes of a file or the entry of a directory.
    """

    def __init__(self, fail_at: int, mode: str) -> None:
        self.fail_at, self.mode = fail_at, mode
        self.count = 0
        self.effects: list[str] = []
        self.fired = False
        self._unflushed: set[Path] = set()
        self._flushing: Path | None = None
        self._undo: list[tuple[Path, Callable[[], None]]] = []

    def before(self, effect: str, path: Path) -> None:
        if self._flushing is not None:
            self._flushed(self._flushing)
            self._flushing = None
        self.count += 1
        self.effects.append(effect)
        if self.count == self.fail_at or (self.fired and self.mode == "raise-onwards"):
            self._fail(effect)
        if effect in {"write", "append"}:
            self._remember_entry(path)
            self._unflushed.add(path)
        elif effect == "rename":
            self._remember_entry(path)
        elif effect == "make_directory":
            missing = [folder for folder in (path, *path.parents) if not folder.exists()]
            for folder in reversed(missing):
                self._undo.append((folder.parent, lambda folder=folder: shutil.rmtree(folder, ignore_errors=True)))
        elif effect in {"sync", "sync_directory"}:
            self._flushing = path

    def write(self, path: Path, content: bytes | memoryview) -> None:
        if self.mode == "torn" and self.count + 1 == self.fail_at:
            kept = int(random_generator(self.fail_at, "torn").integers(0, len(bytes(content)) + 1))
            path.write_bytes(bytes(content)[:kept])
            os._exit(KILLED)
        super().write(path, content)

    def _fail(self, effect: str) -> None:
        self.fired = True
        if self.mode.startswith("raise"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.mode == "power":
            self.cut_power()
        os._exit(KILLED)

    def cut_power(self) -> None:
        """Take away everything that was not flushed."""
        if self._flushing is not None and not self.fired:
            self._flushed(self._flushing)
        for path in self._unflushed:
            if path.exists():
                os.truncate(path, path.stat().st_size // 2)
        for _, undo in reversed(self._undo):
            undo()

    def _remember_entry(self, path: Path) -> None:
        if path.exists() and path.is_file():
            content = path.read_bytes()
            self._undo.append((path.parent, lambda: path.write_bytes(content) and None))
        elif path.exists():
            raise AssertionError(f"{path} would be overwritten")
        else:

            def gone() -> None:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

            self._undo.append((path.parent, gone))

    def _flushed(self, path: Path) -> None:
        self._unflushed.discard(path)
        if path.is_dir():
            self._undo = [(parent, undo) for parent, undo in self._undo if parent != path]


def rows(start: int, end: int) -> dict[str, Any]:
    vectors = random_generator(0, "crash").standard_normal((700, 4))[start:end]
    return {
        "ids": [f"row-{place}" for place in range(start, end)],
        "vectors": vectors,
        "texts": [f"text of {place}" for place in range(start, end)],
        "attributes": {"place": list(range(start, end)), "tags": [["a"] * (place % 2) for place in range(start, end)]},
    }


def prepared(folder: Path, *, parts: int) -> None:
    index = Index.create(folder, dimension=4)
    for part in range(parts):
        index.add(**rows(part * 4, part * 4 + 4))
    index.delete(["row-1"])


def corpus(number: int) -> Corpus:
    new = rows(0, number)
    return Corpus.from_columns(new["ids"], new["texts"], new["attributes"])


def coded_rows(start: int, end: int) -> dict[str, Any]:
    """Enough rows for codebooks, a few of them different from time to time."""
    return rows(start, end) | {"texts": None, "attributes": None}


def prepared_with(storage: Storage) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        index = Index.create(folder, dimension=4, storage=storage)
        index.add(**rows(0, 4))
        index.add(**coded_rows(300, 310))
        index.delete(["row-1"])

    return prepare


def prepared_with_lists(folder: Path) -> None:
    index = Index.create(folder, dimension=4)
    index.add(**rows(0, 90))
    assert index._store.snapshot.partition is not None
    index.delete(["row-1", "row-50"])
    index.add(**rows(100, 103))


def updated(index: Index) -> None:
    index.update(["row-2", "row-6"], texts=["text anew", None], attributes={"place": [None, 60], "fresh": [True, None]})


def replaced(index: Index) -> None:
    new = rows(0, 6)
    new["ids"][1] = "row-9"
    index.add(**{**new, "vectors": -new["vectors"], "attributes": {"fresh": [0.5] * 6}}, replace=True)


Operation = tuple[Callable[[Path], None], Callable[[Path, FileOperations], None]]
OPERATIONS: dict[str, Operation] = {
    "create": (lambda folder: None, lambda folder, files: [Index.create(folder, dimension=4, files=files), None][1]),
    "add": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: Index.open(folder, files=files).add(**rows(50, 60)),
    ),
    "add-and-merge": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: Index.open(folder, files=files).add(**rows(50, 54)),
    ),
    "add-and-partition": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: Index.open(folder, files=files).add(**rows(50, 150)),
    ),
    "replace": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: replaced(Index.open(folder, files=files)),
    ),
    "update": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: updated(Index.open(folder, files=files)),
    ),
    "delete": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: Index.open(folder, files=files).delete(["row-2", "row-4", "row-5", "row-6"]),
    ),
    "delete-where": (
        lambda folder: prepared(folder, parts=2),
        lambda folder, files: Index.open(folder, files=files).delete(where="place = 2 or tags contains 'a'"),
    ),
    "compact": (
        lambda folder: prepared(folder, parts=3),
        lambda folder, files: Index.open(folder, files=files).compact(),
    ),
    "fusion": (
        lambda folder: prepared(folder, parts=1),
        lambda folder, files: Index.open(folder, files=files).set_fusion(Fusion(vector_weight=0.125)),
    ),
    "build": (
        lambda folder: None,
        lambda folder, files: [build_index(corpus(30), rows(0, 30)["vectors"], folder, files=files), None][1],
    ),
    "add-codes-and-partition": (
        prepared_with("pq"),
        lambda folder, files: Index.open(folder, files=files).add(**coded_rows(350, 650)),
    ),
    "replace-partition": (
        lambda folder: prepared_with_lists(folder),
        lambda folder, files: Index.open(folder, files=files).add(**rows(200, 270)),
    ),
    "compact-partition": (
        lambda folder: prepared_with_lists(folder),
        lambda folder, files: Index.open(folder, files=files).compact(),
    ),
    "update-int8": (
        prepared_with("int8"),
        lambda folder, files: Index.open(folder, files=files).update(["row-2", "row-305"], texts=["anew", None]),
    ),
    "compact-float16": (
        prepared_with("float16"),
        lambda folder, files: Index.open(folder, files=files).compact(),
    ),
}


def opened(folder: Path) -> Index | None:
    """The index, every file of it read whole; None where there is none yet."""
    if not (folder / "manifest.json").exists():
        assert not folder.exists() or not any(path.name[0] != "." for path in folder.iterdir() if path.is_file())
        return None
    index = Index.open(folder)
    index.verify()
    return index


def state(index: Index | None) -> Any:
    """What a reader can see."""
    if index is None:
        return None
    ids = [hit.id for hit in index.search(np.ones(4), k=1000).hits]
    assert len(ids) == len(index)
    items = index.get(sorted(ids))
    lexical = [hit.id for hit in index.search(text="text", mode="lexical", k=1000).hits]
    return (
        [(item.id, item.text, item.attributes, item.vector.tobytes()) for item in items],
        sorted(lexical),
        index.attributes,
        index.fusion,
    )


def unnamed_files(folder: Path) -> list[str]:
    named = {file.name for file in read_manifest(folder).stored_files()} | {"manifest.json", "writer.lock"}
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).as_posix() not in named
    ]


def attempt(run: Callable[[Path, FileOperations], None], folder: Path, fail_at: int, mode: str) -> int:
    child = os.fork()
    if child == 0:
        files = FaultyOperations(fail_at, mode)
        try:
            run(folder, files)
        except StorageError:
            os._exit(REFUSED)
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        if mode == "power" and not files.fired:
            # The last point of the matrix: the power goes when everything has just been acknowledged.
            files.cut_power()
        os._exit(DONE_AFTER_FAULT if files.fired else UNTOUCHED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def matrix(folder: Path, operation: str, modes: list[str]) -> dict[str, dict[str, int]]:
    prepare, run = OPERATIONS[operation]
    template, finished, work = folder / "template", folder / "finished", folder / "work"
    prepare(template)
    if template.exists():
        shutil.copytree(template, finished)
    old = state(opened(template))
    counted = FaultyOperations(0, "")
    run(finished, counted)
    new = state(opened(finished))
    seen = {}
    for mode in modes:
        counts = {"points": 0, "old": 0, "new": 0}
        for point in range(1, counted.count + 2):
            last = point > counted.count
            if mode == "torn" and not last and counted.effects[point - 1] not in {"write", "append"}:
                continue  # there, an end of the process is all that can happen: "exit" has seen it
            if work.exists():
                shutil.rmtree(work)
            if template.exists():
                shutil.copytree(template, work)
            code = attempt(run, work, point, mode)
            where = f"{operation}, {mode}, effect {point}, exit code {code}"
            assert code in {UNTOUCHED, REFUSED, DONE_AFTER_FAULT, KILLED}, where
            assert (code == UNTOUCHED) == last, f"{where}: another number of effects than before"
            try:
                index = opened(work)
                left = state(index)
            except Exception as error:
                raise AssertionError(f"{where}: cannot be opened: {error}") from error
            assert left in (old, new), f"{where}: neither the old state nor the new one"
            if code in {UNTOUCHED, DONE_AFTER_FAULT}:
                assert left == new, f"{where}: what was acknowledged is lost"
            if index is not None:
                index.add(["afterwards"], [[1.0, 1.0, 1.0, 1.0]])
                index.set_fusion(Fusion(vector_weight=0.75))
                assert len(Index.open(work)) == len(left[0]) + 1, f"{where}: cannot be written to any more"
                assert not unnamed_files(work), f"{where}: {unnamed_files(work)} was not cleaned away"
            if last:
                break
            counts["points"] += 1
            counts["new" if left == new else "old"] += 1
        seen[mode] = counts
    return seen


def main(folder: Path, modes: list[str], operations: list[str]) -> None:
    """Run operations one after the other and print what was seen, or what went wrong, for each."""
    # The power cut is modelled above; really flushing thousands of files would only take long.
    os.fsync = lambda descriptor: None
    pa.set_cpu_count(1)
    segments.CODED_ROWS = 256
    calibration._QUERIES = 1  # what it measures is no effect on files
    calibration.MARGINS = calibration.MARGINS[:2]
    found: dict[str, Any] = {}
    for operation in operations:
        writer.PARTITIONED_ROWS = 64 if "partition" in operation else 20_000
        writer._MERGE_AT = 3 if "merge" in operation else 8
        (folder / operation).mkdir()
        try:
            found[operation] = matrix(folder / operation, operation, modes)
        except AssertionError as error:
            found[operation] = str(error)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:])
