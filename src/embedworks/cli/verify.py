"""``embedworks verify``: whether every file of an index is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def verify(index: tyro.conf.Positional[Path], *, json: JsonTarget = None) -> None:
    """Read every file of an index whole and compare it with its SHA-256; a damaged one is named, with exit code 2.

    Args:
        index: Directory of the index.
        json: Where to write the outcome as JSON; - is standard output.
    """
    from embedworks.index import Index

    opened = Index.open(index)
    opened.verify()

    def render(console: Console) -> None:
        from rich.markup import escape

        console.print(
            f"[bold]{escape(str(index))}[/bold] is whole: {len(opened):,} items, every file as it was written"
        )

    emit({"index": str(index), "items": len(opened), "whole": True}, json_target=json, render=render)
