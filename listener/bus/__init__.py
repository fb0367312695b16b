"""How batches travel between roles when one machine is not enough: the `Bus` protocol and `open_bus`.

A bus keeps what was published until it is acknowledged, gives it to one worker at a time, and gives it to another when that
one dies. It may give a thing twice and, when several of its machines die at once, lose it: who uses it numbers what it
publishes, and publishes again what nobody confirms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from listener import config
from listener.errors import ConfigError


class Delivery(Protocol):
    """One thing taken from the bus; it comes again, to anybody, unless it is acknowledged or worked on in time."""

    @property
    def id(self) -> str:
        """What it was published under."""
        ...

    @property
    def body(self) -> bytes: ...

    @property
    def tries(self) -> int:
        """How often it was given out, this time included."""
        ...

    async def ack(self) -> None:
        """Done with: it does not come again. Lost on the way, it comes again after all."""
        ...

    async def working(self) -> None:
        """Still at it: the time after which it is given to somebody else begins anew."""
        ...

    async def give_back(self) -> None:
        """Not done with and not at it any more: it is given to somebody else at once."""
        ...


@dataclass(frozen=True)
class DeadLetter:
    """What nobody could work on, and why."""

    number: int  # by which the bus knows it, the older the smaller
    id: str  # what it was buried under
    body: bytes = field(repr=False)
    reason: str
    buried_at: datetime | None = None  # as far as the bus has a clock


class Bus(Protocol):
    """A bus that is open. Used from one event loop; what it can't do now it tries again until it can."""

    @property
    def largest(self) -> int:
        """Bytes a body may have."""
        ...

    @property
    def rings(self) -> int:
        """How often the bell was heard."""
        ...

    async def publish(self, id: str, body: bytes) -> None:
        """Until the bus has it. The same id again within two minutes counts once; a bus that is full lets one wait."""
        ...

    async def fetch(self, wait: float) -> Delivery | None:
        """The next thing nobody works on, None after so many seconds without one."""
        ...

    async def bury(self, id: str, body: bytes, reason: str) -> None:
        """Put what can't be worked on among the dead letters, once an id."""
        ...

    async def dead_letters(self) -> list[DeadLetter]:
        """All there are, oldest first."""
        ...

    async def remove(self, letter: DeadLetter) -> None:
        """For good; one that is gone already is fine."""
        ...

    async def ring(self) -> None:
        """Wake everyone who waits for the store to change. A ring may get lost: nobody relies on it."""
        ...

    async def rung(self, seen: int, wait: float) -> None:
        """Until the bell was heard more often than `seen`, or so many seconds have passed."""
        ...

    async def close(self) -> None:
        """Let go; what was fetched and not acknowledged comes again."""
        ...


async def open_bus(settings: config.Bus) -> Bus:
    """Open the bus of a URL: `nats://HOST:4222` (several with commas), or `local:` within this process.

    Raises `ConfigError` for a URL nobody serves, `BusError` when the bus does not answer.
    """
    scheme = settings.url.partition(":")[0]
    if scheme == "local":
        from listener.bus.inprocess import InProcessBus

        return InProcessBus(settings)
    if scheme in ("nats", "tls"):
        try:
            from listener.bus.nats import NatsBus
        except ImportError as error:
            raise ConfigError("bus: NATS needs nats-py: pip install 'outage-listener[scale]'") from error
        return await NatsBus.open(settings)
    raise ConfigError(f"bus: unknown scheme {scheme!r}; write nats://HOST:4222, or local: for roles within one process")
