"""``embedworks bench``: speed as a ratio to a peer measured in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def bench(what: tyro.conf.Positional[Literal["encode", "search"]], *, rounds: int = 7, json: JsonTarget = None) -> None:
    """Measure speed against peers, interleaved in one run, at equal results.

    ``encode`` compares with sentence-transformers, after checking that both give the same vectors. ``search`` compares
    filtered search with every other engine that is installed, each in its fastest setting of recall@10 >= 0.99; it
    needs the arXiv set in the folder that EMBEDWORKS_DATA names.

    Args:
        what: What to measure.
        rounds: Number of rounds; each runs every arm once in random order.
        json: Where to write the figures as JSON; - is standard output.
    """
    if what == "encode":
        from embedworks.encoders.engine import benchmark as measured
    else:
        from embedworks.evaluation.filtered import search_benchmark as measured  # type: ignore[no-redef]

    figures = measured.run(rounds=rounds, progress=True)

    def render(console: Console) -> None:
        console.print(measured.table(figures))

    emit(figures, json_target=json, render=render)
