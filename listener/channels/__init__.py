"""How people and programs are told: one kind a file. Names with a leading underscore are not kinds.

A kind has a frozen `Options` and one verb, `async def send(message, options)`. It raises `SourceError` with a named reason when
the message did not arrive; the outbox tries again later, in order, so that a message may come twice but is not lost. A message
that comes twice has the same `id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from listener.types import Transition


@dataclass(frozen=True, slots=True)
class Evidence:
    """One of the posts an incident rests on, shortened."""

    text: str
    language: str
    source: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """What is told, in the reader's language. `transition` is None in a heartbeat."""

    id: str
    at: datetime
    title: str
    body: str
    link: str = ""
    transition: Transition | None = None
    evidence: tuple[Evidence, ...] = ()
