"""When to ask for a feed again: the operator's interval, or the feed's own rhythm, and never more often than it asks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from listener.sources._dates import feed_date, iso

SHORTEST, LONGEST = timedelta(minutes=5), timedelta(minutes=60)  # of a pause that follows the feed's own rhythm
QUIET = timedelta(days=7)  # without an entry for so long, a feed is asked for as seldom as any


class Rhythm(msgspec.Struct, frozen=True, omit_defaults=True):
    """The dated entries of a document: how many, and from when to when; for a cursor."""

    entries: int = 0
    oldest: str = ""
    newest: str = ""


def rhythm(dates: Iterable[datetime]) -> Rhythm:
    """Of the dates of a document's entries, in any order."""
    ordered = sorted(dates)
    if not ordered:
        return Rhythm()
    return Rhythm(len(ordered), ordered[0].isoformat(timespec="seconds"), ordered[-1].isoformat(timespec="seconds"))


def pace(own: Rhythm, usual: timedelta, now: datetime) -> timedelta:
    """The mean time between two entries, that since the last one included, within bounds; the usual interval without dates.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    >>> hourly = Rhythm(4, "2026-11-20T10:00:00+00:00", "2026-11-20T11:30:00+00:00")
    >>> pace(hourly, timedelta(minutes=10), noon), pace(hourly, timedelta(minutes=10), noon + timedelta(days=8))
    (datetime.timedelta(seconds=1800), datetime.timedelta(seconds=3600))
    """
    oldest, newest = iso(own.oldest), iso(own.newest)
    if own.entries < 2 or oldest is None or newest is None:
        return usual
    if now - newest > QUIET:
        return LONGEST
    return min(max((now - oldest) / own.entries, SHORTEST), LONGEST)


def pause(base: timedelta, headers: Mapping[str, str], ttl: str, now: datetime, longest: timedelta) -> timedelta:
    """The base interval, or the longer one that the feed (`ttl` minutes) or its server asks for, up to `longest`."""
    control = headers.get("cache-control", "").lower()
    asked = [timedelta(minutes=int(ttl))] if ttl.isdecimal() and len(ttl) < 6 else []
    if "no-cache" not in control and "no-store" not in control:
        if age := re.search(r"\bmax-age\s*=\s*\"?(\d{1,9})", control):
            asked.append(timedelta(seconds=int(age.group(1))))
        elif expires := feed_date(headers.get("expires", "")):
            asked.append(expires - (feed_date(headers.get("date", "")) or now))
    return max(base, min(max(asked, default=base), longest))
