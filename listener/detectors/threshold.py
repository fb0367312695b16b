"""A multiple of what is usual: alarms when a window holds so many times the expected chatter, and a least number of authors.

The rule of thumb behind public outage trackers. Easy to explain, blind to how much a series strays by itself: expect
some two false alarms a region and week with the defaults, and pick `scan` unless that is fine.

>>> import numpy as np
>>> from datetime import UTC, datetime, timedelta
>>> from listener.types import Baseline, Panel, SeriesKey, Signal
>>> counts, one = np.r_[np.zeros(25), 2.0, 3.0, 2.0, 4.0, 3.0], np.ones(30)
>>> key, start = SeriesKey("instagram", "TR"), datetime(2026, 3, 2, tzinfo=UTC)
>>> signal = Signal(key, start, timedelta(minutes=1), counts, one, one, counts, counts)
>>> usual = Baseline(mean=one / 10, dispersion=6.0, noise=0.1, weeks=4.0)
>>> detect(Panel("instagram", {"TR": signal}), {"TR": usual}, Options())[0].raised
True
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from listener.kinds import option
from listener.types import Alarm, Baseline, Panel, Signal

TUNED = "multiple"  # the option that `listener tune` sets


@dataclass(frozen=True)
class Options:
    multiple: float = option(4.0, "times the expected chatter that raise an alarm")
    window: timedelta = option(timedelta(minutes=15), "length of time over which chatter is added up")
    least: float = option(5.0, "fewer distinct authors than this in the window are never an alarm")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    return [_verdict(signal, baselines[region], options) for region, signal in panel.signals.items()]


def _verdict(signal: Signal, usual: Baseline, options: Options) -> Alarm:
    """The score is the multiple reached; a window in which nothing could be heard has none."""
    bins = min(max(1, round(options.window / signal.bin)), len(signal.observed))
    heard = signal.exposure[-bins:] > 0
    seen = float(signal.observed[-bins:][heard].sum())
    mean = usual.mean * signal.exposure
    expected = float(mean[-bins:].sum())
    needed = max(options.multiple * expected, options.least)
    now = bool(signal.exposure[-1] > 0)
    return Alarm(
        key=signal.key,
        at=signal.start_at + (len(signal.observed) - 1) * signal.bin,
        observed=float(signal.observed[-1]),
        expected=float(mean[-1]),
        upperbound=needed / bins,
        score=seen / max(expected, options.least / options.multiple) if now else 0.0,
        raised=now and seen >= needed,
        window=bins * signal.bin,
        exposure=float(signal.exposure[-1]),
    )
