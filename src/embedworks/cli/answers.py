"""An index's answer as a table for a person and as a JSON document."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from embedworks.index import Answer

_SNIPPET_CHARACTERS = 160


def answer_document(text: str, where: str | None, answer: Answer) -> dict[str, Any]:
    """Return an answer as a JSON document; dates become ISO text."""
    return {
        "query": text,
        "where": where,
        "milliseconds": round(answer.milliseconds, 3),
        "how": answer.how,
        "passing": answer.passing,
        "approximate": answer.approximate,
        "recall": answer.recall,
        "hits": [
            {
                "id": hit.id,
                "score": round(hit.score, 6),
                "text": hit.text,
                "attributes": {name: _plain(value) for name, value in hit.attributes.items()},
            }
            for hit in answer.hits
        ],
    }


def render_answer(console: Console, text: str, where: str | None, answer: Answer) -> None:
    """Draw an answer: the query, how it was found, a row a hit with the matching piece of its text."""
    from rich.markup import escape
    from rich.table import Table

    from embedworks.index import snippet

    condition = f" where [cyan]{escape(where)}[/cyan]" if where else ""
    console.print(f"[bold]{escape(text)}[/bold]{condition}")
    if not answer.hits:
        console.print("  Nothing found: no item passes the filter.")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="green")
    table.add_column(overflow="fold", ratio=2)
    table.add_column(overflow="fold", ratio=3, style="dim")
    for hit in answer.hits:
        piece = snippet(hit.text or "", text, length=_SNIPPET_CHARACTERS)
        table.add_row(f"{hit.score:.3f}", escape(hit.id), escape(" ".join(piece.text.split())))
    console.print(table)
    console.print(f"  [dim]{answer.milliseconds:.1f} ms, {escape(answer.how)}[/dim]\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    return value
