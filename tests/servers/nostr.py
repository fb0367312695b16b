"""A Nostr relay on loopback: filters, stored events and then live ones, as NIP-01 says; it fails on request."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.servers.driving import NOW


def key(name: str) -> str:
    """A public key for a name."""
    return hashlib.sha256(name.encode()).hexdigest()


def event(
    content: str, at: datetime, author: str = "ana", *tags: list[str], kind: int = 1, **changes: Any
) -> dict[str, Any]:
    """An event whose id is its hash, unless changed."""
    own: dict[str, Any] = {
        "pubkey": key(author),
        "created_at": int(at.timestamp()),
        "kind": kind,
        "tags": [["t", "instagram"], *tags] if kind == 1 else [*tags],
        "content": content,
        "sig": "0" * 128,
    }
    signed = [0, own["pubkey"], own["created_at"], own["kind"], own["tags"], own["content"]]
    text = json.dumps(signed, ensure_ascii=False, separators=(",", ":"))
    return {"id": hashlib.sha256(text.encode()).hexdigest(), **own, **changes}


def matches(event: dict[str, Any], wanted: dict[str, Any]) -> bool:
    named = {name: {tag[1] for tag in event["tags"] if tag[0] == name} for name in ("t", "e")}
    return (
        event["kind"] in wanted.get("kinds", [event["kind"]])
        and wanted.get("since", 0) <= event["created_at"] <= wanted.get("until", 2**40)
        and all(named[name] & set(wanted[f"#{name}"]) for name in named if f"#{name}" in wanted)
    )


@dataclass
class Relay:
    """`events` may grow while it runs: what is new is sent live. `most` is what it gives of its store at once.

    `closes` maps a subscription to the reason it is closed for; `notices` are said first; `is_silent` says nothing at all.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    most: int = 500
    closes: dict[str, str] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)  # frames sent as they are, first
    is_silent: bool = False
    drop_after: int | None = None  # events of a connection
    asked: list[list[Any]] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def publish(self, *events: dict[str, Any]) -> None:
        async with self.came:
            self.events.extend(events)
            self.came.notify_all()

    async def serve(self, connection: ServerConnection) -> None:
        self.connections += 1
        for frame in [*self.noise, *(json.dumps(["NOTICE", text]) for text in self.notices)]:
            await connection.send(frame)
        wanted: dict[str, list[dict[str, Any]]] = {}
        live = asyncio.create_task(self._live(connection, wanted))
        try:
            async for received in connection:
                message = json.loads(received)
                self.asked.append(message)
                if message[0] == "CLOSE":
                    wanted.pop(message[1], None)
                elif not self.is_silent:
                    await self._request(connection, message[1], message[2:], wanted)
        except ConnectionClosed:
            pass
        finally:
            live.cancel()

    async def _request(
        self, connection: ServerConnection, name: str, filters: list[dict[str, Any]], wanted: dict[str, Any]
    ) -> None:
        if name in self.closes:
            await connection.send(json.dumps(["CLOSED", name, self.closes[name]]))
            return
        found = [e for e in self.events if any(matches(e, f) for f in filters)]
        found.sort(key=lambda e: -e["created_at"])
        wanted[name] = (filters, len(self.events))
        for sent, item in enumerate(found[: min(self.most, *(f.get("limit", self.most) for f in filters))]):
            if self.drop_after is not None and sent >= self.drop_after:
                await connection.close()
                return
            await connection.send(json.dumps(["EVENT", name, item], ensure_ascii=False))
        await connection.send(json.dumps(["EOSE", name]))

    async def _live(self, connection: ServerConnection, wanted: dict[str, Any]) -> None:
        try:
            while True:
                async with self.came:
                    await self.came.wait()
                for name, (filters, known) in list(wanted.items()):
                    for item in self.events[known:]:
                        if any(matches(item, f) for f in filters):
                            await connection.send(json.dumps(["EVENT", name, item], ensure_ascii=False))
                    wanted[name] = (filters, len(self.events))
        except ConnectionClosed:
            pass


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[tuple[Relay, ...]]:
    """Relays on free ports."""
    if not relays:
        relays = (Relay(),)
    async with _serving(relays[0]):
        if len(relays) == 1:
            yield relays
        else:
            async with running(*relays[1:]):
                yield relays


@asynccontextmanager
async def _serving(relay: Relay) -> AsyncIterator[None]:
    async with serve(relay.serve, "127.0.0.1", 0, compression=None, close_timeout=0.1) as listening:
        relay.url = f"ws://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"
        yield


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a relay that has the payload's events, one a line; those of our time are given newest first."""
    del content_type  # always JSON
    events = [json.loads(line) for line in payload.splitlines() if line]
    async with running(Relay([e for e in events if e["created_at"] <= NOW.timestamp()])) as (relay,):
        yield relay.url
