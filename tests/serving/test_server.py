"""The server on its socket: slow and leaving clients, taken ports, stopping."""

from __future__ import annotations

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from embedworks.foundation import InputError
from embedworks.serving import Server, ServerSettings, create_app, serve
from embedworks.serving import server as server_module


def raw(server: Any) -> socket.socket:
    connection = socket.create_connection(server.address, timeout=10)
    connection.settimeout(10)
    return connection


def test_a_header_that_never_ends_is_cut_off(start: Any) -> None:
    server = start(header_timeout_s=0.4)
    for trickle in (b"", b"GET /health HTTP/1.1\r\n"):
        with closing(raw(server)) as connection:
            connection.sendall(trickle)
            began = time.monotonic()
            assert connection.recv(100) == b""
            assert time.monotonic() - began < 5


def test_a_second_header_that_never_ends_is_cut_off_too(start: Any) -> None:
    server = start(header_timeout_s=0.4)
    with closing(raw(server)) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in connection.recv(10_000)
        connection.sendall(b"GET /health HT")
        began = time.monotonic()
        while connection.recv(10_000):
            assert time.monotonic() - began < 5


def test_a_body_that_trickles_is_refused(start: Any) -> None:
    server = start(body_timeout_s=0.4, header_timeout_s=0.2)
    with closing(raw(server)) as connection:
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        assert b"408 Request Timeout" in connection.recv(10_000)


def test_slow_clients_do_not_keep_others_out(start: Any) -> None:
    server = start()
    slow = [raw(server) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        assert server.client.get("/search", params={"query": "apple"}).status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_a_request_whose_client_left_is_never_encoded(start: Any, encoder: Any) -> None:
    server = start()
    encoder.gate.clear()
    encoder.started.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.client.post, "/v1/embeddings", json={"input": "block"})
        assert encoder.started.wait(10)
        with pytest.raises(httpx.ReadTimeout):
            server.client.post("/v1/embeddings", json={"input": "left"}, timeout=0.3)
        time.sleep(0.3)
        encoder.gate.set()
        assert first.result(10).status_code == 200
    assert server.client.post("/v1/embeddings", json={"input": "next"}).status_code == 200
    assert ["left"] not in encoder.calls
    assert "embedworks_encode_abandoned_total 1" in server.client.get("/metrics").text


def test_answers_do_not_wait_for_acknowledgements(start: Any) -> None:
    server = start()
    server.client.get("/health")
    waits = []
    for _ in range(20):
        began = time.perf_counter()
        server.client.get("/health")
        waits.append(time.perf_counter() - began)
    assert min(waits) < 0.03  # Nagle's algorithm against delayed acknowledgements costs 0.04 s, every time


def test_garbage_on_the_wire_is_answered_and_forgotten(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    server = start()
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"A" * 50_000, b"GET /\x00 HTTP/1.1\r\n\r\n"):
        with closing(raw(server)) as connection:
            connection.sendall(garbage + b"\r\n\r\n")
            assert connection.recv(10_000)[:10] in (b"HTTP/1.1 4", b"")
    assert server.client.get("/health").status_code == 200


def test_stopping_finishes_what_is_under_way(start: Any, encoder: Any) -> None:
    server = start()
    encoder.gate.clear()
    encoder.started.clear()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.client.post, "/v1/embeddings", json={"input": "last words"})
        assert encoder.started.wait(10)
        server.server.stop()
        threading.Timer(0.3, encoder.gate.set).start()
        assert answer.result(15).status_code == 200
    server.thread.join(15)
    assert not server.thread.is_alive()
    with pytest.raises(OSError, match="refused"):
        raw(server)
    assert not any(thread.name.startswith("embedworks-") for thread in threading.enumerate())


def test_a_taken_port_is_one_clear_line(start: Any, index: Any, encoder: Any) -> None:
    taken = start().server.port
    with pytest.raises(InputError, match=f"127.0.0.1:{taken}.*--port"):
        Server(create_app(index, encoder), port=taken, settings=ServerSettings())
    with pytest.raises(InputError):
        Server(create_app(index, encoder), port=70_000, settings=ServerSettings())


def test_serve_reads_key_and_report_and_says_where_it_is(
    index: Any, encoder: Any, report_folder: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("key-from-file\n")
    seen: dict[str, Any] = {}

    def answer_once(self: Server) -> None:
        seen["url"] = self.url
        self._socket.close()

    def remember(*arguments: Any, **options: Any) -> Any:
        seen.update(options)
        return create_app(*arguments, **options)

    monkeypatch.setattr(Server, "run", answer_once)
    monkeypatch.setattr(server_module, "create_app", remember)
    announced: list[str] = []
    serve(index, encoder, port=0, api_key_file=key_file, report=report_folder, announce=announced.append)
    assert announced == [seen["url"]]
    assert seen["settings"].api_key == "key-from-file"
    assert seen["settings"].allowed_hosts == ("127.0.0.1", "localhost", "::1")
    assert seen["comparison"].title == "How good is it?"


def test_opening_to_a_network_without_a_key_is_warned_of(
    index: Any, encoder: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Server, "run", lambda self: self._socket.close())
    monkeypatch.delenv("EMBEDWORKS_API_KEY", raising=False)
    serve(index, encoder, host="0.0.0.0", port=0)
    assert "set a key" in caplog.text
