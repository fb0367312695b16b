"""Tells transitions to channels: each channel on its own, in order per incident, at least once, every try recorded.

A receiver that is down or slow holds up nobody else: not the next minute, not another channel, not another incident. Waits
between tries double from five seconds to ten minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import Random
from types import ModuleType
from typing import Any

from listener import messages, telemetry
from listener.channels import Message
from listener.errors import SourceError
from listener.messages import Scribe
from listener.store import Store
from listener.telling import Rules, Step, Verdict, is_quiet, plan
from listener.types import Incident, IncidentState, Notification, Transition

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
LOOK = 30.0  # seconds after which a channel looks again by itself: quiet hours end, repeats and heartbeats fall due
AT_ONCE = 8  # messages on their way on one channel, each of another incident
OPEN = (IncidentState.PENDING, IncidentState.FIRING)
HEARTBEAT = "heartbeat"  # takes its turn as if it were an incident

log = telemetry.log("outbox")


@dataclass(frozen=True)
class Channel:
    """A configured channel: its kind's module and options, and whom it tells what."""

    name: str
    module: ModuleType
    options: Any
    scribe: Scribe

    @property
    def rules(self) -> Rules:
        return self.scribe.rules


@dataclass
class _State:
    """What one channel remembers: what is on its way, when failed incidents are tried again, when it last spoke of itself."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    busy: set[str] = field(default_factory=set)  # incidents of which something is on its way
    not_before: dict[str, datetime] = field(default_factory=dict)  # incident -> next try
    failures: dict[str, int] = field(default_factory=dict)
    repeated_at: dict[str, datetime] = field(default_factory=dict)
    heartbeat_at: datetime | None = None


class Outbox:
    """`write` runs a function on the thread that writes to the store."""

    def __init__(
        self,
        store: Store,
        channels: Sequence[Channel],
        *,
        write: Callable[[Callable[[], None]], Awaitable[None]],
        clock: Callable[[], datetime],
        metrics: telemetry.Metrics,
        random: Random,
        told_from: datetime,
    ) -> None:
        self.store = store
        self.channels = channels
        self._write = write
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._told_from = told_from  # a new channel is not told what happened long before it was there
        self._states = {channel.name: _State() for channel in channels}

    def wake(self) -> None:
        """There may be something to tell."""
        for state in self._states.values():
            state.wake.set()

    async def run(self, channel: Channel) -> None:
        """Until cancelled; what could not be told is told after the next start."""
        state = self._states[channel.name]
        async with asyncio.TaskGroup() as group:
            while True:
                state.wake.clear()
                looked = self._clock()
                await self._begin(channel, group, looked)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._wait(state, looked)):
                        await state.wake.wait()

    async def tell(self, channel: Channel) -> None:
        """Everything that is due on one channel now."""
        async with asyncio.TaskGroup() as group:
            await self._begin(channel, group, self._clock())

    async def _begin(self, channel: Channel, group: asyncio.TaskGroup, now: datetime) -> None:
        """Begin to tell what is due, each incident on its own: one that gets stuck holds up no other."""
        state = self._states[channel.name]
        busy = set(state.busy)  # before we look: what ends meanwhile wakes us again
        untold = [t for t in await asyncio.to_thread(self.store.untold, channel.name) if t.at >= self._told_from]
        incidents = sorted({transition.incident.id for transition in untold})
        known = await asyncio.to_thread(self.store.told, channel.name, incidents)
        for gone in state.not_before.keys() - incidents - busy:
            del state.not_before[gone]
        due: dict[str, list[Step]] = {}
        held = busy  # incidents whose next word must wait for the one before
        for step in plan(untold, known, channel.rules, now):
            incident = step.transition.incident.id
            if step.verdict is Verdict.WAIT or _is_later(state.not_before.get(incident, now), now):
                held.add(incident)
            if incident not in held:
                due.setdefault(incident, []).append(step)
        for incident, steps in due.items():
            self._start(group, state, incident, partial(self._tell, channel, state, steps))
        await self._again(channel, state, group, now)

    def _start(
        self, group: asyncio.TaskGroup, state: _State, incident: str, work: Callable[[], Awaitable[None]]
    ) -> None:
        async def told() -> None:
            try:
                async with state.turns:
                    await work()
            finally:
                state.busy.discard(incident)
                state.wake.set()

        state.busy.add(incident)
        group.create_task(told())

    async def _tell(self, channel: Channel, state: _State, steps: Sequence[Step]) -> None:
        """One incident's steps in order, as far as they arrive."""
        for step in steps:
            if step.verdict is Verdict.SKIP:
                await self._record(channel, step.transition.id, "skipped", step.reason)
            elif not await self._send(channel, state, step.transition):
                return

    def _wait(self, state: _State, looked: datetime) -> float:
        """Seconds until something falls due by itself that was not due when we looked."""
        soonest = min((at for at in state.not_before.values() if at > looked), default=None)
        return LOOK if soonest is None else min(LOOK, max(0.0, (soonest - self._clock()).total_seconds()))

    async def _send(self, channel: Channel, state: _State, transition: Transition) -> bool:
        mentions = await asyncio.to_thread(messages.recent, self.store.mentions, transition)
        incident = transition.incident.id
        reason = await self._try(channel, channel.scribe.told(transition, mentions))
        if reason:
            failures = state.failures[incident] = state.failures.get(incident, 0) + 1
            longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(failures - 1, 10))
            state.not_before[incident] = self._clock() + longest * self._random.uniform(0.5, 1.0)
            await self._record(channel, transition.id, "failed", reason, failures)
            return False
        attempts = state.failures.pop(incident, 0) + 1
        state.not_before.pop(incident, None)
        state.repeated_at[incident] = self._clock()
        await self._record(channel, transition.id, "sent", "", attempts)
        return True

    async def _try(self, channel: Channel, message: Message) -> str:
        """Send; give back the reason why it did not arrive, empty when it did."""
        try:
            await channel.module.send(message, channel.options)
        except SourceError as error:
            self._metrics.notifications_failed.labels(channel.name, error.reason).inc()
            log.warning("not_told", channel=channel.name, reason=error.reason, message=message.id)
            return error.reason
        self._metrics.notifications.labels(channel.name).inc()
        return ""

    async def _again(self, channel: Channel, state: _State, group: asyncio.TaskGroup, now: datetime) -> None:
        """Reminders of incidents that go on, and the sign of life; neither is tried again when it fails."""
        rules = channel.rules
        if rules.repeat and not is_quiet(rules, now):
            ongoing = {i.id: i for i in await asyncio.to_thread(self.store.incidents, states=OPEN, limit=1000)}
            told_before = await asyncio.to_thread(self.store.told, channel.name, sorted(ongoing))  # by another process
            # also what is being told right now
            kept = {id: at for id, at in state.repeated_at.items() if id in ongoing}
            state.repeated_at = dict.fromkeys(told_before, now) | kept
            for id in told_before - state.busy:
                if abs(now - state.repeated_at[id]) >= rules.repeat:
                    state.repeated_at[id] = now
                    self._start(group, state, id, partial(self._repeat, channel, ongoing[id], now))
        if rules.heartbeat and (state.heartbeat_at is None or abs(now - state.heartbeat_at) >= rules.heartbeat):
            state.heartbeat_at = now
            if HEARTBEAT not in state.busy:
                self._start(group, state, HEARTBEAT, partial(self._heartbeat, channel, now))

    async def _repeat(self, channel: Channel, incident: Incident, now: datetime) -> None:
        was = Transition(f"{incident.id}/repeat", now, incident, incident.state, incident.state)
        mentions = await asyncio.to_thread(messages.recent, self.store.mentions, was)
        await self._try(channel, channel.scribe.told(was, mentions, repeated_at=now))

    async def _heartbeat(self, channel: Channel, now: datetime) -> None:
        health = await asyncio.to_thread(self.store.health)
        well = sum(1 for one in health if one.last_success_at and not one.errors_in_a_row)
        ongoing = await asyncio.to_thread(self.store.incidents, states=OPEN, limit=1000)
        await self._try(channel, channel.scribe.heartbeat(now, well, len(health), len(ongoing)))

    async def _record(self, channel: Channel, transition: str, outcome: str, reason: str, attempts: int = 1) -> None:
        told = Notification(transition, channel.name, self._clock(), outcome, reason, attempts)

        def add() -> None:
            with self.store.transaction() as tx:
                tx.add_notification(told)

        await self._write(add)


def _is_later(moment: datetime, now: datetime) -> bool:
    """Whether to wait for it. What lies further off than any wait is of a clock that has been put back since."""
    return now < moment <= now + LONGEST_WAIT
