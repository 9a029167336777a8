"""``embedworks index``: items with attributes into a search index on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget, Storage
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def index(
    items: tyro.conf.Positional[Path],
    *,
    out: Path,
    model: str = "minilm",
    vectors: Path | None = None,
    storage: Storage = "float32",
    json: JsonTarget = None,
) -> None:
    """Build a search index of items on disk.

    Args:
        items: File with columns id and text, and any attributes; Parquet, CSV, JSONL or Arrow.
        out: Directory of the index; must not exist.
        model: minilm, the directory of a model, or a Hugging Face id.
        vectors: The items' vectors by that model, if they are there already: an .npy file, a row an item, same order.
        storage: How vectors are kept; float16 halves them, int8 quarters them, pq needs least memory while searching.
        json: Where to write a summary as JSON; - is standard output.
    """
    from embedworks import api

    built = api.index(items, model=model, out=out, vectors=vectors, storage=storage, progress=True)
    attributes = {field.name: str(field.type) for field in built.schema}
    document = {"index": str(out), "items": len(built), "dimension": built.dimension, "attributes": attributes}

    def render(console: Console) -> None:
        console.print(f"Indexed [bold]{len(built):,}[/bold] items in [bold]{out}[/bold]")
        console.print("Attributes: " + (", ".join(f"{name} ({kind})" for name, kind in attributes.items()) or "none"))
        console.print(f'Next: embedworks search {out} "your query", or: embedworks serve {out}')

    emit(document, json_target=json, render=render)
