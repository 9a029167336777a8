"""An index and its encoder come in; an HTTP service and a page to search by go out.

Comes in: anything with the calls of ``protocols.SearchIndex``, and any encoder. Goes out: a FastAPI application.
Start reading at ``app`` (what is answered), ``guard`` (what is refused), ``batching`` (who waits for the model).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedworks.serving.app import create_app
    from embedworks.serving.papers.settings import MailSettings, PapersSettings, read_papers_settings
    from embedworks.serving.report import ComparisonReport, read_report
    from embedworks.serving.server import Server, serve
    from embedworks.serving.settings import ServerSettings, read_api_key

_HOMES = {
    "ComparisonReport": "report",
    "MailSettings": "papers.settings",
    "PapersSettings": "papers.settings",
    "Server": "server",
    "ServerSettings": "settings",
    "create_app": "app",
    "read_api_key": "settings",
    "read_papers_settings": "papers.settings",
    "read_report": "report",
    "serve": "server",
}

__all__ = [
    "ComparisonReport", "MailSettings", "PapersSettings", "Server", "ServerSettings", "create_app", "read_api_key",
    "read_papers_settings", "read_report", "serve",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load the file a name lives in when it is first used: FastAPI takes a third of a second to import."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
