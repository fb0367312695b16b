"""GDELT's search on loopback: articles filed by the quarter of an hour, a limit told in plain words, searches it can't read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running

STAMP = "%Y%m%dT%H%M%SZ"
NOTICE = b"Please limit requests to one every 5 seconds or write to us for larger queries.\n"
JSON = {"Content-Type": "application/json; charset=utf-8"}


def article(number: int, at: datetime, title: str = "Instagram çöktü mü?", **changes: Any) -> dict[str, Any]:
    return {
        "url": f"https://haber.example/{number}",
        "url_mobile": "",
        "title": title,
        "seendate": at.strftime(STAMP),
        "socialimage": "",
        "domain": "haber.example",
        "language": "Turkish",
        "sourcecountry": "Turkey",
        **changes,
    }


@dataclass
class GdeltServer(HttpServer):
    """Has `articles`, in any order. Two requests less than five seconds apart by `clock` meet `limit` instead."""

    articles: list[dict[str, Any]] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: NOW
    limit: int = 200  # the status of the notice
    _last_at: datetime | None = None

    def __post_init__(self) -> None:
        self.behaviours = {"/api/v2/doc/doc": self._search}

    async def _search(self, request: Request, writer: asyncio.StreamWriter) -> None:
        now, last, self._last_at = self.clock(), self._last_at, self.clock()
        asked = {name: values[0] for name, values in request.query.items()}
        if last is not None and now - last < timedelta(seconds=5):
            await answer(self.limit, NOTICE, {"Content-Type": "text/html"})(request, writer)
        elif re.search(r'"[^" ]*"', asked["query"]):
            await answer(200, b"The specified phrase is too short.\n", {"Content-Type": "text/html"})(request, writer)
        else:
            found = self._found(asked, now)
            await answer(200, json.dumps({"articles": found} if found else {}).encode(), JSON)(request, writer)

    def _found(self, asked: dict[str, str], now: datetime) -> list[dict[str, Any]]:
        since = now - timedelta(minutes=int(asked["timespan"].removesuffix("min")))
        language = re.search(r"sourcelang:(\w+)", asked["query"])
        fit = [
            one
            for one in self.articles
            if since.strftime(STAMP) <= one["seendate"] <= now.strftime(STAMP)
            and (language is None or one["language"].lower() == language[1])
        ]
        return sorted(fit, key=lambda one: str(one["seendate"]), reverse=True)[: int(asked["maxrecords"])]


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a GDELT that has the payload for every search."""
    del content_type
    async with running(HttpServer({"/api/v2/doc/doc": answer(200, payload, JSON)})) as server:
        yield server.url
