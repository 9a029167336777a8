"""``embedworks evaluate``: how good is a model on a named data set or on one's own?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(model: tyro.conf.Positional[str], *, on: str, system: str | None = None, json: JsonTarget = None) -> None:
    """Judge a model; every query's, pair's or item's score is kept, so that runs can be compared.

    Args:
        model: minilm, the directory of a model, or a Hugging Face id.
        on: Name of a data set (``embedworks data`` lists them), or path of your own judged data.
        system: Name the results carry; by default the model's.
        json: Where to write the results as JSON; - is standard output.
    """
    from embedworks import api
    from embedworks.evaluation import results_document

    results = api.evaluate(model, on=Path(on) if Path(on).exists() else on, system=system, progress=True)

    def render(console: Console) -> None:
        from rich.table import Table

        table = Table("data set", "task", "metric", "value", "units", box=None, pad_edge=False)
        for result in results:
            for name, value in result.metrics.items():
                marker = "[bold]" if name == result.primary else ""
                table.add_row(
                    result.data_set, result.task, f"{marker}{name}", f"{marker}{value:.4f}", f"{len(result.unit_ids):,}"
                )
        console.print(table)

    emit(results_document(results), json_target=json, render=render)
