"""A Mastodon server on loopback: hashtag timelines with real paging, feeds, late federated posts, limits, closed doors, and a
stream over SSE or WebSocket that is cut when told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError
from websockets.http11 import Request as Handshake
from websockets.http11 import Response as Refusal

from tests.servers import feeds
from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer

JOINED = 4  # tags looked for in one request


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
        "sensitive": False,
        "visibility": "public",
        "in_reply_to_id": None,
        "reblog": None,
        "account": {"id": "7", "acct": "a@m.example", "bot": False},
        "tags": [],
        **changes,
    }


def sse(event: str, data: Any) -> bytes:
    """An event as Mastodon writes it."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"event: {event}\ndata: {text}\n\n".encode()


def post_id(post: dict[str, Any]) -> str:
    return f"mastodon:{post['uri']}"


@dataclass
class Line:
    """A stream that somebody listens to."""

    channel: str
    tag: str
    send: Callable[[bytes], Awaitable[None]]
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class MastodonServer(HttpServer):
    """`timelines` maps a tag (or `local`, `remote`, `all`) to its statuses, in any order.

    `refuse` answers every timeline with a status instead. `on_stream` is what a new stream tells by itself.
    """

    timelines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=lambda: {"local": "public", "remote": "public"})
    live_access: dict[str, str] = field(default_factory=lambda: {"local": "public", "remote": "public"})
    version: str = "4.6.4"
    refuse: int = 0
    feeds: dict[str, list[str]] = field(default_factory=dict)  # tag -> items of its RSS feed
    remaining: int = 299
    reset_at: datetime = NOW + timedelta(minutes=5)
    ignores_min_id: bool = False  # a recorded page is older than any clock
    token: str = ""
    streaming: str = ""
    lines: list[Line] = field(default_factory=list)
    on_stream: Callable[[Line], Awaitable[None]] | None = None
    refuses_channels: bool = False
    breaks_first_frame: bool = False

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._any, "/api/v2/instance": self._instance}

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    async def _any(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path.startswith("/api/v1/streaming/"):
            await self._stream(request, writer)
        elif request.path.startswith("/tags/"):
            await self._feed(request, writer)
        else:
            await self._timeline(request, writer)

    async def _instance(self, request: Request, writer: asyncio.StreamWriter) -> None:
        access = {"hashtag_feeds": self.access, "live_feeds": self.live_access}
        configuration = {"timelines_access": access, "urls": {"streaming": self.streaming or None}}
        body = json.dumps({"domain": "m.example", "version": self.version, "configuration": configuration}).encode()
        await answer(200, body, {"Content-Type": "application/json"})(request, writer)

    def _may_read(self, request: Request, access: dict[str, str]) -> bool:
        """Who names neither the server's own posts nor those of others needs both open to all."""
        if self.token and request.headers.get("authorization") == f"Bearer {self.token}":
            return True
        asked = [side for side in ("local", "remote") if side in request.query] or ["local", "remote"]
        return all(access[side] == "public" for side in asked)

    async def _timeline(self, request: Request, writer: asyncio.StreamWriter) -> None:
        limits = {
            "Content-Type": "application/json",
            "X-RateLimit-Limit": "300",
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": self.reset_at.isoformat(),
            "Date": NOW.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        if request.path == "/api/v1/timelines/public":
            names = [next((side for side in ("local", "remote") if side in request.query), "all")]
            access = self.live_access
        else:
            names = [unquote(request.path.rpartition("/")[2]), *request.query.get("any[]", [])][:JOINED]
            access = self.access
        is_strange = "authorization" in request.headers and request.headers["authorization"] != f"Bearer {self.token}"
        if self.refuse or is_strange or not self._may_read(request, access):
            await answer(self.refuse or 401, b'{"error":"no"}', limits)(request, writer)
        elif names[0] not in self.timelines:
            await answer(404, b'{"error":"Record not found"}', limits)(request, writer)
        else:
            await answer(200, json.dumps(self._page(names, request)).encode(), limits)(request, writer)

    def _page(self, names: list[str], request: Request) -> list[dict[str, Any]]:
        """The statuses that follow `min_id`, newest first, as many as asked for."""
        after = int(request.query.get("min_id", ["0"])[0])
        limit = min(int(request.query.get("limit", ["20"])[0]), 40)
        if self.ignores_min_id:
            is_first = sum(r.path == request.path for r in self.requests) == 1
            return self.timelines[names[0]] if is_first else []
        every = {s["uri"]: s for name in names for s in self.timelines.get(name, [])}
        following = sorted((s for s in every.values() if int(s["id"]) > after), key=lambda s: int(s["id"]))
        return following[:limit][::-1] if "min_id" in request.query else following[-limit:][::-1]

    async def _feed(self, request: Request, writer: asyncio.StreamWriter) -> None:
        items = self.feeds.get(unquote(request.path).removeprefix("/tags/").removesuffix(".rss"))
        found = (
            answer(200, feeds.rss(*items), {"Content-Type": "application/rss+xml"})
            if items is not None
            else answer(404)
        )
        await found(request, writer)

    async def _stream(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """SSE in chunks, as Mastodon sends it."""
        if request.headers.get("authorization") != f"Bearer {self.token}":
            await answer(401, b'{"error":"Invalid access token"}')(request, writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

        async def send(data: bytes) -> None:
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
            await asyncio.sleep(0)

        channel = request.path.removeprefix("/api/v1/streaming/").replace("/", ":")
        await send(b":)\n")
        await self._held(Line(channel, request.query.get("tag", [""])[0], send))

    async def _held(self, line: Line) -> None:
        self.lines.append(line)
        try:
            if self.on_stream is not None:
                await self.on_stream(line)
            else:
                await line.over.wait()
        finally:
            self.lines.remove(line)

    # --- the same over a WebSocket --------------------------------------------------------------------------------

    async def check(self, connection: ServerConnection, request: Handshake) -> Refusal | None:
        self.requests.append(Request(request.path, {}, {k.lower(): v for k, v in request.headers.raw_items()}))
        is_known = request.headers.get("Authorization") == f"Bearer {self.token}"
        return None if is_known else connection.respond(HTTPStatus.UNAUTHORIZED, "")

    async def socket(self, connection: ServerConnection) -> None:
        """Each `subscribe` adds a line to the one connection."""
        held: list[asyncio.Task[None]] = []
        with contextlib.suppress(ConnectionClosedError):
            async for message in connection:
                asked = json.loads(message)
                if self.breaks_first_frame:
                    await connection.send('{"stream":["hashtag"')
                if self.refuses_channels:
                    await connection.send('{"error":"Unknown stream type","status":400}')
                line = Line(asked["stream"], asked.get("tag", ""), _framed(connection, asked))
                held.append(asyncio.create_task(self._held_in(connection, line)))
        for task in held:
            task.cancel()

    async def _held_in(self, connection: ServerConnection, line: Line) -> None:
        """A stream that breaks off takes the whole connection with it."""
        await self._held(line)
        await connection.close()


def _framed(connection: ServerConnection, asked: dict[str, str]) -> Callable[[bytes], Awaitable[None]]:
    stream = [asked[key] for key in ("stream", "tag") if key in asked]

    async def send(data: bytes) -> None:
        event, _, rest = data.decode().partition("\n")
        payload = rest.removeprefix("data: ").rstrip("\n")
        await connection.send(
            json.dumps({"stream": stream, "event": event.removeprefix("event: "), "payload": payload})
        )

    return send


def feed_item(number: int, at: datetime, text: str = "Instagram ne radi?") -> str:
    """An item of a hashtag's feed: it has neither title nor author."""
    address = f"https://m.example/@a/{number}"
    date = at.strftime("%a, %d %b %Y %H:%M:%S +0000")
    body = escape(f"<p>{text}</p>")
    return (
        f'<item><guid isPermaLink="true">{address}</guid><link>{address}</link><pubDate>{date}</pubDate>'
        f"<description>{body}</description><category>outage</category></item>"
    )


@asynccontextmanager
async def running(server: MastodonServer) -> AsyncIterator[MastodonServer]:
    """The server on a free port."""
    async with feeds.running(server):
        try:
            yield server
        finally:
            for line in server.lines:
                line.over.set()
            while server.lines:
                await asyncio.sleep(0)


@asynccontextmanager
async def sockets(server: MastodonServer) -> AsyncIterator[str]:
    """Its stream as a WebSocket on a port of its own, as big servers have it."""
    async with serve(
        server.socket, "127.0.0.1", 0, process_request=server.check, compression=None, close_timeout=0.1
    ) as listening:
        server.streaming = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        yield server.streaming


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server whose tag `outage` has the payload's statuses, or whose feed of it is the payload."""
    made = MastodonServer(ignores_min_id=True)
    if "rss" in content_type:
        made.access = {"local": "authenticated", "remote": "authenticated"}
        made.behaviours["/tags/outage.rss"] = answer(200, payload, {"Content-Type": content_type})
    else:
        made.timelines = {"outage": json.loads(payload)}
    async with running(made) as server:
        yield server.url
