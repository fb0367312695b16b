"""Google's feed of trending searches on loopback, for the countries it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from html import escape

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running

NAMESPACE = "https://trends.google.com/trending/rss"
PACIFIC = timezone(timedelta(hours=-8))
XML = {"Content-Type": "application/xml; charset=utf-8"}


def trend(title: str, *news: str, at: datetime = NOW, traffic: str = "2000+") -> str:
    """An item as the feed writes it: no guid, one link for all, times as they are in Mountain View."""
    told = "".join(
        f"<ht:news_item><ht:news_item_title>{escape(one)}</ht:news_item_title><ht:news_item_snippet></ht:news_item_snippet>"
        f"<ht:news_item_url>https://haber.example/a</ht:news_item_url></ht:news_item>"
        for one in news
    )
    return (
        f"<item><title>{escape(title)}</title><ht:approx_traffic>{traffic}</ht:approx_traffic><description></description>"
        f"<link>https://trends.google.com/trending/rss?geo=TR</link>"
        f"<pubDate>{at.astimezone(PACIFIC).strftime('%a, %d %b %Y %H:%M:%S %z')}</pubDate>{told}</item>"
    )


def document(*items: str, namespace: str = NAMESPACE) -> bytes:
    inner = f"<title>Daily Search Trends</title>{''.join(items)}"
    return f'<rss version="2.0" xmlns:ht="{namespace}"><channel>{inner}</channel></rss>'.encode()


@dataclass
class TrendsServer(HttpServer):
    """`trends` maps a country to its items. What Google doesn't know is refused with `unknown`, or, if 200, empty."""

    trends: dict[str, list[str]] = field(default_factory=dict)
    unknown: int = 400

    def __post_init__(self) -> None:
        self.behaviours = {"/trending/rss": self._feed}

    async def _feed(self, request: Request, writer: asyncio.StreamWriter) -> None:
        found = self.trends.get(request.query["geo"][0])
        await answer(self.unknown if found is None else 200, document(*(found or ())), XML)(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a Google that has the payload for every country."""
    del content_type
    async with running(HttpServer({"/trending/rss": answer(200, payload, XML)})) as server:
        yield server.url
