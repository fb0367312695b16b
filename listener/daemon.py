"""One process that does everything: it waits, reads the clock and wires the edges. `roles` does the same on many machines.

    supervised sources -> batches -> Recorder.take      (at most a second after a post came)
    every minute       -> Recorder.tick -> channels     (transitions are stored first, then told)

Everything that writes runs on one thread, so the store has one writer and a batch is one transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal as signals
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from listener import minutes, telemetry
from listener.errors import StoreAway
from listener.intake import Intake, Item, all_stored
from listener.minutes import GRACE, OLD_NEWS
from listener.outbox import Channel, Outbox
from listener.recorder import Recorder
from listener.roster import Source
from listener.signals import bins
from listener.sources._net import Net
from listener.store import Store
from listener.takeover import Takeover
from listener.types import Hearing, SourceHealth

STORE_AGAIN = 1.0  # seconds until a store that is away is asked again
T = TypeVar("T")

log = telemetry.log("daemon")


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
        earlier_keys: Sequence[bytes] = (),
        metrics: telemetry.Metrics,
        model: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.recorder = recorder
        self.store = store
        self.sources = sources
        self.channels = channels
        self.net = net
        self.metrics = metrics
        self.clock = clock
        self.intake = Intake(
            sources,
            net,
            author_key=author_key,
            earlier_keys=earlier_keys,
            metrics=metrics,
            clock=clock,
            screen=self._screen,
        )
        self.roster = self.intake.roster
        self.started_at = clock()
        self._writer = ThreadPoolExecutor(1, "writer")
        self._stop = asyncio.Event()
        self._given_up: StoreAway | None = None
        self.outbox = Outbox(
            store,
            channels,
            write=self._on_writer,
            clock=clock,
            metrics=metrics,
            random=random.Random(),  # noqa: S311 - jitter, not a secret
            told_from=self.started_at - OLD_NEWS,
        )
        self.takeover = model and Takeover(model, recorder, store, write=self._on_writer, clock=clock, metrics=metrics)

    async def run(self) -> None:
        """Until `stop`; then what is waiting is stored, and the rest is read again next time."""
        self.roster.remember(self.store.health())
        loop = asyncio.get_running_loop()
        for name in (signals.SIGTERM, signals.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread, as in tests
                loop.add_signal_handler(name, self.stop)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.intake.supervise(s, self.store.cursor(s.name))) for s in self.sources]
            tasks += [group.create_task(self._tell(channel)) for channel in self.channels]
            tasks.append(group.create_task(self._watch()))
            if self.takeover:
                tasks.append(group.create_task(self.takeover.run()))
            storing = group.create_task(self._store())
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            storing.cancel()
        await self._take(self.intake.waiting())
        self._writer.shutdown()
        log.info("daemon_stopped")

    async def _on_writer(self, work: Callable[[], None]) -> None:
        """Run something on the thread that writes; once begun it is finished, also when we are told to stop."""
        patient = partial(self._patiently, work)
        done = asyncio.get_running_loop().run_in_executor(self._writer, patient)
        # What went wrong is seen, also when nobody waits for it any more.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        await asyncio.shield(done)

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do it again while the store is away, until we are told to stop. Whoever waits is held back, and nothing is lost.

        Once a work was given up nothing is stored after it: a later cursor would jump over its posts.
        """
        while True:
            if self._given_up is not None:
                raise self._given_up
            try:
                return work()
            except StoreAway as away:
                if self._stop.is_set():
                    self._given_up = away
                    raise
                log.warning("store_away", detail=str(away))
                time.sleep(STORE_AGAIN)

    def stop(self) -> None:
        self._stop.set()

    def _screen(self, texts: Sequence[bytes]) -> NDArray[np.uint8]:
        return self.recorder.pipeline.screen(texts)  # of the model of this moment

    async def _store(self) -> None:
        while True:
            await self._take(await self.intake.gathered())

    async def _take(self, items: Sequence[Item]) -> None:
        await self._on_writer(partial(self._take_now, items))
        all_stored(items)

    def _take_now(self, items: Sequence[Item]) -> None:
        batch = self.intake.batch(items)
        with self.metrics.commit.time():
            taken = self._patiently(partial(self.recorder.take, batch))
        self.metrics.took(taken.mentions, taken.dropped)

    async def _watch(self) -> None:
        while True:
            now = self.clock()
            minute = bins.floor(now - GRACE) + bins.BIN
            await asyncio.sleep((minute + GRACE - now).total_seconds())
            await self._on_writer(partial(self._tick, minute))
            self.outbox.wake()

    async def _tell(self, channel: Channel) -> None:
        while True:
            try:
                await self.outbox.run(channel)
            except* StoreAway as group:
                log.warning("store_away", detail=str(group.exceptions[0]), channel=channel.name)
            await asyncio.sleep(STORE_AGAIN)

    def _note(self, up: Sequence[Hearing], health: Sequence[SourceHealth]) -> None:
        with self.store.transaction() as tx:
            tx.add_hearing(up)
            tx.put_health(health)

    def _tick(self, minute: datetime) -> None:
        self._patiently(partial(self._note, self.intake.up(minute), self.roster.unsaved()))
        minutes.watch(self.recorder, minute, self.metrics, self._patiently)
        minutes.keep_house(self.recorder, minute, self.metrics, self._patiently)
