"""The smallest outage that could be seen now: how many people would have to write before a region raises an alarm.

Answered by asking the detector itself, so it holds for every kind. It tells a quiet region from one in which nothing could
be noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from listener.types import Alarm, Baseline, Panel, Signal

WITHIN = timedelta(minutes=15)
MOST = 1000  # an outage that needs more than this many authors is not called visible

Detect = Callable[[Panel, Mapping[str, Baseline], Any], list[Alarm]]


def smallest_visible(
    signal: Signal, usual: Baseline, detect: Detect, options: Any, within: timedelta = WITHIN
) -> int | None:
    """Authors who, writing evenly over the time `within` up to now, would raise an alarm; None when nobody could.

    They stand in place of what was observed in that time. Of each only the share that can be heard now counts, and each is
    taken to be surely from the region: with half the sources down it takes twice as many. Read alone, without other regions.

    >>> from datetime import UTC, datetime
    >>> from listener.detectors import scan
    >>> from listener.types import SeriesKey
    >>> none, one = np.zeros(180), np.ones(180)
    >>> quiet = Signal(SeriesKey("x", "TR"), datetime(2026, 3, 2, tzinfo=UTC), timedelta(minutes=1), none, one, none, none, none)
    >>> rare, common = (Baseline(one * mean, 6.0, 0.1, 4.0) for mean in (0.01, 2.0))
    >>> [smallest_visible(quiet, usual, scan.detect, scan.Options()) > 20 for usual in (rare, common)]
    [False, True]
    """
    heard = float(signal.exposure[-1]) if len(signal.exposure) else 0.0
    if heard <= 0:
        return None
    bins = min(max(1, within // signal.bin), len(signal.observed))

    def seen(authors: int) -> bool:
        observed = signal.observed.copy()
        observed[-bins:] = authors * heard / bins
        posts = np.maximum(signal.posts, np.ceil(observed))
        tried = replace(signal, observed=observed, posts=posts, authors=posts)
        panel = Panel(signal.key.service, {signal.key.region: tried})
        return detect(panel, {signal.key.region: usual}, options)[0].raised

    unseen, authors = 0, 1
    while not seen(authors):
        if authors >= MOST:
            return None
        unseen, authors = authors, min(authors * 2, MOST)
    while authors - unseen > 1:
        middle = (authors + unseen) // 2
        unseen, authors = (unseen, middle) if seen(middle) else (middle, authors)
    return authors
