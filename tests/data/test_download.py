"""Behaviour: a file is fetched once, checked always, and nothing half done is taken for whole."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from embedworks.data.download import File, cache_folder, download, local_file
from embedworks.foundation import FileOperations, InputError, StorageError

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes, several reads


class Handler(BaseHTTPRequestHandler):
    """Serve CONTENT in the ways that the path asks for."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)  # type: ignore[attr-defined]
        if self.path == "/missing":
            self.send_error(404)
            return
        body = CONTENT + b"more" if self.path == "/longer" else CONTENT
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            self.wfile.write(body[:200_000])
            self.wfile.flush()
            self.server.halfway.set()  # type: ignore[attr-defined]
            self.server.finish.wait(20)  # type: ignore[attr-defined]
        elif self.path == "/truncated":
            self.wfile.write(body[:200_000])
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Write no log."""


class Server(ThreadingHTTPServer):
    """A server that remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.halfway, self.finish = threading.Event(), threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of the tests."""

    def file(self, path: str, **changes: object) -> File:
        facts = {"bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(), **changes}
        return File("file.bin", f"http://127.0.0.1:{self.server_port}{path}", **facts)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a server for one test."""
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.finish.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the cache at an empty folder and name no data folder."""
    monkeypatch.setenv("EMBEDWORKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EMBEDWORKS_DATA", raising=False)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_good_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    file = server.file("/good")
    path = local_file("set", file)
    assert path == tmp_path / "cache" / "data" / "set" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert local_file("set", file) == path
    assert server.requests == ["/good"]
    assert names(path.parent) == ["file.bin"]


def test_the_progress_bar_is_shown_when_asked(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    download(server.file("/good"), tmp_path / "quiet.bin")
    assert capsys.readouterr() == ("", "")
    download(server.file("/good"), tmp_path / "shown.bin", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Downloading file.bin" in shown.err
    assert "512000/512000" in shown.err


@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("/good", {"sha256": "0" * 64}, r"SHA-256 .* differs from the published 0000"),
        ("/truncated", {}, r"the server sent 200000 bytes, 512000 were published"),
        ("/longer", {}, r"the server sent more than 512000 bytes"),
        ("/good", {"bytes": 600_000}, r"the server sent 512000 bytes, 600000 were published"),
        ("/missing", {}, r"cannot be downloaded \(HTTP Error 404"),
    ],
)
def test_a_bad_answer_is_refused_and_removed(
    server: Server, path: str, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        local_file("set", server.file(path, **changes))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"http://127.0.0.1:{server.server_port}{path}: ")
    assert names(tmp_path / "cache" / "data" / "set") == []


def test_no_server_at_all(tmp_path: Path) -> None:
    with Server() as gone:
        file = gone.file("/good")
    with pytest.raises(StorageError, match=r"cannot be downloaded .*put the file at .*file\.bin yourself"):
        download(file, tmp_path / "file.bin")
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x"])
def test_only_https_addresses_are_opened(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no https address"):
        download(File("x", url, 1, "0" * 64), tmp_path / "x")


def test_killed_half_way_then_tried_again(server: Server, tmp_path: Path) -> None:
    program = """
        import sys
        from embedworks.data.download import File, local_file
        local_file("set", File("file.bin", sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    """
    slow = server.file("/slow")
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program), slow.url, str(slow.bytes), slow.sha256])
    assert server.halfway.wait(20)
    folder = tmp_path / "cache" / "data" / "set"
    deadline = time.monotonic() + 20
    while not names(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    left = names(folder)
    assert len(left) == 1
    assert left[0].startswith(".tmp-file.bin-")
    path = local_file("set", server.file("/good"))
    assert path.read_bytes() == CONTENT
    assert names(folder) == [left[0], "file.bin"]  # young: another process might be writing it
    hour_ago = time.time() - 4000
    os.utime(folder / left[0], (hour_ago, hour_ago))
    path.unlink()
    local_file("set", server.file("/good"))
    assert names(folder) == ["file.bin"]


def test_the_data_folder_comes_first_plain_or_gzipped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDWORKS_DATA", str(tmp_path / "data"))
    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    (folder / "file.bin.gz").write_bytes(gzip.compress(CONTENT))
    file = server.file("/good")
    assert local_file("set", file) == folder / "file.bin.gz"
    (folder / "file.bin").write_bytes(CONTENT)
    assert local_file("set", file) == folder / "file.bin"
    assert server.requests == []
    assert local_file("other", file) == tmp_path / "cache" / "data" / "other" / "file.bin"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("file.bin", CONTENT[:-1] + b"x", "SHA-256 differs"),
        ("file.bin", CONTENT[:-1], "has 511999 bytes, not 512000"),
        ("file.bin.gz", gzip.compress(CONTENT + b"x"), "has more than 512000 bytes, not 512000"),
        ("file.bin.gz", gzip.compress(CONTENT)[:-9], "damaged gzip file"),
    ],
)
def test_an_altered_copy_of_the_user_is_refused_and_left_alone(
    name: str, content: bytes, message: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDWORKS_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / "set" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StorageError, match=message):
        local_file("set", server.file("/good"))
    assert path.read_bytes() == content
    assert server.requests == []


def test_an_altered_copy_in_the_cache_is_fetched_again(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "cache" / "data" / "set" / "file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:1000])
    assert local_file("set", server.file("/good")).read_bytes() == CONTENT
    assert "has 1000 bytes, not 512000; it is removed and fetched again" in caplog.text


class FailingAt(FileOperations):
    """Raise at one effect."""

    def __init__(self, effect: str) -> None:
        self.effect = effect

    def before(self, effect: str, path: Path) -> None:
        if effect == self.effect:
            raise OSError(28, "No space left on device", str(path))


@pytest.mark.parametrize("effect", ["sync", "rename"])
def test_a_failing_disk_leaves_nothing_behind(effect: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        download(server.file("/good"), tmp_path / "file.bin", files=FailingAt(effect))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/embedworks"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache/embedworks"),
        ("darwin", {}, "/home/me/Library/Caches/embedworks"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/embedworks/cache"),
    ],
)
def test_the_cache_folder_of_each_platform(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("EMBEDWORKS_CACHE")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)
    monkeypatch.setenv("EMBEDWORKS_CACHE", "/chosen")
    assert cache_folder() == Path("/chosen")


def test_a_file_that_nobody_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDWORKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EMBEDWORKS_DATA", str(tmp_path))
    file = File("file.bin", None, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(StorageError, match=r"published nowhere in this form; put a copy at .*file\.bin, or name"):
        local_file("ours", file)
    assert not (tmp_path / "cache").exists()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "file.bin").write_bytes(CONTENT)
    assert local_file("ours", file) == tmp_path / "ours" / "file.bin"
    (tmp_path / "ours" / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(StorageError, match="replace it or remove it"):
        local_file("ours", file)
