"""``embedworks data``: the catalogue of named data sets, and where each one lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from embedworks.cli.arguments import JsonTarget
from embedworks.cli.output import emit
from embedworks.foundation import InputError

if TYPE_CHECKING:
    from rich.console import Console


def data(name: tyro.conf.Positional[str | None] = None, *, out: Path | None = None, json: JsonTarget = None) -> None:
    """List the named data sets, or fetch and verify one.

    Args:
        name: Data set to fetch and verify; without it the catalogue is listed.
        out: Folder to write its parts into: tables as Parquet, judged sets as folders, vectors as .npy.
        json: Where to write the answer as JSON; - is standard output.
    """
    from embedworks.data import CATALOGUE, load_data_set, write_parts

    if out is not None and name is None:
        raise InputError("there is nothing to write", where="--out", mend="name the data set to write")
    if name is not None:
        parts = load_data_set(name, progress=True)
        sizes = {part: len(record) for part, record in parts.items()}
        written = [] if out is None else write_parts(parts, out)

        def render_one(console: Console) -> None:
            for part, size in sizes.items():
                console.print(f"{part}: {type(parts[part]).__name__}, {size:,}")
            for path in written:
                console.print(f"written: {path}")

        document = {"name": name, "parts": sizes, "written": [str(path) for path in written]}
        emit(document, json_target=json, render=render_one)
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
