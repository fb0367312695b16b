"""Understand: batches from the bus are understood as they come, and stored when it is their turn.

A worker that dies leaves nothing half done: what it held comes to another one. What can't be understood goes to the dead
letters with the reason, one post of a batch at a time; a batch that brings down worker after worker goes there as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from listener import telemetry
from listener.bus import Bus, Delivery
from listener.bus._bell import Bell
from listener.errors import StoreAway
from listener.habits import Habits
from listener.recorder import Batch, Recorder, Taken, Understood
from listener.roles.lane import Lane, Parcel, lane_of, opened, packed_post, place_of
from listener.roles.turns import OutOfTurnError, Turns
from listener.store import Store
from listener.types import Dropped, DropReason, Mention, Post

MOST_TRIES = 12  # deliveries after which a batch is taken to be what kills its workers
FETCH = 2.0  # seconds to wait for a batch before asking again
LOOK = 0.25  # seconds after which the store is asked again when no bell was heard
AWAY = 1.0  # seconds to wait for a store that is away

log = telemetry.log("understand")


@dataclass(eq=False)
class _Held:
    """A batch this worker has and may not store yet."""

    epoch: int
    number: int
    delivery: Delivery
    parcel: Parcel = field(default_factory=Parcel)
    understood: Understood | None = None


class Understand:
    """One worker. `write` runs something on the thread that writes."""

    def __init__(
        self,
        recorder: Recorder,
        store: Store,
        bus: Bus,
        *,
        metrics: telemetry.Metrics,
        write: Callable[[Callable[[], None]], Awaitable[None]],
        redeliver_after: float,
    ) -> None:
        self.recorder = recorder
        self.store = store
        self.bus = bus
        self.metrics = metrics
        self._write = write
        self._beat_every = redeliver_after / 4
        self._held: dict[int, _Held] = {}
        self._stirred = Bell()
        self._lane = Lane()
        self._turns = Turns()
        self._last_error = ""

    async def run(self) -> None:
        """Until cancelled; what is held then is given back."""
        log.info("worker_ready")
        try:
            async with asyncio.TaskGroup() as group:
                for work in (self._fetch, self._keep, self._beat, self._listen):
                    group.create_task(work())
        finally:
            for held in self._held.values():
                await held.delivery.give_back()

    async def _fetch(self) -> None:
        while True:
            delivery = await self.bus.fetch(FETCH)
            if delivery is None:
                continue
            place = place_of(delivery.id)
            if place is None:
                await self._bury(delivery.id, delivery.body, "not a batch of ours", "foreign")
                await delivery.ack()
                continue
            await self._look()
            held = self._held.get(place[1])
            if self._is_past(*place):
                await delivery.ack()
            elif held is not None and held.epoch == place[0]:
                held.delivery = delivery  # again; the one before comes once more and is recognised
            else:
                self._held[place[1]] = held = _Held(*place, delivery)
                await self._understand(held)
                self._stirred.strike()

    def _is_past(self, epoch: int, number: int) -> bool:
        """Stored; or of an earlier epoch: the ingest that began anew publishes what was not stored again."""
        return (epoch, number) <= (self._lane.epoch, self._lane.done)

    async def _look(self) -> None:
        while True:
            try:
                self._lane = await asyncio.to_thread(lane_of, self.store)
            except StoreAway:
                await asyncio.sleep(AWAY)
            else:
                return

    # --- understanding ------------------------------------------------------------------------------------------

    async def _understand(self, held: _Held) -> None:
        delivery = held.delivery
        try:
            held.parcel = opened(delivery.body)
            if delivery.tries > MOST_TRIES:
                await self._bury(delivery.id, delivery.body, f"given out {delivery.tries} times, never stored", "batch")
                held.parcel = Parcel(cursors=held.parcel.cursors, until=held.parcel.until)
        except (msgspec.MsgspecError, UnicodeError, ValueError) as error:
            await self._bury(delivery.id, delivery.body, f"unreadable: {error}", "batch")
        batch = held.parcel.batch()
        held.understood = await self._answered(batch) or await self._one_by_one(delivery.id, batch)

    async def _answered(self, batch: Batch) -> Understood | None:
        """None when the batch can't be understood as it is. What fails in the store is never the fault of a post."""
        habits = await self._habits([item for item in batch.items if isinstance(item, Post)])
        try:
            return await asyncio.to_thread(self.recorder.understood, batch, habits)
        except Exception as error:  # noqa: BLE001 - no post may stop the others, whatever it does to our code
            self._last_error = f"{type(error).__name__}: {error}"
            log.warning("batch_not_understood", posts=len(batch.items), reason=type(error).__name__)
            return None

    async def _habits(self, posts: Sequence[Post]) -> Habits:
        while True:
            try:
                return await asyncio.to_thread(self.recorder.habits, posts)
            except StoreAway:
                await asyncio.sleep(AWAY)

    async def _one_by_one(self, name: str, batch: Batch) -> Understood:
        """All but the posts that can't be understood: these are buried, and count as dropped."""
        posts: list[Post] = []
        answers: list[Mention | Dropped] = []
        habits: dict[str, Mapping[str, float]] = {}
        for post in [item for item in batch.items if isinstance(item, Post)]:
            alone = await self._answered(Batch([post]))
            if alone is None:
                await self._bury(f"{name}-{post.id}", packed_post(post), self._last_error, "post")
                alone = Understood(batch, [post], [Dropped(post.id, DropReason.POISON)], {})
            posts += alone.posts
            answers += alone.answers
            habits |= alone.habits
        return Understood(batch, posts, answers, habits)

    async def _bury(self, name: str, body: bytes, reason: str, what: str) -> None:
        await self.bus.bury(name, body, reason)
        self.metrics.dead_letters.labels(what).inc()
        log.error("dead_letter", what=what, id=name)

    # --- storing ------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            seen = self._stirred.rings
            await self._look()
            for number in [n for n, held in self._held.items() if self._is_past(held.epoch, n)]:
                await self._held.pop(number).delivery.ack()
            held = self._held.get(self._lane.done + 1)
            if held is None or not self._may_keep(held):
                await self._stirred.heard(seen, LOOK)
                continue
            assert held.understood is not None
            try:
                await self._write(partial(self._keep_now, held, held.understood))
            except OutOfTurnError:
                continue
            except StoreAway as error:
                log.warning("store_away", detail=str(error))
                await asyncio.sleep(AWAY)
                continue
            self._held.pop(held.number, None)
            await held.delivery.ack()
            await self.bus.ring()

    def _may_keep(self, held: _Held) -> bool:
        return held.understood is not None and held.epoch == self._lane.epoch and not self._lane.waits_for_watch()

    def _keep_now(self, held: _Held, understood: Understood) -> None:
        with self.metrics.commit.time():
            turn = self._turns.turn(held.epoch, held.number, held.parcel.until)
            taken: Taken = self.recorder.keep(self.recorder.brought_up(understood), turn)
        self.metrics.took(taken.mentions, taken.dropped)

    # --- beside -------------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Tell the bus that we are still at what we hold."""
        while True:
            await asyncio.sleep(self._beat_every)
            for held in list(self._held.values()):
                await held.delivery.working()

    async def _listen(self) -> None:
        """Look again whenever another role did something, and now and then by ourselves."""
        while True:
            await self.bus.rung(self.bus.rings, LOOK)
            self._stirred.strike()
