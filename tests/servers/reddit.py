"""Reddit on loopback: feeds from one bucket for all paths, the API with tokens and listings, and shut doors."""

from __future__ import annotations

import asyncio
import html
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running
from tests.servers.posting import PostServer, body

APP = ("app-id", "app-secret")
BLOCK_PAGE = b"<html><body>You've been blocked by network security.</body></html>"


def thing(number: int, at: datetime, title: str = "Instagram ne radi?", **changes: Any) -> dict[str, Any]:
    """A post; with `body`, a comment."""
    kind = "t1" if "body" in changes else "t3"
    own = {"title": title, "selftext": "Da li vam radi?"} if kind == "t3" else {}
    return {
        "name": f"{kind}_{number:x}",
        "created_utc": at.timestamp(),
        "author": f"user{number % 7}",
        "subreddit": "serbia",
        "permalink": f"/r/serbia/comments/{number:x}/x/",
        "over_18": False,
        "edited": False,
        "removed_by_category": None,
        **own,
        **changes,
    }


def entry(post: dict[str, Any]) -> str:
    """The same as an entry of a feed."""
    author = f"<author><name>/u/{post['author']}</name><uri>https://www.reddit.com/user/x</uri></author>"
    text = html.escape(html.escape(post.get("body") or post.get("selftext", ""), quote=False), quote=False)
    written = f'&lt;!-- SC_OFF --&gt;&lt;div class="md"&gt;&lt;p&gt;{text}&lt;/p&gt;&lt;/div&gt;&lt;!-- SC_ON --&gt;'
    by = f' &amp;#32; submitted by &amp;#32; &lt;a href="x"&gt; /u/{post["author"]} &lt;/a&gt; to r/serbia'
    at = datetime.fromtimestamp(post["created_utc"], NOW.tzinfo).isoformat()
    title = post.get("title", "/u/somebody on a post")
    return (
        f'<entry>{author if post["author"] else ""}<content type="html">{written}{"" if "body" in post else by}</content>'
        f'<id>{post["name"]}</id><link href="https://www.reddit.com{post["permalink"]}"/>'
        f"<updated>{at}</updated><published>{at}</published><title>{html.escape(title)}</title></entry>"
    )


def atom(*posts: dict[str, Any]) -> bytes:
    entries = "".join(map(entry, posts))
    return f'<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"><id>/r/x</id>{entries}</feed>'.encode()


@dataclass
class Reddit(PostServer):
    """`listings` maps a path, without `.rss`, to its things in any order. `deleted` are no longer shown.

    A second feed within a minute by `clock` is refused, whatever its path. `status` refuses everything.
    """

    listings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    clock: Callable[[], datetime] = lambda: NOW
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    tokens: int = 0
    lasts: int = 86_400  # seconds that a token is good for
    remaining: float = 99
    _asked_at: datetime | None = None

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._answer, "/api/v1/access_token": self._token}

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self.status != 200:
            await answer(self.status, BLOCK_PAGE, {"Content-Type": "text/html", **self.headers})(request, writer)
        elif request.path.endswith(".rss"):
            await self._feed(request, writer)
        elif request.headers.get("authorization") == f"Bearer token{self.tokens}":
            await self._listing(request, writer)
        else:
            await answer(401, b'{"message": "Unauthorized", "error": 401}')(request, writer)

    async def _feed(self, request: Request, writer: asyncio.StreamWriter) -> None:
        now, last = self.clock(), self._asked_at
        self._asked_at = now
        if last is not None and now - last < timedelta(seconds=60):
            await answer(429, b"", {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "40"})(request, writer)
            return
        found = self._shown(request.path.removesuffix(".rss").rstrip("/"))[: int(request.query["limit"][0])]
        await answer(200, atom(*found), {"Content-Type": "application/atom+xml; charset=UTF-8"})(request, writer)

    def _shown(self, path: str) -> list[dict[str, Any]]:
        """Newest first."""
        shown = [t for t in self.listings.get(path, []) if t["name"] not in self.deleted]
        return sorted(shown, key=lambda t: -t["created_utc"])

    async def _listing(self, request: Request, writer: asyncio.StreamWriter) -> None:
        shown, limit = self._shown(request.path), int(request.query["limit"][0])
        if before := request.query.get("before", [""])[0]:
            names = [t["name"] for t in shown]
            newer = shown[: names.index(before)] if before in names else []  # after a deleted anchor there is nothing
            page = newer[-limit:]
        else:
            page = shown[:limit]
        children = [{"kind": t["name"][:2], "data": t} for t in page]
        told = {"kind": "Listing", "data": {"after": None, "before": None, "children": children}}
        headers = {"X-Ratelimit-Remaining": str(self.remaining), "X-Ratelimit-Reset": "340", "X-Ratelimit-Used": "1"}
        await answer(200, json.dumps(told).encode(), headers)(request, writer)

    async def _token(self, request: Request, writer: asyncio.StreamWriter) -> None:
        basic = b64encode(":".join(APP).encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}" or body() != b"grant_type=client_credentials":
            await answer(401, b'{"message": "Unauthorized", "error": 401}')(request, writer)
            return
        self.tokens += 1
        told = {"access_token": f"token{self.tokens}", "token_type": "bearer", "expires_in": self.lasts, "scope": "*"}
        await answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server whose feeds and listings are the payload, and whose tokens are for anyone."""
    token = answer(200, b'{"access_token": "t", "token_type": "bearer", "expires_in": 86400}')
    behaviours = {"*": answer(200, payload, {"Content-Type": content_type}), "/api/v1/access_token": token}
    async with running(HttpServer(behaviours)) as server:
        yield server.url
