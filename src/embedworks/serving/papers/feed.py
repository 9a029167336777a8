"""The papers of a saved search as an Atom feed (RFC 4287)."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, time
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from embedworks.serving.papers.attributes import PaperAttributes, names_of, web_link
from embedworks.serving.papers.saved import SavedSearch
from embedworks.serving.papers.shown import Paper
from embedworks.serving.searching import below_title

ATOM = "http://www.w3.org/2005/Atom"
MEDIA_TYPE = "application/atom+xml; charset=utf-8"

_SUMMARY_CHARACTERS = 2_000
_MOST_NAMES = 100  # of authors; papers of large experiments have thousands
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def atom_feed(
    search: SavedSearch, papers: list[Paper], *, attributes: PaperAttributes, title: str, page: str, itself: str
) -> bytes:
    """Write the feed of a saved search.

    Args:
        search: The saved search.
        papers: What it holds, newest first.
        attributes: Which attributes are date, title, authors, categories and link.
        title: Name of the collection.
        page: Address of the page, ending in a slash.
        itself: Address of the feed.

    Returns:
        The document in UTF-8. Ids of entries depend on the ids of papers alone, so that a reader shows a paper once.
    """
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    known = [moment_of(paper.attributes.get(attributes.date)) for paper in papers]
    dated = [moment for moment in known if moment is not None]
    # Every entry must bear a moment; one without a date takes that of the oldest, so that no reader shows it first.
    moments = [moment or min(dated, default=search.created) for moment in known]
    _text(feed, "id", f"urn:uuid:{uuid.UUID(hex=search.key)}")
    _text(feed, "title", f"{search.name} - {title}")
    _text(feed, "updated", _rfc3339(max(moments, default=search.created)))
    _link(feed, itself, rel="self", kind="application/atom+xml")
    _link(feed, f"{page}?saved={search.key}", rel="alternate", kind="text/html")
    _text(_element(feed, "author"), "name", title)
    _text(feed, "generator", "embedworks")
    for paper, moment in zip(papers, moments, strict=True):
        _entry(feed, paper, moment, attributes=attributes, page=page)
    return bytes(ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True))


def _entry(
    feed: ElementTree.Element, paper: Paper, moment: datetime, *, attributes: PaperAttributes, page: str
) -> None:
    entry = _element(feed, "entry")
    _text(entry, "id", f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'embedworks entry {paper.id}')}")
    _text(entry, "title", title_of(paper, attributes))
    _text(entry, "updated", _rfc3339(moment))
    _text(entry, "published", _rfc3339(moment))
    _link(entry, link_of(paper, attributes, page=page), rel="alternate", kind="text/html")
    for name in _names(paper, attributes.authors)[:_MOST_NAMES]:
        _text(_element(entry, "author"), "name", name)
    for term in _names(paper, attributes.categories):
        if _plain(term).strip():
            _element(entry, "category").set("term", _plain(term))
    text = below_title(paper.text or "", paper.attributes.get(attributes.title) if attributes.title else None)
    _text(entry, "summary", text[:_SUMMARY_CHARACTERS] + ("…" if len(text) > _SUMMARY_CHARACTERS else ""))


def title_of(paper: Paper, attributes: PaperAttributes) -> str:
    """Return the title of a paper on one line, or its id where it has none."""
    title = None if attributes.title is None else paper.attributes.get(attributes.title)
    return " ".join(str(title).split()) if title and str(title).strip() else paper.id


def link_of(paper: Paper, attributes: PaperAttributes, *, page: str) -> str:
    """Return the paper's own address where it has one, or that of the page with what is like it."""
    own = web_link(None if attributes.link is None else paper.attributes.get(attributes.link))
    return own or f"{page}?like={quote(paper.id, safe='')}"


def moment_of(value: Any) -> datetime | None:
    """Return a date or timestamp as a moment, dates as their midnight in UTC; None for anything else."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None


def _names(paper: Paper, attribute: str | None) -> list[str]:
    return [] if attribute is None else names_of(paper.attributes.get(attribute))


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _plain(text: str) -> str:
    """Leave out the signs that no XML document may hold, even escaped."""
    return _NOT_XML.sub("", text)


def _element(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{ATOM}}}{name}")


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    _element(parent, name).text = _plain(text)


def _link(parent: ElementTree.Element, address: str, *, rel: str, kind: str) -> None:
    link = _element(parent, "link")
    link.set("rel", rel)
    link.set("type", kind)
    link.set("href", _plain(address))
