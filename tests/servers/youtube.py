"""YouTube's feeds on loopback, with their bad hours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from html import escape

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running

SPACES = (
    'xmlns:yt="http://www.youtube.com/xml/schemas/2015" xmlns:media="http://search.yahoo.com/mrss/" '
    'xmlns="http://www.w3.org/2005/Atom"'
)


def video(name: str, title: str = "Instagram çöktü", description: str = "Son durum.", at: datetime = NOW) -> str:
    shown = escape(title)
    return (
        f"<entry><id>yt:video:{name}</id><yt:videoId>{name}</yt:videoId><yt:channelId>UCkiyi</yt:channelId>"
        f'<title>{shown}</title><link rel="alternate" href="https://www.youtube.com/watch?v={name}"/>'
        f"<author><name>Kıyı TV</name><uri>https://www.youtube.com/channel/UCkiyi</uri></author>"
        f"<published>{at.isoformat()}</published><updated>{at.isoformat()}</updated>"
        f"<media:group><media:title>{shown}</media:title><media:description>{escape(description)}</media:description>"
        f'<media:community><media:statistics views="12"/></media:community></media:group></entry>'
    )


def document(*videos: str) -> bytes:
    head = "<id>yt:channel:kiyi</id><title>Kıyı TV</title><published>2016-07-28T18:46:21+00:00</published>"
    return f'<?xml version="1.0" encoding="UTF-8"?><feed {SPACES}>{head}{"".join(videos)}</feed>'.encode()


@dataclass
class YouTube(HttpServer):
    """`videos` maps a channel's or playlist's id to its entries, newest first; `statuses` are bad hours."""

    videos: dict[str, list[str]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.behaviours = {"/feeds/videos.xml": self._feed}

    async def _feed(self, request: Request, writer: asyncio.StreamWriter) -> None:
        name = (request.query.get("channel_id") or request.query["playlist_id"])[0]
        status = self.statuses.get(name, 200)
        body = document(*self.videos.get(name, [])) if status == 200 else b"<html>Error</html>"
        await answer(status, body, {"Content-Type": "text/xml; charset=UTF-8"})(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server whose every feed is the payload."""
    behave = answer(200, payload, {"Content-Type": content_type or "text/xml; charset=UTF-8"})
    async with running(HttpServer({"/feeds/videos.xml": behave})) as server:
        yield server.url
