"""The read side that both stores share: a question's arguments to values, its rows to nouns. What differs is the SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from listener.store import codec
from listener.types import (
    Expected,
    Hearing,
    Incident,
    IncidentState,
    Mention,
    Notification,
    Point,
    RegionWeight,
    SeriesKey,
    SourceHealth,
    Tally,
    Transition,
)


class Queries(Protocol):
    """A module of SQL in one dialect. Where values come as a tuple the order is that of the methods below."""

    TOLD_OF: str
    HOURLY: str
    HEARD_HOURS: str
    SERIES: str
    HEARING: str
    DROPPED: str
    TALLIES: str
    INCIDENTS: str
    INCIDENT: str
    TRANSITIONS: str
    TRANSITIONS_OF_INCIDENT: str
    NOTIFICATIONS: str
    NOTIFICATIONS_OF_TRANSITION: str
    UNTOLD: str
    TOLD: str
    CURSOR: str
    MARK: str
    HEALTH: str

    def newest_mentions(self, *, by_service: bool, by_region: bool) -> str: ...
    def points(self, *, one_series: bool) -> str: ...
    def binned(self, *, one_series: bool) -> str: ...
    def expected(self, *, by_service: bool, by_region: bool) -> str: ...


class Reading:
    """The reading methods of `listener.store.Store`. A store says how to ask (`_all`) and how a set is bound (`_set`)."""

    _queries: Queries

    def _all(self, query: str, values: Any) -> list[codec.Row]:
        raise NotImplementedError

    def _set(self, values: Sequence[str]) -> Any:
        raise NotImplementedError

    def trouble(self) -> str:
        return ""  # who can't be written to can't be read either, and says so then

    def mentions(
        self,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> list[Mention]:
        query = self._queries.newest_mentions(by_service=bool(service), by_region=bool(region))
        rows = self._all(query, {**_narrowed(service, region, since, until), "limit": limit})
        return [codec.mention_of(row) for row in rows]

    def told_of(
        self, authors: Sequence[str], since: datetime, until: datetime
    ) -> dict[str, list[tuple[datetime, tuple[RegionWeight, ...]]]]:
        made: dict[str, list[tuple[datetime, tuple[RegionWeight, ...]]]] = {}
        rows = self._all(self._queries.TOLD_OF, (self._set(authors), *codec.bounds(since, until)))
        for author, at, body in rows:
            made.setdefault(author, []).append((codec.instant(at), codec.regions_of(body)))
        return made

    def points(
        self, *, service: str = "", region: str = "", since: datetime | None = None, until: datetime | None = None
    ) -> list[Point]:
        query = self._queries.points(one_series=bool(service and region))
        return [codec.point_of(row) for row in self._all(query, _narrowed(service, region, since, until))]

    def binned(
        self,
        length: timedelta,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Point]:
        query = self._queries.binned(one_series=bool(service and region))
        values = {**_narrowed(service, region, since, until), "length": length // codec.MICROSECOND}
        return [codec.sum_of(row) for row in self._all(query, values)]

    def expected(
        self, *, service: str = "", region: str = "", since: datetime | None = None, until: datetime | None = None
    ) -> list[Expected]:
        query = self._queries.expected(by_service=bool(service), by_region=bool(region))
        return [codec.expected_of(row) for row in self._all(query, _narrowed(service, region, since, until))]

    def hourly(self, service: str, since: datetime, until: datetime) -> dict[tuple[str, datetime], float]:
        rows = self._all(self._queries.HOURLY, (service, *codec.bounds(since, until)))
        return {(region, codec.instant(hour)): observed for region, hour, observed in rows}

    def heard_hours(self, since: datetime, until: datetime) -> dict[datetime, float]:
        rows = self._all(self._queries.HEARD_HOURS, codec.bounds(since, until))
        return {codec.instant(hour): share for hour, share in rows}

    def keys(self, since: datetime | None = None) -> list[SeriesKey]:
        since_at, _ = codec.bounds(since, None)
        return [SeriesKey(*row) for row in self._all(self._queries.SERIES, {"service": "", "since": since_at})]

    def hearing(self, since: datetime, until: datetime) -> list[Hearing]:
        return [codec.hearing_of(row) for row in self._all(self._queries.HEARING, codec.bounds(since, until))]

    def dropped(self, since: datetime | None = None) -> dict[tuple[str, str], int]:
        day = "" if since is None else since.astimezone(UTC).date().isoformat()
        rows = self._all(self._queries.DROPPED, (day,))
        return {(source, reason): posts for source, reason, posts in rows}

    def tallies(self, since: str) -> list[Tally]:
        return [codec.tally_of(row) for row in self._all(self._queries.TALLIES, (since,))]

    def incidents(
        self,
        *,
        states: Sequence[IncidentState] = (),
        service: str = "",
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        wanted = self._set([state.value for state in states or tuple(IncidentState)])
        since_at, _ = codec.bounds(since, None)
        values = {"states": wanted, "service": service, "since": since_at, "limit": limit}
        return [codec.incident_of(body) for (body,) in self._all(self._queries.INCIDENTS, values)]

    def incident(self, id: str) -> Incident | None:
        body = self._value(self._queries.INCIDENT, id)
        return None if body is None else codec.incident_of(body)

    def transitions(self, *, incident: str = "", after: str = "", limit: int = 1000) -> list[Transition]:
        query = self._queries.TRANSITIONS_OF_INCIDENT if incident else self._queries.TRANSITIONS
        rows = self._all(query, {"incident": incident, "after": after, "limit": limit})
        return [codec.transition_of(row) for row in rows]

    def notifications(self, *, transition: str = "") -> list[Notification]:
        if transition:
            rows = self._all(self._queries.NOTIFICATIONS_OF_TRANSITION, (transition,))
        else:
            rows = self._all(self._queries.NOTIFICATIONS, ())
        return [codec.notification_of(row) for row in rows]

    def untold(self, channel: str) -> list[Transition]:
        return [codec.transition_of(row) for row in self._all(self._queries.UNTOLD, (channel,))]

    def told(self, channel: str, incidents: Sequence[str]) -> set[str]:
        rows = self._all(self._queries.TOLD, (channel, self._set(incidents)))
        return {incident for (incident,) in rows}

    def cursor(self, source: str) -> str | None:
        return self._value(self._queries.CURSOR, source)

    def mark(self, name: str) -> str | None:
        return self._value(self._queries.MARK, name)

    def health(self) -> list[SourceHealth]:
        return [codec.health_of(row) for row in self._all(self._queries.HEALTH, ())]

    def _value(self, query: str, name: str) -> str | None:
        rows = self._all(query, (name,))
        return str(rows[0][0]) if rows else None


def _narrowed(service: str, region: str, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    since_at, until_at = codec.bounds(since, until)
    return {"service": service, "region": region, "since": since_at, "until": until_at}
