"""``embedworks bench``: speed as a ratio to a peer measured in the same run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def bench(what: tyro.conf.Positional[Literal["encode"]], *, rounds: int = 7, json: JsonTarget = None) -> None:
    """Measure speed against a peer, interleaved in one run, after checking that both give the same vectors.

    Args:
        what: What to measure.
        rounds: Number of rounds; each runs every arm once in random order.
        json: Where to write the figures as JSON; - is standard output.
    """
    from embedworks.encoders.engine.benchmark import run, table

    figures = run(rounds=rounds, progress=True)

    def render(console: Console) -> None:
        console.print(table(figures))

    emit(figures, json_target=json, render=render)
