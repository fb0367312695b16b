"""A receiver of webhooks on loopback that can be down, slow, cross or well, and remembers everything that reached it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HANG = 0  # an "answer" that never comes


@dataclass(frozen=True)
class Received:
    """One request: its headers in small letters, its body as JSON and as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes
    answered: int

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")

    def is_signed_with(self, secret: str) -> bool:
        """As the documentation tells receivers to check it."""
        parts = dict(part.split("=", 1) for part in self.headers["x-listener-signature"].split(","))
        signed = parts["t"].encode() + b"." + self.raw
        return hmac.compare_digest(parts["v1"], hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest())


@dataclass
class Receiver:
    """`answer` decides the status of each request; `HANG` keeps the sender waiting until it gives up."""

    port: int
    answer: Callable[[dict[str, Any]], int] = lambda body: 200
    received: list[Received] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def taken(self) -> list[Received]:
        """What was answered with success."""
        return [one for one in self.received if one.answered == 200]

    async def until(self, enough: Callable[[Receiver], bool]) -> None:
        """Wait until what was received is enough."""
        async with self.changed, asyncio.timeout(30):
            await self.changed.wait_for(lambda: enough(self))

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Receiver]:
        """Listen on the port; before and after, nobody does."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                raw = await reader.readexactly(int(headers.get("content-length", "0")))
                status = self.answer(json.loads(raw))
                async with self.changed:
                    self.received.append(Received(head[0].split()[1], headers, raw, status))
                    self.changed.notify_all()
                if status == HANG:
                    await reader.read()  # until the sender hangs up
                    return
                writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 2\r\n\r\nok".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
