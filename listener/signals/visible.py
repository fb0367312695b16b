"""The smallest outage that could be seen now: how many people would have to write before a region raises an alarm.

Answered by asking the detector itself, so it holds for every kind. It tells a quiet region from one in which nothing could
be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from listener.types import Alarm, Baseline, Panel, Signal

WITHIN = timedelta(minutes=15)
MOST = 1000  # an outage that needs more than this many authors is not called visible
FIRST = 5  # authors to try when nothing is known; a quiet series needs about so many

Detect = Callable[[Panel, Mapping[str, Baseline], Any], list[Alarm]]
Search = Generator[int, bool, int | None]


def smallest_visible(
    panel: Panel,
    usual: Mapping[str, Baseline],
    detect: Detect,
    options: Any,
    near: Mapping[str, int] | None = None,
    regions: Collection[str] | None = None,
) -> dict[str, int | None]:
    """By region: authors who, writing evenly over `WITHIN` up to now, would raise an alarm; None when nobody could.

    They stand in place of what was observed in that time. Of each only the share that can be heard now counts, and each is
    taken to be surely from the region: with half the sources down it takes twice as many. 0 when what was written before
    raises it already. All `regions` are asked at once, which is cheaper, so `options` must be such that the detector reads
    each alone. `near` is where to look first: an answer near it costs two looks.

    >>> from datetime import UTC, datetime
    >>> from listener.detectors import scan
    >>> from listener.types import SeriesKey
    >>> none, one, start = np.zeros(180), np.ones(180), datetime(2026, 3, 2, tzinfo=UTC)
    >>> quiet = {r: Signal(SeriesKey("x", r), start, timedelta(minutes=1), none, one, none, none, none) for r in ("ME", "TR")}
    >>> usual = {region: Baseline(one * mean, 6.0, 0.1, 4.0) for region, mean in (("ME", 0.01), ("TR", 2.0))}
    >>> found = smallest_visible(Panel("x", quiet), usual, scan.detect, scan.Options(joint=False))
    >>> {region: authors > 20 for region, authors in found.items()}
    {'ME': False, 'TR': True}
    """
    found: dict[str, int | None] = {}
    searches, asked = {}, {}
    for region in panel.signals if regions is None else regions:
        exposure = panel.signals[region].exposure
        found[region] = None
        if len(exposure) and exposure[-1] > 0:
            searches[region] = _least(min((near or {}).get(region, FIRST), MOST))
            asked[region] = next(searches[region])
    while asked:
        tried = {region: _with(panel.signals[region], authors) for region, authors in asked.items()}
        alarms = detect(Panel(panel.service, tried), {region: usual[region] for region in tried}, options)
        for region, alarm in zip(tried, alarms, strict=True):
            try:
                asked[region] = searches[region].send(alarm.raised)
            except StopIteration as done:
                found[region] = done.value
                del asked[region]
    return found


def _with(signal: Signal, authors: int) -> Signal:
    bins = min(max(1, WITHIN // signal.bin), len(signal.observed))
    observed = signal.observed.copy()
    observed[-bins:] = authors * float(signal.exposure[-1]) / bins
    posts = np.maximum(signal.posts, np.ceil(observed))
    return replace(signal, observed=observed, posts=posts, authors=posts)


def _least(near: int) -> Search:
    """The least of 0..`MOST` that is seen: steps that double away from `near`, then halving. Asks, and is sent the answers."""
    step = 1
    if (yield near):
        unseen, found = near - 1, near
        while unseen >= 0 and (yield unseen):
            step *= 2
            unseen, found = (max(unseen - step, 0) if unseen else -1), unseen
    else:
        unseen, found = near, min(near + step, MOST)
        while not (yield found):
            if found >= MOST:
                return None
            step *= 2
            unseen, found = found, min(found + step, MOST)
    while found - unseen > 1:
        middle = (found + unseen) // 2
        unseen, found = (unseen, middle) if (yield middle) else (middle, found)
    return found
