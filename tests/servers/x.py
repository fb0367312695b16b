"""X's API on loopback: recent search between ids, look-up, the filtered stream with its rules; it keeps the bill."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, answer, running
from tests.servers.posting import PostServer, body

TOKEN = "AAAA-test-token"
FIRST = datetime(2010, 11, 4, 1, 42, 54, 657000, tzinfo=UTC)
PROBLEMS = "https://api.x.com/2/problems/"


def tweet_id(at: datetime, sequence: int = 0) -> int:
    return ((at - FIRST) // timedelta(milliseconds=1) << 22) + sequence


def tweet(number: int, at: datetime, text: str = "instagram çöktü mü", **changes: Any) -> dict[str, Any]:
    id = str(tweet_id(at, number))
    return {
        "id": id,
        "text": text,
        "created_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "author_id": str(1000 + number % 7),
        "lang": "tr",
        "edit_history_tweet_ids": [id],
        **changes,
    }


def problem(name: str, detail: str = "no", **changes: Any) -> bytes:
    return json.dumps({"title": name, "detail": detail, "type": PROBLEMS + name, **changes}).encode()


@dataclass
class XServer(PostServer):
    """`tweets` is what there is, in any order. `billed` counts posts delivered, every time they are.

    `fails` answers everything with a status, a body and headers. What the stream says is put into `lines`.
    """

    tweets: list[dict[str, Any]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    billed: int = 0
    fails: tuple[int, bytes, dict[str, str]] | None = None
    remaining: int = 449
    reset_at: datetime = NOW + timedelta(minutes=9)
    rules: list[dict[str, str]] = field(default_factory=list)
    refuses_rule: bool = False
    lines: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)  # None ends the stream
    clock: Callable[[], datetime] = lambda: NOW
    is_streaming: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.behaviours = {
            "/2/tweets/search/recent": self._guarded(self._search),
            "/2/tweets": self._guarded(self._look_up),
            "/2/tweets/search/stream/rules": self._guarded(self._rules),
            "/2/tweets/search/stream": self._guarded(self._stream),
        }

    def _guarded(self, behaviour: Any) -> Any:
        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            if self.fails is not None:
                await answer(*self.fails)(request, writer)
            elif request.headers.get("authorization") != f"Bearer {TOKEN}":
                await self._json(
                    401, {"title": "Unauthorized", "status": 401, "detail": "Unauthorized"}, request, writer
                )
            else:
                await behaviour(request, writer)

        return behave

    async def _json(self, status: int, told: dict[str, Any], request: Request, writer: asyncio.StreamWriter) -> None:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "x-rate-limit-limit": "450",
            "x-rate-limit-remaining": str(self.remaining),
            "x-rate-limit-reset": str(int(self.reset_at.timestamp())),
        }
        await answer(status, json.dumps(told, ensure_ascii=False).encode(), headers)(request, writer)

    async def _search(self, request: Request, writer: asyncio.StreamWriter) -> None:
        since, until, most = (int(request.query[name][0]) for name in ("since_id", "until_id", "max_results"))
        if since < tweet_id(self.clock() - timedelta(days=7)) or not 10 <= most <= 100:
            wrong = {"errors": [{"parameters": {"since_id": [str(since)]}}], "title": "Invalid Request"}
            await self._json(
                400, {**wrong, "detail": "One or more parameters to your request was invalid."}, request, writer
            )
            return
        found = sorted((t for t in self.tweets if since < int(t["id"]) < until), key=lambda t: -int(t["id"]))
        page = found[:most]
        self.billed += len(page)
        meta: dict[str, Any] = {"result_count": len(page)}
        meta |= {"next_token": "b26v89c19zqg8o3f"} if len(found) > most else {}
        await self._json(200, {"data": page, "meta": meta} if page else {"meta": meta}, request, writer)

    async def _look_up(self, request: Request, writer: asyncio.StreamWriter) -> None:
        ids = request.query["ids"][0].split(",")
        found = [t for t in self.tweets if t["id"] in ids and t["id"] not in self.gone]
        missing = [id for id in ids if id not in {t["id"] for t in found}]
        self.billed += len(found)
        told: dict[str, Any] = {"data": found} if found else {}
        kind, detail = PROBLEMS + "resource-not-found", "Could not find tweet with ids: [{}]."
        own = {"parameter": "ids", "resource_type": "tweet", "title": "Not Found Error", "type": kind}
        errors = [{**own, "value": id, "resource_id": id, "detail": detail.format(id)} for id in missing]
        await self._json(200, told | ({"errors": errors} if errors else {}), request, writer)

    async def _rules(self, request: Request, writer: asyncio.StreamWriter) -> None:
        change = json.loads(body() or b"{}")
        if self.refuses_rule and "add" in change:
            await self._json(201, {"meta": {}, "errors": [{"title": "Invalid Rule"}]}, request, writer)
            return
        deleted = change.get("delete", {}).get("ids", [])
        self.rules = [rule for rule in self.rules if rule["id"] not in deleted]
        added = [{**rule, "id": str(50 + len(self.rules) + n)} for n, rule in enumerate(change.get("add", []))]
        self.rules += added
        told = {"data": added or self.rules, "meta": {"sent": "2026-11-20T13:10:00.000Z"}}
        await self._json(201 if change else 200, told, request, writer)

    async def _stream(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if not self.rules:
            await self._json(409, {"title": "ConnectionException"}, request, writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.is_streaming.set()
        lines = self.lines
        while (line := await lines.get()) is not None:
            self.billed += b'"data"' in line
            writer.write(f"{len(line) + 2:x}\r\n".encode() + line + b"\r\n\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """End the stream, and whatever it had left to say."""
        self.lines.put_nowait(None)
        self.lines = asyncio.Queue()

    def say(self, *tweets: dict[str, Any], rule: str = "50") -> None:
        """Send posts down the stream; none is a sign of life."""
        for made in tweets:
            line = {"data": made, "matching_rules": [{"id": rule, "tag": "listener"}]}
            self.lines.put_nowait(json.dumps(line, ensure_ascii=False).encode())
        if not tweets:
            self.lines.put_nowait(b"")


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that answers every search with the payload."""
    async with running(
        HttpServer({"/2/tweets/search/recent": answer(200, payload, {"Content-Type": content_type})})
    ) as server:
        yield server.url
