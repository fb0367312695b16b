"""The mean-gap rule: an alarm when the last few posts followed each other far faster than posts in this region usually do.

De Bruijn et al. 2019 (Global Flood Monitor): a burst is when the mean gap between the last posts falls under a small share of
the region's normal gap, which knows no hour and no weekday. Quick where hardly anybody writes; deaf to anything but a
multiple of the usual where many do. Their rules that an author counts once and copies not at all are the signal's already.

>>> import numpy as np
>>> from datetime import UTC, datetime, timedelta
>>> from listener.types import Baseline, Panel, SeriesKey, Signal
>>> counts, one = np.r_[np.arange(115) % 30 == 0, 1.0, 3.0, 4.0, 5.0, 6.0], np.ones(120)
>>> key, start = SeriesKey("instagram", "TR"), datetime(2026, 3, 2, tzinfo=UTC)
>>> signal = Signal(key, start, timedelta(minutes=1), counts, one, one, counts, counts)
>>> usual = Baseline(mean=one / 30, dispersion=6.0, noise=0.1, weeks=4.0)
>>> detect(Panel("instagram", {"TR": signal}), {"TR": usual}, Options())[0].raised
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from listener.detectors._alarms import arrays, bins, verdicts
from listener.kinds import option
from listener.types import Alarm, Baseline, Panel


@dataclass(frozen=True)
class Options:
    threshold: float = option(20.0, "times faster than usual; 20 = the mean gap is under 5 % of the normal one")
    posts: float = option(5.0, "how many posts back the gap is measured")
    longest: timedelta = option(timedelta(hours=6), "posts further back than this are no burst")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    if not panel.signals:
        return []
    seen, mean, heard = arrays(panel, baselines)
    bin = next(iter(panel.signals.values())).bin
    n = bins(options.longest, bin, seen.shape[1])
    usual = np.maximum(np.stack([baselines[region].mean.mean() for region in panel.signals]), 1e-6)
    counted = np.cumsum(seen[:, : -n - 1 : -1], axis=1)  # newest first
    spans = np.cumsum(heard[:, : -n - 1 : -1], axis=1)
    enough = counted >= options.posts
    first = enough.argmax(axis=1)
    rows = np.arange(len(seen))
    took = np.maximum(spans[rows, first], 1.0)
    score = np.where(enough.any(axis=1), counted[rows, first] / (took * usual), 0.0)
    return verdicts(
        panel,
        expected=mean[:, -1],
        upperbound=np.maximum(options.threshold * usual * heard[:, -1], options.posts),
        score=score,
        raised=score >= options.threshold,
        window=options.longest,
    )
