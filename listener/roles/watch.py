"""Watch: one process ticks the minutes and tells the channels; the others stand by and take over within seconds.

A minute is watched when every post received before its end is stored, or in real time after some patience: what is missing
then was not heard, and counts as silence of the source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import msgspec

from listener import minutes, telemetry
from listener.bus import Bus
from listener.errors import StoreAway
from listener.outbox import Channel, Outbox
from listener.recorder import Recorder
from listener.roles.lane import Lane, lane_of, put_lane
from listener.signals import bins
from listener.store import Store

PATIENCE = timedelta(seconds=60)  # how long a minute waits for batches that are on their way
CATCH_UP = timedelta(minutes=10)  # minutes missed in real time that are watched after all
LEAD_EVERY = 1.0  # seconds between two tries to lead
LOOK = 0.25  # seconds after which the store is asked again when no bell was heard

log = telemetry.log("watch")


class Watch:
    """`recorder` is this role's alone; `write` runs something on the thread that writes."""

    def __init__(
        self,
        recorder: Recorder,
        store: Store,
        bus: Bus,
        outbox: Outbox,
        channels: Sequence[Channel],
        *,
        metrics: telemetry.Metrics,
        write: Callable[[Callable[[], None]], Awaitable[None]],
        clock: Callable[[], datetime],
    ) -> None:
        self.recorder = recorder
        self.store = store
        self.bus = bus
        self.outbox = outbox
        self.channels = channels
        self.metrics = metrics
        self.clock = clock
        self.leads = False
        self._write = write
        self._shares = recorder.shares
        self._watched: datetime | None = None  # by this process, as the lane says it

    async def run(self) -> None:
        """Until cancelled."""
        is_waiting = False
        while True:
            try:
                if await asyncio.to_thread(self.store.lead, "watch"):
                    log.info("watch_leads")
                    self._leads(True)
                    await self._lead()
                elif not is_waiting:
                    log.info("watch_stands_by")
                is_waiting = True
            except* StoreAway as why:
                log.warning("lead_lost", reason="; ".join(str(one) for one in why.exceptions)[:300])
            self._leads(False)
            await asyncio.sleep(LEAD_EVERY)

    def _leads(self, whether: bool) -> None:
        self.leads = whether
        self.metrics.leads.labels("watch").set(whether)
        self.metrics.trouble(())  # for who leads to say

    async def _lead(self) -> None:
        """Until the lead is lost."""
        self._watched = None
        async with asyncio.TaskGroup() as group:
            telling = [group.create_task(self.outbox.run(channel)) for channel in self.channels]
            await self._watch()
            for task in telling:
                task.cancel()

    async def _watch(self) -> None:
        while await asyncio.to_thread(self.store.lead, "watch"):
            seen = self.bus.rings
            lane = await asyncio.to_thread(lane_of, self.store)
            due = self._due(lane)
            if due is None:
                await self.bus.rung(seen, LOOK)
                continue
            await self._write(partial(self._catch_up, lane, due))
            self.outbox.wake()
            await self.bus.ring()

    def _due(self, lane: Lane) -> datetime | None:
        """The minute up to which can be watched now, None when all were."""
        if lane.paced or not lane.epoch:  # an archive goes by its own time; without any ingest there is none
            due = lane.until
        else:
            latest, longest = bins.floor(self.clock() - minutes.GRACE), bins.floor(self.clock() - PATIENCE)
            due = max(min(latest, lane.until), longest) if lane.until else longest
        return None if due is None or (lane.watched is not None and lane.watched >= due) else due

    def _catch_up(self, lane: Lane, due: datetime) -> None:
        if self._watched is None or lane.watched != self._watched:
            self.recorder.begin_anew()  # somebody else led in between
            self.recorder.shares = {} if lane.paced else self._shares  # an archive is heard as a whole
        elif lane.changed is not None:
            self.recorder.others_stored(lane.changed)
        minute = self._first(lane, due)
        while minute <= due:
            minutes.watch(self.recorder, minute, self.metrics)
            if not lane.paced:
                minutes.keep_house(self.recorder, minute, self.metrics)
            minute += bins.BIN
        with self.store.transaction() as tx:
            now = lane_of(tx)
            if now.paced != lane.paced:
                return  # another kind of time has begun meanwhile
            is_known = (now.epoch, now.done, now.beside) == (lane.epoch, lane.done, lane.beside)
            changed = None if is_known else now.changed
            put_lane(tx, msgspec.structs.replace(now, watched=due, changed=changed))
        self._watched = due

    def _first(self, lane: Lane, due: datetime) -> datetime:
        """The first minute to watch: the one after the last, however the process that watched it ended."""
        known = [at for at in (lane.watched, self.recorder.watched()) if at is not None]
        if lane.paced:
            return (max(known) if known else self.recorder.heard_from() or due) + bins.BIN
        return max([due - CATCH_UP, *known]) + bins.BIN if known else due
