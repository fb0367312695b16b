"""The default store: one SQLite file in WAL mode. `sqlite:///:memory:` is for tests and short replays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from listener.errors import ConfigError
from listener.store import codec, sqlite_file
from listener.store import sqlite_queries as queries
from listener.store.sqlite_connections import Connections
from listener.store.sqlite_writer import SqliteWriter
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
    Transition,
)

FORGET_BATCH = 2_000  # mentions a transaction: a month's worth must not hold up the posts that arrive


class SqliteStore:
    """Implements `listener.store.Store`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> SqliteStore:
        """Open `sqlite:///PATH`; make or migrate it unless it is only read. Raises `StoreError` when it can't be had."""
        path = sqlite_file.path_of(url)
        if path is None and read_only:
            raise ConfigError(f"store {url!r}: a store in memory starts empty, it can't be opened read-only")
        return cls(Connections.open(path, read_only=read_only))

    @contextmanager
    def transaction(self) -> Iterator[SqliteWriter]:
        with self._connections.writing() as db:
            yield SqliteWriter(db, on_erase=self._connections.erased)

    def close(self) -> None:
        self._connections.close()

    def forget(self, now: datetime, texts_before: datetime) -> int:
        total = 0
        while True:
            with self.transaction() as writer:
                erased = writer.forget(now, texts_before, FORGET_BATCH)
            total += erased
            if erased < FORGET_BATCH:
                return total

    def mentions(
        self,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> list[Mention]:
        since_at, until_at = codec.bounds(since, until)
        rows = self._all(
            queries.newest_mentions(by_service=bool(service), by_region=bool(region)),
            {"service": service, "region": region, "since": since_at, "until": until_at, "limit": limit},
        )
        return [codec.mention_of(row) for row in rows]

    def told_of(
        self, authors: Sequence[str], since: datetime, until: datetime
    ) -> dict[str, list[tuple[datetime, tuple[RegionWeight, ...]]]]:
        made: dict[str, list[tuple[datetime, tuple[RegionWeight, ...]]]] = {}
        for author, at, body in self._all(queries.TOLD_OF, (codec.listed(authors), *codec.bounds(since, until))):
            made.setdefault(author, []).append((codec.instant(at), codec.regions_of(body)))
        return made

    def points(
        self, *, service: str = "", region: str = "", since: datetime | None = None, until: datetime | None = None
    ) -> list[Point]:
        since_at, until_at = codec.bounds(since, until)
        query = queries.points(one_series=bool(service and region))
        rows = self._all(query, {"service": service, "region": region, "since": since_at, "until": until_at})
        return [codec.point_of(row) for row in rows]

    def binned(
        self,
        length: timedelta,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Point]:
        since_at, until_at = codec.bounds(since, until)
        values = {"service": service, "region": region, "since": since_at, "until": until_at}
        query = queries.binned(one_series=bool(service and region))
        rows = self._all(query, {**values, "length": length // codec.MICROSECOND})
        return [codec.sum_of(row) for row in rows]

    def expected(
        self, *, service: str = "", region: str = "", since: datetime | None = None, until: datetime | None = None
    ) -> list[Expected]:
        since_at, until_at = codec.bounds(since, until)
        query = queries.expected(by_service=bool(service), by_region=bool(region))
        rows = self._all(query, {"service": service, "region": region, "since": since_at, "until": until_at})
        return [codec.expected_of(row) for row in rows]

    def hourly(self, service: str, since: datetime, until: datetime) -> dict[tuple[str, datetime], float]:
        rows = self._all(queries.HOURLY, (service, *codec.bounds(since, until)))
        return {(region, codec.instant(hour)): observed for region, hour, observed in rows}

    def heard_hours(self, since: datetime, until: datetime) -> dict[datetime, float]:
        rows = self._all(queries.HEARD_HOURS, codec.bounds(since, until))
        return {codec.instant(hour): share for hour, share in rows}

    def keys(self, since: datetime | None = None) -> list[SeriesKey]:
        since_at, _ = codec.bounds(since, None)
        return [SeriesKey(*row) for row in self._all(queries.SERIES, {"service": "", "since": since_at})]

    def hearing(self, since: datetime, until: datetime) -> list[Hearing]:
        rows = self._all(queries.HEARING, codec.bounds(since, until))
        return [codec.hearing_of(row) for row in rows]

    def dropped(self, since: datetime | None = None) -> dict[tuple[str, str], int]:
        day = "" if since is None else since.astimezone(UTC).date().isoformat()
        rows = self._all(queries.DROPPED, (day,))
        return {(source, reason): posts for source, reason, posts in rows}

    def incidents(
        self,
        *,
        states: Sequence[IncidentState] = (),
        service: str = "",
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        wanted = codec.listed([state.value for state in states or tuple(IncidentState)])
        since_at, _ = codec.bounds(since, None)
        rows = self._all(queries.INCIDENTS, {"states": wanted, "service": service, "since": since_at, "limit": limit})
        return [codec.incident_of(body) for (body,) in rows]

    def incident(self, id: str) -> Incident | None:
        body = self._value(queries.INCIDENT, id)
        return None if body is None else codec.incident_of(body)

    def transitions(self, *, incident: str = "", after: str = "", limit: int = 1000) -> list[Transition]:
        query = queries.TRANSITIONS_OF_INCIDENT if incident else queries.TRANSITIONS
        rows = self._all(query, {"incident": incident, "after": after, "limit": limit})
        return [codec.transition_of(row) for row in rows]

    def notifications(self, *, transition: str = "") -> list[Notification]:
        if transition:
            rows = self._all(queries.NOTIFICATIONS_OF_TRANSITION, (transition,))
        else:
            rows = self._all(queries.NOTIFICATIONS, ())
        return [codec.notification_of(row) for row in rows]

    def untold(self, channel: str) -> list[Transition]:
        rows = self._all(queries.UNTOLD, (channel,))
        return [codec.transition_of(row) for row in rows]

    def told(self, channel: str, incidents: Sequence[str]) -> set[str]:
        return {incident for (incident,) in self._all(queries.TOLD, (channel, codec.listed(list(incidents))))}

    def cursor(self, source: str) -> str | None:
        return self._value(queries.CURSOR, source)

    def mark(self, name: str) -> str | None:
        return self._value(queries.MARK, name)

    def health(self) -> list[SourceHealth]:
        rows = self._all(queries.HEALTH, ())
        return [codec.health_of(row) for row in rows]

    def verify(self) -> list[str]:
        with self._connections.reading() as db:
            try:
                findings = [line for (line,) in db.execute("PRAGMA integrity_check(20)") if line != "ok"]
                for what, question in queries.CONTRADICTIONS.items():
                    (count,) = db.execute(question).fetchone()
                    if count:
                        findings.append(f"{count} {what}")
                for row in db.execute(queries.MENTIONS):
                    codec.mention_of(row)
            except (sqlite3.DatabaseError, msgspec.DecodeError, ValueError) as error:
                findings = [*findings, f"can't be read on: {error}"]
        return findings

    def _all(self, query: str, values: Any) -> list[codec.Row]:
        with self._connections.reading() as db:
            return db.execute(query, values).fetchall()

    def _value(self, query: str, name: str) -> str | None:
        rows = self._all(query, (name,))
        return str(rows[0][0]) if rows else None
