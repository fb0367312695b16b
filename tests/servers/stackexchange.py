"""Stack Exchange's API on loopback: always in gzip, with its wrapper, its daily quota, and its error objects."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.servers.feeds import HttpServer, Request, answer, running


def question(number: int, at: datetime, title: str = "Instagram does not load", **changes: Any) -> dict[str, Any]:
    return {
        "tags": ["instagram"],
        "owner": {"user_id": 100 + number % 7, "user_type": "registered", "display_name": f"user {number % 7}"},
        "is_answered": False,
        "answer_count": 0,
        "creation_date": int(at.timestamp()),
        "question_id": number,
        "link": f"https://webapps.stackexchange.com/questions/{number}/instagram",
        "title": title,
        "body": "<p>Since noon.</p>",
        **changes,
    }


def error(id: int, name: str, message: str) -> dict[str, Any]:
    return {"error_id": id, "error_name": name, "error_message": message}


@dataclass
class Exchange(HttpServer):
    """`questions` maps a site to its questions. `fails` is an error object that everything is answered with."""

    questions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    remaining: int = 299
    backoff: int = 0
    fails: dict[str, Any] | None = None
    status: int = 400

    def __post_init__(self) -> None:
        self.behaviours = {"/2.3/search/advanced": self._search}

    async def _search(self, request: Request, writer: asyncio.StreamWriter) -> None:
        assert request.query["filter"] == ["withbody"]  # else there is no text
        self.remaining -= 1
        body: dict[str, Any] = {"quota_max": 300, "quota_remaining": self.remaining}
        if self.fails is not None:
            await self._pack(self.status, self.fails, request, writer)
            return
        since, until = (
            int(request.query.get(name, [end])[0]) for name, end in (("fromdate", "0"), ("todate", "9" * 12))
        )
        size = int(request.query["pagesize"][0])
        found = [q for q in self.questions.get(request.query["site"][0], []) if since <= q["creation_date"] <= until]
        found.sort(key=lambda q: -q["creation_date"])
        body |= {"items": found[:size], "has_more": len(found) > size}
        body |= {"backoff": self.backoff} if self.backoff else {}
        await self._pack(200, body, request, writer)

    async def _pack(self, status: int, body: dict[str, Any], request: Request, writer: asyncio.StreamWriter) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"}
        await answer(status, gzip.compress(json.dumps(body).encode()), headers)(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server with the payload's answer, in gzip."""
    packed = answer(200, gzip.compress(payload), {"Content-Type": content_type, "Content-Encoding": "gzip"})
    async with running(HttpServer({"/2.3/search/advanced": packed})) as server:
        yield server.url
