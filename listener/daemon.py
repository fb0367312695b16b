"""The only module that waits, reads the clock and wires the edges: sources in, store, watch, channels and web out.

    supervised sources -> queue -> batches -> Recorder.take      (at most a second after a post came)
    every minute       -> Recorder.tick -> channels              (transitions are stored first, then told)

Everything that writes runs on one thread, so the store has one writer and a batch is one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal as signals
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any

from listener import kinds, telemetry
from listener.errors import SourceError
from listener.outbox import Channel, Outbox
from listener.recorder import Batch, Recorder
from listener.roster import Roster, Source
from listener.signals import bins
from listener.sources import Gap, Memo
from listener.sources._net import Net
from listener.store import Store
from listener.types import Delete, Hearing, Post

MOST_IN_BATCH = 500
QUEUE = 10_000  # posts that may wait; a full queue holds the sources back, and what they hold is read again
BATCH_EVERY = 1.0  # seconds a post waits for company
GRACE = timedelta(seconds=5)  # posts of a minute may arrive a little after it

FORGET_EVERY = timedelta(hours=1)  # how often texts past the retention are erased
OLD_NEWS = timedelta(days=1)  # transitions older than this when the daemon starts are not told any more

log = telemetry.log("daemon")


@dataclass
class _Item:
    source: Source
    received_at: datetime
    raw: Any
    cursor: str | None
    stored: asyncio.Event | None = None  # set when the cursor is, for who waits for it


class Daemon:
    """Runs until told to stop."""

    def __init__(
        self,
        recorder: Recorder,
        store: Store,
        sources: Sequence[Source],
        channels: Sequence[Channel],
        net: Net,
        *,
        author_key: bytes,
        metrics: telemetry.Metrics,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.recorder = recorder
        self.store = store
        self.sources = sources
        self.channels = channels
        self.net = net
        self.metrics = metrics
        self.clock = clock
        self.roster = Roster(sources, random.Random())  # noqa: S311 - jitter, not a secret
        self.started_at = clock()
        self._key = author_key
        self._queue: asyncio.Queue[_Item] = asyncio.Queue(QUEUE)
        self._writer = ThreadPoolExecutor(1, "writer")
        self._stop = asyncio.Event()
        self.outbox = Outbox(
            store,
            channels,
            write=self._on_writer,
            clock=clock,
            metrics=metrics,
            random=random.Random(),  # noqa: S311 - jitter, not a secret
            told_from=self.started_at - OLD_NEWS,
        )

    async def run(self) -> None:
        """Until `stop`; then what is waiting is stored, and the rest is read again next time."""
        self.roster.remember(self.store.health())
        loop = asyncio.get_running_loop()
        for name in (signals.SIGTERM, signals.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread, as in tests
                loop.add_signal_handler(name, self.stop)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._supervise(source)) for source in self.sources]
            tasks += [group.create_task(self.outbox.run(channel)) for channel in self.channels]
            tasks.append(group.create_task(self._watch()))
            storing = group.create_task(self._store())
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            storing.cancel()
        await self._flush()
        self._writer.shutdown()
        log.info("daemon_stopped")

    async def _on_writer(self, work: Callable[[], None]) -> None:
        """Run something on the thread that writes; once begun it is finished, also when we are told to stop."""
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, work))

    def stop(self) -> None:
        self._stop.set()

    # --- in -----------------------------------------------------------------------------------------------------

    async def _supervise(self, source: Source) -> None:
        """Keep one source going: the only place that backs off, and the only one that survives an unknown error."""
        cursor = self.store.cursor(source.name)
        while True:
            try:
                async with contextlib.aclosing(self._posts(source, cursor)) as posts:
                    async for raw, new in posts:
                        cursor = new or cursor
                        stored = asyncio.Event() if isinstance(raw, Memo) else None
                        await self._queue.put(_Item(source, self.clock(), raw, new, stored))
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
        posts: AsyncGenerator[tuple[Any, str | None], None] = source.module.posts(source.options, cursor, self.net)
        return posts

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

    async def _store(self) -> None:
        while True:
            items = [await self._queue.get()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BATCH_EVERY):
                    while len(items) < MOST_IN_BATCH:
                        items.append(await self._queue.get())
            await self._take(items)

    async def _flush(self) -> None:
        items = []
        while not self._queue.empty():
            items.append(self._queue.get_nowait())
        await self._take(items)

    async def _take(self, items: Sequence[_Item]) -> None:
        await self._on_writer(partial(self._take_now, items))
        for item in items:
            if item.stored is not None:
                item.stored.set()

    def _take_now(self, items: Sequence[_Item]) -> None:
        batch = Batch()
        seen: dict[tuple[str, datetime], int] = {}
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
            seen[at] += 1
            post = self._parsed(item, batch)
            if post is not None:
                batch.items.append(post)
                self._note(item, post)
        batch.hearing = [Hearing(name, minute, posts, up=True) for (name, minute), posts in seen.items()]
        batch.health = self.roster.unsaved()
        with self.metrics.commit.time():
            taken = self.recorder.take(batch)
        for mention in taken.mentions:
            self.metrics.mentions.labels(mention.language.code, mention.score.label).inc()
        for reason, count in taken.dropped.items():
            self.metrics.posts_dropped.labels(reason).inc(count)
        self.metrics.queue.set(self._queue.qsize())

    def _parsed(self, item: _Item, batch: Batch) -> Post | Delete | None:
        try:
            made: Post | Delete | None = item.source.module.parse(item.raw, item.received_at)
        except ValueError:
            batch.dropped.append((item.source.name, "malformed"))
            return None
        if made is None:
            return None
        source = item.source
        if isinstance(made, Delete):
            self.metrics.deletes.labels(source.name).inc()
            return replace(made, source=made.source and source.name, author=self._hashed(made.author))
        return replace(
            made,
            source=source.name,
            author=self._hashed(made.author),
            region=made.region or source.region,
            languages=made.languages or ((source.language,) if source.language else ()),
        )

    def _note(self, item: _Item, post: Post | Delete) -> None:
        self.metrics.posts_received.labels(item.source.name).inc()
        if isinstance(post, Post):
            lag = self.roster.noted(item.source.name, post)
            self.metrics.source_lag.labels(item.source.name).set(lag.total_seconds())

    def _hashed(self, author: str) -> str:
        """A keyed hash: the same author is the same within this installation, and nobody outside it."""
        return blake2b(author.encode(), key=self._key, digest_size=12).hexdigest() if author else ""

    # --- minutes ------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            now = self.clock()
            minute = bins.floor(now - GRACE) + bins.BIN
            await asyncio.sleep((minute + GRACE - now).total_seconds())
            await self._on_writer(partial(self._tick, minute))
            self.outbox.wake()

    def _tick(self, minute: datetime) -> None:
        before = minute - bins.BIN
        up = [Hearing(s.name, before, 0, up=True) for s in self.sources if self.roster.is_up(s.name, minute)]
        with self.store.transaction() as tx:
            tx.add_hearing(up)
            tx.put_health(self.roster.unsaved())
        if bins.floor(minute, FORGET_EVERY) == minute:
            log.info("texts_forgotten", posts=self.recorder.forget(minute))
        with self.metrics.tick.time():
            for transition in self.recorder.tick(minute):
                self.metrics.transitions.labels(transition.to_state).inc()
                log.info(
                    "incident_changed",
                    incident=transition.incident.id,
                    to=str(transition.to_state),
                    regions=",".join(transition.incident.regions),
                )
