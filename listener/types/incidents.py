"""What people are told about: incidents, their changes, who was told, and how the sources are doing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from listener.types.series import State


class IncidentState(StrEnum):
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class RegionPart:
    """One region's share in an incident. `onset_at` lies between `onset_low_at` and `onset_high_at`."""

    region: str
    state: State
    onset_at: datetime
    onset_low_at: datetime
    onset_high_at: datetime
    observed: float
    expected: float
    score: float  # the highest so far


@dataclass(frozen=True, slots=True)
class Incident:
    """Alarms that belong together: one service, one or more regions, in order of onset."""

    id: str
    service: str
    state: IncidentState
    parts: tuple[RegionPart, ...]
    started_at: datetime
    updated_at: datetime
    resolved_at: datetime | None = None
    quiet_since_at: datetime | None = None
    cause: dict[str, float] = field(default_factory=dict)
    cause_evidence: tuple[str, ...] = ()
    observed: float = 0.0
    expected: float = 0.0
    authors: int = 0
    posts: int = 0
    model: str = ""  # digests of what judged the posts and of what the operator had decided, at the last transition
    config: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(part.region for part in self.parts)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an incident's state, stored before anyone is told. `incident` is as it is after the change."""

    id: str
    at: datetime
    incident: Incident
    from_state: IncidentState | None
    to_state: IncidentState


@dataclass(frozen=True, slots=True)
class Notification:
    """One transition told to one channel, with its outcome."""

    transition_id: str
    channel: str
    at: datetime
    outcome: str  # "sent" or "failed"
    reason: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is doing. Times are None until the thing has happened once."""

    source: str
    kind: str
    region: str = ""
    last_success_at: datetime | None = None
    last_item_at: datetime | None = None
    errors_in_a_row: int = 0
    reason: str = ""
    next_try_at: datetime | None = None
    posts: int = 0
    lag: timedelta | None = None
