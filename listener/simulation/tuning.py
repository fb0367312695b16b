"""A detector's threshold by simulation: what it would alarm about in weeks in which nothing fails.

Every region's null is made from its own profile: level, hours of the week, bursts, slow noise, and doubt about the level.
The detector watches it as it does live, all regions of a service together, minute by minute; the threshold is where so many
alarms a region and week are left. What is promised holds for calm times and for series that stray as their profile says;
sources that fail silently, floods of copies and news about the past come on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import numpy as np

from listener.signals.profile import DISPERSION_BIN, Profile
from listener.types import Baseline, Floats, Panel, SeriesKey, Signal

MINUTE = timedelta(minutes=1)
LOOKBACK = 36 * 60  # minutes the detector sees, as live
AGAIN = 30  # minutes without an alarm after which the next is a new one
NOISE_STEP = 5  # minutes the slow noise stands still
LOWEST = 0.2  # of the threshold there is; lower scores are not kept
WEEK = 7 * 24 * 60


@dataclass(frozen=True, slots=True)
class Null:
    """The scores of quiet weeks: for each region the minutes that were judged, and their scores above the lowest kept."""

    weeks: float  # of each region
    minutes: dict[str, Floats]
    scores: dict[str, Floats]

    def rate(self, threshold: float) -> float:
        """False alarms a region and week."""
        return sum(self._alarms(region, threshold) for region in self.scores) / (self.weeks * len(self.scores))

    def rates(self, threshold: float) -> dict[str, float]:
        return {region: self._alarms(region, threshold) / self.weeks for region in self.scores}

    def _alarms(self, region: str, threshold: float) -> int:
        at = self.minutes[region][self.scores[region] >= threshold]
        return int(len(at) > 0) + int((np.diff(at) > AGAIN).sum())

    def threshold(self, rate: float) -> float:
        """The lowest threshold with at most `rate` false alarms a region and week."""
        low, high = (
            0.0,
            max((float(scores.max()) for scores in self.scores.values() if len(scores)), default=0.0) + 1e-3,
        )
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if self.rate(middle) > rate else (low, middle)
        return high


def tuned_option(detector: ModuleType) -> str:
    """The option of a detector that raises fewer alarms the higher it is."""
    return str(getattr(detector, "TUNED", "threshold"))


def null(
    detector: ModuleType,
    options: Any,
    profiles: Mapping[str, Profile],
    *,
    start_at: datetime,
    weeks: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Null:
    """Watch `weeks` of every region. Minutes in which nobody writes anywhere are passed over: no score grows in them."""
    rng = np.random.default_rng(seed)
    minutes = weeks * WEEK + LOOKBACK
    usual = {region: profile.expect(start_at, minutes, MINUTE) for region, profile in profiles.items()}
    counts = {region: _counts(rng, profiles[region], usual[region].mean) for region in profiles}
    lowest = LOWEST * float(getattr(options, tuned_option(detector)))
    kept: dict[str, list[tuple[int, float]]] = {region: [] for region in profiles}
    spoken = np.flatnonzero(np.sum([counts[region] for region in profiles], axis=0))
    for minute in spoken[spoken >= LOOKBACK].tolist():
        panel, baselines = _panel(counts, usual, start_at, minute)
        for alarm in detector.detect(panel, baselines, options):
            if alarm.score >= lowest:
                kept[alarm.key.region].append((minute, alarm.score))
        progress(minute)
    return Null(
        float(weeks),
        {region: np.array([minute for minute, _ in rows], dtype=np.float64) for region, rows in kept.items()},
        {region: np.array([score for _, score in rows], dtype=np.float64) for region, rows in kept.items()},
    )


def _panel(
    counts: Mapping[str, Floats], usual: Mapping[str, Baseline], start_at: datetime, minute: int
) -> tuple[Panel, dict[str, Baseline]]:
    part = slice(minute + 1 - LOOKBACK, minute + 1)
    all_, none = np.ones(LOOKBACK), np.zeros(LOOKBACK)
    begin = start_at + part.start * MINUTE
    signals = {
        region: Signal(SeriesKey("null", region), begin, MINUTE, seen[part], all_, none, seen[part], seen[part])
        for region, seen in counts.items()
    }
    return Panel("null", signals), {region: replace(one, mean=one.mean[part]) for region, one in usual.items()}


def _counts(rng: np.random.Generator, profile: Profile, mean: Floats) -> Floats:
    """Negative-binomial counts around a rate that strays slowly, at a level that is not quite the expected one."""
    rate = mean * rng.gamma(1 / profile.doubt, profile.doubt) if profile.doubt > 0 else mean
    steps = math.ceil(len(mean) / NOISE_STEP)
    keeps = math.exp(-NOISE_STEP / (60 * profile.memory))
    sigma = math.sqrt(profile.noise)
    slow = np.fromiter(_walk(rng, steps, keeps, sigma), np.float64, steps)
    rate = rate * np.exp(np.repeat(slow, NOISE_STEP)[: len(mean)] - profile.noise / 2)
    size = profile.dispersion * (MINUTE / DISPERSION_BIN)
    return rng.poisson(rng.gamma(size, 1 / size, len(mean)) * rate).astype(np.float64)


def _walk(rng: np.random.Generator, steps: int, keeps: float, sigma: float) -> Iterator[float]:
    now = sigma * float(rng.normal())
    for jump in rng.normal(0.0, sigma * math.sqrt(1 - keeps**2), steps).tolist():
        now = keeps * now + jump
        yield now
