"""The comparison a server shows: a folder with a table as JSON, pictures for light and dark, or both.

``comparison.json`` holds ``{"title": str, "caption": str, "columns": [str], "rows": [[str | number | null]]}``;
``comparison-light`` and ``comparison-dark`` with ``.svg`` or ``.png`` are the pictures. Every part is optional.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedworks.foundation import InputError

_THEMES = ("light", "dark")
_SUFFIXES = (".svg", ".png")
_MOST_ROWS = 1_000


@dataclass(frozen=True)
class ComparisonReport:
    """What the page shows of an evaluation.

    Args:
        title: Heading.
        caption: What was compared, on what, and how sure it is.
        columns: Headings of the table; empty if there is only a picture.
        rows: One list of texts and numbers a row, as long as ``columns``.
        pictures: Files by theme, "light" and "dark".
    """

    title: str = "Comparison"
    caption: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str | float | None, ...], ...] = ()
    pictures: dict[str, Path] = field(default_factory=dict)


def read_report(folder: Path) -> ComparisonReport:
    """Read a comparison from its folder.

    Args:
        folder: Folder with ``comparison.json``, ``comparison-light.svg`` and so on.

    Raises:
        InputError: The folder is missing, holds no comparison, or its table is not of the form above.
    """
    if not folder.is_dir():
        raise InputError(
            "there is no such folder", where=str(folder), mend="give the folder that holds comparison.json"
        )
    pictures = {
        theme: path
        for theme in _THEMES
        for suffix in reversed(_SUFFIXES)
        if (path := folder / f"comparison-{theme}{suffix}").is_file()
    }
    table = folder / "comparison.json"
    if not table.is_file():
        if not pictures:
            raise InputError(
                "holds neither comparison.json nor comparison-light.svg or .png",
                where=str(folder),
                mend="give the folder that an evaluation wrote",
            )
        return ComparisonReport(pictures=pictures)
    try:
        document = json.loads(table.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("is not readable JSON", where=str(table), mend="write it again") from error
    return _checked(document, pictures, where=str(table))


def _checked(document: Any, pictures: dict[str, Path], *, where: str) -> ComparisonReport:
    if not isinstance(document, dict):
        raise InputError("must be an object with title, columns and rows", where=where)
    title, caption = document.get("title", "Comparison"), document.get("caption", "")
    columns, rows = document.get("columns", []), document.get("rows", [])
    if not isinstance(title, str) or not isinstance(caption, str):
        raise InputError("title and caption must be texts", where=where)
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise InputError("columns must be a list of texts", where=where)
    if not isinstance(rows, list) or len(rows) > _MOST_ROWS:
        raise InputError(f"rows must be a list of at most {_MOST_ROWS} rows", where=where)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(columns) or not all(map(_is_cell, row)):
            raise InputError(
                f"row {number} must be a list of {len(columns)} texts or finite numbers, one a column", where=where
            )
    return ComparisonReport(title, caption, tuple(columns), tuple(map(tuple, rows)), pictures)


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
