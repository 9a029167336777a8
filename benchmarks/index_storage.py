"""What each way to keep vectors costs: bytes on the disk and in memory, milliseconds, recall.

Run: ``OMP_NUM_THREADS=1 python benchmarks/index_storage.py vectors.npy`` (rows of one model, any float type). Prints
the table of docs/rooms/index.md. Queries are rows moved by half their length; all searches go through ``Index.search``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation.randomness import random_generator
from embedworks.index import Answer, Index, Storage

QUERIES, TEN = 300, 10
FILTERS = ("share < 0.1", "share < 0.01")


def queries_from(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows, each moved by half its length in a random direction."""
    generator = random_generator(0, "storage queries")
    chosen = vectors[generator.choice(len(vectors), size=QUERIES, replace=False)]
    noise = generator.standard_normal(chosen.shape)
    moved = chosen + 0.5 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), dtype=np.float32)


def build(vectors: NDArray[np.float32], path: Path, storage: Storage) -> None:
    """Write an index with its lists."""
    index = Index.create(path, dimension=vectors.shape[1], storage=storage, lexical=False)
    share = random_generator(0, "storage shares").permutation(len(vectors)) / len(vectors)
    index.add([str(row) for row in range(len(vectors))], vectors, attributes={"share": share})


def median_milliseconds(index: Index, queries: NDArray[np.float32], where: str | None, *, exact: bool) -> float:
    """Median wall time of a search, after one round that warms up."""
    times: list[float] = []
    for _ in range(2):
        times.clear()
        for query in queries:
            begun = time.perf_counter()
            index.search(query, where=where, exact=exact)
            times.append((time.perf_counter() - begun) * 1000)
    return float(np.median(times))


def resident_megabytes(folder: Path) -> float:
    """Megabytes of the files below a folder that this process has in memory."""
    total, ours = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ", 1)[0]:
            ours = str(folder) in line
        elif ours and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total / 1e6


def forget(folder: Path) -> None:
    """Let the system drop what it keeps of the files; opening has read the small ones whole to check them."""
    for file in folder.rglob("*.npy"):
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def found(answers: list[Answer]) -> list[set[str]]:
    """Return the ids of each answer."""
    return [{hit.id for hit in answer.hits} for answer in answers]


def shared(left: list[set[str]], right: list[set[str]]) -> float:
    """Return the mean share of ten."""
    return float(np.mean([len(a & b) / 10 for a, b in zip(left, right, strict=True)]))


def measure(vectors: NDArray[np.float32], path: Path, storage: Storage) -> None:
    """Print one row of the table, in a process that has opened nothing else."""
    queries = queries_from(vectors)
    truth = []
    for query in queries:
        best = np.argpartition(-(vectors @ query), 10)[:10]
        truth.append({str(row) for row in best})
    index = Index.open(path)
    disk = sum(file.stat().st_size for file in (path / "segments").rglob("*.npy")) / 1e6
    forget(path)
    resident = []
    for exact in (False, True):
        for query in queries[:TEN]:
            index.search(query, exact=exact)
        resident.append(resident_megabytes(path / "segments"))
    scans = [median_milliseconds(index, queries, where, exact=True) for where in (None, *FILTERS)]
    scanned = [index.search(query, exact=True) for query in queries]
    default = median_milliseconds(index, queries, None, exact=False)
    walked = [index.search(query) for query in queries]
    again = np.mean([answer.cost.vectors for answer in scanned])
    error = np.median(index._store.snapshot.segments[0].codes.bounds[:, 1])
    times = " | ".join(f"{milliseconds:.3f}" for milliseconds in scans)
    print(
        f"| {storage} | {disk:.1f} | {resident[0]:.1f} | {resident[1]:.1f} | {error:.4f} | {times} | {again:.0f} | "
        f"{shared(found(scanned), truth):.3f} | {default:.2f} | {shared(found(walked), found(scanned)):.3f} "
        f"(said {np.mean([answer.recall for answer in walked]):.3f}) |",
        flush=True,
    )


def main(path: Path) -> None:
    """Build and measure, each storage in a process of its own."""
    vectors = np.load(path).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(sys.argv) > 2:
        measure(vectors, Path(sys.argv[2]), sys.argv[3])  # type: ignore[arg-type]
        return
    print(
        f"{len(vectors):,} x {vectors.shape[1]}, k = 10\n\n"
        "| storage | disk MB | default resident MB | exact resident MB | error of a code "
        "| exact ms | 10 % pass | 1 % pass | settled | "
        "of float32's ten | default ms | of the exact ten |\n|---|---|---|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    built = {}
    with tempfile.TemporaryDirectory() as folder:
        for storage in get_args(Storage):
            begun = time.perf_counter()
            build(vectors, Path(folder) / storage, storage)
            built[storage] = time.perf_counter() - begun
            subprocess.run([sys.executable, __file__, str(path), str(Path(folder) / storage), storage], check=True)
    print("\nbuilt in s: " + ", ".join(f"{storage} {seconds:.0f}" for storage, seconds in built.items()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
