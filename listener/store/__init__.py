"""What is kept, and the promise of how: the `Store` protocol and `open_store(url)`.

Writing happens in one transaction at a time, from one thread: data first, cursor second, all or nothing. Stable ids make
re-delivery harmless. Reading may happen from any thread and never blocks the writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from listener.errors import ConfigError
from listener.types import (
    Delete,
    Hearing,
    Incident,
    IncidentState,
    Mention,
    Notification,
    Point,
    SeriesKey,
    SourceHealth,
    Transition,
)


class Writer(Protocol):
    """One open transaction; it sees its own writes. Leaving the `with` block commits, an exception rolls back."""

    def add_mentions(self, mentions: Sequence[Mention]) -> list[Mention]:
        """Store mentions; give back those that were new or whose text had changed (an edit replaces)."""
        ...

    def mentions_between(self, services: Sequence[str], since: datetime, until: datetime) -> list[Mention]:
        """Mentions of the services with `since <= at < until`, in order of (at, post id)."""
        ...

    def erase(self, delete: Delete) -> list[Mention]:
        """Erase text, author and URL of what upstream deleted; give back the mentions that were erased."""
        ...

    def put_points(self, points: Sequence[Point]) -> None:
        """Insert or replace points by (key, at). A point with nothing in it (posts == 0) is deleted."""
        ...

    def add_hearing(self, hearing: Sequence[Hearing]) -> None:
        """Add to what was heard: posts sum up over the same (source, at); up wins over not up."""
        ...

    def add_dropped(self, source: str, day: str, reasons: dict[str, int]) -> None: ...
    def put_transitions(self, transitions: Sequence[Transition]) -> None:
        """Store transitions and, with each, its incident as it is now. A transition id seen before is left alone."""
        ...

    def put_incidents(self, incidents: Sequence[Incident]) -> None:
        """Update incidents that changed without changing state (observed, authors, cause)."""
        ...

    def add_notification(self, notification: Notification) -> None: ...
    def set_cursor(self, source: str, cursor: str) -> None: ...
    def put_health(self, health: Sequence[SourceHealth]) -> None: ...
    def set_mark(self, name: str, value: str) -> None:
        """Keep a small named value, such as the last tick watched."""
        ...


class Store(Protocol):
    def transaction(self) -> AbstractContextManager[Writer]: ...
    def mentions(
        self,
        *,
        service: str = "",
        region: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
    ) -> list[Mention]:
        """Newest first. Erased texts come back empty."""
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

    def keys(self, since: datetime | None = None) -> list[SeriesKey]:
        """Series with any point since then."""
        ...

    def hearing(self, since: datetime, until: datetime) -> list[Hearing]: ...
    def dropped(self, since: datetime | None = None) -> dict[tuple[str, str], int]:
        """(source, reason) -> posts dropped, by day of `since`."""
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

    def transitions(self, *, incident: str = "", after: str = "", limit: int = 1000) -> list[Transition]:
        """In the order they were stored; `after` is a transition id."""
        ...

    def untold(self, channel: str) -> list[Transition]:
        """Transitions without a `sent` notification of this channel, in order."""
        ...

    def cursor(self, source: str) -> str | None: ...
    def health(self) -> list[SourceHealth]: ...
    def mark(self, name: str) -> str | None: ...
    def forget(self, now: datetime, texts_before: datetime) -> int:
        """Erase texts, authors and URLs of mentions received before then; give back how many."""
        ...

    def verify(self) -> list[str]:
        """What is wrong with the store, one line a finding; empty when nothing is."""
        ...

    def close(self) -> None: ...


def open_store(url: str, *, read_only: bool = False) -> Store:
    """Open (and migrate, unless read-only) the store of a URL such as `sqlite:////var/lib/listener/listener.db`.

    Raises `ConfigError` for a URL nobody serves, `StoreError` when the store is corrupt or held by another daemon.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from listener.store.sqlite import SqliteStore

        return SqliteStore.open(url, read_only=read_only)
    raise ConfigError(f"store {url!r}: unknown scheme {scheme!r}; write sqlite:///PATH")
