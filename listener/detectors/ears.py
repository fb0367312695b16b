"""EARS C1, C2 and C3: how many standard deviations the last minutes lie above the stretches of time just before them.

Hutwagner et al. 2003, the CDC's rules for places without years of history. C1 compares with the stretches right before, C2
leaves out the last two lest it learn the outbreak, C3 adds up what C2 found in the last three. By slot: every stretch is
measured in times of what its hour of the week is used to, so that a morning is no outbreak. Short memory: the standard
deviation is that of a few stretches, so many false alarms are to be expected.

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
    threshold: float = option(6.0, "standard deviations that raise an alarm; the CDC's 3 alarms every few hours here")
    method: str = option("c2", "c1, c2 or c3")
    window: timedelta = option(timedelta(minutes=15), "length of one stretch")
    stretches: int = option(28, "how many stretches before are compared with")
    least: float = option(3.0, "fewer distinct authors than this in the window are never an alarm")

    def __post_init__(self) -> None:
        if self.method not in ("c1", "c2", "c3"):
            raise ValueError(f"method {self.method!r} is none of c1, c2, c3")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    if not panel.signals:
        return []
    seen, mean, _ = arrays(panel, baselines)
    bin = next(iter(panel.signals.values())).bin
    n = bins(options.window, bin, seen.shape[1])
    whole = seen.shape[1] // n
    counts = seen[:, seen.shape[1] - whole * n :].reshape(len(seen), whole, n).sum(axis=2)[:, ::-1]  # newest first
    usual = np.maximum(mean[:, mean.shape[1] - whole * n :].reshape(len(mean), whole, n).sum(axis=2)[:, ::-1], 1e-6)
    gap = 0 if options.method == "c1" else 2
    score, bound = np.zeros(len(seen)), np.full(len(seen), np.inf)
    for back in range(min(3 if options.method == "c3" else 1, whole)):
        past = slice(back + 1 + gap, back + 1 + gap + options.stretches)
        times = counts[:, past] / usual[:, past]
        level = times.mean(axis=1) if times.shape[1] else np.ones(len(seen))
        level = np.maximum(level, 0.5)  # of the usual: after a silence the usual must not look like a rise
        spread = times.std(axis=1, ddof=1) if times.shape[1] > 1 else np.zeros(len(seen))
        now = usual[:, back]
        sigma = np.maximum(spread * now, np.sqrt(np.maximum(level * now, 0.25)))
        strays = (counts[:, back] - level * now) / sigma
        score += np.maximum(strays - 1, 0.0) if options.method == "c3" else strays
        if back == 0:
            bound = level * now + options.threshold * sigma
    return verdicts(
        panel,
        expected=mean[:, -1],
        upperbound=np.maximum(bound, options.least) / n,
        score=score,
        raised=(score >= options.threshold) & (counts[:, 0] >= options.least),
        window=n * bin,
    )
