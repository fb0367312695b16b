"""A Jetstream on loopback that speaks both versions over one log of events, and fails on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import State

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
V1, V2 = "/subscribe", "/xrpc/network.bsky.jetstream.subscribeEvents"
STAMP = 10**15  # a cursor from here on is a time in microseconds


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def post_event(number: int, at: datetime, text: str = "instagram çöktü mü", **record: Any) -> dict[str, Any]:
    """An event of version 1."""
    created = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "did": f"did:plc:author{number % 7}",
        "time_us": microseconds(at),
        "kind": "commit",
        "commit": {
            "rev": "3m",
            "operation": "create",
            "collection": "app.bsky.feed.post",
            "rkey": f"key{number}",
            "cid": f"bafy{number}",
            "record": {"$type": "app.bsky.feed.post", "createdAt": created, "langs": ["tr"], "text": text, **record},
        },
    }


def post_id(event: dict[str, Any]) -> str:
    return f"jetstream:at://{event['did']}/app.bsky.feed.post/{event['commit']['rkey']}"


def as_v2(event: dict[str, Any], seq: int) -> dict[str, Any]:
    """The same event in version 2's words."""
    time = (EPOCH + timedelta(microseconds=event["time_us"])).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    inner = event.get("commit") or {event["kind"]: event[event["kind"]]}
    kind = f"network.bsky.jetstream.subscribeEvents#{event['kind']}"
    return {"$type": "message", "payload": {"$type": kind, "seq": seq, "did": event["did"], "time": time, **inner}}


@dataclass
class Jetstream:
    """`events` are version 1 dictionaries, or bytes sent as they are; their number in the log plus `first_seq` is their seq.

    The switches may be changed while it runs.
    """

    events: list[dict[str, Any] | bytes] = field(default_factory=list)
    first_seq: int = 101
    is_silent: bool = False  # shakes hands and says nothing
    close_after: int | None = None  # events of each connection
    refuse: HTTPStatus | None = None
    oldest: int = 0  # index of the oldest event still kept
    says_outdated: bool = False  # version 2 tells of an outdated cursor in the stream instead of refusing it
    error: str = ""  # name of an error frame sent at the end of the log
    live_from: int | None = None  # index at which live begins; None = after the last event
    repeats: bool = False  # everything is delivered twice
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    url: str = ""

    async def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the handshake."""
        target = urlsplit(request.path)
        query = parse_qs(target.query)
        self.asked.append((target.path, query))
        if self.refuse is not None:
            return connection.respond(self.refuse, "not now\n")
        if target.path == V2 and any(name.startswith("wanted") for name in query):
            return _refused("InvalidRequest", "unknown parameter")
        if target.path == V2 and not self.says_outdated and self._is_too_old(query):
            return _refused("CursorTooOld", f"oldest is {self.first_seq + self.oldest}")
        return None

    def _is_too_old(self, query: dict[str, list[str]]) -> bool:
        return self.oldest > 0 and "cursor" in query and self._index(int(query["cursor"][0])) < self.oldest

    def _index(self, cursor: int) -> int:
        """Where in the log a cursor points, inclusive. A sequence number that was never given points at live."""
        if cursor < STAMP and cursor >= self.first_seq + len(self.events):
            return len(self.events) if self.live_from is None else self.live_from
        if cursor < STAMP:
            return cursor - self.first_seq
        times = [e["time_us"] if isinstance(e, dict) else 0 for e in self.events]
        reached = (i for i in range(len(times)) if max(times[: i + 1]) >= cursor)
        return next(reached, len(times))

    async def stream(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        target = urlsplit(connection.request.path)
        query = parse_qs(target.query)
        is_v2, sent = target.path == V2, 0
        live = len(self.events) if self.live_from is None else self.live_from
        at = self._index(int(query["cursor"][0])) if "cursor" in query else live
        if 0 < self.oldest > at and is_v2:
            info = {"$type": "network.bsky.jetstream.subscribeEvents#info", "name": "OutdatedCursor"}
            await connection.send(json.dumps({"$type": "message", "payload": info}))
        at = max(at, self.oldest)
        while connection.state is State.OPEN and (self.close_after is None or sent < self.close_after):
            if self.is_silent or at >= len(self.events):
                if self.error and not self.is_silent:
                    await connection.send(json.dumps({"$type": "error", "error": self.error}))
                    return
                await asyncio.sleep(0.005)
                continue
            frame = self._frame(self.events[at], self.first_seq + at, is_v2)
            for _ in range(2 if self.repeats else 1):
                await connection.send(frame, text=True)
            at, sent = at + 1, sent + 1

    def _frame(self, event: dict[str, Any] | bytes, seq: int, is_v2: bool) -> bytes:
        if isinstance(event, bytes):
            return event
        return json.dumps(as_v2(event, seq) if is_v2 else event, ensure_ascii=False).encode()


def _refused(name: str, message: str) -> Response:
    body = json.dumps({"error": name, "message": message}).encode()
    return Response(400, "Bad Request", Headers({"Content-Length": str(len(body))}), body)


@asynccontextmanager
async def running(server: Jetstream | None = None) -> AsyncIterator[Jetstream]:
    """A Jetstream on a free port."""
    made = server or Jetstream()
    async with serve(
        made.stream, "127.0.0.1", 0, process_request=made.check, compression=None, close_timeout=0.1
    ) as listening:
        made.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        yield made


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that sends each line of the payload as a frame, as soon as anyone listens."""
    del content_type  # always JSON
    made = Jetstream(events=[line for line in payload.splitlines() if line], live_from=0)
    async with running(made) as server:
        yield server.url
