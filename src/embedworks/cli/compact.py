"""``embedworks compact``: an index in one piece, without what was deleted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def compact(index: tyro.conf.Positional[Path], *, json: JsonTarget = None) -> None:
    """Merge the segments of an index into one without the deleted items, and free their disk space.

    Args:
        index: Directory of the index.
        json: Where to write a summary as JSON; - is standard output.
    """
    from embedworks.index import Index

    opened = Index.open(index)
    before = _bytes(index)
    opened.compact()
    after = _bytes(index)
    document = {"index": str(index), "items": len(opened), "bytes_before": before, "bytes": after}

    def render(console: Console) -> None:
        from rich.markup import escape

        console.print(f"Compacted [bold]{escape(str(index))}[/bold]")
        console.print(f"{len(opened):,} items on {after:,} bytes of disk, {before:,} before")

    emit(document, json_target=json, render=render)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
