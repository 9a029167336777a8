"""How results reach a person or a program: a table on standard output, or one JSON document and nothing else there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedworks.foundation.files import LOCAL_FILES

if TYPE_CHECKING:
    from rich.console import Console


def console() -> Console:
    """Return the console of standard output."""
    from rich.console import Console

    return Console()


def notice(text: str) -> None:
    """Tell the person something on standard error, where it cannot mix with a result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def emit(document: Any, *, json_target: str | None, render: Callable[[Console], None]) -> None:
    """Write a result.

    Args:
        document: The result as a JSON document.
        json_target: ``None`` to render for a person; ``-`` to write the document to standard output and nothing
            else; any other text is the path of a file to write it to, after rendering.
        render: Draws the result on a console.
    """
    if json_target == "-":
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        return
    render(console())
    if json_target is not None:
        LOCAL_FILES.replace_json(Path(json_target), document)
        notice(f"Wrote {json_target}")
