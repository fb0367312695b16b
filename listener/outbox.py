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
from random import Random
from types import ModuleType
from typing import Any

from listener import messages, telemetry
from listener.channels import Message
from listener.errors import SourceError
from listener.messages import Scribe
from listener.store import Store
from listener.telling import Rules, Verdict, is_quiet, plan
from listener.types import IncidentState, Notification, Transition

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
LOOK = 30.0  # seconds after which a channel looks again by itself: quiet hours end, repeats and heartbeats fall due
OPEN = (IncidentState.PENDING, IncidentState.FIRING)

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
    """What one channel's loop remembers: when failed incidents are tried again, and when it last spoke of itself."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
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
        while True:
            state.wake.clear()
            await self.tell(channel)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._wait(state)):
                    await state.wake.wait()

    async def tell(self, channel: Channel) -> None:
        """Everything that is due on one channel now."""
        state, now = self._states[channel.name], self._clock()
        untold = [t for t in await asyncio.to_thread(self.store.untold, channel.name) if t.at >= self._told_from]
        incidents = sorted({transition.incident.id for transition in untold})
        known = await asyncio.to_thread(self.store.told, channel.name, incidents)
        held: set[str] = set()  # incidents whose next word must wait for the one before
        for step in plan(untold, known, channel.rules, now):
            incident = step.transition.incident.id
            if incident in held or step.verdict is Verdict.WAIT or state.not_before.get(incident, now) > now:
                held.add(incident)
            elif step.verdict is Verdict.SKIP:
                await self._record(channel, step.transition.id, "skipped", step.reason)
            elif not await self._send(channel, state, step.transition):
                held.add(incident)
        await self._again(channel, state, now)

    def _wait(self, state: _State) -> float:
        """Seconds until something falls due by itself."""
        soonest = min(state.not_before.values(), default=None)
        return LOOK if soonest is None else min(LOOK, max(0.1, (soonest - self._clock()).total_seconds()))

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

    async def _again(self, channel: Channel, state: _State, now: datetime) -> None:
        """Reminders of incidents that go on, and the sign of life; neither is tried again when it fails."""
        rules = channel.rules
        if rules.repeat and not is_quiet(rules, now):
            for incident in await asyncio.to_thread(lambda: self.store.incidents(states=OPEN, limit=1000)):
                last = state.repeated_at.get(incident.id)
                if last is not None and now - last >= rules.repeat:
                    state.repeated_at[incident.id] = now
                    was = Transition(f"{incident.id}/repeat", now, incident, incident.state, incident.state)
                    mentions = await asyncio.to_thread(messages.recent, self.store.mentions, was)
                    await self._try(channel, channel.scribe.told(was, mentions, repeated_at=now))
        if rules.heartbeat and (state.heartbeat_at is None or now - state.heartbeat_at >= rules.heartbeat):
            state.heartbeat_at = now
            health = await asyncio.to_thread(self.store.health)
            well = sum(1 for one in health if one.last_success_at and not one.errors_in_a_row)
            ongoing = await asyncio.to_thread(lambda: len(self.store.incidents(states=OPEN, limit=1000)))
            await self._try(channel, channel.scribe.heartbeat(now, well, len(health), ongoing))

    async def _record(self, channel: Channel, transition: str, outcome: str, reason: str, attempts: int = 1) -> None:
        told = Notification(transition, channel.name, self._clock(), outcome, reason, attempts)

        def add() -> None:
            with self.store.transaction() as tx:
                tx.add_notification(told)

        await self._write(add)
