"""What is known to have happened, and what fired when: the two sides that a backtest compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from listener.causes import CAUSES
from listener.errors import InputError
from listener.kinds import convert, rows, toml_file
from listener.types import IncidentState, Transition

LASTS = timedelta(hours=6)  # of an event without an end, after the latest onset


@dataclass(frozen=True, slots=True)
class Event:
    """A fact of `data/events`; its README says what the fields mean."""

    id: str
    service: str
    regions: tuple[str, ...]
    onset_low_at: datetime
    onset_high_at: datetime
    cause: str
    source: str = ""
    end_at: datetime | None = None
    note: str = ""
    synthetic: bool = False

    def __post_init__(self) -> None:
        if self.cause not in CAUSES:
            raise ValueError(f"cause {self.cause!r} is none of {', '.join(CAUSES)}")
        times = [self.onset_low_at, self.onset_high_at, self.over_at]
        if any(at.tzinfo is None for at in times):
            raise ValueError("times need an offset, such as 2026-03-12T14:01:00Z")
        if times != sorted(times):
            raise ValueError("onset_low_at, onset_high_at and end_at are not in this order")

    @property
    def over_at(self) -> datetime:
        return self.end_at or self.onset_high_at + LASTS

    @property
    def onset_at(self) -> datetime:
        """The middle of what is known."""
        return self.onset_low_at + (self.onset_high_at - self.onset_low_at) / 2

    def has(self, region: str) -> bool:
        return not self.regions or region in self.regions


@dataclass(frozen=True, slots=True)
class Flag:
    """A time during which an incident fires for a region."""

    incident: str
    service: str
    region: str
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """What was watched: from when to when, in how many regions (without the unknown one)."""

    start_at: datetime
    end_at: datetime
    regions: int

    @property
    def length(self) -> timedelta:
        return self.end_at - self.start_at


def catalogue(paths: Iterable[Path]) -> tuple[Event, ...]:
    """Read event files in order of onset. Raises `InputError` that says which file and event is wrong, and how."""
    made: dict[str, Event] = {}
    for path in paths:
        table = toml_file(path)
        common: dict[str, Any] = {key: table[key] for key in ("source", "synthetic") if key in table}
        for n, row in enumerate(rows(table, "event", str(path)), 1):
            event = convert({**common, **row}, Event, f"{path}: event {row.get('id', n)}")
            if event.id in made:
                raise InputError(f"{path}: event {event.id}: there is another with this id")
            made[event.id] = event
    return tuple(sorted(made.values(), key=lambda event: (event.onset_low_at, event.id)))


def flags(transitions: Iterable[Transition], until: datetime) -> list[Flag]:
    """The times during which each region of each incident fires; what fires at `until` ends there."""
    since: dict[tuple[str, str, str], datetime] = {}
    made = []
    for transition in transitions:
        incident = transition.incident
        if transition.to_state is IncidentState.FIRING:
            for region in incident.regions:
                since.setdefault((incident.id, incident.service, region), transition.at)
        else:
            over = [key for key in since if key[0] == incident.id]
            made += [Flag(*key, since.pop(key), transition.at) for key in over]
    made += [Flag(*key, at, max(at, until)) for key, at in since.items()]
    return sorted(made, key=lambda flag: (flag.start_at, flag.incident, flag.region))
