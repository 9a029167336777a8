"""How long opening a million vectors takes, in a process that has only just started.

Run: ``OMP_NUM_THREADS=1 python benchmarks/open_a_million.py [DIMENSION]`` (96 unless given; takes 5
bytes a component on the disk). Random vectors: what they hold does not matter here. Lists are left out, because making
them of so many rows takes long; they add two small files to what is opened.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index, writer

ROWS = 1_000_000
OPEN = """
import sys, time
begun = time.perf_counter()
from embedworks.index import Index
imported = time.perf_counter()
index = Index.open(sys.argv[1])
opened = time.perf_counter()
times = []
for number in range(4):
    started = time.perf_counter()
    answer = index.search([1.0 + component % 7 for component in range(index.dimension)], where="number < 100000")
    times.append(time.perf_counter() - started)
assert len(index) == 1_000_000 and len(answer.hits) == 10
print(f"import {(imported - begun) * 1e3:.0f} ms, open {(opened - imported) * 1e3:.0f} ms, "
      f"first search (10 % pass) {times[0] * 1e3:.0f} ms, later ones {min(times) * 1e3:.1f} ms")
"""


def main(dimension: int) -> None:
    """Build one index and open it five times."""
    writer.PARTITIONED_ROWS = 2 * ROWS
    generator = random_generator(0, "a million")
    vectors = generator.standard_normal((ROWS, dimension), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million.index"
        index = Index.create(path, dimension=dimension, lexical=False)
        index.add([str(row) for row in range(ROWS)], vectors, attributes={"number": np.arange(ROWS)})
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
        print(f"{ROWS:,} x {dimension}, {size:,.0f} MB on the disk", flush=True)
        for _ in range(5):
            subprocess.run([sys.executable, "-c", OPEN, str(path)], check=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 96)
