"""Measures the minutes that a batch touches, and keeps what was said in the lookback before them where many write.

A minute's points are made anew with every batch that touches it. They follow from the mentions of that minute and of the
lookback before it, whose worth follows from the lookback before each; while something big fails, reading and adding up that
whole time again every second would take longer than a second. So of busy services what was said before each block of minutes
is kept, and the next block goes on from there. It follows from the stored mentions alone and goes when one of them changes,
so the points are the same with it and without.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from listener.signals import bins
from listener.signals.aggregate import Tally, affected
from listener.types import Mention, Point, SeriesKey

BLOCK = timedelta(minutes=2)  # adding up begins two lookbacks before the block in which the earliest touched bin is
BUSY = 200  # mentions in a lookback from which on it is worth keeping
KEPT = 2  # blocks of a service: posts of one still come in when those of the next have begun
MOST = 150_000  # mentions whose tallies are kept, about 1.5 kB each; the newest block of a service always is

Counts = dict[datetime, int]  # mentions by block
Read = Callable[[Sequence[str], datetime, datetime], list[Mention]]


class Measure(Protocol):
    """The pipeline's stage that makes points, and an empty tally of its settings."""

    def measure(
        self,
        mentions: Sequence[Mention],
        bins: Collection[tuple[str, datetime]],
        before: Mapping[str, Tally] | None = None,
    ) -> list[Point]: ...

    def tally(self) -> Tally: ...


def earliest(mentions: Iterable[Mention]) -> dict[str, datetime]:
    """Of each service the time of its first mention among these."""
    first: dict[str, datetime] = {}
    for mention in mentions:
        for service in mention.services:
            first[service] = min(mention.at, first.get(service, mention.at))
    return first


def left(before: Iterable[Mention], points: Iterable[Point]) -> list[Point]:
    """Empty points for the series that mentions were in until they changed, where nobody else is in that minute."""
    kept = {(point.key, point.at) for point in points}
    series = {
        (SeriesKey(service, region.region), bins.floor(mention.at))
        for mention in before
        for service in mention.services
        for region in mention.regions
    }
    return [Point(key, at, 0.0, 0, 0) for key, at in sorted(series - kept)]


class Lookbacks:
    """Measures what changed in one store; who else writes to it is to be told with `touched`. Used from one thread."""

    def __init__(self, pipeline: Measure) -> None:
        self._pipeline = pipeline
        self._lookback = pipeline.tally().lookback
        self._busy: dict[str, dict[datetime, tuple[Tally, Counts]]] = {}

    def clear(self) -> None:
        """Something may have been written that we did not hear of."""
        self._busy.clear()

    def touched(self, since: Mapping[str, datetime]) -> None:
        """Mentions of these services came, changed or went, none before the given instant: what rests on them is forgotten."""
        for service in self._busy.keys() & since.keys():
            for block in [known for known in self._busy[service] if known > since[service]]:
                del self._busy[service][block]

    def measured(self, changed: Sequence[Mention], read: Read) -> list[Point]:
        """The points that these can change. `read` gives the stored mentions of services between two instants."""
        wanted: dict[str, set[tuple[str, datetime]]] = {}
        for service, at in affected(changed, self._lookback):
            wanted.setdefault(service, set()).add((service, at))
        points: list[Point] = []
        for service, touched in sorted(wanted.items()):
            times = [at for _, at in touched]
            block, until = bins.floor(min(times), BLOCK), max(times) + bins.BIN
            if service in self._busy and (tally := self._before(service, block, read)):
                points += self._pipeline.measure(read([service], block, until), touched, {service: tally})
                continue
            mentions = read([service], block - 2 * self._lookback, until)
            if sum(block - self._lookback <= mention.at < block for mention in mentions) >= BUSY:
                self._busy[service] = {}
            points += self._pipeline.measure(mentions, touched)
        return points

    def _before(self, service: str, block: datetime, read: Read) -> Tally | None:
        """A service's tally of the lookback before a block, to be copied, not changed; None when it is not worth it."""
        known = self._busy[service]
        if block in known:
            return known[block][0]
        since = block - self._lookback
        tally, counts, at = self._pipeline.tally(), Counts(), since - self._lookback
        if (earlier := max((one for one in known if since <= one < block), default=None)) is not None:
            tally, counts, at = known[earlier][0].copy(), dict(known[earlier][1]), earlier
        while at < block:  # in parts, so that not all of them are in memory together
            mentions = read([service], at, min(at + BLOCK, block))
            tally.add_up(mentions)
            counts[at] = len(mentions)
            at += BLOCK
        counts = {at: count for at, count in counts.items() if at >= since}
        if sum(counts.values()) < BUSY // 2:
            del self._busy[service]
            return None
        tally.settle(since)
        known[block] = tally, counts
        for old in sorted(known)[:-KEPT]:
            del known[old]
        newest = (
            blocks[max(blocks)] for blocks in self._busy.values() if blocks
        )  # the others share nearly all with these
        if sum(sum(counts.values()) for _, counts in newest) > MOST:
            for blocks in self._busy.values():
                for old in sorted(blocks)[:-1]:
                    del blocks[old]
        return tally
