"""Fills the markers ``<!-- results: FILE TABLE -->`` of a page with the tables of a results file when docs are built.

``TABLE`` is the name of a table in the report, or ``findings``. A marker that names what is not there fails the build,
so that a page cannot show a figure nobody measured.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MARKER = re.compile(r"<!-- results: (?P<file>[\w.-]+) (?P<table>[\w-]+) -->")


def on_page_markdown(markdown: str, **_context: Any) -> str:
    """Called by mkdocs for every page."""
    return MARKER.sub(lambda match: table_of(match["file"], match["table"]), markdown)


def table_of(file: str, table: str) -> str:
    """Return one table of a results file as Markdown."""
    report = json.loads((ROOT / "results" / file).read_text(encoding="utf-8"))
    if table == "findings":
        rows = [
            {"claim": found["claim"], "measured": found["measured"], "published": found["published"] or "",
             "verdict": f"**{found['verdict']}**"}
            for found in report["findings"]
        ]  # fmt: skip
    else:
        rows = report["tables"][table]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [" | ".join(column.replace("_", " ") for column in columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(cell(row.get(column, "")) for column in columns) for row in rows]
    return "\n" + "\n".join(f"| {line} |" for line in lines) + "\n"


def cell(value: Any) -> str:
    """Return a value as the text of a table cell."""
    if isinstance(value, dict):
        return "<br>".join(f"{key.replace('_', ' ')}: {cell(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return " to ".join(cell(entry) for entry in value) if len(value) == 2 else ", ".join(map(cell, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2e}" if value and abs(value) < 1e-3 else f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    return str(value).replace("|", "\\|")
