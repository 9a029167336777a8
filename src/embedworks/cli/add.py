"""``embedworks add``: further items into an index that exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def add(
    index: tyro.conf.Positional[Path],
    items: tyro.conf.Positional[Path],
    *,
    model: str | None = None,
    vectors: Path | None = None,
    replace: bool = False,
    json: JsonTarget = None,
) -> None:
    """Add items to an index; all of them come in, or none where one does not fit.

    Args:
        index: Directory of the index.
        items: File with columns id and text, and any attributes; Parquet, CSV, JSONL or Arrow.
        model: Encoder of the items; by default the one the index was built with.
        vectors: The items' vectors by that model, if they are there already: an .npy file, a row an item, same order.
        replace: Put an item in the place of the one with the same id, which is otherwise refused.
        json: Where to write a summary as JSON; - is standard output.
    """
    from embedworks import api
    from embedworks.index import Index

    opened = Index.open(index)
    rows, replaced = api.add(opened, items, model=model, vectors=vectors, replace=replace, progress=True)
    document = {"index": str(index), "added": rows - replaced, "replaced": replaced, "items": len(opened)}

    def render(console: Console) -> None:
        from rich.markup import escape

        also = f", replaced [bold]{replaced:,}[/bold]" if replace else ""
        console.print(f"Added [bold]{rows - replaced:,}[/bold] items{also}")
        console.print(f"[bold]{escape(str(index))}[/bold] holds {len(opened):,} now")

    emit(document, json_target=json, render=render)
