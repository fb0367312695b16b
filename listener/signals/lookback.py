"""What was said of a service in the lookback before a bin, kept for services many write about.

A minute's points are made anew with every batch that touches it. They follow from the mentions of that minute and of the
lookback before it; while something big fails, reading and adding up that whole time again every second would take longer
than a second. What is kept follows from the stored mentions alone and goes when one of them changes, so the points are the
same with it and without.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from listener.signals import bins
from listener.signals.aggregate import Tally, affected
from listener.types import Mention, Point

BUSY = 1_000  # mentions in a lookback from which on it is worth it
AT_ONCE = timedelta(minutes=5)  # of mentions that are in memory together
KEPT = 2  # bins of a service: posts of a minute still come in when those of the next have begun

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


class Lookbacks:
    """Measures what changed in one store, which nobody else writes to. Used from one thread."""

    def __init__(self, pipeline: Measure) -> None:
        self._pipeline = pipeline
        self._lookback = pipeline.tally().lookback
        self._busy: dict[str, dict[datetime, Tally]] = {}

    def clear(self) -> None:
        """Something may have been written that we did not hear of."""
        self._busy.clear()

    def touched(self, mentions: Iterable[Mention]) -> None:
        """These came, changed or went: what rests on them is forgotten."""
        if not self._busy:
            return
        first: dict[str, datetime] = {}
        for mention in mentions:
            for service in self._busy.keys() & set(mention.services):
                first[service] = min(mention.at, first.get(service, mention.at))
        for service, at in first.items():
            for bin_at in [known for known in self._busy[service] if known > at]:
                del self._busy[service][bin_at]

    def measured(self, changed: Sequence[Mention], read: Read) -> list[Point]:
        """The points that these can change. `read` gives the stored mentions of services between two instants."""
        wanted = affected(changed, self._lookback)
        if not wanted:
            return []
        first: dict[str, datetime] = {}
        for service, at in wanted:
            first[service] = min(at, first.get(service, at))
        until = max(at for _, at in wanted) + bins.BIN
        before = self._before(first, read)
        points: list[Point] = []
        for services, back in ((first.keys() - before.keys(), self._lookback), (before.keys(), timedelta())):
            if services:
                mentions = read(sorted(services), min(first[service] for service in services) - back, until)
                self._look(mentions, first)
                points += self._pipeline.measure(mentions, {w for w in wanted if w[0] in services}, before)
        return points

    def _before(self, first: Mapping[str, datetime], read: Read) -> dict[str, Tally]:
        """Of each busy service its tally before a bin, to be copied, not changed."""
        made = {}
        for service in sorted(self._busy.keys() & first.keys()):
            known, bin_at = self._busy[service], first[service]
            tally = known.get(bin_at) or self._added_up(service, bin_at, read)
            if tally is None:
                del self._busy[service]
                continue
            made[service] = known[bin_at] = tally
            for old in sorted(known)[:-KEPT]:
                del known[old]
        return made

    def _added_up(self, service: str, bin_at: datetime, read: Read) -> Tally | None:
        """None when it is no longer worth it."""
        tally, count, at = self._pipeline.tally(), 0, bin_at - self._lookback
        while at < bin_at:
            until = min(at + AT_ONCE, bin_at)
            mentions = read([service], at, until)
            tally.add_up(mentions)
            count += len(mentions)
            at = until
        return tally if count >= BUSY // 2 else None

    def _look(self, mentions: Collection[Mention], first: Mapping[str, datetime]) -> None:
        """Notice which services have become busy."""
        if len(mentions) < BUSY:
            return
        count = dict.fromkeys(first, 0)
        for mention in mentions:
            for service in mention.services:
                if service in count and bins.floor(mention.at) < first[service]:
                    count[service] += 1
        for service, said in count.items():
            if said >= BUSY:
                self._busy.setdefault(service, {})
