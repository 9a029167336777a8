"""``embedworks methods``: which published systems can be trained and reproduced."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def methods(*, json: JsonTarget = None) -> None:
    """List the methods.

    Args:
        json: Where to write the list as JSON; - is standard output.
    """
    from embedworks import api

    cards = api.methods()

    def render(console: Console) -> None:
        from rich.table import Table

        table = Table("method", "what it is for", "published", box=None, pad_edge=False)
        for card in cards:
            table.add_row(card.name, card.summary, card.paper)
        console.print(table)

    emit({"methods": [asdict(card) for card in cards]}, json_target=json, render=render)
