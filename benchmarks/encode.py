"""``python -m benchmarks.encode``: the encode engine against the library; the same as ``embedworks bench encode``."""

from __future__ import annotations

import argparse
from pathlib import Path

from embedworks.encoders.engine.benchmark import run, table
from embedworks.foundation import LOCAL_FILES

__all__ = ["run"]


def main() -> None:
    """Measure, print the table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how many times every arm runs")
    parser.add_argument("--texts", type=int, default=2000, help="how many texts the rounds draw from")
    parser.add_argument("--seed", type=int, default=0, help="decides texts, batches and order")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    figures = run(rounds=arguments.rounds, texts=arguments.texts, seed=arguments.seed, progress=True)
    if arguments.json is not None:
        LOCAL_FILES.replace_json(arguments.json, figures)
    from rich.console import Console

    Console().print(table(figures))


if __name__ == "__main__":
    main()
