"""The papers view as the routes see it: asks the index and the saved searches, within the server's limits."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedworks.foundation import InputError, StorageError
from embedworks.serving.errors import ApiError
from embedworks.serving.model_service import ModelService, check_unicode
from embedworks.serving.papers.attributes import PaperAttributes
from embedworks.serving.papers.feed import atom_feed
from embedworks.serving.papers.mail import MailError, digest_message, send
from embedworks.serving.papers.saved import WHERE_CHARACTERS, SavedSearch, SavedSearches
from embedworks.serving.papers.settings import PapersSettings
from embedworks.serving.papers.shown import DepthOrder, ListedIndex, Selections, Shown
from embedworks.serving.protocols import Mode
from embedworks.serving.searching import SearchService, entry_document
from embedworks.serving.settings import ServerSettings

logger = logging.getLogger(__name__)

_LOOK_AGAIN_S = 5.0  # an index that another process adds to is looked at no more often than this
_RETRY = timedelta(minutes=15)  # after a mail server could not be reached
_MOST_LISTED = 20_000  # rows down a list by date; further down a narrower filter is the way
_NOT_LOGGED = (-1, 0)
_Returned = TypeVar("_Returned")


class PapersService:
    """Answers for the papers view of one index.

    Args:
        index: The index.
        attributes: What its rows are read as.
        service: Runs work on the search threads.
        model: Encodes the queries of saved searches.
        settings: Limits and title of the server.
        papers: Settings of the view.
        clock: Tells the time; tests pass one they can turn.
    """

    def __init__(
        self,
        index: ListedIndex,
        *,
        attributes: PaperAttributes,
        service: SearchService,
        model: ModelService,
        settings: ServerSettings,
        papers: PapersSettings,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.attributes = attributes
        self.address = papers.address
        self._index, self._service, self._model = index, service, model
        self._settings, self._papers, self._clock = settings, papers, clock
        self._selections = Selections(index, date=attributes.date)
        folder = papers.folder or _folder_beside(getattr(index, "path", None))
        self._saved = None if folder is None else SavedSearches(folder)
        self._looked = -_LOOK_AGAIN_S
        self._logged = _NOT_LOGGED  # the last generation whose arrivals are in the log, and the batches then
        self._counted: dict[str, tuple[tuple[int, int], int | None]] = {}  # key of a search -> at what state, how many
        self._not_before: dict[str, datetime] = {}  # key of a search whose mail failed -> when to try again

    def description(self) -> dict[str, Any]:
        """Return what ``/about`` says of the view."""
        mail = self._papers.mail
        return {
            **self.attributes.document(),
            "saving": self._saved is not None,
            "mail_to": None if mail is None else mail.recipient,
        }

    async def newest(self, where: str | None, *, k: int, start: int) -> dict[str, Any]:
        """Answer with papers, newest first."""
        self._service.check(k, where)
        if not 0 <= start <= _MOST_LISTED:
            message = f"start is {start}, it must be from 0 to {_MOST_LISTED:,}; choose dates instead"
            raise ApiError(422, message, code="invalid_value", parameter="start")
        return await self._answer(lambda: self._selections.newest(where or None, k=k, start=start))

    async def by_depth(self, where: str | None, *, order: DepthOrder, k: int) -> dict[str, Any]:
        """Answer with the most central or the most outlying papers of a selection."""
        self._service.check(k, where)
        return await self._answer(lambda: self._selections.by_depth(where or None, order=order, k=k))

    async def days(self, where: str | None) -> dict[str, Any]:
        """Answer with the days that have papers."""
        self._service.check(1, where)
        days = await self._service.filtered(lambda: self._refreshed(lambda: self._selections.days(where or None)))
        return {"days": [{"day": None if day is None else day.isoformat(), "count": count} for day, count in days]}

    async def searches(self) -> dict[str, Any]:
        """Answer with the saved searches and how much of each was never shown."""

        def work(store: SavedSearches) -> list[dict[str, Any]]:
            self._look(store)
            return [self._document(search, new=self._unseen(store, search)) for search in store.all()]

        return {"searches": [] if self._saved is None else await self._stored(work)}

    async def save(self, *, name: str, query: str, mode: Mode, where: str) -> dict[str, Any]:
        """Save a search; all that is in the index now counts as seen.

        Raises:
            ApiError: The name, the query or the filter cannot be used, or the folder cannot be written to.
        """
        for parameter, text in (("name", name), ("query", query), ("where", where)):
            check_unicode(text, parameter=parameter)
        query, where = query.strip(), where.strip()
        if len(query) > self._settings.query_characters or len(where) > WHERE_CHARACTERS:
            parameter = "where" if len(where) > WHERE_CHARACTERS else "query"
            raise ApiError(422, "is too long to be saved; shorten it", code="invalid_value", parameter=parameter)
        now = self._clock()
        search = SavedSearch(name=name, query=query, mode=mode, where=where, created=now, visited=now, since=now)

        def work(store: SavedSearches) -> SavedSearch:
            self._index.refresh()
            self._selections.newest(where or None, k=1)  # refuses a filter that cannot be read
            return store.add(search, self._selections.ids)

        return self._document(await self._stored(work), new=0)

    async def delete(self, key: str) -> dict[str, Any]:
        """Delete a saved search."""
        await self._stored(lambda store: _found(store.change(key, lambda _search: None)))
        return {"deleted": key}

    async def mail_daily(self, key: str, *, daily: bool) -> dict[str, Any]:
        """Switch the mails of a saved search on or off."""
        if daily:
            self._mail_settings()

        def work(store: SavedSearches) -> dict[str, Any]:
            batches = self._look(store)

            def change(search: SavedSearch) -> SavedSearch:
                # Whoever has not had mails so far does not want them for the time before.
                if search.daily or not daily:
                    return replace(search, daily=daily)
                return replace(search, daily=True, mailed=batches, mailed_at=self._clock())

            search = _found(store.change(key, change))
            return self._document(search, new=self._unseen(store, search))

        return await self._stored(work)

    async def digest(self, key: str, *, visit: bool) -> dict[str, Any]:
        """Answer with what is new to the reader of a saved search.

        Args:
            key: The search.
            visit: Whether this is the reader's visit, after which what is shown counts as seen.
        """
        started = time.perf_counter()

        def marked(store: SavedSearches) -> tuple[SavedSearch, set[str]]:
            batches = self._look(store, now=True)
            if visit:
                search = _found(store.change(key, lambda search: search.visit(self._clock(), batches)))
            else:
                search = _found(store.find(key))
            return search, store.since(search.seen)

        search, arrived = await self._stored(marked)
        vector = await self._vector(search)
        shown = await self._service.filtered(lambda: self._selections.new(search, arrived, vector))
        new = 0 if visit else await self._stored(lambda store: self._unseen(store, search))
        return {"search": self._document(search, new=new), **self._shown_document(shown, started, query=search.query)}

    async def feed(self, key: str, *, token: str, page: str, itself: str) -> bytes:
        """Return the Atom feed of a saved search.

        Args:
            key: The search.
            token: What the address says; it must be the feed's own where the server asks for a key.
            page: Address of the page as the request has it; one that the server was told takes its place.
            itself: Address of the feed, which begins with that of the page.

        Raises:
            ApiError: There is no such feed, or the token is not its own: one answer for both.
        """
        search = None
        if self._saved is not None:
            search = await self._stored(lambda store: (self._look(store), store.find(key))[1])
        known = search.token if search is not None else ""
        allowed = self._settings.api_key is None or hmac.compare_digest(token.encode(), known.encode())
        if search is None or not allowed:
            raise ApiError(404, "there is no such feed; copy its address from the page again", code="no_such_feed")
        found, vector = search, await self._vector(search)
        shown = await self._service.filtered(lambda: self._selections.lately(found, vector))
        title = self._settings.title
        if self.address is not None:
            itself = self._address(itself.removeprefix(page))
            page = self._address()
        return await asyncio.to_thread(
            lambda: atom_feed(found, shown.papers, attributes=self.attributes, title=title, page=page, itself=itself)
        )

    async def send_now(self, key: str) -> dict[str, Any]:
        """Mail the digest that the page shows of a saved search.

        Raises:
            ApiError: There is no mail server, it failed, or there is no such search.
        """
        self._mail_settings()
        search = await self._stored(lambda store: _found(store.find(key)))
        try:
            return {"sent": await self._send(search, since=search.seen)}
        except MailError as error:
            logger.warning("a digest could not be mailed: %s", error)
            raise ApiError(502, str(error), code="mail_failed") from error

    async def send_due(self) -> int:
        """Mail the digests that are due; failures are logged and tried again later.

        Returns:
            How many mails left.
        """
        mail, sent = self._papers.mail, 0
        if mail is None or self._saved is None:
            return 0
        now = self._clock()
        for search in await self._stored(lambda store: store.all()):
            due = (search.mailed_at or search.created) + timedelta(hours=mail.every_hours)
            if not search.daily or now < max(due, self._not_before.get(search.key, due)):
                continue
            try:
                sent += await self._send(search, since=max(search.mailed, search.shown)) > 0
                self._not_before.pop(search.key, None)
            except (MailError, ApiError) as error:
                self._not_before[search.key] = now + _RETRY
                logger.warning("a digest could not be mailed and is tried again later: %s", error)
        return sent

    async def _send(self, search: SavedSearch, *, since: int) -> int:
        """Mail what came after some batches of arrivals; return how many papers the mail is about."""
        mail = self._mail_settings()

        def arrived(store: SavedSearches) -> tuple[int, set[str]]:
            batches = self._look(store, now=True)
            return batches, store.since(since)

        batches, new = await self._stored(arrived)
        vector = await self._vector(search)
        shown = await self._service.filtered(lambda: self._selections.new(search, new, vector))
        if shown.passing == 0:
            return 0
        now = self._clock()
        message = digest_message(
            search, shown, settings=mail, attributes=self.attributes, title=self._settings.title,
            page=None if self.address is None else self._address(), now=now,
        )  # fmt: skip
        await asyncio.to_thread(send, message, mail)
        await self._stored(
            lambda store: store.change(search.key, lambda known: replace(known, mailed=batches, mailed_at=now))
        )
        return shown.passing

    def _mail_settings(self) -> Any:
        mail = self._papers.mail
        if mail is None:
            message = "no mail server is set up; start the server with EMBEDWORKS_SMTP_HOST and EMBEDWORKS_MAIL_TO"
            raise ApiError(409, message, code="no_mail_server")
        return mail

    def _address(self, path: str = "") -> str:
        return f"{(self.address or '').rstrip('/')}/{path}"

    async def _vector(self, search: SavedSearch) -> NDArray[np.float32] | None:
        by_words = search.mode == "lexical"
        return await self._model.query_vector(search.query) if search.query and not by_words else None

    async def _answer(self, work: Callable[[], Shown]) -> dict[str, Any]:
        started = time.perf_counter()
        return self._shown_document(await self._service.filtered(lambda: self._refreshed(work)), started)

    async def _stored(self, work: Callable[[SavedSearches], _Returned]) -> _Returned:
        """Run a piece of work on the saved searches on a search thread."""
        store = self._saved
        if store is None:
            message = "there is no folder for saved searches; name one in EMBEDWORKS_SAVED_SEARCHES"
            raise ApiError(409, message, code="not_saving")
        try:
            return await self._service.filtered(lambda: work(store))
        except StorageError as error:
            logger.error("saved searches: %s", error)
            what = f"the saved searches: {error.what}; {error.mend}" if error.mend else error.what
            raise ApiError(500, what, code="not_stored") from error

    def _refreshed(self, work: Callable[[], _Returned]) -> _Returned:
        self._refresh()
        return work()

    def _refresh(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._looked >= _LOOK_AGAIN_S:
            self._looked = time.monotonic()
            self._index.refresh()

    def _look(self, store: SavedSearches, *, now: bool = False) -> int:
        """See what another process has added to the index, and log what has arrived."""
        self._refresh(now=now)
        generation = self._index.listing().generation
        if self._logged[0] != generation:
            batches = store.look(self._selections.ids)
            self._logged = (generation, batches) if batches else _NOT_LOGGED
        return self._logged[1]

    def _unseen(self, store: SavedSearches, search: SavedSearch) -> int | None:
        """Return how many papers were never shown; None where the filter no longer fits the index."""
        state = self._logged[0], search.shown
        known = self._counted.get(search.key)
        if known is None or known[0] != state:
            try:
                known = state, self._selections.count_new(search, store.since(search.shown))
            except InputError:
                known = state, None
            self._counted[search.key] = known
        return known[1]

    def _document(self, search: SavedSearch, *, new: int | None) -> dict[str, Any]:
        fields = ("key", "name", "query", "mode", "where", "daily")
        moments = ("created", "visited", "since", "mailed_at")
        document = {name: getattr(search, name) for name in fields}
        for name in moments:
            moment: datetime | None = getattr(search, name)
            document[name] = None if moment is None else moment.isoformat()
        token = f"?token={search.token}" if self._settings.api_key is not None else ""
        return document | {"new": new, "feed": f"feeds/{search.key}.atom{token}"}

    def _shown_document(self, shown: Shown, started: float, *, query: str = "") -> dict[str, Any]:
        return {
            "hits": [
                entry_document(paper, score=paper.score, query=query, title=self.attributes.title)
                for paper in shown.papers
            ],
            "passing": shown.passing,
            "how": shown.how,
            "milliseconds": round(1000 * (time.perf_counter() - started), 3),
        }


def _found(search: SavedSearch | None) -> SavedSearch:
    if search is None:
        raise ApiError(404, "there is no such saved search; it may have been deleted", code="no_such_search")
    return search


def _folder_beside(path: Any) -> Path | None:
    return path.with_name(f"{path.name}-saved") if isinstance(path, Path) and path.name else None
