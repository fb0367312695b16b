"""What would have been noticed of a catalogue of events, how soon, and what for nothing: figures with bootstrap intervals.

An incident counts from the moment at which it fires. It has found an event when it fires for the event's service in one of
its regions while the event lasts, or shortly before it is said to have begun. Talk that names no service is neither right
nor wrong while anything fails in its region; an incident that fires again right after an event is part of that event.
Everything else is a false alarm, an `echo` event's above all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from listener.backtest.events import Event, Flag, Span
from listener.types import UNKNOWN_REGION, UNNAMED, Floats

EARLY = timedelta(minutes=10)  # before the earliest onset: clocks of sources differ
AFTERWARDS = timedelta(hours=1)
WEEK, DAY = timedelta(weeks=1), timedelta(days=1)
DRAWS = 1000  # of the bootstrap
SURE = (2.5, 97.5)  # percentiles of an interval


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one event: when it was first told, and in how many of the regions that fired for it."""

    event: Event
    told_at: datetime | None
    regions: tuple[str, ...]

    @property
    def delay(self) -> float | None:
        """Minutes from the middle of the onset's interval, at least 0; None when it was missed."""
        if self.told_at is None:
            return None
        return max(0.0, (self.told_at - self.event.onset_at) / timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and the interval of 95 % around it; None where there is nothing to measure."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """`precision` is of incidents, `recall` of events; delays in minutes; `flagged` is a share of all region-time."""

    events: int
    incidents: int
    precision: Figure
    recall: Figure
    f05: Figure
    median_delay: Figure
    p90_delay: Figure
    false_per_region_week: Figure
    flagged: Figure


@dataclass(frozen=True, slots=True)
class Judged:
    outcomes: tuple[Outcome, ...]
    right: Floats  # one an incident that counts: 1 right, 0 false
    false_by_day: Floats  # false alarms of a region
    flagged_by_day: Floats  # region-days


def evaluate(events: Sequence[Event], found: Sequence[Flag], span: Span, seed: int) -> tuple[Figures, list[Outcome]]:
    """The figures over the events that begin within the span, and what became of each."""
    judged = judge(events, found, span)
    return _figures(judged, span, np.random.default_rng(seed)), list(judged.outcomes)


def within(event: Event, span: Span) -> bool:
    return span.start_at <= event.onset_high_at and event.onset_low_at < span.end_at


def judge(events: Sequence[Event], found: Sequence[Flag], span: Span) -> Judged:
    inside = [event for event in events if within(event, span)]
    real = [event for event in inside if event.cause != "echo"]
    told: dict[str, list[Flag]] = defaultdict(list)
    verdicts: dict[str, set[str]] = defaultdict(set)
    days = max(1, -(-span.length // DAY))
    false_by_day, flagged_by_day = np.zeros(days), np.zeros(days)
    for flag, day in ((f, min(max(0, (f.start_at - span.start_at) // DAY), days - 1)) for f in found):
        hit = [event for event in real if _hits(flag, event)]
        verdict = "right" if hit else "neither" if _excused(flag, real) else "false"
        verdicts[flag.incident].add(verdict)
        for event in hit:
            told[event.id].append(flag)
        if flag.region != UNKNOWN_REGION:
            false_by_day[day] += verdict == "false"
    _flagged(found, span, flagged_by_day)
    outcomes = tuple(
        Outcome(
            event,
            min((flag.start_at for flag in told[event.id]), default=None),
            tuple(dict.fromkeys(flag.region for flag in told[event.id])),
        )
        for event in real
    )
    counted = [v for v in verdicts.values() if v != {"neither"}]
    return Judged(outcomes, np.array([float("right" in v) for v in counted]), false_by_day, flagged_by_day)


def _hits(flag: Flag, event: Event) -> bool:
    return (
        flag.service == event.service
        and (event.has(flag.region) or flag.region == UNKNOWN_REGION)
        and event.onset_low_at - EARLY <= flag.start_at < event.over_at
    )


def _excused(flag: Flag, real: Sequence[Event]) -> bool:
    return any(
        flag.service in (event.service, UNNAMED)
        and event.has(flag.region)
        and event.onset_low_at - EARLY <= flag.start_at < event.over_at + AFTERWARDS
        for event in real
    )


def _flagged(found: Sequence[Flag], span: Span, by_day: Floats) -> None:
    """Add up by day the time in which anything fires in a region, overlapping incidents once."""
    until: dict[str, datetime] = {}
    for flag in sorted((f for f in found if f.region != UNKNOWN_REGION), key=lambda f: f.start_at):
        start = max(flag.start_at, until.get(flag.region, span.start_at))
        end = min(flag.end_at, span.end_at)
        until[flag.region] = max(end, until.get(flag.region, span.start_at))
        while start < end:
            day = min((start - span.start_at) // DAY, len(by_day) - 1)
            stop = min(end, span.start_at + (day + 1) * DAY) if day < len(by_day) - 1 else end
            by_day[day] += (stop - start) / DAY
            start = stop


def plain(judged: Judged, span: Span) -> tuple[float | None, ...]:
    """The figures of `Figures`, from `precision` on."""
    delays = np.array([o.delay for o in judged.outcomes if o.delay is not None])
    found = np.array([float(o.told_at is not None) for o in judged.outcomes])
    return _of(judged.right, found, delays, float(judged.false_by_day.sum()), float(judged.flagged_by_day.sum()), span)


def _of(
    right: Floats, found: Floats, delays: Floats, false: float, flagged: float, span: Span
) -> tuple[float | None, ...]:
    precision = float(right.mean()) if len(right) else None
    recall = float(found.mean()) if len(found) else None
    f05 = None
    if recall is not None and precision is not None:
        both = 0.25 * precision + recall
        f05 = 1.25 * precision * recall / both if both else 0.0
    median = float(np.median(delays)) if len(delays) else None
    late = float(np.percentile(delays, 90)) if len(delays) else None
    region_weeks = span.regions * (span.length / WEEK)
    return precision, recall, f05, median, late, false / region_weeks, flagged / (span.regions * (span.length / DAY))


def _figures(judged: Judged, span: Span, rng: np.random.Generator) -> Figures:
    """Events, incidents and days are drawn again with replacement, each among themselves."""
    found = np.array([float(o.told_at is not None) for o in judged.outcomes])
    delays = np.array([np.nan if o.delay is None else o.delay for o in judged.outcomes])
    days = len(judged.false_by_day)
    runs = []
    for _ in range(DRAWS):
        drawn = rng.integers(len(found), size=len(found)) if len(found) else np.zeros(0, int)
        right = rng.choice(judged.right, len(judged.right)) if len(judged.right) else judged.right
        of_days = rng.integers(days, size=days)
        again = delays[drawn]
        false, flagged = float(judged.false_by_day[of_days].sum()), float(judged.flagged_by_day[of_days].sum())
        runs.append(_of(right, found[drawn], again[~np.isnan(again)], false, flagged, span))
    table = np.array([[np.nan if value is None else value for value in run] for run in runs])
    made = [interval(table[:, n], value) for n, value in enumerate(plain(judged, span))]
    return Figures(len(found), len(judged.right), *made)


def interval(drawn: Floats, value: float | None) -> Figure:
    known = drawn[~np.isnan(drawn)]
    if value is None or np.isnan(value) or not len(known):
        return Figure(None)
    low, high = (float(x) for x in np.percentile(known, SURE))
    return Figure(value, low, high)


def record(figures: Figures) -> dict[str, Any]:
    """Plain numbers: `[value, low, high]` for what has an interval."""
    made: dict[str, Any] = {}
    for field in fields(figures):
        value = getattr(figures, field.name)
        made[field.name] = (
            [None if x is None else round(x, 4) for x in (value.value, value.low, value.high)]
            if isinstance(value, Figure)
            else value
        )
    return made
