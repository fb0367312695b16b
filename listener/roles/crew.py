"""The roles one process plays, side by side on one store and one bus, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal as signals
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener import telemetry
from listener.bus import Bus
from listener.errors import StoreAway
from listener.intake import Intake
from listener.minutes import OLD_NEWS
from listener.outbox import Channel, Outbox
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.roles import ROLES
from listener.roles.ingest import Archive, Ingest
from listener.roles.understand import Understand
from listener.roles.watch import Watch
from listener.signals.exposure import Shares
from listener.store import Store
from listener.takeover import LOOK_EVERY, Takeover

log = telemetry.log("crew")


class _Desk:
    """One role's own way to the store: a lead is lost with its connection, and no other role may take that up first."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._writer = ThreadPoolExecutor(1, "writer")

    async def write(self, work: Callable[[], None]) -> None:
        """Run something on the thread that writes; once begun it is finished, also when we are told to stop."""
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, work))

    def leave(self) -> None:
        self._writer.shutdown()


class Crew:
    """`intake` is for the role `ingest`, which may feed an archive instead; only that goes without a `pipeline`."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        bus: Bus,
        *,
        metrics: telemetry.Metrics,
        clock: Callable[[], datetime],
        redeliver_after: timedelta,
        pipeline: Pipeline | None = None,
        shares: Shares | None = None,
        intake: Intake | None = None,
        archive: Archive | None = None,
        channels: Sequence[Channel] = (),
        model: Path | None = None,
    ) -> None:
        """Plays the roles that have a store; it must be one of their own if others write to the same data."""
        self.intake = intake
        self.archive = archive
        self._metrics, self._clock = metrics, clock
        self._stop = asyncio.Event()
        self._desks = desks = {role: _Desk(store) for role, store in stores.items()}
        self._recorders = {role: Recorder(pipeline, desks[role].store, shares) for role in desks if pipeline}
        self._ingest: Ingest | None = None
        self._watch: Watch | None = None
        self._work: list[Callable[[], Coroutine[Any, Any, None]]] = []
        if desk := desks.get("ingest"):
            self._ingest = Ingest(desk.store, bus, metrics=metrics, write=desk.write, clock=clock)
        if desk := desks.get("understand"):
            wait = redeliver_after.total_seconds()
            recorder = self._recorders["understand"]
            worker = Understand(recorder, desk.store, bus, metrics=metrics, write=desk.write, redeliver_after=wait)
            self._work.append(worker.run)
        if desk := desks.get("watch"):
            self._watch = self._watching(desk, bus, channels)
            self._work.append(self._watch.run)
        if model is not None and self._recorders:
            self._work.append(partial(_kept_up, self._takeover(model)))

    def _watching(self, desk: _Desk, bus: Bus, channels: Sequence[Channel]) -> Watch:
        outbox = Outbox(
            desk.store,
            channels,
            write=desk.write,
            clock=self._clock,
            metrics=self._metrics,
            random=random.Random(),  # noqa: S311 - jitter, not a secret
            told_from=self._clock() - OLD_NEWS,
        )
        recorder, metrics = self._recorders["watch"], self._metrics
        return Watch(recorder, desk.store, bus, outbox, channels, metrics=metrics, write=desk.write, clock=self._clock)

    def _takeover(self, model: Path) -> Takeover:
        """One for all our roles. Who watches says in the store which model is in force, or workers that are late would."""
        (first, recorder), *others = [
            (role, self._recorders[role]) for role in reversed(ROLES) if role in self._recorders
        ]
        return Takeover(
            model,
            recorder,
            self._desks[first].store,
            write=self._desks[first].write,
            clock=self._clock,
            metrics=self._metrics,
            others=[(one, self._desks[role].write) for role, one in others],
            speaks=lambda: self._watch is not None and self._watch.leads,
        )

    def screen(self, texts: Sequence[bytes]) -> NDArray[np.uint8]:
        """For the intake: which texts may say something, by the model of this moment."""
        return self._recorders["ingest"].pipeline.screen(texts)

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`, or until the archive is fed; what is on its way then goes on in other processes."""
        loop = asyncio.get_running_loop()
        for name in (signals.SIGTERM, signals.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread, as in tests
                loop.add_signal_handler(name, self.stop)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for work in self._work]
            feeding = group.create_task(self._feed()) if self._ingest is not None else None
            await self._stop.wait()
            if feeding is not None:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)
            if self._ingest is not None and self.intake is not None:
                await self._ingest.finish(self.intake)
            for task in tasks:
                task.cancel()
        for desk in self._desks.values():
            desk.leave()
        log.info("crew_stopped")

    async def _feed(self) -> None:
        assert self._ingest is not None
        if self.archive is not None:
            await self._ingest.feed(self.archive)
            self.stop()
        elif self.intake is not None:
            await self._ingest.run(self.intake)


async def _kept_up(takeover: Takeover) -> None:
    """Take over promoted models, also after the store was away."""
    while True:
        try:
            await takeover.run()
        except StoreAway as error:
            log.warning("model_not_noted", reason=str(error))
        await asyncio.sleep(LOOK_EVERY)
