"""Two replays of the same posts side by side: which incidents appear, vanish, come earlier or later, last longer, differ.

Incidents of the two are one and the same when they have the same service and their times overlap, the longest overlap first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from listener.types import Incident, IncidentState, Transition

MINUTE = timedelta(minutes=1)
MUCH = timedelta(minutes=5)  # a difference in length that is told
WORDS = (
    "appears", "vanishes", "splits", "merges", "confirmed", "unconfirmed", "earlier", "later", "longer", "shorter", "regions",
    "cause", "same",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """An incident as people would have heard of it. `noticed_at` is None when it never was more than possible."""

    id: str
    service: str
    started_at: datetime  # the onset, as worked out afterwards
    noticed_at: datetime | None
    ended_at: datetime | None  # None: open when the archive ended
    regions: tuple[str, ...]
    cause: str
    sureness: float  # the cause's probability
    people: int

    def until(self, end_at: datetime) -> datetime:
        return self.ended_at or max(end_at, self.started_at)


@dataclass(frozen=True, slots=True)
class Side:
    """What one replay told, and under what. Digests are those of `Incident`."""

    name: str
    model: str
    config: str
    incidents: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One incident under both. `kind` is appears, vanishes, splits, merges, changes or same; `words` say what changes."""

    kind: str
    before: Told | None
    after: Told | None
    words: tuple[str, ...] = ()
    noticed: int | None = None  # minutes later (earlier when negative) under the second
    lasts: int | None = None  # minutes longer
    gained: tuple[str, ...] = ()  # regions
    lost: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        return self.some.service

    @property
    def some(self) -> Told:
        """The one there is, of both the first."""
        made = self.before or self.after
        assert made is not None
        return made


def told(transitions: Iterable[Transition]) -> tuple[Told, ...]:
    """The incidents of a replay, by onset: each as it was after its last change."""
    last: dict[str, Incident] = {}
    noticed: dict[str, datetime] = {}
    for transition in transitions:
        last[transition.incident.id] = transition.incident
        if transition.to_state is IncidentState.FIRING:
            noticed.setdefault(transition.incident.id, transition.at)
    made = [_told(incident, noticed.get(id)) for id, incident in last.items()]
    return tuple(sorted(made, key=_order))


def _told(incident: Incident, noticed_at: datetime | None) -> Told:
    cause = max(sorted(incident.cause), key=incident.cause.__getitem__, default="")
    return Told(
        id=incident.id,
        service=incident.service,
        started_at=incident.started_at,
        noticed_at=noticed_at,
        ended_at=incident.resolved_at if incident.state is IncidentState.RESOLVED else None,
        regions=incident.regions,
        cause=cause,
        sureness=incident.cause.get(cause, 0.0),
        people=incident.authors,
    )


def _order(one: Told) -> tuple[datetime, str, str]:
    return one.started_at, one.service, one.id


def compared(before: Sequence[Told], after: Sequence[Told], end_at: datetime) -> list[Change]:
    """Every incident of both, by onset. `end_at` is when the archive ends, for those that are open then."""
    overlaps = sorted(
        (
            (overlap, a, b)
            for a in before
            for b in after
            if a.service == b.service and (overlap := _overlap(a, b, end_at)) > timedelta(0)
        ),
        key=lambda found: (-found[0], _order(found[1]), _order(found[2])),
    )
    matched: dict[str, Told] = {}
    taken: set[str] = set()
    for _, a, b in overlaps:
        if a.id not in matched and b.id not in taken:
            matched[a.id] = b
            taken.add(b.id)
    meets = {a.id for _, a, _ in overlaps}, {b.id for _, _, b in overlaps}
    changes = [
        _pair(a, matched[a.id], end_at)
        if a.id in matched
        else Change("merges" if a.id in meets[0] else "vanishes", a, None)
        for a in before
    ]
    changes += [Change("splits" if b.id in meets[1] else "appears", None, b) for b in after if b.id not in taken]
    return sorted(changes, key=lambda change: _order(change.some))


def _overlap(a: Told, b: Told, end_at: datetime) -> timedelta:
    """At least a minute when both began in the same one."""
    start = max(a.started_at, b.started_at)
    return min(a.until(end_at), b.until(end_at)) - start + (MINUTE if a.started_at == b.started_at else timedelta(0))


def _pair(a: Told, b: Told, end_at: datetime) -> Change:
    noticed = round((b.noticed_at - a.noticed_at) / MINUTE) if a.noticed_at and b.noticed_at else None
    longer = (b.until(end_at) - b.started_at) - (a.until(end_at) - a.started_at)
    gained = tuple(region for region in b.regions if region not in a.regions)
    lost = tuple(region for region in a.regions if region not in b.regions)
    words = [
        word
        for word, holds in (
            ("confirmed", b.noticed_at is not None and a.noticed_at is None),
            ("unconfirmed", a.noticed_at is not None and b.noticed_at is None),
            ("earlier", (noticed or 0) < 0),
            ("later", (noticed or 0) > 0),
            ("longer", longer >= MUCH),
            ("shorter", longer <= -MUCH),
            ("regions", bool(gained or lost)),
            ("cause", a.cause != b.cause),
        )
        if holds
    ]
    kind = "changes" if words else "same"
    return Change(kind, a, b, tuple(words), noticed, round(longer / MINUTE), gained, lost)


def counts(changes: Iterable[Change]) -> dict[str, int]:
    """How many incidents appear, vanish and so on, and how many change in which way; what there is none of is left out."""
    found = Counter(word for change in changes for word in (change.kind, *change.words))
    return {word: found[word] for word in WORDS if found[word]}
