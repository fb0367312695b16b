"""Farrington's bound, as public health watches infections: a quantile of what the baseline allows for the last minutes.

Farrington et al. 1996, with the improvements of Noufaily et al. 2013. Their re-weighted seasonal baseline, in which past
outbreaks count little, is the profile every detector here gets; this is their decision: a quasi-Poisson count whose
two-thirds power is close to normal, with the baseline's own doubt in its variance. The score is the exceedance, how far the
count lies towards the bound and beyond (1 = on it). Its nominal rate of false alarms is far too low when the rate is slow noise.

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
    threshold: float = option(1.0, "exceedance that raises an alarm: 1 = the bound itself")
    sigmas: float = option(4.0, "where the bound lies, in standard deviations of the count's two-thirds power")
    window: timedelta = option(timedelta(minutes=15), "length of time over which chatter is added up")
    least: float = option(3.0, "fewer distinct authors than this in the window are never an alarm")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    if not panel.signals:
        return []
    seen, mean, _ = arrays(panel, baselines)
    usual = [baselines[region] for region in panel.signals]
    bin = next(iter(panel.signals.values())).bin
    n = bins(options.window, bin, seen.shape[1])
    count = seen[:, -n:].sum(axis=1)
    expected = np.maximum(mean[:, -n:].sum(axis=1), 1e-6)
    squares = (mean[:, -n:] ** 2).sum(axis=1)
    size = np.array([one.dispersion for one in usual])
    shared = np.array([one.noise + one.doubt for one in usual])
    variance = expected + squares / size + expected**2 * shared
    bound = expected * (1 + 2 / 3 * options.sigmas * np.sqrt(variance) / expected) ** 1.5
    score = (count - expected) / (bound - expected)
    needed = np.maximum(expected + options.threshold * (bound - expected), options.least)
    return verdicts(
        panel,
        expected=mean[:, -1],
        upperbound=needed / n,
        score=score,
        raised=count >= needed,
        window=n * bin,
    )
