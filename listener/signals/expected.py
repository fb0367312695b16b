"""What was usual for each hour of a signal, as numbers to keep: for charts and programs, no detector reads them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from listener.signals.bins import ceil, count, floor
from listener.types import Baseline, Expected, Signal

HOUR = timedelta(hours=1)
SPREADS = 2.0  # standard deviations above the mean that are still usual: about 1 hour in 40 lies higher


def expected_hours(signal: Signal, usual: Baseline, since: datetime) -> list[Expected]:
    """One row for each full hour of the signal from `since` on, scaled by what could be heard of it.

    The range's top counts in how unsure single bins, the slow noise and the baseline itself are (a negative binomial).
    """
    end_at = signal.start_at + len(signal.observed) * signal.bin
    first, last = ceil(max(since, signal.start_at), HOUR), floor(end_at, HOUR)
    size = HOUR // signal.bin
    begin = (first - signal.start_at) // signal.bin
    rows = []
    for n in range(count(first, last, HOUR) if last > first else 0):
        bins = slice(begin + n * size, begin + (n + 1) * size)
        mean = usual.mean[bins] * signal.exposure[bins]
        total = float(mean.sum())
        variance = total + float((mean**2).sum()) / usual.dispersion + total**2 * (usual.noise + usual.doubt)
        high = total + SPREADS * float(np.sqrt(variance))
        rows.append(Expected(signal.key, first + n * HOUR, round(total, 6), round(high, 6)))
    return rows
