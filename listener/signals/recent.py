"""The points of the last hours in memory: read once, then kept up to date by whoever makes new ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from listener.signals.bins import floor
from listener.types import Point

STIRRED = timedelta(minutes=15)  # how long one complaint keeps a service watched; without a new one no score grows
_CLEARED_EVERY = timedelta(minutes=10)

Read = Callable[[datetime], Sequence[Point]]
"""All stored points from an instant on."""


class Recent:
    """Those of a window that ends now and only moves ahead. Used from one thread."""

    def __init__(self, window: timedelta, read: Read) -> None:
        self._window = window
        self._read = read
        self._since: datetime | None = None
        self._points: dict[str, dict[tuple[str, datetime], Point]] = defaultdict(dict)

    def forget(self) -> None:
        """Others may have changed any of them."""
        self._since = None

    def put(self, points: Sequence[Point]) -> None:
        """These are new or changed, and stored."""
        for point in points:
            if self._since is not None and point.at >= self._since:
                self._points[point.key.service][point.key.region, point.at] = point

    def move(self, now: datetime) -> None:
        """Now the window ends here."""
        start = now - self._window
        if self._since is None or self._since > start:
            fresh = self._read(start)  # before anything is forgotten: it may fail, and be tried again
            self._points.clear()
            self._since = start
            self.put(fresh)
        elif now == floor(now, _CLEARED_EVERY):
            self._since = start
            for points in self._points.values():
                for key in [key for key in points if key[1] < start]:
                    del points[key]

    def changed(self, since: datetime) -> None:
        """Those from then on were changed by somebody else: they are read again."""
        if self._since is None:
            return
        since = max(since, self._since)
        fresh = self._read(since)
        for points in self._points.values():
            for key in [key for key in points if key[1] >= since]:
                del points[key]
        self.put(fresh)

    def of(self, service: str) -> list[Point]:
        return list(self._points[service].values())

    def loudest(self) -> list[str]:
        """The services with points, those with most first."""
        return [service for _, service in sorted((-len(own), service) for service, own in self._points.items() if own)]

    def regions(self, service: str, since: datetime | None = None) -> set[str]:
        """Those with points of a service, since then."""
        return {region for region, at in self._points[service] if since is None or at >= since}

    def stirring(self, now: datetime) -> set[str]:
        """Services anybody complained about lately; of the others no detector has anything to say."""
        since = now - STIRRED
        return {
            service
            for service, points in self._points.items()
            if any(point.observed > 0 for (_, at), point in points.items() if since <= at < now)
        }
