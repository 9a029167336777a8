"""A small index, encoders without a model, and servers that really listen on 127.0.0.1."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from embedworks.index import Index
from embedworks.serving import ComparisonReport, PapersSettings, Server, ServerSettings, create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DIMENSION = 32
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


class WordEncoder:
    """Sums fixed random vectors of words: deterministic, fast, and near where words are shared.

    ``gate``, when cleared, holds every call back; ``calls`` lists the texts of each call.
    """

    name = "words"
    dimension = DIMENSION

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()

    def encode(self, items: list[str]) -> NDArray[np.float32]:
        self.calls.append(list(items))
        self.started.set()
        assert self.gate.wait(20)
        if any("poison" in item for item in items):
            raise RuntimeError("cannot read poison")
        vectors = np.stack([_vector(item) for item in items])
        vectors[[("nan" in item.split()) for item in items]] = np.nan
        return vectors


def _vector(text: str) -> NDArray[np.float32]:
    words = text.lower().split() or [""]
    total = sum(
        np.random.default_rng(list(hashlib.sha256(word.encode()).digest()[:8])).standard_normal(DIMENSION)
        for word in words
    )
    return np.asarray(total / np.linalg.norm(total), dtype=np.float32)


ENTRIES = {
    "red.apple": ("A red apple lies on the table. Sweet.", "fruit", 2021, True, ["sweet", "red"]),
    "green.apple": ("A green apple lies on the shelf. Sour.", "fruit", 2022, True, ["sour"]),
    "red.car": ("The red car is parked outside.", "thing", 2023, False, ["red"]),
    "blue.car": ("The blue car is driven to work.", "thing", 2024, False, []),
    'o\'brien/"quoted"': ("<script>document.title = 'owned'</script> & <b>bold</b> car", "it's <i>", 2025, None, None),
    "emoji": ("🍎🍏 apple of the eye 🍎", "fruit", None, True, ["🍎"]),
}


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    built = Index.create(tmp_path_factory.mktemp("serving") / "small.index", dimension=DIMENSION)
    texts = [entry[0] for entry in ENTRIES.values()]
    columns = list(zip(*(entry[1:] for entry in ENTRIES.values()), strict=True))
    names = ("kind", "year", "ripe", "tags")
    built.add(
        list(ENTRIES),
        WordEncoder().encode(texts),
        texts=texts,
        attributes={name: list(column) for name, column in zip(names, columns, strict=True)},
    )
    return built


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


class RunningServer:
    """A server in a thread, and a client for it."""

    def __init__(self, app: object, settings: ServerSettings, port: int = 0) -> None:
        self.app = app
        self.server = Server(app, port=port, settings=settings)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        end = time.monotonic() + 90  # a fresh checkout compiles the kernels of the search first
        while not self.server.started:
            assert time.monotonic() < end, "the server did not start"
            assert self.thread.is_alive(), "the server ended at once"
            time.sleep(0.01)
        self.client = httpx.Client(base_url=self.server.url, trust_env=False, timeout=20)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    def stop(self) -> None:
        self.client.close()
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def start(index: Index, encoder: WordEncoder) -> Iterator[Callable[..., RunningServer]]:
    """Start servers with given settings; all are stopped at the end."""
    running: list[RunningServer] = []

    def start_server(
        *,
        encoder: object = encoder,
        index: object = index,
        comparison: ComparisonReport | None = None,
        papers: PapersSettings | None = None,
        port: int = 0,
        **settings: object,
    ) -> RunningServer:
        chosen = ServerSettings(**settings)
        app = create_app(index, encoder, settings=chosen, comparison=comparison, papers=papers)
        running.append(RunningServer(app, chosen, port))
        return running[-1]

    yield start_server
    encoder.gate.set()
    for server in running:
        server.stop()


PAPERS = {
    "p1": (date(2026, 6, 29), "Graph networks recommend songs", ["Ada Lovelace", "Max Born"], ["cs.IR", "cs.LG"]),
    "p2": (date(2026, 6, 29), "Graph networks recommend films", ["Ada Lovelace"], ["cs.IR"]),
    "p3": (date(2026, 6, 30), "Robots pour tea", ["Emmy Noether"], ["cs.RO"]),
    "p4": (date(2026, 6, 30), '<b>Bold</b> & "quoted"', [f"Author {number}" for number in range(9)], ["cs.LG"]),
    "p5": (date(2026, 7, 1), "Graph networks predict tea", ["Max Born"], ["cs.LG"]),
    "p6": (date(2026, 7, 1), "Songs of whales", [], ["q-bio"]),
    "p7": (None, "A paper without a date", ["Nobody"], None),
}
LINKS = {"p1": "https://example.org/p1", "p2": "javascript:alert(1)"}


def add_papers(index: Index, papers: Mapping[str, tuple[date | None, str, list[str], list[str] | None]]) -> None:
    texts = [f"{title}. The text of {name} says more of it." for name, (_, title, _, _) in papers.items()]
    columns = list(zip(*papers.values(), strict=True))
    attributes = dict(zip(("date", "title", "authors", "categories"), map(list, columns), strict=True))
    attributes["url"] = [LINKS.get(name) for name in papers]
    index.add(list(papers), WordEncoder().encode(texts), texts=texts, attributes=attributes)


@pytest.fixture
def papers(tmp_path: Path) -> Index:
    """A small index with dates, which a test may add to."""
    index = Index.create(tmp_path / "papers.index", dimension=DIMENSION)
    add_papers(index, PAPERS)
    return index


@pytest.fixture
def add(papers: Index) -> Callable[..., None]:
    """Add one paper as another process does: through an index opened a second time."""

    def add_paper(
        name: str, title: str, day: date = date(2026, 7, 2), categories: tuple[str, ...] = ("cs.IR",)
    ) -> None:
        add_papers(Index.open(papers.path), {name: (day, title, ["Grace Hopper"], list(categories))})

    return add_paper


@pytest.fixture
def report_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "comparison.json").write_text(
        '{"title": "How good is it?", "caption": "On queries nobody trained on.",'
        ' "columns": ["system", "nDCG@10"], "rows": [["words", 67.5], ["both", 73.84]]}'
    )
    for theme in ("light", "dark"):
        (folder / f"comparison-{theme}.svg").write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="120"><style>rect{fill:#0a6b55}</style>'
            f'<title>{theme}</title><rect width="480" height="40" y="20"/></svg>'
        )
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that must ask nobody but 127.0.0.1 and must not complain, unless the test clears the complaints."""
    contexts: list[Any] = []
    complaints: list[str] = []
    strangers: list[str] = []

    def open_page(
        server: Any, path: str = "", *, width: int = 1280, height: int = 900, scheme: Any = "light", **options: Any
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=server.server.url,
            timezone_id="Pacific/Auckland", **options,
        )  # fmt: skip
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: strangers.append(request.url) if urlsplit(request.url).hostname != "127.0.0.1" else None,
        )
        page.goto(f"./{path}")
        return page

    open_page.complaints = complaints  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert strangers == []
    assert complaints == []
