"""Which papers a view shows: newest first, by depth, new to a reader, or lately dated; all from one commit."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from embedworks.index.listing import Listing, Rows
from embedworks.serving.papers.saved import SavedSearch
from embedworks.serving.protocols import SearchIndex

DepthOrder = Literal["central", "outlying"]

NEAREST = 20
"""Most papers in the digest of a search with a query: the nearest among the new ones."""
NEWEST = 100
"""Most papers in the digest of a search without a query."""
FEED_ENTRIES = 50
FEED_DAYS = 30
"""Days before the newest date that the feed of a search with a query is chosen from."""

_REMEMBERED_DEPTHS = 8
_IDS_A_FILTER, _CHARACTERS_A_FILTER = 500, 8_000  # well within what one filter expression may hold


@runtime_checkable
class ListedIndex(Protocol):
    """An index whose rows can be listed without a query; :class:`embedworks.index.Index` is one."""

    def listing(self) -> Listing:
        """Return the live rows of the last commit that is known."""
        ...

    def refresh(self) -> bool:
        """Go on to the last commit; return whether there was a newer one."""
        ...


@dataclass(frozen=True)
class Paper:
    """One paper that is shown.

    Args:
        id: Its id.
        text: Its text, or None.
        attributes: Its attributes.
        score: Its depth or its nearness to a query; None where the order is that of dates.
    """

    id: str
    text: str | None
    attributes: dict[str, Any]
    score: float | None = None


@dataclass(frozen=True)
class Shown:
    """Papers in the order they are shown in.

    Args:
        papers: The papers.
        passing: How many there are of their kind, shown or not.
        how: How they were chosen, in words.
    """

    papers: list[Paper]
    passing: int
    how: str


class Selections:
    """Chooses papers of an index.

    Args:
        index: The index.
        date: The attribute to order by.
    """

    def __init__(self, index: ListedIndex, *, date: str) -> None:
        self._index = index
        self._date = date
        self._depths: OrderedDict[tuple[int, str | None], tuple[Rows, NDArray[np.float64]]] = OrderedDict()

    def ids(self) -> list[str]:
        """Return the ids of all live rows."""
        listing = self._index.listing()
        return listing.ids(listing.rows())

    def newest(self, where: str | None, *, k: int, start: int = 0) -> Shown:
        """Return papers that pass a filter, newest first; those without a date come last."""
        listing = self._index.listing()
        rows = listing.rows(where)
        chosen = listing.newest(rows, self._date, k=k, start=start)
        return Shown(_papers(listing, chosen), len(rows), "newest first, by day")

    def days(self, where: str | None) -> list[tuple[date | None, int]]:
        """Return the days of the papers that pass a filter, newest first, and how many each has."""
        listing = self._index.listing()
        return listing.days(listing.rows(where), self._date)

    def by_depth(self, where: str | None, *, order: DepthOrder, k: int) -> Shown:
        """Return the papers of a selection from its centre outwards, or from its rim inwards.

        The score is the cosine depth of each paper among the selection, itself left out (arXiv 2310.15010).

        Args:
            where: The filter that makes the selection.
            order: Which end comes first.
            k: How many are wanted.
        """
        listing = self._index.listing()
        rows, depths = self._by_depth(listing, where)
        if len(rows) < 2:
            return Shown(_papers(listing, rows), len(rows), "one paper alone has no depth" if len(rows) else "")
        if order == "outlying":
            rows, depths = rows[::-1], depths[::-1]
        how = f"cosine depth among the {len(rows):,} of the selection, each paper itself left out"
        return Shown(_papers(listing, rows[:k], depths[:k]), len(rows), how)

    def _by_depth(self, listing: Listing, where: str | None) -> tuple[Rows, NDArray[np.float64]]:
        """Return the rows of a selection, the deepest first, and their depths; the last few are remembered."""
        key = (listing.generation, where)
        known = self._depths.get(key)
        if known is None:
            rows = listing.rows(where)
            depths = np.zeros(len(rows))
            if len(rows) > 1:
                from embedworks.analysis.depth import depths as depths_of

                depths = depths_of(listing.vectors(rows))
                order = np.argsort(-depths, kind="stable")
                rows, depths = rows[order], depths[order]
            known = self._depths[key] = rows, depths
            if len(self._depths) > _REMEMBERED_DEPTHS:
                self._depths.popitem(last=False)
        return known

    def new(self, search: SavedSearch, arrived: set[str], vector: NDArray[np.float32] | None) -> Shown:
        """Return what is new to the reader of a saved search.

        With a query, that is the nearest papers by meaning (or by words, where the search is by words) among those
        that arrived and pass the filter; without one, the newest of them.

        Args:
            search: The saved search.
            arrived: Ids that arrived since.
            vector: The query's vector, shape (dimension,), or None where the query is empty or meant by words.
        """
        listing = self._index.listing()
        rows = listing.rows(search.where or None, among=arrived)
        if search.query and search.mode == "lexical":
            return self._by_words(listing, search, rows)
        if vector is None:
            chosen = listing.newest(rows, self._date, k=NEWEST)
            return Shown(_papers(listing, chosen), len(rows), "newest first")
        chosen, scores = _nearest(listing, rows, vector, NEAREST)
        return Shown(_papers(listing, chosen, scores), len(rows), "nearest to the query first")

    def count_new(self, search: SavedSearch, arrived: set[str]) -> int:
        """Return how many papers a digest of those that arrived is about."""
        listing = self._index.listing()
        rows = listing.rows(search.where or None, among=arrived)  # also of none: a filter that does not fit is refused
        by_words = search.query and search.mode == "lexical"
        return self._by_words(listing, search, rows).passing if by_words else len(rows)

    def lately(self, search: SavedSearch, vector: NDArray[np.float32] | None) -> Shown:
        """Return what the feed of a saved search holds: of the last days, and newest first.

        With a query, those are the nearest papers of the 30 days before the newest date; without one, the newest.

        Args:
            search: The saved search.
            vector: As in :meth:`new`.
        """
        listing = self._index.listing()
        rows = listing.rows(search.where or None)
        days = [day for day, _ in listing.days(rows, self._date) if day is not None]
        if search.query and days:
            first = (days[0] - timedelta(days=FEED_DAYS)).isoformat()
            column = self._date.replace('"', '""')
            recent = f"\"{column}\" >= '{first}'"
            rows = listing.rows(f"({search.where}) and {recent}" if search.where else recent)
            if search.mode == "lexical":
                found = {paper.id for paper in self._by_words(listing, search, rows, k=FEED_ENTRIES).papers}
                rows = listing.rows(among=found)
            elif vector is not None:
                rows, _ = _nearest(listing, rows, vector, FEED_ENTRIES)
        chosen = listing.newest(rows, self._date, k=FEED_ENTRIES)
        return Shown(_papers(listing, chosen), len(rows), "newest first")

    def _by_words(self, listing: Listing, search: SavedSearch, rows: Rows, k: int = NEAREST) -> Shown:
        """Rank some rows by BM25; those that share no word with the query are left out."""
        index = self._index
        assert isinstance(index, SearchIndex)
        found: list[Paper] = []
        passing = 0
        for ids in _portions(listing.ids(rows)):
            among = ", ".join("'" + name.replace("'", "''") + "'" for name in ids)
            answer = index.search(text=search.query, k=len(ids), where=f"id in ({among})", mode="lexical")
            found += [Paper(hit.id, hit.text, dict(hit.attributes), hit.score) for hit in answer.hits]
            passing += len(answer.hits)
        found.sort(key=lambda paper: (-(paper.score or 0.0), paper.id))
        return Shown(found[:k], passing, "best match of words first")


def _nearest(listing: Listing, rows: Rows, vector: NDArray[np.float32], k: int) -> tuple[Rows, NDArray[np.float64]]:
    unit = np.asarray(vector, dtype=np.float64)
    unit /= np.linalg.norm(unit)
    scores = listing.vectors(rows).astype(np.float64) @ unit
    order = np.argsort(-scores, kind="stable")[:k]
    return rows[order], scores[order]


def _papers(listing: Listing, rows: Rows, scores: NDArray[np.float64] | None = None) -> list[Paper]:
    entries = listing.entries(rows)
    values = [None] * len(entries) if scores is None else [float(score) for score in scores]
    return [Paper(entry.id, entry.text, entry.attributes, value) for entry, value in zip(entries, values, strict=True)]


def _portions(ids: list[str]) -> list[list[str]]:
    """Cut ids into portions that one filter expression can list."""
    portions: list[list[str]] = []
    room = 0
    for name in ids:
        characters = 2 * len(name) + 4  # every quote in it may be doubled; then come its own quotes, comma and space
        if room < characters or len(portions[-1]) == _IDS_A_FILTER:
            portions.append([])
            room = _CHARACTERS_A_FILTER
        portions[-1].append(name)
        room -= characters
    return portions
