"""What a detector found of a synthetic series, how soon, and what it alarmed about for nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from listener.simulation.series import HOUR, WARM_UP, Event, Series

RESOLVED = HOUR // 2  # bins without an alarm after which the next is a new one, as incidents have it
AFTERWARDS = HOUR  # bins in which an alarm is still a nuisance's doing


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one outage: minutes until the alarm, None when there was none while it lasted."""

    mean: float
    shape: str
    delay: float | None


def starts(raised: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The bins in which alarms start.

    >>> starts(np.array([0, 1, 1, 0, 1] + [0] * 7 + [1], dtype=bool)).tolist()
    [1, 12]
    """
    at = np.flatnonzero(raised)
    return at[np.r_[True, np.diff(at) > RESOLVED]] if len(at) else at


def outcomes(series: Series, began: NDArray[np.int64]) -> list[Outcome]:
    """An outage is found when an alarm starts before it is over. One that began in a gap is timed from the gap's end."""
    made = []
    for event in series.events:
        inside = began[(began >= event.start) & (began < event.end)]
        delay = event.delay(int(inside[0])) - _unheard(series, event) if len(inside) else None
        made.append(Outcome(series.mean, event.shape, delay))
    return made


def _unheard(series: Series, event: Event) -> float:
    if event.shape != "in_gap":
        return 0.0
    return next(5.0 * (n.end - event.start) - event.late for n in series.nuisances if n.start <= event.start < n.end)


def false_alarms(series: Series, began: NDArray[np.int64]) -> Counter[str]:
    """Alarms that start outside every outage and its aftermath, by what was there: a dropout, an echo, or `quiet`.

    The warm-up does not count.
    """
    cause = np.full(len(series.counts), "quiet", dtype="U8")
    for nuisance in series.nuisances:
        kind = "echo" if nuisance.kind == "echo" else "dropout"
        cause[nuisance.start : nuisance.end + AFTERWARDS] = kind
    for event in series.events:
        cause[event.start : event.start + len(event.profile)] = ""
    cause[:WARM_UP] = ""
    return Counter(str(kind) for kind in cause[began] if kind)


def weeks(series: Series) -> float:
    return (len(series.counts) - WARM_UP) / (7 * 24 * HOUR)
