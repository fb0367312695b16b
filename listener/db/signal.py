"""The signal of one series in bins without gaps: what was seen, what was usual, how much could be heard, and its state then."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from listener import kinds
from listener.frames import Row
from listener.signals import bins
from listener.signals.exposure import exposure, shares_of, volumes
from listener.store import Store
from listener.store.usual import mean_of_bin, top_of_bin
from listener.types import (
    Expected,
    Floats,
    Incident,
    IncidentState,
    Point,
    SeriesKey,
    SourceHealth,
    State,
    Transition,
)
from listener.web.views import DEAF

DAY = timedelta(days=1)
ALL = 1_000_000  # rows of anything: as good as no limit


def rows(
    store: Store, key: SeriesKey, start_at: datetime, stop_at: datetime, length: timedelta, heard: Floats
) -> Iterator[Row]:
    """Rows of `Db.signal`, a bin each. `heard` is the exposure of the region, a value a minute from `start_at` on."""
    where = {"service": key.service, "region": key.region}
    said = {p.at: p for p in store.binned(length, **where, since=start_at, until=stop_at)}
    hours = store.expected(**where, since=start_at - DAY, until=stop_at)
    usual = _running_on({int(hour.at.timestamp()): hour for hour in hours}, stop_at)
    states = States(key, store.incidents(service=key.service, since=start_at, limit=ALL), store)
    size, seconds, silence = length // bins.BIN, int(length.total_seconds()), Point(key, start_at, 0.0, 0, 0)
    for n in range(bins.count(start_at, stop_at, length)):
        at = start_at + n * length
        point, share = said.get(at, silence), float(heard[n * size : (n + 1) * size].mean())
        second = int(at.timestamp())
        state = states.by(at + length)
        yield {
            "time": at,
            "observed": None if share == 0 and not point.posts else point.observed,
            "expected": mean_of_bin(usual, second, seconds),
            "upperbound": top_of_bin(usual, second, seconds),
            "exposure": share,
            "posts": point.posts,
            "authors": point.authors,
            "recovered": point.recovered,
            "state": (State.NO_DATA if state is State.QUIET and share < DEAF else state).value,
            **where,
        }


def heard_of(
    store: Store, regions: Sequence[str], every: Collection[str], start_at: datetime, stop_at: datetime
) -> dict[str, Floats]:
    """Exposure by minute: 1 throughout in a store that was filled by a replay, for which no source was listened to.

    `every` region is one that streams without a region speak for.
    """
    places = [(health.source, health.region) for health in store.health() if _speaks(health, start_at)]
    shares = shares_of(volumes(places, every))
    hearing = store.hearing(start_at, stop_at) if shares else []
    return exposure(hearing, shares, regions, start_at, stop_at)


class States:
    """The state of one series at any instant, from the changes of its incidents that were written down."""

    def __init__(self, key: SeriesKey, incidents: Sequence[Incident], store: Store) -> None:
        self._spans: list[tuple[datetime, State]] = []
        for incident in sorted(incidents, key=lambda one: one.started_at):
            if any(part.region == key.region for part in incident.parts):
                self._spans += _changes(key.region, incident, store.transitions(incident=incident.id, limit=ALL))

    def by(self, instant: datetime) -> State:
        """As last written down by then."""
        state = State.QUIET
        for at, then in self._spans:
            if at > instant:
                break
            state = then
        return state


def _changes(region: str, incident: Incident, told: Sequence[Transition]) -> Iterator[tuple[datetime, State]]:
    began = False
    for change in told:
        part = next((part for part in change.incident.parts if part.region == region), None)
        if part is None:
            continue
        if not began:
            yield min(part.onset_at, change.at), State.POSSIBLE
        began = True
        yield change.at, State.QUIET if change.to_state is IncidentState.RESOLVED else part.state
    if incident.state is not IncidentState.RESOLVED:
        yield incident.updated_at, next(part.state for part in incident.parts if part.region == region)


def _running_on(usual: Mapping[int, Expected], stop_at: datetime) -> dict[int, Expected]:
    """The hours worked out, and those that still run, which are taken to be like the last one."""
    made = dict(usual)
    if usual:
        last = max(usual)
        for hour in range(last + 3600, min(int(stop_at.timestamp()), last + 3 * 3600), 3600):
            made[hour] = usual[last]
    return made


def _speaks(health: SourceHealth, since: datetime) -> bool:
    """Whether a source was listened to in this time, and its silence means deafness."""
    known = [at for at in (health.last_success_at, health.next_try_at) if at is not None]
    if not known or max(known) < since:
        return False
    return health.kind not in kinds.names("sources") or not getattr(
        kinds.load("sources", health.kind, health.source), "CORROBORATES", False
    )
