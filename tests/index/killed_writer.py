"""Adds batch after batch and says so only when each is durable; the test kills it. ``python killed_writer.py PATH``."""

from __future__ import annotations

import sys
from pathlib import Path

from embedworks.foundation.randomness import random_generator
from embedworks.index import Index

ROWS = 5


def main(path: Path) -> None:
    index = Index.open(path)
    batch = len(index) // ROWS
    while True:
        ids = [f"{batch}-{row}" for row in range(ROWS)]
        index.add(
            ids, random_generator(batch, "batch").standard_normal((ROWS, 16)), texts=[f"row {name}" for name in ids]
        )
        sys.stdout.write(f"{batch}\n")
        sys.stdout.flush()
        batch += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
