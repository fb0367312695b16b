"""What a backtest is compared to: a rule of keywords, and alarms at random times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import numpy as np

from listener.backtest.events import Event, Flag, Span
from listener.backtest.scoring import Figures, interval, judge, plain, within
from listener.types import Match, Post

TROUBLE = frozenset({"trouble", "network", "block"})


def by_keywords(post: Post, matches: Sequence[Match]) -> Post:
    """The post as a keyword rule understands it: a report where a service and a word of trouble stand in it, else nothing."""
    if post.stated:
        return post
    kinds = {match.kind for match in matches}
    return replace(post, stated="report" if "service" in kinds and kinds & TROUBLE else "other")


def by_chance(events: Sequence[Event], found: Sequence[Flag], span: Span, seed: int, draws: int = 200) -> Figures:
    """What as many incidents of the same lengths and regions find when each is put at a random time; intervals over draws."""
    rng = np.random.default_rng(seed)
    runs = []
    for _ in range(draws):
        shifts = {flag.incident: float(rng.uniform()) for flag in found}
        moved = [part for flag in found for part in _moved(flag, shifts[flag.incident] * span.length, span)]
        runs.append(plain(judge(events, moved, span), span))
    table = np.array([[np.nan if value is None else value for value in run] for run in runs])
    means = [float(column[~np.isnan(column)].mean()) if (~np.isnan(column)).any() else None for column in table.T]
    made = [interval(column, mean) for column, mean in zip(table.T, means, strict=True)]
    inside = [event for event in events if within(event, span) and event.cause != "echo"]
    return Figures(len(inside), len({flag.incident for flag in found}), *made)


def _moved(flag: Flag, shift: timedelta, span: Span) -> list[Flag]:
    """Later by `shift`, on a circle: what leaves the span at its end comes in again at its start."""
    start = span.start_at + (flag.start_at - span.start_at + shift) % span.length
    end = start + (flag.end_at - flag.start_at)
    if end <= span.end_at:
        return [replace(flag, start_at=start, end_at=end)]
    over = min(end - span.length, start)
    return [
        replace(flag, start_at=start, end_at=span.end_at),
        replace(flag, incident=flag.incident + "~", start_at=span.start_at, end_at=max(over, span.start_at)),
    ]
