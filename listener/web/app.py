"""The web application: pages for people, `/api/v1` for programs, and what an operator's tools ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles

from listener.store import Store
from listener.types import IncidentState
from listener.web import api, atom, pages

HERE = Path(__file__).parent
FRESH = timedelta(minutes=30)  # ready means: some source was heard within this time
POLICY = "default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"


@dataclass(frozen=True)
class Settings:
    """What the pages need besides the store."""

    services: Mapping[str, str] = field(default_factory=dict)  # id -> name
    regions: Mapping[str, str] = field(default_factory=dict)  # code -> name
    version: str = "0"
    metrics: Callable[[], bytes] = lambda: b""
    clock: Callable[[], datetime] = lambda: datetime.max.replace(tzinfo=UTC)
    synthetic: bool = False  # what is shown was invented, and every page says so


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
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.include_router(pages.router(store, settings))
    app.include_router(api.router(store, settings.clock), prefix="/api/v1")
    app.include_router(atom.router(store, settings.clock))
    _operations(app, store, settings)

    @app.middleware("http")
    async def safe_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app


def _operations(app: FastAPI, store: Store, settings: Settings) -> None:
    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(settings.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> Response:
        """The store can be read, and some source was heard lately."""
        now = settings.clock()
        store.incidents(states=(IncidentState.FIRING,), limit=1)
        heard = [h for h in store.health() if h.last_success_at and now - h.last_success_at < FRESH]
        if heard:
            return PlainTextResponse("ready\n")
        return PlainTextResponse("no source was heard in the last 30 minutes\n", status_code=503)
