"""Mentions -> points: how many authors, in expectation, report trouble with a service from a region in a bin.

An author counts once within the lookback (the largest chatter x region weight; a later, surer post adds only the
difference), as one person over all regions; what one more voice is worth beside the others, `voices` says; a repost and a
post that was taken back count not at all. Every exclusion is kept with its reason. The result is a function of the
mentions alone, not of the order they came in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from listener.signals import bins as grid
from listener.signals.bins import BIN
from listener.signals.voices import Voices
from listener.types import CHATTER, CORROBORATING, Mention, Point, PostKind, SeriesKey

RECOVERED = 4  # index of "recovered" in LABELS

_Said = dict[tuple[str, datetime], float]  # the most an author said, by region and bin


@dataclass
class _Cell:
    """What is added up for one bin and region."""

    observed: float = 0.0
    recovered: float = 0.0
    posts: int = 0
    authors: set[str] = field(default_factory=set)
    labels: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)


def affected(mentions: Iterable[Mention], lookback: timedelta) -> set[tuple[str, datetime]]:
    """The (service, bin)s whose points a new, edited or erased mention can change: its own and those that look back on it.

    Twice as far as the lookback: what a mention is worth depends on those within the lookback before it, and what its author
    is still worth later depends on that.
    """
    touched = {(service, at) for mention in mentions for at in [grid.floor(mention.at)] for service in mention.services}
    return {(service, at + step * BIN) for service, at in touched for step in range(2 * (lookback // BIN) + 1)}


def aggregate(
    mentions: Sequence[Mention],
    bins: Collection[tuple[str, datetime]],
    *,
    lookback: timedelta,
    lateness: timedelta,
    floor: float,
    before: Mapping[str, Tally] | None = None,
) -> list[Point]:
    """The points of the wanted (service, bin)s, in order of (service, region, bin).

    `mentions` must hold everything of a service from twice `lookback` before its earliest wanted bin on; more does no harm. Of a
    service whose tally of that time is in `before`, everything from that bin on. A wanted bin in which nobody said anything
    gives no point.
    """
    wanted: dict[str, set[datetime]] = defaultdict(set)
    for service, bin_at in bins:
        wanted[service].add(bin_at)
    of_service: dict[str, list[Mention]] = {service: [] for service in sorted(wanted)}
    for mention in mentions:
        for service in of_service.keys() & set(mention.services):
            of_service[service].append(mention)
    points: list[Point] = []
    for service, said in of_service.items():
        known = (before or {}).get(service)
        cells = (known.copy() if known else Tally(lookback, lateness, floor)).add_up(said)
        points += [
            _point(SeriesKey(service, region), bin_at, cell)
            for (region, bin_at), cell in sorted(cells.items())
            if bin_at in wanted[service]
        ]
    return points


class Tally:
    """One pass over a service's mentions in order of time, in parts or at once."""

    def __init__(self, lookback: timedelta, lateness: timedelta, floor: float):
        self.lookback = lookback
        self.lateness = lateness
        self.floor = floor
        self.said: dict[str, _Said] = {}
        self._said_before: Mapping[str, _Said] = {}  # of the one this was copied from
        self.voices = Voices(lookback)

    def copy(self) -> Tally:
        """One that can be added to by itself, while this one stays as it is."""
        made = Tally(self.lookback, self.lateness, self.floor)
        made._said_before = {**self._said_before, **self.said} if self._said_before else self.said
        made.voices = self.voices.copy()
        return made

    def settle(self, since: datetime) -> None:
        """Take over what was copied, and forget what was said before then. From now on only copies are added to."""
        said = {**self._said_before, **self.said}
        self.said = {author: told for author, told in said.items() if any(bin_at >= since for _, bin_at in told)}
        self._said_before = {}
        self.voices.settle(since)

    def add_up(self, mentions: Iterable[Mention]) -> dict[tuple[str, datetime], _Cell]:
        """What mentions of whole bins, none before those added earlier, come to by region and bin."""
        cells: dict[tuple[str, datetime], _Cell] = defaultdict(_Cell)
        for mention in sorted(mentions, key=lambda m: (m.at, m.post.id)):
            bin_at = grid.floor(mention.at)
            share, why = self._share(mention, bin_at)
            most = self._said(mention, bin_at) if share else {}
            for weight in mention.regions:
                if weight.weight <= 0:
                    continue
                cell = cells[weight.region, bin_at]
                cell.posts += 1
                cell.recovered += weight.weight * mention.score.probabilities[RECOVERED]
                new = not share or self._count(cell, mention, weight.region, share * weight.weight, most)
                if reason := why or ("" if new else "same_author"):
                    cell.excluded[reason] += 1
            if share:
                self._note(mention, bin_at, share)
        return cells

    def _share(self, mention: Mention, bin_at: datetime) -> tuple[float, str]:
        """What the mention is worth before regions, and why nothing or less than others."""
        post = mention.post
        if post.tier in CORROBORATING:
            return 0.0, "corroborates"
        if post.kind is PostKind.REPOST:
            return 0.0, "repost"
        if not post.text and not post.author:
            return 0.0, "taken_back"  # nobody can tell any more whether one author wrote it all
        if post.received_at - mention.at > self.lateness:
            return 0.0, "late"  # its minute has long been judged, and what is judged must not change
        if mention.score.chatter < self.floor:
            return 0.0, "below_floor"
        worth, why = self.voices.worth(mention, post.author or post.id, bin_at)
        return mention.score.chatter * worth, why

    def _said(self, mention: Mention, bin_at: datetime) -> dict[str, float]:
        """The most its author said of each region within the lookback."""
        said = self._of_author(mention)
        most: dict[str, float] = {}
        if said:
            since = bin_at - self.lookback
            for old in [heard for heard in said if heard[1] < since]:
                del said[old]
            for (region, _), value in said.items():
                most[region] = max(value, most.get(region, 0.0))
        return most

    def _of_author(self, mention: Mention) -> _Said:
        author = mention.post.author or mention.post.id
        if (said := self.said.get(author)) is None:
            said = self.said[author] = dict(self._said_before.get(author, {}))
        return said

    def _note(self, mention: Mention, bin_at: datetime, share: float) -> None:
        said = self._of_author(mention)
        for weight in mention.regions:
            if weight.weight > 0:
                heard = weight.region, bin_at
                said[heard] = max(share * weight.weight, said.get(heard, 0.0))

    def _count(self, cell: _Cell, mention: Mention, region: str, value: float, most: dict[str, float]) -> bool:
        """Add what the author has not said before, and note it in `most`; False when that is nothing."""
        here = most.get(region, 0.0)
        added = min(value - here, 1.0 - sum(most.values())) if most else value
        most[region] = max(value, here)
        author = mention.post.author or mention.post.id
        if added <= 0:
            return False
        cell.observed += added
        cell.authors.add(author)
        if mention.score.label in CHATTER:
            cell.labels[mention.score.label] += added  # type: ignore[assignment] # Counter holds floats well
        if mention.score.symptom:
            cell.labels[f"symptom:{mention.score.symptom}"] += added  # type: ignore[assignment]
        return True


def _point(key: SeriesKey, bin_at: datetime, cell: _Cell) -> Point:
    return Point(
        key=key,
        at=bin_at,
        observed=round(cell.observed, 6),
        posts=cell.posts,
        authors=len(cell.authors),
        recovered=round(cell.recovered, 6),
        labels=tuple((name, round(value, 6)) for name, value in sorted(cell.labels.items())),
        excluded=tuple(sorted(cell.excluded.items())),
    )
