"""The Atom feed of a saved search, read as a feed reader reads it (RFC 4287)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from embedworks.index import Index
from embedworks.serving import PapersSettings
from embedworks.serving.papers import service as papers_service
from embedworks.serving.papers.attributes import PaperAttributes
from embedworks.serving.papers.feed import atom_feed, moment_of
from embedworks.serving.papers.saved import SavedSearch
from embedworks.serving.papers.shown import Paper

ATOM = "{http://www.w3.org/2005/Atom}"
NOW = datetime(2026, 7, 1, 8, tzinfo=UTC)


@pytest.fixture(autouse=True)
def look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(papers_service, "_LOOK_AGAIN_S", 0.0)


def save(client: Any, **fields: str) -> dict[str, Any]:
    answer = client.post("/saved", json={"name": "Graphs", **fields})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def read(client: Any, search: dict[str, Any]) -> ElementTree.Element:
    answer = client.get(f"/{search['feed']}")
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    return ElementTree.fromstring(answer.content)


def texts(element: ElementTree.Element, path: str) -> list[str | None]:
    return [found.text for found in element.findall("/".join(ATOM + part for part in path.split("/")))]


def check(feed: ElementTree.Element) -> None:
    """Hold a feed to what RFC 4287 demands of one."""
    assert feed.tag == f"{ATOM}feed"
    for element in (feed, *feed.findall(f"{ATOM}entry")):
        for name in ("id", "title", "updated"):
            assert len(texts(element, name)) == 1, (element.tag, name)
        (moment,) = texts(element, "updated")
        assert moment is not None
        assert datetime.fromisoformat(moment).tzinfo is not None
    ids = texts(feed, "entry/id")
    assert len(set(ids)) == len(ids)
    assert all(name is not None and name.startswith("urn:uuid:") for name in ids)
    assert {link.get("rel") for link in feed.findall(f"{ATOM}link")} == {"self", "alternate"}
    assert texts(feed, "author/name") != []


def test_the_feed_holds_the_newest_first(start: Any, papers: Index, add: Callable[..., None]) -> None:
    client = start(index=papers, title="Daily").client
    search = save(client)
    add("n1", "The newest of all")
    feed = read(client, search)
    check(feed)
    assert texts(feed, "title") == ["Graphs - Daily"]
    assert texts(feed, "updated") == ["2026-07-02T00:00:00Z"]
    assert texts(feed, "entry/summary")[0] == "The text of n1 says more of it."
    assert texts(feed, "entry/title")[:3] == ["The newest of all", "Graph networks predict tea", "Songs of whales"]
    assert texts(feed, "entry/title")[-1] == "A paper without a date"
    assert texts(feed, "entry/updated")[-2:] == ["2026-06-29T00:00:00Z"] * 2
    (itself,) = (link.get("href") for link in feed.findall(f"{ATOM}link") if link.get("rel") == "self")
    assert itself == f"{client.base_url}/{search['feed']}".replace("//feeds", "/feeds")
    page = str(client.base_url).rstrip("/")
    links = [link.get("href") for link in feed.findall(f"{ATOM}entry/{ATOM}link")]
    assert "https://example.org/p1" in links
    assert f"{page}/?like=p2" in links  # its own address would have run a script
    assert not any("javascript" in str(link) for link in links)


def test_a_reader_sees_a_paper_once(start: Any, papers: Index, add: Callable[..., None]) -> None:
    client = start(index=papers).client
    search = save(client)
    before = texts(read(client, search), "entry/id")
    add("n1", "Another one")
    after = texts(read(client, search), "entry/id")
    assert after[1:] == before
    assert texts(read(client, save(client, name="Other")), "entry/id") == after


def test_the_feed_of_a_query_keeps_to_its_filter_and_to_the_last_days(
    start: Any, papers: Index, add: Callable[..., None]
) -> None:
    client = start(index=papers).client
    add("old", "Graph networks of long ago", date(2026, 5, 1))
    add("new", "Graph networks of today", date(2026, 7, 2))
    search = save(client, query="graph networks", where="categories contains 'cs.IR'")
    feed = read(client, search)
    check(feed)
    titles = texts(feed, "entry/title")
    assert titles[0] == "Graph networks of today"
    assert "Graph networks of long ago" not in titles
    assert set(titles) == {
        "Graph networks of today", "Graph networks recommend songs", "Graph networks recommend films",
    }  # fmt: skip
    words = read(client, save(client, name="By words", query="tea", mode="lexical"))
    assert set(texts(words, "entry/title")) == {"Robots pour tea", "Graph networks predict tea"}


def test_markup_and_signs_that_xml_forbids(start: Any, papers: Index, add: Callable[..., None]) -> None:
    client = start(index=papers).client
    add("]]>&<x a='\"'>", "Bell \x07 and \ufffe and </title><script>alert(1)</script> 🍎", categories=("a&b", " "))
    feed = read(client, save(client))
    check(feed)
    entry = feed.findall(f"{ATOM}entry")[0]
    assert texts(entry, "title") == ["Bell  and  and </title><script>alert(1)</script> 🍎"]
    assert [category.get("term") for category in entry.findall(f"{ATOM}category")] == ["a&b"]
    assert {child.tag for child in entry.iter()} <= {
        ATOM + name
        for name in (
            "entry", "id", "title", "updated", "published", "link", "author", "name", "category", "summary",
        )
    }  # fmt: skip
    link = entry.findall(f"{ATOM}link")[0].get("href")
    assert link is not None
    assert link.endswith("?like=%5D%5D%3E%26%3Cx%20a%3D%27%22%27%3E")


def test_an_address_of_the_page_takes_the_place_of_the_requests(start: Any, papers: Index) -> None:
    settings = PapersSettings(address="https://papers.example.org/read")
    client = start(index=papers, papers=settings).client
    search = save(client)
    feed = read(client, search)
    addresses = [link.get("href") for link in feed.iter(f"{ATOM}link")]
    assert f"https://papers.example.org/read/{search['feed']}" in addresses
    assert f"https://papers.example.org/read/?saved={search['key']}" in addresses
    assert not any("127.0.0.1" in str(address) for address in addresses)


def test_an_index_with_dates_alone_has_a_feed(start: Any, tmp_path: Any, encoder: Any) -> None:
    index = Index.create(tmp_path / "bare.index", dimension=32)
    moments = [datetime(2026, 7, 1, hour, tzinfo=UTC) for hour in (8, 9)]
    index.add(["a", "b"], encoder.encode(["one", "two"]), texts=["one", None], attributes={"seen": moments})
    client = start(index=index).client
    feed = read(client, save(client))
    check(feed)
    assert texts(feed, "entry/title") == ["b", "a"]
    assert texts(feed, "entry/updated") == ["2026-07-01T09:00:00Z", "2026-07-01T08:00:00Z"]


def test_long_texts_and_thousands_of_authors_are_cut() -> None:
    attributes = PaperAttributes(date="day", title="title", authors="authors")
    paper = Paper("a", "x" * 5_000, {"day": date(2026, 7, 1), "title": "  Two\nlines ", "authors": ["A"] * 3_000})
    search = SavedSearch(name="All", created=NOW, visited=NOW, since=NOW)
    document = atom_feed(search, [paper], attributes=attributes, title="T", page="http://p/", itself="http://p/f")
    feed = ElementTree.fromstring(document)
    assert texts(feed, "entry/title") == ["Two lines"]
    assert len(texts(feed, "entry/author")) == 100
    (summary,) = texts(feed, "entry/summary")
    assert summary == "x" * 2_000 + "…"


def test_moments() -> None:
    assert moment_of(date(2026, 7, 1)) == datetime(2026, 7, 1, tzinfo=UTC)
    assert moment_of(datetime(2026, 7, 1, 9)) == datetime(2026, 7, 1, 9, tzinfo=UTC)
    assert moment_of(None) is None
