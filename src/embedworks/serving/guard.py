"""The door of the server, as plain ASGI: host, key, size and time of every request, before any of it is parsed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedworks.serving.errors import ApiError, error_response, internal_error
from embedworks.serving.settings import ServerSettings

logger = logging.getLogger("embedworks.serving.requests")

REQUEST_ID_HEADER = "x-request-id"
_OPEN_PATHS = ("/", "/health", "/ready", "/favicon.ico")
_OPEN_PREFIXES = ("/static/", "/feeds/")  # feed readers send no key: the address of a feed holds a secret of its own
_MOST_DISCARDED = 64_000_000  # bytes of a refused body read and dropped, so that the client gets to see the refusal
_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


class Guard:
    """Wraps an application and lets through only what its settings allow.

    The body is collected here, at most ``body_bytes`` of it, and handed on whole: a larger one is answered with 413
    as soon as that is known, and its bytes are dropped as they arrive. While the application works, the guard listens
    for the client: when that goes away or the deadline passes, the work is cancelled.

    Args:
        app: The application.
        settings: Limits and access rules.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._key_digest = None if settings.api_key is None else _digest(settings.api_key.encode())
        self._in_flight = 0
        self.answers: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send, request_id=uuid.uuid4().hex)
        self._in_flight += 1
        try:
            await self._answer(scope, receive, answer)
        except ApiError as refusal:
            if not answer.started:
                await error_response(refusal)(scope, receive, answer.send)
        except Exception:  # the server lives on, and the client is told in the shape it reads
            logger.exception("request %s failed", answer.request_id)
            if not answer.started:
                await error_response(internal_error())(scope, receive, answer.send)
        finally:
            self._in_flight -= 1
            self.answers[answer.status] += 1
            # Neither the query string nor the body: what people search for is theirs.
            logger.info(
                '{"request": "%s", "method": "%s", "path": "%s", "status": %d, "milliseconds": %.1f}',
                answer.request_id,
                scope["method"],
                scope["path"].encode("ascii", "backslashreplace").decode().replace('"', "")[:100],
                answer.status,
                1000 * (time.perf_counter() - started),
            )

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_key(scope["path"], headers)
        if self._in_flight > self._settings.requests_in_flight:
            raise ApiError(
                429,
                "too many requests at once; try again in 1 s",
                code="too_many_requests",
                headers={"retry-after": "1"},
            )
        body = await self._body(headers, receive)
        work = asyncio.ensure_future(self._app(scope, _replay(body, receive), answer.send))
        client_gone = asyncio.create_task(_until_disconnect(receive))
        try:
            await asyncio.wait(
                {work, client_gone}, timeout=self._settings.deadline_s, return_when=asyncio.FIRST_COMPLETED
            )
            if work.done() or answer.finished:
                await work
            elif client_gone.done():
                answer.status = 499
            else:
                raise ApiError(
                    503,
                    f"no answer within {self._settings.deadline_s:g} s; send fewer texts at once, or try again",
                    code="deadline_exceeded",
                    headers={"retry-after": "1"},
                )
        finally:
            work.cancel()
            client_gone.cancel()
            await asyncio.gather(work, client_gone, return_exceptions=True)

    def _check_host(self, headers: Headers) -> None:
        if self._settings.allowed_hosts is None:
            return
        # urlsplit alone knows how to take the port off [::1]:8765.
        try:
            name = urlsplit(f"//{headers.get('host', '')}").hostname
        except ValueError:
            name = None
        if name not in self._settings.allowed_hosts:
            raise ApiError(
                421, "this server does not answer for that host name; add it to allowed_hosts", code="unknown_host"
            )

    def _check_key(self, path: str, headers: Headers) -> None:
        if self._key_digest is None or path in _OPEN_PATHS or path.startswith(_OPEN_PREFIXES):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Digests have one length, so that the comparison tells nothing about the key's.
        equal = hmac.compare_digest(_digest(given.strip().encode()), self._key_digest)
        if scheme.lower() != "bearer" or not equal:
            raise ApiError(
                401,
                "this server needs its key: send the header 'Authorization: Bearer KEY'",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        limit = self._settings.body_bytes
        refusal = ApiError(
            413,
            f"the body is larger than {limit:,} bytes; send fewer texts at once",
            code="body_too_large",
            headers={"connection": "close"},
        )
        declared = headers.get("content-length", "0")
        too_large = declared.isdecimal() and (len(declared) > 18 or int(declared) > limit)
        if too_large and headers.get("expect", "").lower() == "100-continue":
            raise refusal  # the client is waiting for leave to send: no byte has to cross the wire
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                pieces: list[bytes] = []
                size = 0
                more = True
                while more and size <= _MOST_DISCARDED:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ApiError(400, "the client went away", code="client_disconnected")
                    piece: bytes = message.get("body", b"")
                    size += len(piece)
                    if size > limit or too_large:
                        too_large = True
                        pieces.clear()
                    else:
                        pieces.append(piece)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise ApiError(
                408,
                f"the body did not arrive within {self._settings.body_timeout_s:g} s",
                code="body_timeout",
                headers={"connection": "close"},
            ) from None
        if too_large:
            raise refusal
        return b"".join(pieces)


class _Answer:
    """Sends a response with the headers every response has, and remembers its status."""

    def __init__(self, send: Send, *, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.started = False
        self.finished = False
        self.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID_HEADER] = self.request_id
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-store")
        elif not message.get("more_body", False):
            self.finished = True
        await self._send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        # The guard listens for the disconnect and cancels; a second listener would steal the message.
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    return replay


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
