"""Puts the routes, the page and the guard together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from embedworks.foundation import InputError
from embedworks.foundation.protocols import Encoder
from embedworks.serving.collection import Collection
from embedworks.serving.embeddings import embeddings_router
from embedworks.serving.errors import ApiError, error_response, install_error_handlers
from embedworks.serving.guard import Guard
from embedworks.serving.metrics import metrics_text
from embedworks.serving.model_service import ModelService
from embedworks.serving.papers.attributes import find_attributes
from embedworks.serving.papers.rounds import mail_rounds
from embedworks.serving.papers.routes import papers_router
from embedworks.serving.papers.service import PapersService
from embedworks.serving.papers.settings import PapersSettings
from embedworks.serving.papers.shown import ListedIndex
from embedworks.serving.protocols import SearchIndex
from embedworks.serving.report import ComparisonReport
from embedworks.serving.searching import SearchService, search_router
from embedworks.serving.settings import ServerSettings

PAGE_FOLDER = Path(__file__).parent / "page"


def create_app(
    index: SearchIndex,
    encoder: Encoder,
    *,
    settings: ServerSettings | None = None,
    comparison: ComparisonReport | None = None,
    papers: PapersSettings | None = None,
) -> FastAPI:
    """Make the application that serves an index and its encoder.

    Args:
        index: An open index.
        encoder: The encoder its vectors were made with.
        settings: Limits and access rules.
        comparison: An evaluation to show on the page.
        papers: Settings of the papers view, which an index with dates has.

    Returns:
        An ASGI application; the thread that encodes lives from its start-up to its shut-down. Its ``state.papers`` is
        the papers view, or None.

    Raises:
        InputError: The encoder's vectors do not have the index's dimension, or the date attribute holds no dates.
    """
    settings = settings or ServerSettings()
    if encoder.dimension != index.dimension:
        raise InputError(
            f"the encoder makes vectors of {encoder.dimension} components, the index holds {index.dimension}",
            where="create_app",
            mend="serve the index with the encoder it was built with",
        )
    model = ModelService(encoder, settings)
    papers = papers or PapersSettings()
    attributes = find_attributes(index.schema, date=papers.date) if isinstance(index, ListedIndex) else None
    service = SearchService(index, model, settings, title=None if attributes is None else attributes.title)
    view = None
    if attributes is not None and isinstance(index, ListedIndex):
        view = PapersService(
            index, attributes=attributes, service=service, model=model, settings=settings, papers=papers
        )
    collection = Collection(index, model, settings, comparison, papers=None if view is None else view.description())
    guards: list[Guard] = []  # starlette makes the guard when the first request comes; /metrics reads its counters

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        model.queue.start()
        # The first forward pass and the first search build caches; nobody should wait for them at the search box.
        await model.answers()
        await service.call(collection.warm_up)
        rounds = None if view is None else asyncio.create_task(mail_rounds(view))
        yield
        if rounds is not None:
            rounds.cancel()
            with suppress(asyncio.CancelledError):
                await rounds
        model.queue.close(timeout_s=settings.drain_s)
        service.close()

    def guard(app: ASGIApp) -> Guard:
        guards.append(Guard(app, settings))
        return guards[-1]

    app = FastAPI(
        title="embedworks",
        summary="Embeddings and filtered search over one index.",
        docs_url=None,  # its page loads scripts from a CDN, which the content security policy forbids
        redoc_url=None,
        lifespan=lifespan,
        middleware=[Middleware(guard)],
    )
    install_error_handlers(app)
    app.include_router(embeddings_router(model, settings))
    app.include_router(search_router(service, collection))
    app.state.papers = view
    if view is not None:
        app.include_router(papers_router(view))
    _add_status_routes(app, index, model, guards)
    _add_page(app, comparison)
    return app


def _add_status_routes(app: FastAPI, index: SearchIndex, model: ModelService, guards: list[Guard]) -> None:
    @app.get("/health", tags=["status"], summary="Whether the process answers")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "entries": len(index)}

    @app.get("/ready", tags=["status"], summary="Whether the model answers in time")
    async def ready() -> Response:
        if await model.answers():
            return Response('{"status": "ready"}', media_type="application/json")
        return error_response(
            ApiError(503, "the model does not answer in time", code="not_ready", headers={"retry-after": "1"})
        )

    @app.get("/metrics", tags=["status"], summary="Counters in the Prometheus text format")
    async def metrics() -> Response:
        return PlainTextResponse(metrics_text(model.queue, guards), media_type="text/plain; version=0.0.4")


def _add_page(app: FastAPI, comparison: ComparisonReport | None) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE_FOLDER / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return FileResponse(PAGE_FOLDER / "icon.svg", media_type="image/svg+xml")

    pictures = {} if comparison is None else {path.name: path for path in comparison.pictures.values()}

    @app.get("/comparison/{name}", include_in_schema=False)
    async def picture(name: str) -> Response:
        if name not in pictures:
            raise ApiError(404, "there is no such picture", code="not_found")
        # A drawing styles itself inline, and may do nothing else, even when it is opened by itself.
        policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return FileResponse(pictures[name], headers={"cache-control": "no-cache", "content-security-policy": policy})

    app.mount("/static", _StaticFiles(directory=PAGE_FOLDER), name="static")


class _StaticFiles(StaticFiles):
    """The page's files; a browser asks each time whether they changed, since their names carry no version."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response
