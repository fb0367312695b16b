"""Mentions -> points: how many authors, in expectation, report trouble with a service from a region in a bin.

An author counts once within the lookback (the largest chatter x region weight; a later, surer post adds only the
difference), a text that many send counts once plus a logarithmic bonus, a repost not at all. Every exclusion is kept
with its reason. The result is a function of the mentions alone, not of the order they came in.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from listener.signals import bins as grid
from listener.signals.bins import BIN
from listener.types import CHATTER, CORROBORATING, Mention, Point, PostKind, SeriesKey

RECOVERED = 4  # index of "recovered" in LABELS


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
    """The (service, bin)s whose points a new, edited or erased mention can change: its own and those that look back on it."""
    steps = range(lookback // BIN + 1)
    return {
        (service, grid.floor(mention.at) + step * BIN)
        for mention in mentions
        for service in mention.services
        for step in steps
    }


def aggregate(
    mentions: Sequence[Mention],
    bins: Collection[tuple[str, datetime]],
    *,
    lookback: timedelta,
    lateness: timedelta,
    floor: float,
) -> list[Point]:
    """The points of the wanted (service, bin)s, in order of (service, region, bin).

    `mentions` must hold everything from `lookback` before the earliest wanted bin on; more does no harm. A wanted bin
    in which nobody said anything gives no point.
    """
    wanted: dict[str, set[datetime]] = defaultdict(set)
    for service, bin_at in bins:
        wanted[service].add(bin_at)
    points: list[Point] = []
    for service in sorted(wanted):
        of_service = sorted((m for m in mentions if service in m.services), key=lambda m: (m.at, m.post.id))
        cells = _Tally(lookback, lateness, floor).add_up(of_service)
        points += [
            _point(SeriesKey(service, region), bin_at, cell)
            for (region, bin_at), cell in sorted(cells.items())
            if bin_at in wanted[service]
        ]
    return points


class _Tally:
    """One pass over a service's mentions in order of time."""

    def __init__(self, lookback: timedelta, lateness: timedelta, floor: float):
        self.lookback = lookback
        self.lateness = lateness
        self.floor = floor
        self.said: dict[tuple[str, str], dict[datetime, float]] = defaultdict(dict)  # author, region -> bin -> most
        self.copies: dict[str, list[datetime]] = defaultdict(list)

    def add_up(self, mentions: Sequence[Mention]) -> dict[tuple[str, datetime], _Cell]:
        cells: dict[tuple[str, datetime], _Cell] = defaultdict(_Cell)
        for mention in mentions:
            bin_at = grid.floor(mention.at)
            share, why = self._share(mention, bin_at)
            for weight in mention.regions:
                if weight.weight <= 0:
                    continue
                cell = cells[weight.region, bin_at]
                cell.posts += 1
                cell.recovered += weight.weight * mention.score.probabilities[RECOVERED]
                reason = why or self._count(cell, mention, bin_at, weight.region, share * weight.weight)
                if reason:
                    cell.excluded[reason] += 1
        return cells

    def _share(self, mention: Mention, bin_at: datetime) -> tuple[float, str]:
        """What the mention is worth before regions, or why nothing."""
        if mention.post.tier in CORROBORATING:
            return 0.0, "corroborates"
        if mention.post.kind is PostKind.REPOST:
            return 0.0, "repost"
        if mention.post.received_at - mention.at > self.lateness:
            return 0.0, "late"  # its minute has long been judged, and what is judged must not change
        if mention.score.chatter < self.floor:
            return 0.0, "below_floor"
        if not mention.cluster:
            return mention.score.chatter, ""
        copies = self.copies[mention.cluster]
        copies[:] = [at for at in copies if at >= bin_at - self.lookback]
        copies.append(bin_at)
        nth = len(copies)
        return mention.score.chatter * (1.0 if nth == 1 else math.log(nth / (nth - 1))), ""

    def _count(self, cell: _Cell, mention: Mention, bin_at: datetime, region: str, value: float) -> str:
        author = mention.post.author or mention.post.id
        said = self.said[author, region]
        for old in [at for at in said if at < bin_at - self.lookback]:
            del said[old]
        added = value - max(said.values(), default=0.0)
        said[bin_at] = max(value, said.get(bin_at, 0.0))
        if added <= 0:
            return "same_author"
        cell.observed += added
        cell.authors.add(author)
        if mention.score.label in CHATTER:
            cell.labels[mention.score.label] += added  # type: ignore[assignment] # Counter holds floats well
        if mention.score.symptom:
            cell.labels[f"symptom:{mention.score.symptom}"] += added  # type: ignore[assignment]
        return "copy" if mention.cluster and len(self.copies[mention.cluster]) > 1 else ""


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
