"""A Mastodon server on loopback: hashtag timelines with real paging, late federated posts, limits and closed doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running


def status_id(at: datetime, sequence: int = 0) -> str:
    """Ids are the milliseconds of writing, shifted by 16 bits, whenever the status arrives."""
    return str((int(at.timestamp() * 1000) << 16) + sequence)


def status(number: int, at: datetime, content: str = "<p>Instagram ne radi?</p>", **changes: Any) -> dict[str, Any]:
    return {
        "id": status_id(at, number),
        "uri": f"https://m.example/users/a/statuses/{number}",
        "url": f"https://m.example/@a/{number}",
        "created_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "edited_at": None,
        "language": "sr",
        "content": content,
        "spoiler_text": "",
        "visibility": "public",
        "in_reply_to_id": None,
        "reblog": None,
        "account": {"id": "7", "acct": "a@m.example", "bot": False},
        "tags": [],
        **changes,
    }


@dataclass
class MastodonServer(HttpServer):
    """`timelines` maps a tag to its statuses, in any order. `refuse` answers every timeline with a status instead."""

    timelines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=lambda: {"local": "public", "remote": "public"})
    refuse: int = 0
    remaining: int = 299
    reset_at: datetime = NOW + timedelta(minutes=5)
    ignores_min_id: bool = False  # a recorded page is older than any clock

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._timeline, "/api/v2/instance": self._instance}

    async def _instance(self, request: Request, writer: asyncio.StreamWriter) -> None:
        configuration = {"timelines_access": {"hashtag_feeds": self.access, "live_feeds": self.access}}
        body = json.dumps({"domain": "m.example", "version": "4.6.4", "configuration": configuration}).encode()
        await answer(200, body, {"Content-Type": "application/json"})(request, writer)

    async def _timeline(self, request: Request, writer: asyncio.StreamWriter) -> None:
        limits = {
            "Content-Type": "application/json",
            "X-RateLimit-Limit": "300",
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": self.reset_at.isoformat(),
            "Date": NOW.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        tag = request.path.rpartition("/")[2]
        if self.refuse:
            await answer(self.refuse, b'{"error":"no"}', limits)(request, writer)
        elif tag not in self.timelines:
            await answer(404, b'{"error":"Record not found"}', limits)(request, writer)
        else:
            await answer(200, json.dumps(self._page(tag, request)).encode(), limits)(request, writer)

    def _page(self, tag: str, request: Request) -> list[dict[str, Any]]:
        """The statuses that follow `min_id`, newest first, as many as asked for."""
        after = int(request.query.get("min_id", ["0"])[0])
        limit = min(int(request.query.get("limit", ["20"])[0]), 40)
        if self.ignores_min_id:
            is_first = sum(r.path == request.path for r in self.requests) == 1
            return self.timelines[tag] if is_first else []
        following = sorted((s for s in self.timelines[tag] if int(s["id"]) > after), key=lambda s: int(s["id"]))
        return following[:limit][::-1]


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server whose tag `outage` has the payload's statuses."""
    del content_type  # always JSON
    made = MastodonServer(timelines={"outage": json.loads(payload)}, ignores_min_id=True)
    async with running(made) as server:
        yield server.url
