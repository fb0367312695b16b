"""Supervised sources in, batches out: what `ingest` does, within the daemon or as a role of its own.

    sources -> queue -> `gathered` -> `batch`      a post waits at most a second for company

It waits and is told the time; what becomes of a batch is for others to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from listener import kinds, telemetry
from listener.authors import author_hash, unnamed
from listener.errors import SourceError
from listener.glance import Glance, Screen
from listener.recorder import Batch
from listener.roster import Roster, Source
from listener.signals import bins
from listener.sources import Bundle, Gap, Memo
from listener.sources._net import Net
from listener.types import Delete, Hearing, Post

MOST_IN_BATCH = 500
MOST_RAWS = 5_000  # when they come in bundles
QUEUE = 10_000  # posts that may wait; a full queue holds the sources back, and what they hold is read again
BATCH_EVERY = 1.0  # seconds a post waits for company

log = telemetry.log("intake")


@dataclass
class Item:
    """What a source yielded, when it came, and the cursor behind it."""

    source: Source
    received_at: datetime
    raw: Any
    cursor: str | None
    stored: asyncio.Event | None = None  # set when the cursor is, for who waits for it

    @property
    def raws(self) -> int:
        return len(self.raw.raws) if isinstance(self.raw, Bundle) else 1


class Intake:
    """The sources of one process, what waits of them, and how they are doing."""

    def __init__(
        self,
        sources: Sequence[Source],
        net: Net,
        *,
        author_key: bytes,
        earlier_keys: Sequence[bytes] = (),
        metrics: telemetry.Metrics,
        clock: Callable[[], datetime],
        screen: Screen | None = None,
    ) -> None:
        """With a `screen`, kinds that can are asked for bundles, of which only what may say something is parsed."""
        self.sources = sources
        self.roster = Roster(sources, random.Random())  # noqa: S311 - jitter, not a secret
        self.metrics = metrics
        self.clock = clock
        self._net = net
        self._key = author_key
        self._earlier_keys = tuple(earlier_keys)  # of authors who may still ask that all of theirs be erased
        self._screen = screen
        self._queue: asyncio.Queue[Item] = asyncio.Queue()
        self._held = 0  # raws that wait
        self._room = asyncio.Event()
        self._room.set()

    async def supervise(self, source: Source, cursor: str | None) -> None:
        """Keep one source going: the only place that backs off, and the only one that survives an unknown error."""
        while True:
            try:
                async with contextlib.aclosing(self._posts(source, cursor)) as posts:
                    async for raw, new in posts:
                        cursor = new or cursor
                        stored = asyncio.Event() if isinstance(raw, Memo) else None
                        await self._put(Item(source, self.clock(), raw, new, stored))
                        if stored is not None:
                            await stored.wait()
                        else:
                            self._heard(source)
            except SourceError as error:
                wait = self._failed(source, error.reason, str(error), error.retry_after, permanent=error.permanent)
            except Exception as error:
                wait = self._failed(source, "crashed", f"{type(error).__name__}: {error}")
                self.metrics.restarts.labels(source.name).inc()
                log.exception("source_crashed", source=source.name)
            else:
                return  # a source that ends has told everything, such as a file read once
            await asyncio.sleep(wait.total_seconds())

    def _posts(self, source: Source, cursor: str | None) -> AsyncGenerator[tuple[Any, str | None], None]:
        bundles = getattr(source.module, "bundles", None) if self._screen else None
        posts: AsyncGenerator[tuple[Any, str | None], None] = (bundles or source.module.posts)(
            source.options, cursor, self._net
        )
        return posts

    async def _put(self, item: Item) -> None:
        await self._room.wait()
        self._held += item.raws
        if self._held >= QUEUE:
            self._room.clear()
        await self._queue.put(item)

    def _took(self, item: Item) -> Item:
        self._held -= item.raws
        if self._held < QUEUE:
            self._room.set()
        return item

    def _heard(self, source: Source) -> None:
        now = self.clock()
        errors = self.roster.heard(source.name, now)
        if errors:
            log.info("source_recovered", source=source.name, after_errors=errors)
        self.metrics.source_success.labels(source.name).set(now.timestamp())

    def _failed(
        self, source: Source, reason: str, message: str, asked: float | None = None, *, permanent: bool = False
    ) -> timedelta:
        wait = self.roster.failed(source.name, reason, self.clock(), asked=asked, permanent=permanent)
        self.metrics.source_errors.labels(source.name, reason).inc()
        again = kinds.show_duration(timedelta(seconds=round(wait.total_seconds())))
        log.warning("source_failed", source=source.name, reason=reason, detail=message[:300], next_try_in=again)
        return wait

    # --- batches ------------------------------------------------------------------------------------------------

    async def gathered(self, at_most: float | None = None) -> list[Item]:
        """The next items: at least one, unless none came within `at_most` seconds; then those of a second more."""
        items: list[Item] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most):
                items.append(self._took(await self._queue.get()))
        if items:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_EVERY):
                    raws = items[0].raws
                    while len(items) < MOST_IN_BATCH and raws < MOST_RAWS:
                        items.append(self._took(await self._queue.get()))
                        raws += items[-1].raws
        return items

    def is_drained(self) -> bool:
        """Nothing waits: what comes now came after everything that was gathered."""
        return self._queue.empty()

    def waiting(self) -> list[Item]:
        """Everything that waits, at once."""
        items = []
        while not self._queue.empty():
            items.append(self._took(self._queue.get_nowait()))
        return items

    def batch(self, items: Sequence[Item]) -> Batch:
        """Items parsed, with authors hashed, and what else is known of them."""
        batch = Batch()
        seen: dict[tuple[str, datetime], int] = {}
        worth = self._glanced(items, batch)
        for item in items:
            if item.cursor is not None:
                batch.cursors[item.source.name] = item.cursor
            if isinstance(item.raw, Memo):
                continue
            at = (item.source.name, bins.floor(item.received_at))
            seen.setdefault(at, 0)
            if item.raw is None:
                continue
            if isinstance(item.raw, Gap):
                log.warning("gap_met", source=item.source.name, since=f"{item.raw.since}", until=f"{item.raw.until}")
                continue
            seen[at] += item.raws
            for raw in worth.get(id(item), (item.raw,)):
                post = self._parsed(item, raw, batch)
                if post is not None:
                    batch.items.append(post)
                    self._note(item, post)
        batch.hearing = [Hearing(name, minute, posts, up=True) for (name, minute), posts in seen.items()]
        batch.health = self.roster.unsaved()
        self.metrics.queue.set(self._held)
        return batch

    def up(self, minute: datetime) -> list[Hearing]:
        """The sources that are heard in the minute that ends then, also between two polls."""
        before = minute - bins.BIN
        return [Hearing(s.name, before, 0, up=True) for s in self.sources if self.roster.is_up(s.name, minute)]

    def _glanced(self, items: Sequence[Item], batch: Batch) -> dict[int, Iterator[Any]]:
        """What is worth parsing of each bundle, by its item's identity; the others are counted."""
        bundled = [item for item in items if isinstance(item.raw, Bundle)]
        if not bundled or self._screen is None:
            return {}
        glance = Glance([(item.source.module, item.raw) for item in bundled], self._screen)
        for item, silent in zip(bundled, glance.silent, strict=True):
            name, posts = item.source.name, silent.total()
            batch.silent.update({(name, reason): count for reason, count in silent.items()})
            self.metrics.posts_received.labels(name).inc(posts)
            self.roster.passed_by(name, posts)
        return {id(item): glance.left(n) for n, item in enumerate(bundled)}

    def _parsed(self, item: Item, raw: Any, batch: Batch) -> Post | Delete | None:
        try:
            made: Post | Delete | None = item.source.module.parse(raw, item.received_at)
        except ValueError:
            batch.dropped.append((item.source.name, "malformed"))
            return None
        if made is None:
            return None
        source = item.source
        named = unnamed if getattr(source.module, "IDS_NAME_AUTHORS", False) else str
        if isinstance(made, Delete):
            self.metrics.deletes.labels(source.name).inc()
            own = replace(made, source=made.source and source.name, post_id=made.post_id and named(made.post_id))
            if made.author:
                batch.items += [replace(own, author=author_hash(made.author, key)) for key in self._earlier_keys]
            return replace(own, author=author_hash(made.author, self._key))
        return replace(
            made,
            id=named(made.id),
            source=source.name,
            author=author_hash(made.author, self._key),
            region=made.region or source.region,
            languages=made.languages or ((source.language,) if source.language else ()),
        )

    def _note(self, item: Item, post: Post | Delete) -> None:
        self.metrics.posts_received.labels(item.source.name).inc()
        if isinstance(post, Post):
            lag = self.roster.noted(item.source.name, post)
            self.metrics.source_lag.labels(item.source.name).set(lag.total_seconds())


def all_stored(items: Sequence[Item]) -> None:
    """Tell those who wait that what they yielded is stored."""
    for item in items:
        if item.stored is not None:
            item.stored.set()
