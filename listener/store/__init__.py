"""What is kept, and the promise of how: the `Store` protocol and `open_store(url)`.

Writing happens in one transaction at a time, from one thread: data first, cursor second, all or nothing. Stable ids make
re-delivery harmless. Reading may happen from any thread and never blocks the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from listener.errors import ConfigError
from listener.types import (
    Delete,
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


class Writer(Protocol):
    """One open transaction; it sees its own writes. Leaving the `with` block commits, an exception rolls back.

    An error of the store (corrupt, read-only) reaches the caller as `StoreError` when the block is left, one that passes (disk
    full, locked by another program) as `StoreAway`; nothing of it is stored then. A writer is of no use after its block.
    """

    def add_mentions(self, mentions: Sequence[Mention]) -> list[Mention]:
        """Store mentions; give back those that were new or whose text had changed (an edit replaces).

        A post delivered again is not given back, and one that was erased stays erased. Of several with one id the last
        counts.
        """
        ...

    def mentions_of(self, post_ids: Sequence[str]) -> list[Mention]:
        """The mentions of these posts as stored now, by (at, post id): asked before `add_mentions`, what edits replace."""
        ...

    def mentions_between(self, services: Sequence[str], since: datetime, until: datetime) -> list[Mention]:
        """Mentions of the services with `since <= at < until`, in order of (at, post id)."""
        ...

    def erase(self, delete: Delete) -> list[Mention]:
        """Erase text, author, URL, place and matches of what upstream deleted, in the store's files too.

        Services, score, regions, cluster and instants stay, so that points stay as they are. Gives back the mentions
        as they were before, by (at, post id); what was erased already is not among them. An author is erased within
        the delete's source, or in all when that is empty.
        """
        ...

    def put_points(self, points: Sequence[Point]) -> None:
        """Insert or replace points by (key, at). A point with nothing in it (posts == 0) is deleted."""
        ...

    def put_expected(self, expected: Sequence[Expected]) -> None:
        """Insert or replace by (key, at)."""
        ...

    def add_hearing(self, hearing: Sequence[Hearing]) -> None:
        """Add to what was heard: posts sum up over the same (source, at); up wins over not up."""
        ...

    def add_dropped(self, source: str, day: str, reasons: dict[str, int]) -> None:
        """Add to the posts dropped on a UTC day (`2026-03-02`), by reason."""
        ...

    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        """Add to the counts of the same (day, source, model, measure, bucket)."""
        ...

    def drop_tallies(self, before: str) -> None:
        """Delete the tallies of days before this one (`2026-03-02`)."""
        ...

    def put_transitions(self, transitions: Sequence[Transition]) -> None:
        """Store transitions and, with each, its incident as it is now. A transition id seen before is left alone."""
        ...

    def put_incidents(self, incidents: Sequence[Incident]) -> None:
        """Update incidents that changed without changing state (observed, authors, cause)."""
        ...

    def add_notification(self, notification: Notification) -> None:
        """Note a try to tell someone; a later try of the same transition and channel stands beside it."""
        ...

    def set_cursor(self, source: str, cursor: str) -> None:
        """Where to go on reading a source: in the same transaction as what was read before it."""
        ...

    def put_health(self, health: Sequence[SourceHealth]) -> None:
        """Insert or replace by source."""
        ...

    def set_mark(self, name: str, value: str) -> None:
        """Keep a small named value, such as the last tick watched."""
        ...

    def mark(self, name: str) -> str | None:
        """The value as this transaction sees it, None when there is none."""
        ...


class Store(Protocol):
    """A store that is open. Reads see what was committed when they began; every method may raise `StoreError`."""

    def transaction(self) -> AbstractContextManager[Writer]:
        """Begin to write. Others that want to write wait; transactions don't nest."""
        ...

    def mentions(
        self,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> list[Mention]:
        """`since <= at < until`, newest first, the later post id first among equals. Erased texts come back empty.

        `region` asks for mentions with any weight there.
        """
        ...

    def told_of(
        self, authors: Sequence[str], since: datetime, until: datetime
    ) -> dict[str, list[tuple[datetime, tuple[RegionWeight, ...]]]]:
        """Of each author, when they wrote and from where it seemed, `since <= at < until`, in order of time."""
        ...

    def points(
        self,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Point]:
        """`since <= at < until`, in order of (key, at)."""
        ...

    def binned(
        self,
        length: timedelta,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Point]:
        """`points` added up in bins of this length, counted from 1970, without labels; bins without points are left out."""
        ...

    def expected(
        self,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Expected]:
        """`since <= at < until`, in order of (key, at)."""
        ...

    def hourly(self, service: str, since: datetime, until: datetime) -> dict[tuple[str, datetime], float]:
        """Observed by (region, hour's start), `since <= at < until`; hours without points are left out."""
        ...

    def heard_hours(self, since: datetime, until: datetime) -> dict[datetime, float]:
        """Of each hour the share of minutes in which some source was up; deaf hours are left out."""
        ...

    def keys(self, since: datetime | None = None) -> list[SeriesKey]:
        """Series with any point since then, in order."""
        ...

    def hearing(self, since: datetime, until: datetime) -> list[Hearing]:
        """`since <= at < until`, in order of (at, source)."""
        ...

    def dropped(self, since: datetime | None = None) -> dict[tuple[str, str], int]:
        """(source, reason) -> posts dropped on the UTC day of `since` and later."""
        ...

    def tallies(self, since: str) -> list[Tally]:
        """Those of the UTC day `since` (`2026-03-02`) and later, in order of (day, source, model, measure, bucket)."""
        ...

    def incidents(
        self,
        *,
        states: Sequence[IncidentState] = (),
        service: str = "",
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Incident]:
        """Newest start first; `since` keeps those updated since."""
        ...

    def incident(self, id: str) -> Incident | None:
        """The incident of this id as it is now; None when nobody knows it."""
        ...

    def transitions(self, *, incident: str = "", after: str = "", limit: int = 1000) -> list[Transition]:
        """In the order they were stored, those after the transition `after`; from the first when nobody knows that id."""
        ...

    def notifications(self, *, transition: str = "") -> list[Notification]:
        """In the order they were added."""
        ...

    def untold(self, channel: str) -> list[Transition]:
        """Transitions this channel was neither told of (`sent`) nor meant to be (`skipped`), in order."""
        ...

    def told(self, channel: str, incidents: Sequence[str]) -> set[str]:
        """Those of the incidents of which this channel was told something."""
        ...

    def cursor(self, source: str) -> str | None:
        """The last one committed, None for a source never read."""
        ...

    def health(self) -> list[SourceHealth]:
        """In order of source."""
        ...

    def mark(self, name: str) -> str | None:
        """The value last set, None when there is none."""
        ...

    def forget(self, now: datetime, texts_before: datetime) -> int:
        """Erase (as `Writer.erase` does) mentions received before then, a few thousand a transaction; give back how many."""
        ...

    def lead(self, role: str) -> bool:
        """Whether this store, among all that are open on the same data, has the lead of a role: asked again and again.

        Taken when nobody has it, and kept until `close` or until the connection is lost; the next transaction then raises
        `StoreAway` once.
        """
        ...

    def trouble(self) -> str:
        """Why nothing could be written when it was last tried, such as a full disk; empty when it could."""
        ...

    def verify(self) -> list[str]:
        """What is wrong with the store, one line a finding; empty when nothing is. Reads everything: takes its time."""
        ...

    def close(self) -> None:
        """Let go of the store; twice is fine."""
        ...


def open_store(url: str, *, read_only: bool = False, exclusive: bool = True) -> Store:
    """Open (and migrate, unless read-only) the store of a URL.

    `sqlite:////var/lib/listener/listener.db` or `postgresql://USER@HOST/DATABASE?schema=NAME`. A store is one daemon's
    alone; with `exclusive=False` any number of workers may write to a PostgreSQL one beside each other, and only a daemon on its
    own is kept out. Raises `ConfigError` for a URL nobody serves, `StoreError` when the store is corrupt or held by another
    daemon, `StoreAway` when its server can't be reached.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from listener.store.sqlite import SqliteStore

        if not exclusive:
            raise ConfigError("a SQLite store is one process's alone; workers need postgresql://USER@HOST/DATABASE")
        return SqliteStore.open(url, read_only=read_only)
    if scheme in ("postgresql", "postgres"):
        try:
            from listener.store.postgres import PostgresStore
        except ImportError as error:
            raise ConfigError("a PostgreSQL store needs psycopg: pip install 'outage-listener[scale]'") from error
        return PostgresStore.open(url, read_only=read_only, exclusive=exclusive)
    # Not the URL itself: it may have a password in it.
    raise ConfigError(f"store: unknown scheme {scheme[:20]!r}; write sqlite:///PATH or postgresql://USER@HOST/DATABASE")
