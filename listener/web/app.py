"""The web application: pages for people, `/api/v1` for programs, and what an operator's tools ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import PlainTextResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from listener.errors import StoreError
from listener.store import Store
from listener.types import IncidentState
from listener.web import api, badge, feeds, live, pages, standing
from listener.web import labels as labelling
from listener.web.access import Access, Gate
from listener.web.away import ANSWER, Away
from listener.web.subpath import Below, prefix_of, within
from listener.web.validators import Validators
from listener.words import Words, load

HERE = Path(__file__).parent
FRESH = timedelta(minutes=30)  # ready means: some source was heard within this time
POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("style", "script", "img", "connect")),
        "base-uri 'none'",
        "form-action 'self'",
    ]
)


@dataclass(frozen=True)
class Settings:
    """What the pages need besides the store."""

    services: Mapping[str, str] = field(default_factory=dict)  # id -> name
    regions: Mapping[str, str] = field(default_factory=dict)  # code -> name
    version: str = "0"
    metrics: Callable[[], bytes] = lambda: b""
    clock: Callable[[], datetime] = lambda: datetime.max.replace(tzinfo=UTC)
    synthetic: bool = False  # what is shown was invented, and every page says so
    words: Mapping[str, Words] = field(default_factory=load)  # by language
    audit: Mapping[str, float] = field(default_factory=dict)  # how well the model did on posts it had not seen
    url: str = ""  # where others reach the dashboard; empty = wherever they ask for it
    retention: timedelta | None = None  # how long texts are kept, when it is known
    access: Access = field(default_factory=Access)  # who may ask, and how often
    labels: labelling.Labels | None = None  # the desk of /label; None = there is no such page


def create_app(store: Store, settings: Settings) -> FastAPI:
    """The application over one store."""
    app = FastAPI(
        title="listener",
        version=settings.version,
        description="Outage chatter by service and region, the incidents it makes, and the sources it rests on.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.closing = lambda: False  # the server that runs it tells when it is about to stop
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    page = pages.renderer(store, settings)
    app.include_router(pages.router(store, settings, page))
    app.include_router(api.router(store, settings.clock), prefix="/api/v1", responses=ANSWER)
    app.include_router(feeds.router(store, settings.clock, settings.url.rstrip("/")))
    app.include_router(badge.router(store, settings.services, settings.regions))
    app.include_router(live.router(store))
    if settings.labels is not None:
        app.include_router(labelling.router(settings.labels, page, settings.url))
    _operations(app, store, settings)
    away = Away(settings.words, time.monotonic)
    app.add_exception_handler(StoreError, away)  # type: ignore[arg-type] # it is given no other
    _missing(app, page, away)

    app.add_middleware(Validators, prefix="/api/")
    app.add_middleware(GZipMiddleware, minimum_size=2000, compresslevel=5)
    app.add_middleware(Gate, access=settings.access, now=time.monotonic)
    app.add_middleware(SafeHeaders)
    if prefix := prefix_of(settings.url):
        app.add_middleware(Below, prefix=prefix)
    return app


class SafeHeaders:
    """ASGI middleware: what a browser may do with our answers. Only a badge may stand in somebody else's page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        framed = "*" if within(scope).startswith("/badge/") else "'none'"

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                headers["Content-Security-Policy"] = f"{POLICY}; frame-ancestors {framed}"
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "cross-origin" if framed == "*" else "same-origin"
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, safe)


def _missing(app: FastAPI, page: pages.Page, away: Away) -> None:
    """People get a page when there is nothing, programs what they can read."""

    @app.exception_handler(404)
    async def missing(request: Request, error: HTTPException) -> Response:
        if within(request.scope).startswith(("/api/", "/static/", "/badge/")):
            return await http_exception_handler(request, error)
        try:
            return await asyncio.to_thread(page, request, "missing.html", {}, 404)
        except StoreError as why:  # who handles errors is asked for none of its own
            return await away(request, why)


def _operations(app: FastAPI, store: Store, settings: Settings) -> None:
    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(settings.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """The process answers, also when every thread waits for the store."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> Response:
        """The store can be read and written, and some source was heard lately."""
        now = settings.clock()
        if store.trouble():
            return PlainTextResponse("nothing can be stored now; the log says why\n", status_code=503)
        store.incidents(states=(IncidentState.FIRING,), limit=1)
        if since := standing.unwatched_since(store, now):
            why = f"no minute was watched since {since:%Y-%m-%d %H:%M} UTC: does a process play the role watch?\n"
            return PlainTextResponse(why, status_code=503)
        heard = [h for h in store.health() if h.last_success_at and now - h.last_success_at < FRESH]
        if heard:
            model = standing.model(store)
            but = (
                f"the model in its folder is refused, the old one goes on: {model.refused}\n"
                if model and model.refused
                else ""
            )
            return PlainTextResponse(f"ready\n{but}")
        return PlainTextResponse("no source was heard in the last 30 minutes\n", status_code=503)
