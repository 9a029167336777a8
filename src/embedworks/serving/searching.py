"""``/search``, ``/similar``, ``/facets`` and ``/about``: what the page asks, and any other client may."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from embedworks.foundation import InputError
from embedworks.index import snippet
from embedworks.serving.collection import Collection
from embedworks.serving.errors import ApiError
from embedworks.serving.model_service import ModelService, check_unicode
from embedworks.serving.plain_values import plain_value
from embedworks.serving.protocols import Mode, SearchAnswer, SearchEntry, SearchIndex
from embedworks.serving.settings import ServerSettings

_TEXT_CHARACTERS = 4_000  # of an entry's text, sent with each hit so that opening one needs no request
_SEARCH_THREADS = 2  # so that counting facets does not hold up the next search
_Returned = TypeVar("_Returned")


class SearchRequest(BaseModel):
    """Body of ``POST /search``."""

    model_config = ConfigDict(strict=True, extra="forbid")

    query: str = Field(description="What to look for.")
    k: int = Field(default=10, ge=1, description="Number of hits wanted.")
    where: str | None = Field(default=None, description="Filter in SQL form over the attributes.")
    mode: Mode = Field(default="hybrid", description="By meaning (vector), by words (lexical), or both (hybrid).")


class SearchService:
    """Searches an index from threads of its own, so that the event loop goes on answering.

    Args:
        index: What is searched.
        model: What encodes queries.
        settings: Limits.
        title: The attribute that is shown above a text, or None.
    """

    def __init__(
        self, index: SearchIndex, model: ModelService, settings: ServerSettings, *, title: str | None = None
    ) -> None:
        self._index = index
        self._model = model
        self._settings = settings
        self._title = title
        self._thread = ThreadPoolExecutor(max_workers=_SEARCH_THREADS, thread_name_prefix="embedworks-search")

    def close(self) -> None:
        """Finish the search under way and take no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def call(self, work: Callable[[], _Returned]) -> _Returned:
        """Run a piece of work on a search thread; one whose client is gone before it starts never starts."""
        return await asyncio.wrap_future(self._thread.submit(work))

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        """Answer one search as a JSON document.

        Raises:
            ApiError: The query is empty or too long, k too large, or the filter wrong.
        """
        started = time.perf_counter()
        query = request.query.strip()
        if not query:
            raise ApiError(422, "the query is empty", code="invalid_value", parameter="query")
        if len(query) > self._settings.query_characters:
            raise ApiError(
                422,
                f"the query has {len(query):,} characters, {self._settings.query_characters:,} are allowed; shorten it",
                code="query_too_long",
                parameter="query",
            )
        check_unicode(query, parameter="query")
        self.check(request.k, request.where)
        where, mode = request.where or None, request.mode
        vector = None if mode == "lexical" else await self._model.query_vector(query)
        text = None if mode == "vector" else query
        answer = await self.filtered(lambda: self._index.search(vector, text=text, k=request.k, where=where, mode=mode))
        return self._document(answer, query=query, started=started)

    async def similar(self, entry: str, *, k: int, where: str | None) -> dict[str, Any]:
        """Answer with the entries nearest to one of the index's own.

        Raises:
            ApiError: There is no such entry, k is too large, or the filter wrong.
        """
        started = time.perf_counter()
        check_unicode(entry, parameter="id")
        self.check(k, where)
        try:
            answer = await self.filtered(lambda: self._index.more_like(entry, k=k, where=where or None))
        except ApiError as error:
            if error.parameter == "where":
                raise
            raise ApiError(404, f"there is no entry {entry[:80]!r}", code="no_such_entry", parameter="id") from error
        return self._document(answer, query="", started=started)

    async def facets(self, collection: Collection, names: list[str], where: str | None) -> dict[str, Any]:
        """Answer with the values of attributes and how many entries that pass the filter have each."""
        self.check(1, where)
        return await self.filtered(lambda: collection.facets(names, where or None))

    def check(self, k: int, where: str | None) -> None:
        """Refuse a number of hits beyond the limit, and a filter that is no valid Unicode.

        Raises:
            ApiError: One of them cannot be used.
        """
        if not 1 <= k <= self._settings.results:
            raise ApiError(
                422, f"k is {k}, it must be from 1 to {self._settings.results}", code="invalid_value", parameter="k"
            )
        if where is not None:
            check_unicode(where, parameter="where")

    async def filtered(self, work: Callable[[], _Returned]) -> _Returned:
        """Run a piece of work on a search thread; what it refuses becomes an answer of status 400.

        Raises:
            ApiError: The work raised an InputError.
        """
        try:
            return await self.call(work)
        except InputError as error:
            # The index says which argument it refuses. Its own place on the disk is nobody's business.
            raise ApiError(
                400,
                f"{error.what}; {error.mend}" if error.mend else error.what,
                code="invalid_filter" if error.where == "where" else "invalid_input",
                parameter=error.where if error.where in ("where", "name") else None,
            ) from error

    def _document(self, answer: SearchAnswer, *, query: str, started: float) -> dict[str, Any]:
        return {
            "hits": [entry_document(hit, score=hit.score, query=query, title=self._title) for hit in answer.hits],
            "passing": answer.passing,
            "how": answer.how,
            "search_milliseconds": round(answer.milliseconds, 3),
            "milliseconds": round(1000 * (time.perf_counter() - started), 3),
        }


def search_router(service: SearchService, collection: Collection) -> APIRouter:
    """Return the routes.

    Args:
        service: What searches.
        collection: What is known of the index as a whole.
    """
    router = APIRouter(tags=["search"])

    @router.post("/search", summary="Search by meaning, by words, or by both")
    async def search(request: SearchRequest) -> Response:
        return json_response(await service.search(request))

    @router.get("/search", summary="Search, with the request in the address")
    async def search_by_address(query: str, k: int = 10, where: str | None = None, mode: Mode = "hybrid") -> Response:
        return json_response(await service.search(SearchRequest(query=query, k=max(k, 1), where=where, mode=mode)))

    @router.get("/similar", summary="Find entries like one of the index's own")
    async def similar(id: str, k: int = 10, where: str | None = None) -> Response:  # noqa: A002
        return json_response(await service.similar(id, k=k, where=where))

    @router.get("/facets", summary="Count the values of attributes")
    async def facets(name: Annotated[list[str] | None, Query()] = None, where: str | None = None) -> Response:
        return json_response(await service.facets(collection, name or [], where))

    @router.get("/about", summary="Describe the collection")
    async def about() -> Response:
        return json_response(await service.call(collection.description))

    return router


def entry_document(entry: SearchEntry, *, score: float | None, query: str, title: str | None = None) -> dict[str, Any]:
    """Return an entry as the page and the API read it.

    Args:
        entry: The entry.
        score: How near it is, or None where nothing was asked for.
        query: What its snippet is chosen and marked for; empty takes the beginning.
        title: The attribute that is shown above the text; a text that begins with it has its snippet from the rest.
    """
    text = entry.text or ""
    cut = snippet(below_title(text, entry.attributes.get(title) if title else None), query)
    return {
        "id": entry.id,
        "score": None if score is None else plain_value(float(score)),
        "attributes": {name: plain_value(value) for name, value in entry.attributes.items()},
        "snippet": {
            "text": cut.text,
            "highlights": [list(span) for span in cut.highlights],
            "cut_before": cut.cut_before,
            "cut_after": cut.cut_after,
        },
        "text": text[:_TEXT_CHARACTERS],
        "text_complete": len(text) <= _TEXT_CHARACTERS,
    }


def below_title(text: str, title: Any) -> str:
    """Return what follows the title at the beginning of a text; all of it where there is no title or nothing else.

    Example:
        >>> below_title("Pouring tea. A robot learns it.", "Pouring tea")
        'A robot learns it.'
    """
    if not isinstance(title, str) or not title or not text.startswith(title):
        return text
    return text[len(title) :].lstrip(" \t\r\n.:;") or text


def json_response(document: dict[str, Any]) -> Response:
    """Return a document as a response; signs beyond ASCII are escaped, NaN is refused."""
    return Response(json.dumps(document, ensure_ascii=True, allow_nan=False), media_type="application/json")
