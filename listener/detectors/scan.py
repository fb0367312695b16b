"""Seasonal negative-binomial window scan: how much likelier the last minutes are under an outage than under any usual story.

For each region and each window (5 to 60 minutes, ending now) the log-likelihood ratio of "the rate is at least `increase`
times what was to be expected" against "as expected" is taken. Expected is the seasonal baseline, times the short-term level
of the hours before, times what share could be heard. The null's variance is that of the whole window: counting, bursts of
single bins, slow noise that the level does not know yet, and doubt about the baseline itself. A window must also explain
what is owed by a silence before it (a source that catches up) and the echo that a big outage has in the next day's news.
Regions are read together as well: those with most evidence are added up and the sum pays for the choice of regions.

Runs on any panel; the last 36 hours are best (the echo needs them), two hours are enough. Ideas: Höhle & Paul 2008
(likelihood ratios for negative-binomial counts), Neill 2012 (subset scan in linear time).

>>> from datetime import UTC, datetime, timedelta
>>> from listener.types import Baseline, Panel, SeriesKey, Signal
>>> counts = np.r_[np.zeros(115), 1.0, 3.0, 4.0, 5.0, 6.0]
>>> one, none = np.ones(120), np.zeros(120)
>>> key, start = SeriesKey("instagram", "TR"), datetime(2026, 3, 2, tzinfo=UTC)
>>> signal = Signal(key, start, timedelta(minutes=1), counts, one, none, counts, counts)
>>> usual = Baseline(mean=one / 30, dispersion=6.0, noise=0.1, weeks=4.0)
>>> detect(Panel("instagram", {"TR": signal}), {"TR": usual}, Options())[0].raised
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from listener.kinds import option
from listener.types import Alarm, Baseline, Floats, Panel

LEVEL_GAP = timedelta(minutes=20)  # the level is read up to this long before a window, lest it learn the outage's start
LOWEST = 0.8  # of the level: after a silence nobody told us about, the usual must not look like a rise
AFTERMATH = timedelta(minutes=10)  # a backlog arrives within this time after a silence
SILENCE_SHARE = 0.15  # a silent failure lets through at most about this share
SILENCE_PRIOR = 4.0  # log odds against a silence being a failure of the source, before looking at it
ECHO_SHARE = 0.08  # of the peak excess, that comes back as news about it
ECHO_AFTER, ECHO_UNTIL = timedelta(hours=18), timedelta(hours=36)
ECHO_OF = 4.0  # only outages of this many times the expectation make the news


@dataclass(frozen=True)
class Options:
    threshold: float = option(7.5, "log-likelihood ratio that raises an alarm; higher = fewer false alarms")
    windows: tuple[int, ...] = option((5, 15, 30, 60), "lengths in minutes of the windows looked at")
    increase: float = option(1.5, "smallest rise of the rate, in times, that counts as an outage")
    least: float = option(3.0, "fewer distinct authors than this in a window are never an alarm")
    joint: bool = option(True, "also look for weak trouble in several regions at once")


@dataclass(frozen=True, slots=True)
class _Data:
    """Regions x bins: what was seen, the expectation at full exposure, and the expectation of what could be heard."""

    seen: Floats
    full: Floats
    mean: Floats
    size: Floats  # negative-binomial k of one bin, by region
    noise: Floats
    doubt: Floats
    memory: Floats  # in bins
    bin: timedelta

    def steps(self, length: timedelta) -> int:
        return max(1, round(length / self.bin))


@dataclass(frozen=True, slots=True)
class _Windows:
    """Windows x regions: sums over each window ending with the last bin, and how sure their expectation is."""

    bins: tuple[int, ...]
    seen: Floats
    mean: Floats
    size: Floats  # negative-binomial k of the whole window


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    if not panel.signals:
        return []
    data = _stack(panel, baselines)
    level, windows = _windows(data, options)
    scores = evidence(windows.seen, windows.mean, windows.size, options.increase)
    own = np.where(windows.seen >= options.least, scores, 0.0)
    best = own.argmax(axis=0)
    column = np.arange(own.shape[1])
    score = own[best, column]
    if options.joint and len(panel.signals) > 1:
        score = np.maximum(score, _joint(scores, windows.seen, options))
    mean, size = windows.mean[best, column], windows.size[best, column]
    needed = np.maximum(_needed(mean, size, options), options.least)
    alarms = []
    for i, signal in enumerate(panel.signals.values()):
        last = len(signal.observed) - 1
        length = windows.bins[best[i]]
        heard = bool(signal.exposure[last] > 0)
        alarms.append(
            Alarm(
                key=signal.key,
                at=signal.start_at + last * signal.bin,
                observed=float(signal.observed[last]),
                expected=float(level[i] * data.mean[i, -1]),
                upperbound=float(needed[i] / length),
                score=float(score[i]) if heard else 0.0,
                raised=heard and bool(score[i] >= options.threshold),
                window=length * signal.bin,
                exposure=float(signal.exposure[last]),
            )
        )
    return alarms


def evidence(seen: Floats, mean: Floats, size: Floats, increase: float) -> Floats:
    """Log-likelihood ratio of a rate of at least `increase` times `mean` against `mean`; 0 where there is no rise.

    >>> evidence(np.array([2.0, 20.0]), np.array([2.0, 2.0]), np.array([8.0, 8.0]), 1.5).round(1)
    array([ 0. , 17.7])
    """
    mean = np.maximum(mean, 1e-9)
    times = np.maximum(seen / mean, increase)
    return np.maximum(seen * np.log(times) - (seen + size) * np.log((size + times * mean) / (size + mean)), 0.0)


def _needed(mean: Floats, size: Floats, options: Options) -> Floats:
    """The count at which `evidence` reaches the threshold: Newton's steps on a convex function, from above."""
    mean = np.maximum(mean, 1e-9)
    seen = options.increase * mean + 2 * options.threshold + 1
    for _ in range(12):
        times = np.maximum(seen / mean, options.increase)
        spread = np.log((size + times * mean) / (size + mean))
        value = seen * np.log(times) - (seen + size) * spread
        slope = np.maximum(np.log(times) - spread, 1e-6)
        seen = np.maximum(seen - (value - options.threshold) / slope, options.increase * mean)
    return seen


def _stack(panel: Panel, baselines: Mapping[str, Baseline]) -> _Data:
    signals = list(panel.signals.values())
    usual = [baselines[region] for region in panel.signals]
    heard = np.stack([s.exposure for s in signals])
    full = np.stack([b.mean for b in usual])
    return _Data(
        seen=np.where(heard > 0, np.stack([s.observed for s in signals]), 0.0),
        full=full,
        mean=full * heard,
        size=np.array([b.dispersion for b in usual]),
        noise=np.array([max(b.noise, 1e-3) for b in usual]),
        doubt=np.array([max(b.doubt, 1e-3) for b in usual]),
        memory=np.array([b.memory / s.bin for b, s in zip(usual, signals, strict=True)]),
        bin=signals[0].bin,
    )


def _windows(data: _Data, options: Options) -> tuple[Floats, _Windows]:
    """The short-term level of each region just before now, and the sums of every window with their null."""
    count = data.seen.shape[1]
    lengths = tuple(
        dict.fromkeys(min(data.steps(timedelta(minutes=minutes)), count) for minutes in sorted(options.windows))
    )
    owed = _owed(data, max(lengths))
    echo = _echo(data)
    level, doubt = _level(data, lengths)
    seen = np.stack([data.seen[:, count - n :].sum(axis=1) for n in lengths])
    mean = np.stack([data.mean[:, count - n :].sum(axis=1) for n in lengths])
    square = np.stack([(data.mean[:, count - n :] ** 2).sum(axis=1) for n in lengths])
    extra = np.stack([owed[:, owed.shape[1] - n :].max(axis=1) + n * echo for n in lengths])
    variance = doubt + square / (data.size * np.maximum(mean, 1e-12) ** 2)
    return level[0], _Windows(lengths, seen, level * mean + extra, 1 / variance)


def _level(data: _Data, lengths: tuple[int, ...]) -> tuple[Floats, Floats]:
    """How far the series should lie above its baseline in each window, and how unsure that is (relative variance).

    First what the whole panel says about the baseline's own doubt (a gamma posterior), then a steady-state Kalman filter
    on the slow noise, which forgets towards 1. Bins are capped, so that an outage does not become the new normal.
    """
    count = data.seen.shape[1]
    gap = data.steps(LEVEL_GAP)
    cuts = np.array([max(count - n - gap, 0) for n in lengths])
    seen = np.minimum(data.seen, data.mean * np.exp(2 * np.sqrt(data.noise + data.doubt))[:, None] + 2)

    worth = 1 / (1 + data.mean * (1 / data.size + 2 * data.memory * data.noise)[:, None])
    heard = _before(worth * data.mean, cuts)
    known = (1 / data.doubt + _before(worth * seen, cuts)) / (1 / data.doubt + heard)
    unknown = 1 / (1 / data.doubt + heard * known)

    usual = np.maximum(data.full.mean(axis=1) * known[-1], 1e-6)
    scatter = 1 / usual + 1 / data.size  # relative variance of one bin
    forgets = 1 / data.memory
    fades = np.sqrt(forgets**2 + 2 * data.noise * forgets / scatter)
    sure = scatter * (fades - forgets)  # the filter's variance when everything is heard
    weights = np.exp(fades[:, None] * (np.arange(count) - count + 1))
    heard, full = _before(weights * data.mean, cuts), _before(weights * data.full, cuts)
    strength = full * forgets / (fades - forgets)
    short = (strength * known + _before(weights * seen, cuts)) / np.maximum(strength + heard, 1e-300) / known
    left = data.noise - (data.noise - sure) * heard / np.maximum(full, 1e-300)

    ahead = np.array([gap + n / 2 for n in lengths])[:, None]
    kept = np.exp(-ahead * forgets)
    limit = np.exp(2 * np.sqrt(data.noise))
    level = known * np.clip(1 + (short - 1) * kept, LOWEST, limit)
    return level, unknown + left * kept**2 + data.noise * (1 - kept**2)


def _before(values: Floats, cuts: NDArray[np.int64]) -> Floats:
    """Sums over the bins before each cut: cuts x regions."""
    sums = np.zeros((values.shape[1] + 1, values.shape[0]))
    np.cumsum(values.T, axis=0, out=sums[1:])
    return sums[cuts]


def _owed(data: _Data, longest: int) -> Floats:
    """What a silence just before may still deliver, for each of the last bins.

    A known silence (low exposure) owes what was not heard. A run of too few posts may be an unknown one: a CUSUM towards
    `SILENCE_SHARE` of the rate says how believable that is.
    """
    after = data.steps(AFTERMATH)
    deaf = np.cumsum(data.full - data.mean, axis=1)
    hears = data.mean > 0.95 * data.full
    settled = hears.copy()
    for n in range(1, after + 1):
        settled[:, n:] &= hears[:, :-n]
    known = deaf - np.maximum.accumulate(np.where(settled, deaf, 0.0), axis=1)

    worth = 1 / (1 + data.mean / data.size[:, None])
    walk = np.cumsum(worth * (data.mean * (1 - SILENCE_SHARE) + data.seen * math.log(SILENCE_SHARE)), axis=1)
    lowest = np.minimum.accumulate(np.minimum(walk, 0.0), axis=1)
    missing = np.cumsum(data.mean - data.seen, axis=1)
    at_lowest = np.maximum.accumulate(np.where(walk <= lowest, np.arange(walk.shape[1]), -1), axis=1)
    since = np.where(at_lowest >= 0, np.take_along_axis(missing, np.maximum(at_lowest, 0), axis=1), 0.0)
    believed = 1 / (1 + np.exp(np.minimum(SILENCE_PRIOR - (walk - lowest), 50.0)))
    unknown = believed * np.maximum(missing - since, 0.0)

    owed = known
    for n in range(1, after + 1):
        owed[:, n:] = np.maximum(owed[:, n:], known[:, n:] + unknown[:, :-n])
    return owed[:, -longest:]


def _echo(data: _Data) -> Floats:
    """Posts a bin that news about yesterday's outage may bring now."""
    count = data.seen.shape[1]
    window = data.steps(timedelta(minutes=30))
    first, last = max(count - data.steps(ECHO_UNTIL), 0), count - data.steps(ECHO_AFTER)
    if last - first <= window:
        return np.zeros(data.seen.shape[0])
    seen = np.cumsum(data.seen[:, first:last], axis=1)
    mean = np.cumsum(data.mean[:, first:last], axis=1)
    excess = (seen[:, window:] - seen[:, :-window]) - ECHO_OF * (mean[:, window:] - mean[:, :-window])
    return np.asarray(ECHO_SHARE * np.maximum(excess.max(axis=1) - 5.0, 0.0) / window)


def _joint(scores: Floats, seen: Floats, options: Options) -> Floats:
    """For each region the score of the best subset of at least two regions it belongs to; 0 for the others.

    No region brings in more than half the threshold: one loud region must not carry quiet ones along.
    """
    regions = scores.shape[1]
    capped = np.minimum(scores, options.threshold / 2)
    order = np.argsort(-capped, axis=1, kind="stable")
    sizes = np.arange(1, regions + 1)
    sums = np.cumsum(np.take_along_axis(capped, order, axis=1), axis=1) - _choices(regions)
    enough = np.cumsum(np.take_along_axis(seen, order, axis=1), axis=1) >= options.least
    sums = np.where(enough & (sizes >= 2), sums, 0.0)
    window, size = np.unravel_index(int(sums.argmax()), sums.shape)
    joint = np.zeros(regions)
    members = order[window, : size + 1]
    members = members[capped[window, members] > 0]
    joint[members] = sums[window, size]
    return joint


def _choices(regions: int) -> Floats:
    """What a subset of each size pays: the log number of ways to choose it, and half a nat for each further region."""
    return np.array([math.log(math.comb(regions, n)) + 0.5 * (n - 1) for n in range(1, regions + 1)])
