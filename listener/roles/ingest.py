"""Ingest: batches are numbered, published, and kept in mind until the store confirms them.

A source's cursor travels in the batch and is stored with it, after everything before it. So whatever happens to the bus, to
the workers or to this process, what was not stored is published or read again, and what was is recognised.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from listener import telemetry
from listener.bus import Bus
from listener.errors import StoreAway
from listener.intake import Intake, Item, all_stored
from listener.recorder import Batch
from listener.roles.lane import Lane, lane_of, name_of, packed, put_lane
from listener.signals import bins
from listener.store import Store

MOST_UNCONFIRMED = 64  # batches on their way; with more, the sources wait
LOOK = 0.25  # seconds after which the store is asked again when no bell was heard
LOST_AFTER = 15.0  # seconds without any batch stored after which those on their way are published again
LEAD_EVERY = 2.0  # seconds between two tries to lead, or looks whether we still do
PARTING = 5.0  # seconds the workers have for what was heard last
LATE_UP = 10  # closed minutes of which we can still say who was up

log = telemetry.log("ingest")


class OvertakenError(Exception):
    """Another process numbers the batches now."""


class Archive(Protocol):
    """What can be fed instead of sources."""

    name: str  # its cursor is kept under it

    def batches(self, cursor: str | None) -> Iterator[tuple[Batch, datetime | None]]:
        """What stands behind the cursor, each batch with the time until which all is told when it is stored."""
        ...


@dataclass
class _Sent:
    number: int
    body: bytes
    items: Sequence[Item]
    copy: int = 0


class Ingest:
    """Publishes batches and follows what becomes of them. `write` runs something on the thread that writes."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        metrics: telemetry.Metrics,
        write: Callable[[Callable[[], None]], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        self.store = store
        self.bus = bus
        self.metrics = metrics
        self._write = write
        self._clock = clock
        self._epoch = 0
        self._last = 0  # number of the last batch published
        self._sent: dict[int, _Sent] = {}
        self._settled = asyncio.Condition()
        self._lane = Lane()

    async def run(self, intake: Intake) -> None:
        """The sources, whenever it is up to us, until cancelled."""
        while True:
            try:
                await self._led(is_paced=False)
                async with asyncio.TaskGroup() as group:
                    intake.roster.remember(await asyncio.to_thread(self.store.health))
                    group.create_task(self._confirm())
                    for source in intake.sources:
                        cursor = await asyncio.to_thread(self.store.cursor, source.name)
                        group.create_task(intake.supervise(source, cursor))
                    await self._publish(intake)
            except* (OvertakenError, StoreAway) as why:
                _begins_anew(why)
                intake.waiting()  # read again by whoever goes on
            self.metrics.leads.labels("ingest").set(0)
            self.metrics.listens_no_more()
            await asyncio.sleep(LEAD_EVERY)

    async def feed(self, archive: Archive) -> None:
        """An archive in its own time; ends when all of it is stored and watched."""
        is_done = False
        while not is_done:
            try:
                await self._led(is_paced=True)
                async with asyncio.TaskGroup() as group:
                    confirming = group.create_task(self._confirm())
                    for batch, until in archive.batches(await asyncio.to_thread(self.store.cursor, archive.name)):
                        await self._send(batch, until)
                    async with self._settled:
                        await self._settled.wait_for(lambda: not self._sent and not self._lane.waits_for_watch())
                    confirming.cancel()
                is_done = True
            except* (OvertakenError, StoreAway) as why:
                _begins_anew(why)
                await asyncio.sleep(LEAD_EVERY)
        self.metrics.leads.labels("ingest").set(0)

    async def finish(self, intake: Intake) -> None:
        """Before we stop, after `run` was cancelled: publish what was heard, and give the workers a little time for it."""
        items = intake.waiting()
        with contextlib.suppress(TimeoutError, StoreAway):
            async with asyncio.timeout(PARTING):
                if not self._epoch:
                    return
                for body in packed(intake.batch(items), None, self.bus.largest):
                    self._last += 1
                    self._sent[self._last] = _Sent(self._last, body, items)
                await self._publish_again()  # one may have been on its way when we were told
                while (
                    lane := await asyncio.to_thread(lane_of, self.store)
                ).epoch == self._epoch and lane.done < self._last:
                    await self.bus.rung(self.bus.rings, LOOK)

    async def _led(self, *, is_paced: bool) -> None:
        """Wait until it is up to us, and begin to number."""
        is_waiting = False
        self.metrics.leads.labels("ingest").set(0)
        while not await asyncio.to_thread(self.store.lead, "ingest"):
            if not is_waiting:
                log.info("ingest_stands_by")
            is_waiting = True
            await asyncio.sleep(LEAD_EVERY)
        self.metrics.leads.labels("ingest").set(1)
        self._sent.clear()
        self._last = 0
        await self._write(partial(self._begin, is_paced=is_paced))
        log.info("ingest_leads", epoch=self._epoch)

    def _begin(self, *, is_paced: bool) -> None:
        with self.store.transaction() as tx:
            was = lane_of(self.store)
            if was.paced != is_paced:
                was = Lane(epoch=was.epoch, changed=was.changed, beside=was.beside)
            # By the clock, so that a store restored from a backup takes no batch of its former life for a new one.
            epoch = max(was.epoch + 1, int(self._clock().timestamp()))
            self._lane = msgspec.structs.replace(was, epoch=epoch, done=0, paced=is_paced)
            put_lane(tx, self._lane)
        self._epoch = self._lane.epoch

    async def _publish(self, intake: Intake) -> None:
        closed = bins.floor(intake.clock())
        while True:
            left = (closed + bins.BIN - intake.clock()).total_seconds()
            items = await intake.gathered(max(0.0, left))
            batch = intake.batch(items)
            last = items[-1].received_at if items and not intake.is_drained() else intake.clock()
            until = bins.floor(last)
            first = max(closed, until - LATE_UP * bins.BIN)
            for n in range(bins.count(first, until)):
                batch.hearing += intake.up(first + (n + 1) * bins.BIN)
            if items or until > closed:
                await self._send(batch, until, items)
            closed = max(closed, until)

    async def _send(self, batch: Batch, until: datetime | None, items: Sequence[Item] = ()) -> None:
        bodies = list(packed(batch, until, self.bus.largest))
        for body in bodies:
            async with self._settled:
                await self._settled.wait_for(lambda: len(self._sent) < MOST_UNCONFIRMED)
            self._last += 1
            sent = _Sent(self._last, body, items if body is bodies[-1] else ())
            self._sent[sent.number] = sent
            await self.bus.publish(name_of(self._epoch, sent.number, 0), body)
            self.metrics.unconfirmed.set(len(self._sent))

    async def _confirm(self) -> None:
        """Follow the store; publish again what seems lost."""
        loop = asyncio.get_running_loop()
        moved = led = loop.time()
        while True:
            seen = self.bus.rings
            if loop.time() - led > LEAD_EVERY:
                led = loop.time()
                if not await asyncio.to_thread(self.store.lead, "ingest"):
                    raise OvertakenError("the lead was lost")
            try:
                lane = await asyncio.to_thread(lane_of, self.store)
            except StoreAway:
                moved = loop.time()
                await asyncio.sleep(1.0)
                continue
            if lane.epoch != self._epoch:
                raise OvertakenError("another process took over")
            if lane.done > self._lane.done or lane.watched != self._lane.watched or not self._sent:
                moved = loop.time()
            await self._confirmed(lane)
            if loop.time() - moved > LOST_AFTER:
                moved = loop.time()
                await self._again()
            await self.bus.rung(seen, LOOK)

    async def _confirmed(self, lane: Lane) -> None:
        for number in [number for number in self._sent if number <= lane.done]:
            all_stored(self._sent.pop(number).items)
        self.metrics.unconfirmed.set(len(self._sent))
        self._lane = lane
        async with self._settled:
            self._settled.notify_all()

    async def _again(self) -> None:
        if self._lane.waits_for_watch():
            log.warning("watch_is_awaited", until=f"{self._lane.until}")
            return
        log.warning("batches_published_again", first=min(self._sent), count=len(self._sent))
        await self._publish_again()

    async def _publish_again(self) -> None:
        for sent in list(self._sent.values()):
            sent.copy += 1
            await self.bus.publish(name_of(self._epoch, sent.number, sent.copy), sent.body)


def _begins_anew(why: BaseExceptionGroup[OvertakenError | StoreAway]) -> None:
    log.warning("ingest_begins_anew", reason="; ".join(str(one) for one in why.exceptions)[:300])
