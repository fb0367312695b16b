"""A real HTTP server on loopback that answers as told, well or badly: one behaviour a path, changed at any time."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import brotli  # type: ignore[import-untyped]  # ships no types


@dataclass(frozen=True)
class Request:
    """What a client asked for. Header names are lower case."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class HttpServer:
    """`behaviours` maps a path to what happens there; what is at no path is a 404. `requests` keeps what was asked.

    `connections` counts those who knocked, whether they asked for anything or not.
    """

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            target = urlsplit(head[0].split(" ")[1])
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            request = Request(target.path, parse_qs(target.query), headers)
            behaviour = self.behaviours.get(request.path)
            if behaviour is None and request.path == "/robots.txt":
                behaviour = answer(404)  # as most sites; nobody counts it
            else:
                self.requests.append(request)
            behaviour = behaviour or self.behaviours.get("*") or answer(404)
            await behaviour(request, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            writer.close()


@asynccontextmanager
async def running(
    server: HttpServer | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[HttpServer]:
    """An HTTP server on a free port."""
    made = server or HttpServer()
    listening = await asyncio.start_server(made.serve, host, port)
    made.url = f"http://{host}:{listening.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listening.close()


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that answers everything with the payload."""
    async with running(HttpServer({"*": answer(200, payload, {"Content-Type": content_type})})) as server:
        yield server.url


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said So", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def answer(status: int = 200, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """One answer, always the same."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(status, {"Content-Length": str(len(body)), **(headers or {})}) + body)

    return behave


def feed(body: bytes, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A feed that knows its validators: 304 with no body when the client has them already."""
    own = {"Content-Type": "application/rss+xml", **(headers or {})}

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        asked, given = request.headers, {name.lower(): value for name, value in own.items()}
        same_tag = "etag" in given and asked.get("if-none-match") == given["etag"]
        same_date = "last-modified" in given and asked.get("if-modified-since") == given["last-modified"]
        known = same_tag if "if-none-match" in asked else same_date
        await (answer(304, b"", own) if known else answer(200, body, own))(request, writer)

    return behave


def redirect(to: str, status: int = 302) -> Behaviour:
    return answer(status, b"moved", {"Location": to})


def packed(body: bytes, times: int = 1) -> Behaviour:
    """The body in gzip, once or inside out."""
    for _ in range(times):
        body = gzip.compress(body)
    return answer(200, body, {"Content-Encoding": ", ".join(["gzip"] * times)})


def squeezed(body: bytes, keep: int | None = None) -> Behaviour:
    """The body in brotli; of which only so many bytes are sent, if told."""
    return answer(200, brotli.compress(body, quality=5)[:keep], {"Content-Encoding": "br"})


def cut(body: bytes, claims: int) -> Behaviour:
    """Claims more bytes than it sends."""
    return answer(200, body, {"Content-Length": str(claims)})


def drip(body: bytes, seconds: float) -> Behaviour:
    """A byte at a time."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(200, {"Content-Length": str(len(body))}))
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(seconds)

    return behave


def slow_head(seconds: float) -> Behaviour:
    """A header that never ends, a byte at a time."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(seconds)

    return behave


def chunked(*parts: bytes, ends: bool = True, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A body in chunks; without its end it is cut off."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(_head(200, {"Transfer-Encoding": "chunked", **(headers or {})}))
        for part in (*parts, *([b""] if ends else [])):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))

    return behave


def flood(size: int | None = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    """So many bytes, all of them really sent; without a size, chunks that never end."""

    async def behave(_: Request, writer: asyncio.StreamWriter) -> None:
        length = {"Transfer-Encoding": "chunked"} if size is None else {"Content-Length": str(size)}
        writer.write(_head(200, {**length, **(headers or {})}))
        part, sent = b"<item/>" * 10_000, 0
        while size is None or sent < size:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if size is None else part[: size - sent])
            sent += len(part)
            await writer.drain()

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request gets the first, and so on; the last stays."""
    left = list(behaviours)

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return behave


def rss(*items: str, channel: str = "") -> bytes:
    """A feed document around items."""
    inner = f"<title>Portal</title>{channel}{''.join(items)}"
    return f'<?xml version="1.0" encoding="UTF-8"?><rss version="2.0"><channel>{inner}</channel></rss>'.encode()


def item(guid: str, title: str = "Instagram ne radi", date: str = "", extra: str = "") -> str:
    published = f"<pubDate>{date}</pubDate>" if date else ""
    return f"<item><guid>{guid}</guid><title>{title}</title><link>https://portal.example/{guid}</link>{published}{extra}</item>"
