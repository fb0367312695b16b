"""Threads' keyword search on loopback: newest first, within a stretch of time, with Meta's error objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.servers.feeds import HttpServer, Request, answer, running

TOKEN = "THAA-test-token"


def media(number: int, at: datetime, text: str = "instagram ne radi nikome?", **changes: Any) -> dict[str, Any]:
    return {
        "id": str(17_900_000_000_000_000 + number),
        "text": text,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S+0000"),
        "permalink": f"https://www.threads.com/@user{number % 7}/post/C{number}",
        "username": f"user{number % 7}",
        "is_quote_post": False,
        "is_reply": False,
        "media_type": "TEXT_POST",
        **changes,
    }


def error(code: int, message: str = "no", kind: str = "OAuthException") -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "code": code, "fbtrace_id": "Ax"}}).encode()


@dataclass
class KeywordSearch(HttpServer):
    """`posts` maps a query to what it finds. `fails` answers everything with a status and a body."""

    posts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    fails: tuple[int, bytes] | None = None
    counted: int = 0  # queries that brought something

    def __post_init__(self) -> None:
        self.behaviours = {"/v1.0/keyword_search": self._search}

    async def _search(self, request: Request, writer: asyncio.StreamWriter) -> None:
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            await answer(400, error(190, "Invalid OAuth access token"), headers)(request, writer)
            return
        if self.fails is not None:
            await answer(*self.fails, headers)(request, writer)
            return
        assert request.query["search_type"] == ["RECENT"]
        since, until = (float(request.query.get(name, [end])[0]) for name, end in (("since", "0"), ("until", "inf")))
        found = [
            post
            for post in self.posts.get(request.query["q"][0], [])
            if since <= datetime.fromisoformat(post["timestamp"]).timestamp() < until
        ]
        found.sort(key=lambda post: post["timestamp"], reverse=True)
        page = found[: min(int(request.query["limit"][0]), 100)]
        self.counted += bool(page)
        await answer(200, json.dumps({"data": page}).encode(), headers)(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that finds the payload's posts for whatever is searched for."""
    async with running(
        HttpServer({"/v1.0/keyword_search": answer(200, payload, {"Content-Type": content_type})})
    ) as server:
        yield server.url
