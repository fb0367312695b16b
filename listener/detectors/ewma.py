"""A control chart: the exponentially weighted mean of how many standard deviations each bin strays from its expectation.

Roberts 1959, on residuals of the negative-binomial baseline. Slow to start and slow to forget, but quiet on series with
much noise, where it makes fewer false alarms than windows do.

>>> from datetime import UTC, datetime, timedelta
>>> from listener.types import Baseline, Panel, SeriesKey, Signal
>>> counts, one = np.r_[np.zeros(55), 2.0, 3.0, 2.0, 4.0, 3.0], np.ones(60)
>>> key, start = SeriesKey("instagram", "TR"), datetime(2026, 3, 2, tzinfo=UTC)
>>> signal = Signal(key, start, timedelta(minutes=1), counts, one, one, counts, counts)
>>> usual = Baseline(mean=one / 10, dispersion=6.0, noise=0.1, weeks=4.0)
>>> detect(Panel("instagram", {"TR": signal}), {"TR": usual}, Options())[0].raised
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from listener.kinds import option
from listener.types import Alarm, Baseline, Panel, Signal

TUNED = "sigmas"  # the option that `listener tune` sets


@dataclass(frozen=True)
class Options:
    sigmas: float = option(6.0, "how many of its own standard deviations the chart strays before it alarms")
    memory: timedelta = option(timedelta(minutes=15), "time after which a bin's weight has fallen to a third")
    most: float = option(8.0, "a single bin counts as at most this many standard deviations")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    return [_verdict(signal, baselines[region], options) for region, signal in panel.signals.items()]


def _verdict(signal: Signal, usual: Baseline, options: Options) -> Alarm:
    """Bins in which nothing could be heard are left out, as if time had stood still."""
    mean = usual.mean * signal.exposure
    heard = signal.exposure > 0
    now = bool(heard[-1])
    keep = 1 - math.exp(-signal.bin / options.memory)
    spread = np.sqrt(mean + mean**2 * (1 / usual.dispersion + usual.noise) + 1e-3)
    strays = np.minimum((signal.observed - mean) / spread, options.most)[heard]
    weights = keep * (1 - keep) ** np.arange(len(strays))[::-1]
    chart = float((weights * strays).sum())
    own = math.sqrt(keep / (2 - keep))
    missing = max(options.sigmas * own - (chart - keep * float(strays[-1])), 0.0) / keep if now else 0.0
    return Alarm(
        key=signal.key,
        at=signal.start_at + (len(signal.observed) - 1) * signal.bin,
        observed=float(signal.observed[-1]),
        expected=float(mean[-1]),
        upperbound=float(mean[-1] + missing * spread[-1]),
        score=max(chart / own, 0.0) if now else 0.0,
        raised=now and chart >= options.sigmas * own,
        window=options.memory,
        exposure=float(signal.exposure[-1]),
    )
