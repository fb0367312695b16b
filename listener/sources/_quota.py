"""What a source has used up of something that is counted, kept in its cursor: posts of a month, queries of a day.

A source counts first and stores that (`Memo`), then asks, then gives back what was not used. Whatever kills it in between,
it has counted too much, never too little.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from listener.sources._dates import EPOCH

QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)


class Monthly(msgspec.Struct, frozen=True, omit_defaults=True):
    """Used up in a calendar month, UTC.

    >>> november = datetime.fromisoformat("2026-11-30T23:59:00Z")
    >>> Monthly().claim(100, november).settle(100, 7, november)
    Monthly(month='2026-11', used=7)
    """

    month: str = ""
    used: int = 0

    def at(self, now: datetime) -> Monthly:
        """As it stands now: a new month begins with nothing; a clock that was set back does not begin one."""
        month = f"{now:%Y-%m}"
        return Monthly(month) if month > self.month else self

    def claim(self, count: int, now: datetime) -> Monthly:
        current = self.at(now)
        return Monthly(current.month, current.used + count)

    def settle(self, claimed: int, used: int, now: datetime) -> Monthly:
        """What was claimed before the turn of a month and used after it counts in both."""
        current = self.at(now)
        return Monthly(current.month, current.used + used - (claimed if current.month == self.month else 0))


class Rolling(msgspec.Struct, frozen=True, omit_defaults=True):
    """Used up within the last 24 hours. A quarter of an hour counts until its last moment is a day ago."""

    quarters: dict[int, int] = {}

    def at(self, now: datetime) -> Rolling:
        return Rolling({n: count for n, count in self.quarters.items() if _end(n) + DAY > now})

    def add(self, count: int, at: datetime) -> Rolling:
        n = (at - EPOCH) // QUARTER
        return Rolling({**self.quarters, n: self.quarters.get(n, 0) + count})

    @property
    def used(self) -> int:
        return sum(self.quarters.values())

    def free_in(self, limit: int, now: datetime) -> float:
        """Seconds until less than `limit` counts; 0 when that is so already."""
        left = self.at(now).used
        if left < limit:
            return 0.0
        for n in sorted(self.at(now).quarters):
            left -= self.quarters[n]
            if left < limit:
                return (_end(n) + DAY - now).total_seconds()
        return DAY.total_seconds()


def until_next_month(now: datetime) -> float:
    """Seconds."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return ((first + timedelta(days=32)).replace(day=1) - now).total_seconds()


def _end(quarter: int) -> datetime:
    return EPOCH + (quarter + 1) * QUARTER
