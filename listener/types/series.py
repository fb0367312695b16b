"""What is measured: points, signals, panels, what was to be expected, and a detector's verdict on one bin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    service: str
    region: str


@dataclass(frozen=True, slots=True)
class Point:
    """One bin of a series. `observed` is expected chatter authors (fractional), `exposure` the share heard."""

    key: SeriesKey
    at: datetime  # the bin's start
    observed: float
    posts: int
    authors: int
    recovered: float = 0.0
    labels: tuple[tuple[str, float], ...] = ()  # observed by label, and "symptom:<name>" for symptoms
    excluded: tuple[tuple[str, int], ...] = ()  # reason -> posts that did not add to `observed`


@dataclass(frozen=True, slots=True)
class Expected:
    """What was usual for one hour of a series, as far as it could be heard: the mean and the top of the usual range."""

    key: SeriesKey
    at: datetime  # the hour's start
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Hearing:
    """What one source let us hear in one bin: posts seen before any gate, and whether it was up at all."""

    source: str
    at: datetime
    posts: int
    up: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """A gapless run of bins of one series; bin `i` starts at `start_at + i * bin`. Arrays share one length."""

    key: SeriesKey
    start_at: datetime
    bin: timedelta
    observed: Floats
    exposure: Floats  # 0..1; 0 = nothing could be heard
    recovered: Floats
    posts: Floats
    authors: Floats


@dataclass(frozen=True, slots=True)
class Panel:
    """The signals of one service over all regions, all of the same start, bin and length."""

    service: str
    signals: dict[str, Signal]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is expected in the bins of a signal, at full exposure.

    `mean` has the signal's length. `dispersion` is the negative-binomial size k of one bin's count
    (variance = mean + mean**2 / k); `noise` is the variance of the slow log-rate noise, shared by neighbouring bins.
    `weeks` says how much history stands behind it (0 = the prior from data alone), `doubt` how far it may be off
    altogether (variance of the log of `mean`), `memory` how long the noise remembers itself.
    """

    mean: Floats
    dispersion: float
    noise: float
    weeks: float
    doubt: float = 0.0
    memory: timedelta = timedelta(hours=4)


class State(StrEnum):
    NO_DATA = "no_data"
    QUIET = "quiet"
    POSSIBLE = "possible"
    PROBLEMS = "problems"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A detector's verdict on one bin (words of R's `surveillance`); `raised` when the score passes the threshold."""

    key: SeriesKey
    at: datetime
    observed: float
    expected: float
    upperbound: float
    score: float
    raised: bool
    window: timedelta
    exposure: float = 1.0
