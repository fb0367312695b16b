"""A Lemmy server on loopback that speaks one version of its interface, with real paging, pinned posts and closed doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.servers.feeds import HttpServer, Request, answer, running

LANGUAGES = [{"id": 0, "code": "und", "name": "Undetermined"}, {"id": 37, "code": "en", "name": "English"}]
LANGUAGES += [{"id": 54, "code": "hr", "name": "hrvatski"}, {"id": 160, "code": "tr", "name": "Türkçe"}]


def post_view(number: int, at: datetime, name: str = "Instagram ne radi?", **changes: Any) -> dict[str, Any]:
    """A post as version 3 has it."""
    return {
        "post": {
            "id": number,
            "name": name,
            "ap_id": f"https://l.example/post/{number}",
            "published": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "language_id": 54,
            "deleted": False,
            "removed": False,
            "nsfw": False,
            "featured_community": False,
            "featured_local": False,
            **changes,
        },
        "creator": {"id": 7, "name": "ana", "actor_id": "https://l.example/u/ana", "bot_account": False},
        "community": {"id": 3, "name": "croatia", "actor_id": "https://l.example/c/croatia", "nsfw": False},
        "counts": {"score": 1, "comments": 0},
    }


def comment_view(number: int, at: datetime, content: str = "ni meni", **changes: Any) -> dict[str, Any]:
    """A comment; its post stands beside it."""
    view = post_view(1, at)
    identity = {"id": number, "ap_id": f"https://l.example/comment/{number}", "content": content}
    view["comment"] = {**identity, "published": view["post"]["published"], "language_id": 54, **changes}
    return view


@dataclass
class LemmyServer(HttpServer):
    """`posts` and `comments` may be in any order. An `error` answers every list with a 400 that names it."""

    posts: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    version: str = "v3"
    private: bool = False
    error: str = ""
    communities: tuple[str, ...] = ("croatia",)
    has_cursors: bool = True  # Lemmy before 0.19 numbered its pages
    recorded: dict[str, Any] | None = None  # a page to be given as it is

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._any}

    async def _any(self, request: Request, writer: asyncio.StreamWriter) -> None:
        status, body = self._answer(request)
        await answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})(request, writer)

    def _answer(self, request: Request) -> tuple[int, dict[str, Any]]:
        _, _, version, *rest = request.path.split("/")
        if version != self.version:
            return 404, {"error": "not_found"}
        if rest == ["site"]:
            site = {"site": {"name": "L"}, "local_site": {"private_instance": self.private}}
            return 200, {"site_view": site, "all_languages": LANGUAGES, "version": "0.19.11"}
        if self.error:
            return 400, {"error": self.error}
        community = request.query.get("community_name", [""])[0]
        if community and community not in self.communities:
            return (404 if self.version == "v4" else 400), {"error": "couldnt_find_community"}
        if self.recorded is not None:
            return 200, self.recorded
        return 200, self._page(rest[0], request)

    def _page(self, what: str, request: Request) -> dict[str, Any]:
        """Pinned posts first, then the newest. A cursor names the last entry of the page before."""
        views = self.posts if what == "post" else self.comments
        order = sorted(
            views, key=lambda v: (v[what].get("featured_community", False), v[what]["published"]), reverse=True
        )
        limit, start = int(request.query["limit"][0]), 0
        if "page_cursor" in request.query:
            after = request.query["page_cursor"][0]
            start = next(i for i, view in enumerate(order) if f"P{view[what]['id']}" == after) + 1
        elif "page" in request.query:
            start = (int(request.query["page"][0]) - 1) * limit
        page = order[start : start + limit]
        has_cursor = self.has_cursors and (what == "post" or self.version == "v4")
        onward = f"P{page[-1][what]['id']}" if has_cursor and page else None
        if self.version == "v3":
            return {f"{what}s": page, **({"next_page": onward} if onward else {})}
        return {"items": [_as_v4(view) for view in page], "next_page": onward, "prev_page": None}


def _as_v4(view: dict[str, Any]) -> dict[str, Any]:
    """The same entry in version 4's words."""
    names = {"published": "published_at", "updated": "updated_at", "actor_id": "ap_id"}
    return {
        part: {names.get(key, key): value for key, value in inner.items()}
        for part, inner in view.items()
        if part != "counts"
    }


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server whose list is the payload; its shape tells the version."""
    del content_type  # always JSON
    page = json.loads(payload)
    async with running(LemmyServer(version="v4" if "items" in page else "v3", recorded=page)) as server:
        yield server.url
