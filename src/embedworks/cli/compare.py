"""``embedworks compare``: is the difference between runs real?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from rich.console import Console


def compare(runs: tyro.conf.Positional[tuple[Path, ...]], *, json: JsonTarget = None) -> None:
    """Compare runs on the same data with paired intervals and p-values; the first run is the baseline.

    Args:
        runs: Files that ``embedworks evaluate --json`` wrote, two or more.
        json: Where to write the comparison as JSON; - is standard output.
    """
    from embedworks import api

    if len(runs) < 2:
        raise InputError("needs at least two runs", where="embedworks compare", mend="name two or more result files")
    comparisons = api.compare(*runs)

    def render(console: Console) -> None:
        for comparison in comparisons:
            console.print(comparison.render())

    emit({"comparisons": [entry.to_json() for entry in comparisons]}, json_target=json, render=render)
