"""Drives a source kind as the daemon does: stores first, commits the cursor after, and may be killed in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources._net import Limits, Net
from listener.types import Delete, Post

NOW = datetime(2026, 11, 20, 13, 10, tzinfo=UTC)
PATIENCE = 15  # heartbeats in a row after which nothing more is to be expected


@dataclass
class Time:
    """A clock that only sleeping moves. `on_sleep` is what happens in the world meanwhile."""

    now: datetime = NOW
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[], Awaitable[None] | None] | None = None

    def read(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        if self.on_sleep is not None and (done := self.on_sleep()) is not None:
            await done
        await asyncio.sleep(0)


def net(time: Time | None = None, **changes: Any) -> Net:
    """A network edge for tests: reaches loopback, waits for nobody."""
    time = time or Time()
    settings: dict[str, Any] = {
        "user_agent": "listener/test (+https://example.org)",
        "clock": time.read,
        "sleep": time.sleep,
        "allow_private": True,
        "limits": Limits(gap=0),
    }
    return Net(**settings | changes)


async def take(source: AsyncGenerator[Any, None], count: int) -> list[Any]:
    """The first things a source yields; then it is closed."""
    taken: list[Any] = []
    async with aclosing(source) as items:
        async for item in items:
            taken.append(item)
            if len(taken) == count:
                break
    return taken


async def one_poll(source: AsyncGenerator[Any, None]) -> tuple[list[Any], Any]:
    """What a polling kind yields up to its first heartbeat, and the heartbeat's cursor."""
    raws: list[Any] = []
    async with aclosing(source) as items:
        async for raw, cursor in items:
            if raw is None:
                return raws, cursor
            raws.append(raw)
    return raws, None


@dataclass
class Daemon:
    """What a daemon has durably: parsed posts and deletes by id, and the cursor."""

    module: ModuleType
    stored: dict[str, Post | Delete] = field(default_factory=dict)
    cursor: str | None = None
    malformed: int = 0
    reasons: list[str] = field(default_factory=list)

    async def run(
        self, options: Any, edge: Net, *, crash_after: int | None = None, until: set[str] | None = None
    ) -> None:
        """One life: ends by a crash after so many items, by the source's failure, or when all of `until` is stored.

        An item is stored only together with the next cursor; a crash forgets what had none yet.
        """
        waiting: list[Any] = []
        async with aclosing(self.module.posts(options, self.cursor, edge)) as items:
            try:
                count = idle = 0
                async for raw, cursor in items:
                    waiting.append(raw)
                    count += 1
                    idle = idle + 1 if raw is None else 0
                    if crash_after is not None and count > crash_after:
                        return
                    if cursor is not None:
                        self._commit(waiting, cursor, edge.now())
                        waiting = []
                    if until is not None and until <= self.stored.keys():
                        return
                    if idle > PATIENCE:
                        self.reasons.append("idle")
                        return
            except SourceError as error:
                self.reasons.append(error.reason)

    def _commit(self, raws: list[Any], cursor: str, now: datetime) -> None:
        for raw in raws:
            for made in self._parsed(raw, now):
                self.stored[getattr(made, "post_id", "") or getattr(made, "id", "") or made.author] = made
        self.cursor = cursor

    def _parsed(self, raw: Any, now: datetime) -> Iterator[Post | Delete]:
        if raw is None:
            return
        try:
            made = self.module.parse(raw, now)
        except MalformedError:
            self.malformed += 1
        else:
            if made is not None:
                yield made

    async def run_through(self, options: Any, edge: Net, crashes: list[int], until: set[str]) -> None:
        """A life for each crash, then one that is left alone (restarted when the source fails, as a daemon would)."""
        for crash in crashes:
            await self.run(options, edge, crash_after=crash, until=until)
        for _ in range(20):
            if until <= self.stored.keys():
                return
            if self.reasons[-1:] == ["idle"]:
                break
            await self.run(options, edge, until=until)
        raise AssertionError(f"never heard {sorted(until - self.stored.keys())[:5]}; ended by {self.reasons[-5:]}")
