"""What is answered while the store can't be read: 503, in the form that whoever asks can read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from listener import telemetry
from listener.errors import StoreError
from listener.web.pages import environment, spoken
from listener.web.subpath import within
from listener.words import Words

RETRY = 5  # seconds until it is worth asking again
SAID_EVERY = 60.0  # seconds between two lines in the log, however many ask
WHY = "What is kept cannot be read just now; ask again later."  # the reason names files and servers: it is for the log
PROGRAMS = ("/badge/", "/readyz", "/incidents.atom", "/incidents.json")

ANSWER: dict[int | str, dict[str, Any]] = {  # for the OpenAPI
    503: {
        "description": "The store cannot be read now.",
        "content": {"application/problem+json": {"schema": {"type": "object"}}},
    }
}

log = telemetry.log("web")


class Away:
    """The answer in place of one that needed the store: problem details (RFC 9457) below `/api/`, a page, or a line."""

    def __init__(self, known: Mapping[str, Words], now: Callable[[], float]) -> None:
        self._page = environment().get_template("away.html")
        self._known = known
        self._now = now
        self._said_at = -SAID_EVERY

    async def __call__(self, request: Request, error: StoreError) -> Response:
        if self._now() - self._said_at >= SAID_EVERY:
            self._said_at = self._now()
            log.warning("store_unreadable", reason=str(error))
        path = within(request.scope)
        headers = {"Retry-After": str(RETRY), "Cache-Control": "no-store"}
        if path.startswith("/api/"):
            told = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": WHY}
            return JSONResponse(told, 503, headers, "application/problem+json")
        if path.startswith(PROGRAMS):
            return PlainTextResponse(f"{WHY}\n", 503, headers)
        said = spoken(request, self._known)
        body = self._page.render(root=request.scope.get("root_path", ""), words=said, retry=RETRY)
        return Response(body, 503, {**headers, "Vary": "Accept-Language, Cookie"}, "text/html; charset=utf-8")
