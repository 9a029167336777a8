"""``embedworks delete``: items out of an index, by their ids or by a filter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def delete(
    index: tyro.conf.Positional[Path],
    ids: tyro.conf.Positional[tuple[str, ...]] = (),
    *,
    where: str | None = None,
    json: JsonTarget = None,
) -> None:
    """Delete items from an index for good: those with the given ids, or all that pass a filter.

    Args:
        index: Directory of the index.
        ids: Ids of items, every one of them in the index.
        where: Filter in SQL form, such as "year < 2020", in place of ids.
        json: Where to write a summary as JSON; - is standard output.
    """
    from embedworks.index import Index

    opened = Index.open(index)
    deleted = opened.delete(ids or None, where=where)
    document = {"index": str(index), "deleted": deleted, "items": len(opened)}

    def render(console: Console) -> None:
        from rich.markup import escape

        console.print(f"Deleted [bold]{deleted:,}[/bold] items")
        console.print(f"[bold]{escape(str(index))}[/bold] holds {len(opened):,} now")

    emit(document, json_target=json, render=render)
