"""``embedworks serve``: an index over HTTP, with a page."""

from __future__ import annotations

from pathlib import Path

import tyro

from embedworks.cli.compiling import compilation_announced
from embedworks.cli.output import notice


def serve(
    index: tyro.conf.Positional[Path],
    *,
    model: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8765,
    api_key_file: Path | None = None,
    report: Path | None = None,
    title: str = "embedworks",
) -> None:
    """Serve an index: a page to search it by, a search API, and OpenAI-compatible embeddings.

    Args:
        index: Directory of the index.
        model: Encoder for queries; by default the one the index was built with.
        host: Address to listen on; anything but 127.0.0.1 opens it to others.
        port: Port to listen on.
        api_key_file: File holding the key that clients must send as a bearer token.
        report: Directory with the comparison to show on the page.
        title: Heading of the page.
    """
    from embedworks import api

    with compilation_announced():
        api.serve(
            index,
            model=model,
            host=host,
            port=port,
            api_key_file=api_key_file,
            report=report,
            title=title,
            announce=lambda address: notice(f"Serving at {address}  (Ctrl-C ends it)"),
        )
