"""Google News on loopback: has some editions, and answers in another where it has none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from html import escape

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running

NOTE = "Copyright © 2026. For a personal feed reader only."


def headline(guid: str, title: str = "Instagram çöktü mü?", publisher: str = "Kıyı Haber", minutes: float = 5) -> str:
    """An item as Google writes it, so many minutes old."""
    from datetime import timedelta

    shown, link = escape(f"{title} - {publisher}"), f"https://news.google.com/rss/articles/{guid}?oc=5"
    body = escape(f'<a href="{link}">{escape(title)}</a>&nbsp;&nbsp;<font color="#6f6f6f">{publisher}</font>')
    date = format_datetime(NOW - timedelta(minutes=minutes), usegmt=True)
    return (
        f'<item><title>{shown}</title><link>{link}</link><guid isPermaLink="false">{guid}</guid><pubDate>{date}</pubDate>'
        f'<description>{body}</description><source url="https://kiyi.example">{publisher}</source></item>'
    )


def document(*items: str, edition: str = "TR:tr", query: str = "x") -> bytes:
    country, _, language = edition.partition(":")
    link = escape(f"https://news.google.com/search?q={query}&hl={language}&gl={country}&ceid={edition}")
    head = f"<generator>NFE/5.0</generator><title>x</title><link>{link}</link><language>{language}</language>"
    inner = f"{head}<copyright>{NOTE}</copyright>{''.join(items)}"
    declared = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    media = 'xmlns:media="http://search.yahoo.com/mrss/"'
    return f'{declared}<rss version="2.0" {media}><channel>{inner}</channel></rss>'.encode()


@dataclass
class GoogleNews(HttpServer):
    """`headlines` maps a search to its items, in the order they are shown."""

    headlines: dict[str, list[str]] = field(default_factory=dict)
    editions: tuple[str, ...] = ("TR:tr", "RS:sr")

    def __post_init__(self) -> None:
        self.behaviours = {"/rss/search": self._search}

    async def _search(self, request: Request, writer: asyncio.StreamWriter) -> None:
        query, asked = request.query["q"][0], request.query["ceid"][0]
        edition = asked if asked in self.editions else "US:en"
        body = document(*self.headlines.get(query, []), edition=edition)
        await answer(200, body, {"Content-Type": "application/xml; charset=utf-8"})(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that answers every search with the payload."""
    behave = answer(200, payload, {"Content-Type": content_type or "application/xml; charset=utf-8"})
    async with running(HttpServer({"/rss/search": behave})) as server:
        yield server.url
