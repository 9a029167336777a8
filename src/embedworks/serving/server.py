"""Runs the application on a socket of this machine until it is told to stop, then lets requests under way finish."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from embedworks.foundation import InputError
from embedworks.foundation.protocols import Encoder
from embedworks.serving.app import create_app
from embedworks.serving.papers.service import PapersService
from embedworks.serving.papers.settings import PapersSettings, read_papers_settings
from embedworks.serving.protocols import SearchIndex
from embedworks.serving.report import read_report
from embedworks.serving.settings import LOOPBACK_HOSTS, ServerSettings, read_api_key

logger = logging.getLogger(__name__)

_BACKLOG = 256
_HEADER_BYTES = 32_768  # h11 refuses a longer request line and header with 400
_KEEP_ALIVE_S = 15


class Server:
    """A bound socket and the application that answers on it.

    Binding happens at construction, so that a taken port is one clear line, and so that ``port=0`` can be asked which
    port it got.

    Args:
        app: What :func:`create_app` returned.
        host: Address to listen on.
        port: Port to listen on; 0 takes any that is free.
        settings: The settings the application was made with.

    Raises:
        InputError: The address cannot be used or the port is taken.
    """

    def __init__(self, app: FastAPI, *, host: str = "127.0.0.1", port: int = 8765, settings: ServerSettings) -> None:
        self._socket = _bound_socket(host, port)
        self.host = host
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=_protocol_with_header_deadline(settings.header_timeout_s),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                # The guard answers 429 in the usual shape; this bounds connections that send nothing at all.
                limit_concurrency=4 * settings.requests_in_flight,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=math.ceil(settings.drain_s),
            )
        )

    @property
    def url(self) -> str:
        """Address of the page."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}/"

    @property
    def started(self) -> bool:
        """Whether requests are being answered."""
        return self._server.started

    def run(self) -> None:
        """Answer requests until :meth:`stop`, SIGINT or SIGTERM; then finish those under way and return."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Tell the server to stop; may be called from another thread."""
        self._server.should_exit = True


def serve(
    index: SearchIndex,
    encoder: Encoder,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    api_key_file: str | Path | None = None,
    report: str | Path | None = None,
    settings: ServerSettings | None = None,
    papers: PapersSettings | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve an index over HTTP, with a page to search it by, until interrupted.

    Args:
        index: An open index.
        encoder: The encoder its vectors were made with.
        host: Address to listen on; anything but a loopback address opens it to others.
        port: Port to listen on; 0 takes any that is free.
        api_key_file: File that holds the bearer key; without it ``EMBEDWORKS_API_KEY`` is looked at.
        report: Folder with the comparison to show on the page.
        settings: Limits; the key and the host names are added from the other arguments.
        papers: Settings of the papers view; by default the mail server of the environment, and no other.
        announce: Called with the page's address once the port is taken.

    Raises:
        InputError: The port is taken, the key or the report cannot be read, or index and encoder do not match.
    """
    settings = settings or ServerSettings()
    api_key = settings.api_key or read_api_key(None if api_key_file is None else Path(api_key_file))
    allowed_hosts = settings.allowed_hosts
    if host not in LOOPBACK_HOSTS and allowed_hosts == LOOPBACK_HOSTS:
        allowed_hosts = None  # whoever opens the server to a network has named no names it goes by
        if api_key is None:
            logger.warning("everybody who can reach %s can search this index: set a key with --api-key-file", host)
    settings = replace(settings, api_key=api_key, allowed_hosts=allowed_hosts)
    comparison = None if report is None else read_report(Path(report))
    app = create_app(index, encoder, settings=settings, comparison=comparison, papers=papers or read_papers_settings())
    server = Server(app, host=host, port=port, settings=settings)
    view: PapersService | None = app.state.papers
    if view is not None and view.address is None and host in LOOPBACK_HOSTS:
        view.address = server.url  # mails are written without a request that would say where the page is
    logger.info("serving %d entries at %s", len(index), server.url)
    if announce is not None:
        announce(server.url)
    server.run()


def _bound_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's algorithm off only where the protocol is named; with it, each answer waits 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        raise InputError(
            f"the address cannot be used ({error})", where=f"{host}:{port}", mend="choose another port with --port"
        ) from error
    bound.setblocking(False)
    return bound


def _protocol_with_header_deadline(timeout_s: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol, closing connections that leave a request's header unfinished (slow loris)."""

    class HeaderDeadlineProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait_for_header()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            cycle: RequestResponseCycle | None = self.cycle
            if cycle is not None and not cycle.response_complete:
                self._stop_waiting()
            elif not self.transport.is_closing():
                self._wait_for_header()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait_for_header(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(timeout_s, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    protocol: Any = HeaderDeadlineProtocol
    return protocol  # type: ignore[no-any-return]
