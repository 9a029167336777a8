"""The guard alone, spoken to in plain ASGI: nothing but its own rules decides here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from embedworks.serving.guard import Guard
from embedworks.serving.settings import ServerSettings

KEY = "a-long-secret-key"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await PlainTextResponse(str(len(message["body"])))(scope, receive, send)


async def talk(
    guard: Guard,
    *,
    pieces: AsyncIterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
    path: str = "/search",
    leave_after_s: float | None = None,
) -> tuple[int | None, dict[str, str], bytes]:
    """Send one request and return status, headers and body of the answer."""
    given = {"host": "127.0.0.1:8765"} | (headers or {})
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"query=private",
        "http_version": "1.1",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    sent: list[dict[str, Any]] = []
    finished = False

    async def receive() -> dict[str, Any]:
        nonlocal finished
        if pieces is not None and not finished:
            try:
                return {"type": "http.request", "body": await anext(pieces), "more_body": True}
            except StopAsyncIteration:
                finished = True
                return {"type": "http.request", "body": b"", "more_body": False}
        if not finished:
            finished = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await asyncio.sleep(1e6 if leave_after_s is None else leave_after_s)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await guard(scope, receive, send)
    if not sent:
        return None, {}, b""
    answer_headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answer_headers, b"".join(message.get("body", b"") for message in sent[1:])


def ask(
    app: Any = echo, *, settings: dict[str, Any] | None = None, **request: Any
) -> tuple[int | None, dict[str, str], bytes]:
    return asyncio.run(talk(Guard(app, ServerSettings(**(settings or {}))), **request))


def code(body: bytes) -> str:
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return str(error["code"])


async def stream(count: int, size: int, seen: list[int] | None = None) -> AsyncIterator[bytes]:
    for _ in range(count):
        if seen is not None:
            seen.append(size)
        yield b"x" * size


def test_a_body_within_the_limit_arrives_whole() -> None:
    status, headers, body = ask(pieces=stream(20, 100_000))
    assert (status, body) == (200, b"2000000")
    assert len(headers["x-request-id"]) == 32
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_one_byte_more_is_refused_whether_declared_or_not() -> None:
    async def one_more() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        yield b"x"

    status, headers, body = ask(pieces=one_more())
    assert (status, code(body)) == (413, "body_too_large")
    assert headers["connection"] == "close"
    assert ask(pieces=one_more(), headers={"content-length": "2000001"})[0] == 413


def test_fifty_megabytes_are_dropped_as_they_arrive() -> None:
    import tracemalloc

    async def unreachable(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("the application must not see it")

    tracemalloc.start()
    try:
        status, _, body = ask(unreachable, pieces=stream(800, 65_536))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (status, code(body)) == (413, "body_too_large")
    assert peak < 6_000_000


def test_a_client_that_asks_first_sends_nothing() -> None:
    seen: list[int] = []
    status, _, _ = ask(
        pieces=stream(800, 65_536, seen), headers={"content-length": "52428800", "expect": "100-continue"}
    )
    assert (status, seen) == (413, [])


def test_an_endless_body_is_given_up() -> None:
    seen: list[int] = []
    assert ask(pieces=stream(100_000, 65_536, seen))[0] == 413
    assert sum(seen) < 65_000_000


def test_a_slow_body_is_refused() -> None:
    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    status, _, body = ask(pieces=slow(), settings={"body_timeout_s": 0.1})
    assert (status, code(body)) == (408, "body_timeout")


def test_a_client_that_leaves_cancels_the_work() -> None:
    cancelled = []

    async def long_work(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    guard = Guard(long_work, ServerSettings())
    assert asyncio.run(talk(guard, leave_after_s=0.05))[0] is None
    assert cancelled == [True]
    assert guard.answers == {499: 1}


def test_the_deadline_cancels_the_work() -> None:
    async def long_work(_scope: Any, _receive: Any, _send: Any) -> None:
        await asyncio.sleep(60)

    status, headers, body = ask(long_work, settings={"deadline_s": 0.05})
    assert (status, code(body), headers["retry-after"]) == (503, "deadline_exceeded", "1")


def test_a_fault_of_the_application_is_told_in_the_usual_shape(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError("inside")

    status, _, body = ask(broken)
    assert (status, code(body)) == (500, "internal_error")
    assert b"inside" not in body
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8765", 200), ("localhost", 200), ("[::1]:8765", 200), ("LOCALHOST:1", 200),
        ("rebound.example", 421), ("127.0.0.1.example", 421), ("", 421), ("[", 421),
    ],
)  # fmt: skip
def test_only_known_host_names_are_answered(host: str, status: int) -> None:
    assert ask(headers={"host": host})[0] == status


def test_every_host_name_is_answered_on_demand() -> None:
    assert ask(headers={"host": "anything.example"}, settings={"allowed_hosts": None})[0] == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200), (f"bearer {KEY}", 200), (f"Bearer {KEY}x", 401), (f"Bearer {KEY[:-1]}", 401),
        ("Bearer ", 401), ("Bearer ключ", 401), (f"Basic {KEY}", 401), (KEY, 401), (None, 401),
    ],
)  # fmt: skip
def test_the_key(authorization: str | None, status: int) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    refused = ask(headers=headers, settings={"api_key": KEY})
    assert refused[0] == status
    if status == 401:
        assert refused[1]["www-authenticate"] == "Bearer"
        assert code(refused[2]) == "invalid_api_key"


def test_all_refusals_of_keys_are_alike() -> None:
    bodies = {
        ask(headers=headers, settings={"api_key": KEY})[2]
        for headers in ({}, {"authorization": "Bearer no"}, {"authorization": f"Basic {KEY}"})
    }
    assert len(bodies) == 1


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/health", "/ready"])
def test_the_page_and_the_status_need_no_key(path: str) -> None:
    assert ask(path=path, settings={"api_key": KEY})[0] == 200


@pytest.mark.parametrize("path", ["/about", "/staticx", "/v1/models", "/metrics", "/comparison/x.svg", "//"])
def test_everything_else_needs_it(path: str) -> None:
    assert ask(path=path, settings={"api_key": KEY})[0] == 401


def test_neither_key_nor_query_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ask(headers={"authorization": f"Bearer {KEY}"}, settings={"api_key": KEY})
    ask(headers={"authorization": "Bearer wrong-guess"}, settings={"api_key": KEY})
    line = json.loads(next(record.getMessage() for record in caplog.records if "request" in record.name))
    assert (line["method"], line["path"], line["status"]) == ("POST", "/search", 200)
    assert KEY not in caplog.text
    assert "wrong-guess" not in caplog.text
    assert "private" not in caplog.text
    assert KEY not in repr(ServerSettings(api_key=KEY))


def test_requests_at_once_are_bounded() -> None:
    async def run() -> list[int | None]:
        release = asyncio.Event()

        async def waiting(scope: Any, receive: Any, send: Any) -> None:
            await release.wait()
            await echo(scope, receive, send)

        guard = Guard(waiting, ServerSettings(requests_in_flight=3))
        requests = [asyncio.create_task(talk(guard)) for _ in range(5)]
        await asyncio.sleep(0.05)
        release.set()
        answers = await asyncio.gather(*requests)
        assert (await talk(guard))[0] == 200  # and the places are free again
        return [status for status, _, _ in answers]

    assert asyncio.run(run()) == [200, 200, 200, 429, 429]


def test_other_protocols_pass_through() -> None:
    seen: list[str] = []

    async def lifespan(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    unused: Callable[..., Any] = echo
    asyncio.run(Guard(lifespan, ServerSettings())({"type": "lifespan"}, unused, unused))
    assert seen == ["lifespan"]
