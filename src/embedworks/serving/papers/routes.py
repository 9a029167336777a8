"""The addresses of the papers view."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from embedworks.serving.errors import ApiError
from embedworks.serving.papers.feed import MEDIA_TYPE
from embedworks.serving.papers.service import PapersService
from embedworks.serving.papers.shown import DepthOrder
from embedworks.serving.protocols import Mode
from embedworks.serving.searching import json_response

Key = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


class SaveRequest(BaseModel):
    """Body of ``POST /saved``."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str = Field(description="What the search is called.")
    query: str = Field(default="", description="What to look for; empty for all that passes the filter.")
    mode: Mode = Field(default="hybrid", description="As in /search; digests rank by meaning unless it is lexical.")
    where: str = Field(default="", description="Filter in SQL form over the attributes.")


class MailRequest(BaseModel):
    """Body of ``POST /saved/{key}/mail``."""

    model_config = ConfigDict(strict=True, extra="forbid")

    daily: bool = Field(description="Whether the digest is mailed, at most once a day.")


def papers_router(papers: PapersService) -> APIRouter:
    """Return the routes.

    Args:
        papers: What answers.
    """
    router = APIRouter(tags=["papers"])
    # A page elsewhere may send a form or plain text here without asking; JSON it may not, as CORS is not allowed.
    changes = [Depends(_is_json)]

    @router.get("/papers", summary="List entries, newest first")
    async def newest(k: int = 20, start: int = 0, where: str | None = None) -> Response:
        return json_response(await papers.newest(where, k=k, start=start))

    @router.get("/papers/days", summary="Count entries by day, newest first")
    async def days(where: str | None = None) -> Response:
        return json_response(await papers.days(where))

    @router.get("/papers/depth", summary="The most central or the most outlying entries of a selection")
    async def by_depth(order: DepthOrder = "central", k: int = 20, where: str | None = None) -> Response:
        return json_response(await papers.by_depth(where, order=order, k=k))

    @router.get("/saved", summary="List saved searches")
    async def searches() -> Response:
        return json_response(await papers.searches())

    @router.post("/saved", summary="Save a search", dependencies=changes)
    async def save(request: SaveRequest) -> Response:
        return json_response(
            await papers.save(name=request.name, query=request.query, mode=request.mode, where=request.where)
        )

    @router.delete("/saved/{key}", summary="Delete a saved search")
    async def delete(key: Key) -> Response:
        return json_response(await papers.delete(key))

    @router.get("/saved/{key}/digest", summary="What is new since the last visit")
    async def digest(key: Key) -> Response:
        return json_response(await papers.digest(key, visit=False))

    @router.post("/saved/{key}/visit", summary="What is new since the last visit; this is one", dependencies=changes)
    async def visit(key: Key) -> Response:
        return json_response(await papers.digest(key, visit=True))

    @router.post("/saved/{key}/mail", summary="Switch daily mails on or off", dependencies=changes)
    async def mail(key: Key, request: MailRequest) -> Response:
        return json_response(await papers.mail_daily(key, daily=request.daily))

    @router.post("/saved/{key}/send", summary="Mail the digest now", dependencies=changes)
    async def send(key: Key) -> Response:
        return json_response(await papers.send_now(key))

    @router.get("/feeds/{key}.atom", summary="The Atom feed of a saved search")
    async def feed(key: Key, request: Request, token: str = "") -> Response:
        base = str(request.base_url)
        document = await papers.feed(key, token=token, page=base, itself=str(request.url))
        return Response(document, media_type=MEDIA_TYPE)

    return router


def _is_json(request: Request) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "send the header 'Content-Type: application/json'", code="not_json")
