"""Algolia's search over Hacker News on loopback: items newest first, bounded by time, a page at a time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.servers.feeds import HttpServer, Request, answer, running


def story(number: int, at: datetime, title: str = "Is Instagram down for everyone?", **changes: Any) -> dict[str, Any]:
    return {
        "objectID": str(number),
        "created_at_i": int(at.timestamp()),
        "title": title,
        "url": None,
        "author": f"user{number % 7}",
        "comment_text": None,
        "story_text": None,
        "_tags": ["story", f"author_user{number % 7}", f"story_{number}"],
        **changes,
    }


def comment(number: int, at: datetime, text: str = "Down here too", **changes: Any) -> dict[str, Any]:
    own = {"comment_text": text, "story_id": 1, "parent_id": 1, "_tags": ["comment"]}
    return story(number, at, **{"title": None, **own, **changes})


@dataclass
class Search(HttpServer):
    """`items` maps a query to what it finds, in any order."""

    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.behaviours = {"/api/v1/search_by_date": self._search}

    async def _search(self, request: Request, writer: asyncio.StreamWriter) -> None:
        bounds = re.fullmatch(r"created_at_i>(-?\d+),created_at_i<=(\d+)", request.query["numericFilters"][0])
        assert bounds is not None
        after, until = map(int, bounds.groups())
        kinds = request.query["tags"][0].strip("()").split(",")
        found = [
            item
            for item in self.items.get(request.query["query"][0], [])
            if not isinstance(item.get("created_at_i"), int) or after < item["created_at_i"] <= until
            if kinds == ["story", "comment"] or set(kinds) & set(item.get("_tags", kinds))
        ]
        found.sort(key=lambda item: -item["created_at_i"] if isinstance(item.get("created_at_i"), int) else 0)
        size = min(int(request.query["hitsPerPage"][0]), 1000)
        body = {"hits": found[:size], "nbHits": len(found), "page": 0, "nbPages": -(-len(found) // size)}
        await answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that finds the payload's hits for `instagram`."""
    del content_type  # always JSON
    async with running(Search(items={"instagram": json.loads(payload)["hits"]})) as server:
        yield server.url
