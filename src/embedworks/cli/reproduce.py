"""``embedworks reproduce``: run a published comparison and judge its claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import tyro

from embedworks.cli.arguments import JsonTarget, Scale
from embedworks.cli.output import emit, notice
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"shown": "green", "not shown": "red", "not resolvable at this scale": "yellow"}


def reproduce(
    name: tyro.conf.Positional[str],
    *,
    scale: Scale = "default",
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    json: JsonTarget = None,
) -> None:
    """Run a method's published comparison over several seeds; verdicts are computed from what is measured.

    Args:
        name: Name of a method; ``embedworks methods`` lists them.
        scale: quick (under two minutes), default (about half an hour on two cores) or paper (as published).
        quick: Short for --scale quick.
        json: Where to write the report as JSON; - is standard output.
    """
    from embedworks import api

    if quick and scale == "paper":
        raise InputError("--quick and --scale paper contradict each other", mend="pass one of them")
    report = api.reproduce(name, scale="quick" if quick else scale, progress=True)

    def render(console: Console) -> None:
        from rich.markup import escape
        from rich.table import Table

        table = Table("verdict", "claim", "measured", box=None, pad_edge=False)
        for finding in report.findings:
            style = _STYLES[finding.verdict.value]
            measured = ", ".join(f"{key} {value}" for key, value in finding.measured.items())
            table.add_row(f"[{style}]{finding.verdict.value}[/{style}]", escape(finding.claim), escape(measured))
        console.print(table)

    emit(report.to_json(), json_target=json, render=render)
    notice(f"{len(report.findings)} claims judged over seeds {list(report.seeds)} in {report.seconds:.0f} s")
