"""A Jetstream on loopback that speaks both versions over one log of events, and fails on request."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qs, urlsplit

import zstandard
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

from listener.sources.jetstream import Options
from tests.servers.driving import NOW

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
V1, V2 = "/subscribe", "/xrpc/network.bsky.jetstream.subscribeEvents"
DICTIONARY = "/xrpc/network.bsky.jetstream.getZstdDictionary"
V1_DICTIONARY = 1_612_007_021
STAMP = 10**15  # a cursor from here on is a time in microseconds
Event = dict[str, Any] | bytes
KINDS = {"commit", "identity", "account", "sync"}


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


def edit_event(event: dict[str, Any], at: datetime, text: str) -> dict[str, Any]:
    """The author of a post changes its text."""
    record = {**event["commit"]["record"], "text": text}
    commit = {**event["commit"], "operation": "update", "cid": "bafyedit", "record": record}
    return {**event, "time_us": microseconds(at), "commit": commit}


def delete_event(event: dict[str, Any], at: datetime) -> dict[str, Any]:
    """The author of a post takes it back."""
    commit = {key: event["commit"][key] for key in ("rev", "collection", "rkey")}
    return {**event, "time_us": microseconds(at), "commit": {**commit, "operation": "delete"}}


def account_event(did: str, at: datetime, status: str = "deleted") -> dict[str, Any]:
    """An account goes, or, with an empty status, comes back."""
    account = {
        "active": not status,
        "did": did,
        "seq": 1,
        "time": at.isoformat(),
        **({"status": status} if status else {}),
    }
    return {"did": did, "time_us": microseconds(at), "kind": "account", "account": account}


def an_hour_of(count: int, *, start: int = 0, jitter: int = 0) -> list[Event]:
    """Posts a second apart, ending a minute ago, with times out of order by up to so many milliseconds."""
    begin = NOW - timedelta(minutes=1, seconds=count)
    return [
        post_event(i, begin + timedelta(seconds=i, milliseconds=(i * 7919) % (jitter + 1)))
        for i in range(start, start + count)
    ]


def ids(events: Iterable[Event]) -> set[str]:
    return {post_id(event) for event in events if isinstance(event, dict)}


def post_id(event: dict[str, Any]) -> str:
    return f"jetstream:at://{event['did']}/app.bsky.feed.post/{event['commit']['rkey']}"


def as_v2(event: dict[str, Any], seq: int) -> dict[str, Any]:
    """The same event in version 2's words."""
    time = (EPOCH + timedelta(microseconds=event["time_us"])).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    inner = event.get("commit") or {event["kind"]: event[event["kind"]]}
    kind = f"network.bsky.jetstream.subscribeEvents#{event['kind']}"
    return {"$type": "message", "payload": {"$type": kind, "seq": seq, "did": event["did"], "time": time, **inner}}


@cache
def dictionary(number: int) -> bytes:
    """A zstd dictionary of that number, trained on posts."""
    at = datetime(2026, 11, 20, tzinfo=UTC)
    samples: list[Any] = [json.dumps(as_v2(post_event(i, at + timedelta(minutes=i)), i)).encode() for i in range(300)]
    return zstandard.train_dictionary(4096, samples, dict_id=number).as_bytes()


@cache
def _compressor(number: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(dictionary(number)))


def compressed(frame: bytes, number: int) -> bytes:
    return _compressor(number).compress(frame)


@dataclass
class Jetstream:
    """`events` are version 1 dictionaries, or bytes sent as they are; their number in the log plus `first_seq` is their seq.

    The switches may be changed while it runs.
    """

    events: list[Event] = field(default_factory=list)
    first_seq: int = 101
    is_silent: bool = False  # shakes hands and says nothing
    chatters: bytes = b""  # sent again and again when there is no event to send
    close_after: int | None = None  # events of each connection
    cuts_frames: bool = False  # what it closes, it closes in the middle of a frame
    refuse: HTTPStatus | None = None
    refuse_headers: dict[str, str] = field(default_factory=dict)
    refuse_name: str = ""  # version 2's name for why it refuses
    oldest: int = 0  # index of the oldest event still kept
    refuses_old_times: bool = False  # as if it were too old for a time as well
    error: str = ""  # name of an error frame sent at the end of the log
    live_from: int | None = None  # index at which live begins; None = after the last event
    repeats: bool = False  # everything is delivered twice
    dictionaries: list[int] = field(default_factory=list)  # the numbers it knows, the current one last
    gives: bytes | None = None  # instead of the current dictionary
    withholds_dictionary: bool = False  # lets whoever asks for it wait
    packs_with: int = 0  # another dictionary than the one agreed upon
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    connections: set[ServerConnection] = field(default_factory=set)
    url: str = ""

    def beginning(self, protocol: str = "v2") -> str:
        """The cursor of one who has heard nothing yet of the log, and was there just before it began."""
        first = self.events[0]
        assert isinstance(first, dict)
        seq = self.first_seq - 1 if protocol == "v2" else 0
        return json.dumps({"host": self.url, "protocol": protocol, "seq": seq, "max_time_us": first["time_us"] - 1})

    @property
    def subscriptions(self) -> list[tuple[str, dict[str, list[str]]]]:
        return [(path, query) for path, query in self.asked if path in (V1, V2)]

    async def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Before the handshake."""
        target = urlsplit(request.path)
        query = parse_qs(target.query)
        self.asked.append((target.path, query))
        if target.path == DICTIONARY:
            while self.withholds_dictionary:
                await asyncio.sleep(0.01)
            return self._dictionary()
        if self.refuse is not None:
            answer = _refused(self.refuse_name, "no") if self.refuse_name else connection.respond(self.refuse, "no\n")
            answer.headers.update(self.refuse_headers)
            return answer
        return self._check_v2(query) if target.path == V2 else self._check_v1(query)

    def _dictionary(self) -> Response:
        if not self.dictionaries and self.gives is None:
            return _refused("DictionaryNotFound", "there is none", 404)
        body = self.gives if self.gives is not None else dictionary(self.dictionaries[-1])
        headers = Headers({"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"})
        return Response(200, "OK", headers, body)

    def _check_v1(self, query: dict[str, list[str]]) -> Response | None:
        if "compress" in query and V1_DICTIONARY not in self.dictionaries:
            body = b"compression is not available here\n"
            return Response(400, "Bad Request", Headers({"Content-Length": str(len(body))}), body)
        return None

    def _check_v2(self, query: dict[str, list[str]]) -> Response | None:
        kinds = set(query.get("kinds", []))
        is_known = {"kinds", "collections", "dids", "cursor", "maxMessageSizeBytes", "zstdDictionary"} >= query.keys()
        if not is_known or not kinds <= KINDS or ("collections" in query and kinds and "commit" not in kinds):
            return _refused("InvalidRequest", "unknown parameter")
        if "zstdDictionary" in query and int(query["zstdDictionary"][0]) not in self.dictionaries:
            return _refused("UnknownZstdDictionary", f"current is {self.dictionaries[-1:]}")
        if self._is_too_old(query) and (self.refuses_old_times or int(query["cursor"][0]) < STAMP):
            return _refused("CursorTooOld", f"oldest is {self.first_seq + self.oldest}")
        return None

    def _is_too_old(self, query: dict[str, list[str]]) -> bool:
        return self.oldest > 0 and "cursor" in query and self._index(int(query["cursor"][0])) < self.oldest

    def _is_in_future(self, cursor: int) -> bool:
        return self.first_seq + len(self.events) <= cursor < STAMP

    def _index(self, cursor: int) -> int:
        """Where in the log a cursor points, inclusive. A sequence number that was never given points at live."""
        if self._is_in_future(cursor):
            return self._live()
        if cursor < STAMP:
            return cursor - self.first_seq
        times = (event["time_us"] if isinstance(event, dict) else 0 for event in self.events)
        return bisect_left(list(accumulate(times, max)), cursor)

    def _live(self) -> int:
        return len(self.events) if self.live_from is None else self.live_from

    def hang_up(self) -> None:
        """Every connection ends now, in the middle of a frame."""
        for connection in self.connections:
            cut_in_mid_frame(connection)

    async def serve(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        try:
            await self._stream(connection)
        except ConnectionClosed:
            pass  # the client had enough, or we have hung up
        finally:
            self.connections.remove(connection)

    async def _stream(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        target = urlsplit(connection.request.path)
        query = parse_qs(target.query)
        is_v2, sent = target.path == V2, 0
        at = self._index(int(query["cursor"][0])) if "cursor" in query else self._live()
        number = V1_DICTIONARY if "compress" in query else int(query.get("zstdDictionary", ["0"])[0])
        if is_v2 and "cursor" in query and not self.is_silent:
            for notice in self._notices(int(query["cursor"][0]), at):
                await self._send(connection, notice, number)
        at = max(at, self.oldest)
        past, since = len(self.events), int(query.get("cursor", ["0"])[0]) if not is_v2 else 0
        while connection.state is State.OPEN and (self.close_after is None or sent < self.close_after):
            if self.is_silent or at >= len(self.events):
                if self.error and not self.is_silent:
                    await connection.send(json.dumps({"$type": "error", "error": self.error}))
                    return
                if self.chatters:
                    await connection.send(self.chatters, text=True)
                await asyncio.sleep(0.005)
                continue
            event = self.events[at]
            if at < past and isinstance(event, dict) and event["time_us"] < since:
                at += 1  # version 1 keeps its log by time: what it got late lies before the cursor
                continue
            frame = self._frame(event, self.first_seq + at, is_v2)
            for _ in range(2 if self.repeats else 1):
                await self._send(connection, frame, number)
            at, sent = at + 1, sent + 1
        if self.cuts_frames:
            cut_in_mid_frame(connection)

    def _notices(self, cursor: int, at: int) -> list[bytes]:
        names = ["OutdatedCursor"] if at < self.oldest else ["FutureCursor"] if self._is_in_future(cursor) else []
        kind = "network.bsky.jetstream.subscribeEvents#info"
        return [json.dumps({"$type": "message", "payload": {"$type": kind, "name": name}}).encode() for name in names]

    def _frame(self, event: Event, seq: int, is_v2: bool) -> bytes:
        if isinstance(event, bytes):
            return event
        return json.dumps(as_v2(event, seq) if is_v2 else event, ensure_ascii=False).encode()

    async def _send(self, connection: ServerConnection, frame: bytes, number: int) -> None:
        """Compressed when that was agreed upon, and the frame is not compressed already."""
        if number and not frame.startswith(zstandard.FRAME_HEADER):
            await connection.send(compressed(frame, self.packs_with or number))
        else:
            await connection.send(frame, text=not frame.startswith(zstandard.FRAME_HEADER))


def cut_in_mid_frame(connection: ServerConnection) -> None:
    """Announce a text frame of 500 bytes, send a dozen of them, and go."""
    if connection.state is State.OPEN:
        connection.transport.write(b"\x81\x7e\x01\xf4" + b'{"did":"did:')
        connection.transport.close()


def following(*hosts: Jetstream, legacy: tuple[Jetstream, ...] = (), **changes: Any) -> Options:
    """A source that follows these, and loses patience quickly."""
    silence = timedelta(milliseconds=120)
    short = {"first_event": silence, "next_event": silence, "rewind": timedelta(seconds=2)}
    return Options(hosts=tuple(h.url for h in hosts), legacy_hosts=tuple(h.url for h in legacy), **short | changes)


def _refused(name: str, message: str, status: int = 400) -> Response:
    body = json.dumps({"error": name, "message": message}).encode()
    return Response(status, "Refused", Headers({"Content-Length": str(len(body))}), body)


@asynccontextmanager
async def running(server: Jetstream | None = None) -> AsyncIterator[Jetstream]:
    """A Jetstream on a free port."""
    made = server or Jetstream()
    async with serve(
        made.serve, "127.0.0.1", 0, process_request=made.check, compression=None, close_timeout=0.1
    ) as listening:
        made.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        yield made


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that sends each line of the payload as a frame, compressed for those who want it."""
    del content_type  # always JSON
    events: list[Event] = [line for line in payload.splitlines() if line]
    async with running(Jetstream(events, live_from=0, dictionaries=[20_260_811])) as server:
        yield server.url
