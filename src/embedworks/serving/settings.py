"""What a server allows, and the key it asks for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from embedworks.foundation import InputError

API_KEY_VARIABLE = "EMBEDWORKS_API_KEY"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Limits and access rules of one server; every limit is checked before the work it bounds is done."""

    model_name: str | None = None
    """Name that /v1/models lists and that requests must give; None takes the encoder's own name."""
    title: str = "embedworks"
    """Name of the collection, shown on the page."""
    examples: tuple[str, ...] = ()
    """Queries that the page offers before anything was typed; empty takes them from entries of the index."""
    api_key: str | None = field(default=None, repr=False)
    """Bearer key that every request but the page, /health and /ready must carry; None asks for none."""
    allowed_hosts: tuple[str, ...] | None = LOOPBACK_HOSTS
    """Host names a request may address, against DNS rebinding; None allows every name."""
    body_bytes: int = 2_000_000
    """Largest request body in bytes."""
    items: int = 256
    """Most texts in one embedding request."""
    characters: int = 1_000_000
    """Most characters of all texts of one embedding request together."""
    request_tokens: int = 65_536
    """Most tokens the model may have to read for one request."""
    queue_tokens: int = 131_072
    """Most tokens waiting for the model, of all requests together; more is answered with 429."""
    batch_tokens: int = 8_192
    """Tokens of different requests that are encoded together in one call."""
    requests_in_flight: int = 256
    """Most requests being answered at once; more is answered with 429."""
    query_characters: int = 2_000
    """Longest search query in characters."""
    results: int = 100
    """Largest k of a search."""
    body_timeout_s: float = 15.0
    """Time a client has to send its body."""
    header_timeout_s: float = 10.0
    """Time a client has to send the header of a request."""
    deadline_s: float = 30.0
    """Time a request has to be answered once its body is there."""
    ready_timeout_s: float = 5.0
    """Time the model has to answer for /ready."""
    drain_s: float = 10.0
    """Time that requests under way have to finish when the server stops."""

    def __post_init__(self) -> None:
        """Refuse limits that would refuse everything, and an empty key."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, int | float) and not value > 0:
                raise InputError(f"must be greater than 0, not {value}", where=f"ServerSettings.{setting.name}")
        if self.api_key is not None:
            _check_api_key(self.api_key, where="ServerSettings.api_key")
        if self.batch_tokens > self.queue_tokens:
            raise InputError(
                f"batch_tokens ({self.batch_tokens}) is larger than queue_tokens ({self.queue_tokens})",
                where="ServerSettings",
                mend="raise queue_tokens or lower batch_tokens",
            )


def read_api_key(file: Path | None = None) -> str | None:
    """Return the server's bearer key from a file, or from the variable ``EMBEDWORKS_API_KEY``, or None.

    A key is never an argument of a command, where every user of the machine could read it.

    Args:
        file: A file whose only line is the key; None looks at the environment.

    Raises:
        InputError: The file cannot be read, or the key is empty or not printable ASCII without spaces.
    """
    if file is None:
        key = os.environ.get(API_KEY_VARIABLE)
        where = f"environment variable {API_KEY_VARIABLE}"
        if key is None:
            return None
    else:
        where = str(file)
        try:
            key = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the key cannot be read", where=where, mend="give an ASCII file that holds it") from error
    _check_api_key(key, where=where)
    return key


def _check_api_key(key: str, *, where: str) -> None:
    if not key or not all("!" <= character <= "~" for character in key):
        # The key itself must not be in the message: messages are logged.
        raise InputError("the key must be printable ASCII without spaces, and not empty", where=where)
