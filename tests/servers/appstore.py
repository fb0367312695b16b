"""Apple's review feed on loopback: pages in every form of the address, forms that stay empty, storefronts that are not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.servers.feeds import HttpServer, Request, answer, running

PACIFIC = timezone(timedelta(hours=-8))
APP = {"im:name": {"label": "Instagram"}, "id": {"label": "https://apps.apple.com/tr/app/instagram/id389801252"}}
JSON = {"Content-Type": "text/javascript; charset=utf-8"}


def review(number: int, at: datetime, text: str = "Sabahtan beri girmiyor", **changes: Any) -> dict[str, Any]:
    """An entry as the feed writes it: every scalar in a label, times as they are in Cupertino."""
    return {
        "author": {
            "name": {"label": "ali"},
            "uri": {"label": f"https://itunes.apple.com/tr/reviews/id{number}"},
            "label": "",
        },
        "updated": {"label": at.astimezone(PACIFIC).isoformat(timespec="seconds")},
        "im:rating": {"label": "1"},
        "im:version": {"label": "410.0"},
        "id": {"label": str(number)},
        "title": {"label": "Açılmıyor"},
        "content": {"label": text, "attributes": {"type": "text"}},
        "link": {"attributes": {"rel": "related", "href": "https://itunes.apple.com/tr/review?id=389801252"}},
        "im:voteSum": {"label": "0"},
        "im:voteCount": {"label": "0"},
        **changes,
    }


def document(entries: Any) -> bytes:
    """A feed; None leaves `entry` out, as Apple does."""
    feed = {"author": {"name": {"label": "iTunes Store"}}, "updated": {"label": "2026-11-20T05:11:00-07:00"}}
    return json.dumps({"feed": feed if entries is None else {**feed, "entry": entries}}).encode()


@dataclass
class AppStore(HttpServer):
    """`reviews` maps (storefront, app) to its entries, the newest first. What is not in it is a 404."""

    reviews: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)
    empty_forms: set[str] = field(default_factory=set)  # of "sortBy", "sortby" and "plain"
    names_app_first: bool = False

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._feed}

    @property
    def asked(self) -> list[tuple[str, str, int]]:
        """Which storefront, which app, which page, in order."""
        return [(r.path.split("/")[1], _segments(r)["id"], int(_segments(r).get("page", "1"))) for r in self.requests]

    async def _feed(self, request: Request, writer: asyncio.StreamWriter) -> None:
        segments, storefront = _segments(request), request.path.split("/")[1]
        page, found = int(segments.get("page", "1")), self.reviews.get((storefront, int(segments["id"])))
        form = next((name for name in ("sortBy", "sortby") if name in segments), "plain")
        if found is None:
            await answer(404, b"not found")(request, writer)
        elif page > 10:
            await answer(400, b"CustomerReviews RSS page depth is limited to 10")(request, writer)
        else:
            shown: list[Any] = [] if form in self.empty_forms else found[50 * (page - 1) : 50 * page]
            entries = [APP, *shown] if self.names_app_first and page == 1 else shown
            # none: no key; one: no list
            body = document(None if not entries else entries[0] if len(entries) == 1 else entries)
            await answer(200, body, JSON)(request, writer)


def _segments(request: Request) -> dict[str, str]:
    return dict(part.split("=", 1) for part in request.path.split("/") if "=" in part)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a store that has the payload for every first page."""
    del content_type  # always JSON
    async with running(HttpServer({"*": answer(200, payload, JSON)})) as server:
        yield server.url
