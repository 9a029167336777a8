"""``embedworks data``: the catalogue of named data sets, and where each one lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console


def data(name: tyro.conf.Positional[str | None] = None, *, json: JsonTarget = None) -> None:
    """List the named data sets, or fetch and verify one.

    Args:
        name: Data set to fetch and verify; without it the catalogue is listed.
        json: Where to write the answer as JSON; - is standard output.
    """
    from embedworks.data import CATALOGUE, load_data_set

    if name is not None:
        parts = load_data_set(name, progress=True)
        sizes = {part: len(record) for part, record in parts.items()}

        def render_one(console: Console) -> None:
            for part, size in sizes.items():
                console.print(f"{part}: {type(parts[part]).__name__}, {size:,}")

        emit({"name": name, "parts": sizes}, json_target=json, render=render_one)
        return

    def render(console: Console) -> None:
        from rich.table import Table

        table = Table("name", "what it is", "licence", "bytes", box=None, pad_edge=False)
        for entry in CATALOGUE.values():
            size = sum(file.bytes for file in entry.files)
            table.add_row(entry.name, entry.description, entry.licence, f"{size:,}")
        console.print(table)

    entries = [
        {
            "name": entry.name,
            "description": entry.description,
            "licence": entry.licence,
            "files": [
                {"name": file.name, "url": file.url, "bytes": file.bytes, "sha256": file.sha256} for file in entry.files
            ],
        }
        for entry in CATALOGUE.values()
    ]
    emit({"data_sets": entries}, json_target=json, render=render)
