"""A bus within one process, for all roles on one machine: the same promises, kept in memory only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from listener import config
from listener.bus import DeadLetter
from listener.bus._bell import Bell

REMEMBERED = 10_000  # ids that are recognised when they are published again
DEAD_KEPT = 1_000
LARGEST = 1 << 20


@dataclass(eq=False)
class Parcel:
    """Implements `listener.bus.Delivery`."""

    bus: InProcessBus = field(repr=False)
    id: str
    body: bytes = field(repr=False)
    tries: int = 0
    due: float = 0.0  # loop time after which it is given to somebody else

    async def ack(self) -> None:
        self.bus.settled(self)

    async def working(self) -> None:
        self.bus.prolonged(self)

    async def give_back(self) -> None:
        self.bus.returned(self)


class InProcessBus:
    """Implements `listener.bus.Bus`."""

    largest = LARGEST

    def __init__(self, settings: config.Bus) -> None:
        self._most = settings.most
        self._redeliver_after = settings.redeliver_after.total_seconds()
        self._known: OrderedDict[str, None] = OrderedDict()
        self._waiting: deque[Parcel] = deque()
        self._out: dict[Parcel, None] = {}  # in order
        self._changed = Bell()
        self._bell = Bell()
        self._dead: deque[DeadLetter] = deque(maxlen=DEAD_KEPT)
        self._buried = 0

    @property
    def rings(self) -> int:
        return self._bell.rings

    async def publish(self, id: str, body: bytes) -> None:
        while id not in self._known and len(self._waiting) + len(self._out) >= self._most:
            await self._changed.heard(self._changed.rings, self._redeliver_after)
        if self._is_new(id):
            self._waiting.append(Parcel(self, id, body))
            self._changed.strike()

    async def fetch(self, wait: float) -> Parcel | None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            now = loop.time()
            overdue = sorted((p for p in self._out if p.due <= now), key=lambda p: p.due)
            if overdue or self._waiting:
                parcel = overdue[0] if overdue else self._waiting.popleft()
                parcel.tries += 1
                parcel.due = now + self._redeliver_after
                self._out[parcel] = None
                return parcel
            if now >= until:
                return None
            soonest = min((p.due for p in self._out), default=until)
            await self._changed.heard(self._changed.rings, max(0.0, min(until, soonest) - now))

    async def bury(self, id: str, body: bytes, reason: str) -> None:
        if self._is_new(f"dead:{id}"):
            self._buried += 1
            self._dead.append(DeadLetter(self._buried, id, body, reason))

    async def dead_letters(self) -> list[DeadLetter]:
        return list(self._dead)

    async def remove(self, letter: DeadLetter) -> None:
        if letter in self._dead:
            self._dead.remove(letter)

    async def ring(self) -> None:
        self._bell.strike()

    async def rung(self, seen: int, wait: float) -> None:
        await self._bell.heard(seen, wait)

    async def close(self) -> None:
        for parcel in self._out:
            parcel.due = 0.0
        self._changed.strike()

    def settled(self, parcel: Parcel) -> None:
        """A parcel was acknowledged."""
        self._out.pop(parcel, None)
        self._changed.strike()

    def prolonged(self, parcel: Parcel) -> None:
        """A parcel is being worked on."""
        if parcel in self._out:
            parcel.due = asyncio.get_running_loop().time() + self._redeliver_after

    def returned(self, parcel: Parcel) -> None:
        """A parcel is nobody's."""
        if parcel in self._out:
            parcel.due = 0.0
            self._changed.strike()

    def _is_new(self, id: str) -> bool:
        if id in self._known:
            return False
        self._known[id] = None
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return True
