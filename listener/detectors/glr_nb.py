"""Generalized likelihood ratio for negative-binomial counts: when would a rise have begun, if there was one, and how sure is it?

Höhle & Paul 2008 (`glrnb` of R's `surveillance`). For every bin of the last hours as the beginning of a lasting rise, the
best fitting factor is found and the log-likelihood ratio against the baseline taken; the largest decides. One dispersion for
single bins is all the null knows, so slow noise adds up to false alarms and the threshold must be high.

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
from numpy.typing import NDArray

from listener.detectors._alarms import arrays, bins, verdicts
from listener.kinds import option
from listener.types import Alarm, Baseline, Floats, Panel


@dataclass(frozen=True)
class Options:
    threshold: float = option(10.0, "log-likelihood ratio that raises an alarm")
    longest: timedelta = option(timedelta(hours=2), "how long ago a rise may have begun")
    increase: float = option(1.5, "smallest rise of the rate, in times, that counts")
    least: float = option(3.0, "fewer distinct authors than this since the beginning are never an alarm")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    if not panel.signals:
        return []
    seen, mean, _ = arrays(panel, baselines)
    usual = [baselines[region] for region in panel.signals]
    bin = next(iter(panel.signals.values())).bin
    n = bins(options.longest, bin, seen.shape[1])
    counts, means = seen[:, None, -n:], np.maximum(mean[:, None, -n:], 1e-9)
    size = np.array([1 / (1 / one.dispersion + one.noise) for one in usual])[:, None, None]
    since = np.tri(n, dtype=np.bool_)[None, :, ::-1]  # row i: the last i + 1 bins
    factor = _factor(counts, means, size, since, options.increase)[:, :, None]
    ratio = counts * np.log(factor) - (counts + size) * np.log((size + factor * means) / (size + means))
    total = (counts * since).sum(axis=2)
    scores = np.where(total >= options.least, (ratio * since).sum(axis=2), 0.0)
    best = scores.argmax(axis=1)
    rows = np.arange(len(seen))
    expected = (means * since).sum(axis=2)[rows, best]
    needed = expected + np.sqrt(2 * options.threshold * (expected + expected**2 / size[:, 0, 0])) + options.threshold
    return verdicts(
        panel,
        expected=mean[:, -1],
        upperbound=np.maximum(needed, options.least) / (best + 1),
        score=scores[rows, best],
        raised=scores[rows, best] >= options.threshold,
        window=options.longest,
    )


def _factor(counts: Floats, means: Floats, size: Floats, since: NDArray[np.bool_], increase: float) -> Floats:
    """The likeliest factor for every beginning, by a few steps of the fixed point of the score equation: regions x beginnings."""
    factor: Floats = np.maximum((counts * since).sum(axis=2) / (means * since).sum(axis=2), increase)
    for _ in range(4):
        weight = size / (size + factor[:, :, None] * means) * since
        factor = np.maximum((counts * weight).sum(axis=2) / (means * weight).sum(axis=2), increase)
    return factor
