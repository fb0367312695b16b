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
>>> counts = np.r_[np.arange(115) % 30 == 0, 1.0, 3.0, 4.0, 5.0, 6.0]
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
SILENCE_MOST = timedelta(hours=12)  # no source keeps more than this for later
SILENCE_PRIOR = 3.0  # log odds against a silence being a failure of the source, before looking at it
JOINING = 1.5  # evidence a region must bring to be read together with others: one in twenty does so by chance
ECHO_SHARE = 0.08  # of the peak excess, that comes back as news about it
ECHO_AFTER, ECHO_UNTIL = timedelta(hours=18), timedelta(hours=36)
ECHO_OF = 4.0  # only outages of this many times the expectation make the news


@dataclass(frozen=True)
class Options:
    threshold: float = option(8.0, "log-likelihood ratio that raises an alarm; higher = fewer false alarms")
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
    array([ 0. , 17.2])
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
    echo = _echo(data)
    cuts = np.array([max(count - n - data.steps(LEVEL_GAP), 0) for n in lengths])
    known, unknown = _known(data, cuts)
    level, doubt = _level(data, lengths, cuts, known)
    owed = _owed(data, known[-1], max(lengths))
    seen = np.stack([data.seen[:, count - n :].sum(axis=1) for n in lengths])
    mean = np.stack([data.mean[:, count - n :].sum(axis=1) for n in lengths])
    square = np.stack([(data.mean[:, count - n :] ** 2).sum(axis=1) for n in lengths])
    extra = np.stack([owed[:, owed.shape[1] - n :].max(axis=1) + n * echo for n in lengths])
    variance = unknown + doubt + square / (data.size * np.maximum(mean, 1e-12) ** 2)
    return level[0], _Windows(lengths, seen, level * mean + extra, 1 / variance)


def _known(data: _Data, cuts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """What the panel before each cut says about the baseline's own doubt: a gamma posterior's mean and relative variance."""
    worth = 1 / (1 + data.mean * (1 / data.size + 2 * data.memory * data.noise)[:, None])
    seen = _before(worth * _capped(data), cuts)
    expected = _before(worth * data.mean, cuts)
    known = (1 / data.doubt + seen) / (1 / data.doubt + expected)
    return known, 1 / (1 / data.doubt + expected * known)


def _level(data: _Data, lengths: tuple[int, ...], cuts: NDArray[np.int64], known: Floats) -> tuple[Floats, Floats]:
    """How far the series should lie above its baseline in each window, and the relative variance of the slow noise in it.

    A steady-state Kalman filter on the slow noise up to each cut; from there on it forgets towards 1.
    """
    count = data.seen.shape[1]
    usual = np.maximum(data.full.mean(axis=1) * known[-1], 1e-6)
    scatter = 1 / usual + 1 / data.size  # relative variance of one bin
    forgets = 1 / data.memory
    fades = np.sqrt(forgets**2 + 2 * data.noise * forgets / scatter)
    sure = scatter * (fades - forgets)  # the filter's variance when everything is heard
    weights = np.exp(fades[:, None] * (np.arange(count) - count + 1))
    seen, heard, full = (_before(weights * values, cuts) for values in (_capped(data), data.mean, data.full))
    strength = full * forgets / (fades - forgets)
    short = (strength * known + seen) / np.maximum(strength + heard, 1e-300) / known
    left = data.noise - (data.noise - sure) * heard / np.maximum(full, 1e-300)

    ahead = (np.array(lengths) / 2 + data.steps(LEVEL_GAP))[:, None]
    kept = np.exp(-ahead * forgets)
    level = known * np.clip(1 + (short - 1) * kept, LOWEST, np.exp(2 * np.sqrt(data.noise)))
    return level, left * kept**2 + data.noise * (1 - kept**2)


def _capped(data: _Data) -> Floats:
    """Counts without their extremes, so that an outage does not become the new normal."""
    most: Floats = data.mean * np.exp(2 * np.sqrt(data.noise + data.doubt))[:, None] + 2
    return np.minimum(data.seen, most)


def _before(values: Floats, cuts: NDArray[np.int64]) -> Floats:
    """Sums over the bins before each cut: cuts x regions."""
    sums = np.zeros((values.shape[1] + 1, values.shape[0]))
    np.cumsum(values.T, axis=0, out=sums[1:])
    return sums[cuts]


def _owed(data: _Data, known: Floats, longest: int) -> Floats:
    """What a silence just before may still deliver, for each of the last bins.

    A known silence (low exposure) owes what was not heard. A run of too few posts may be an unknown one: a CUSUM towards
    `SILENCE_SHARE` of the rate says how believable that is.
    """
    after = data.steps(AFTERMATH)
    level, count = known[:, None], data.seen.shape[1]
    share = data.mean / np.maximum(data.full, 1e-12)
    lost = np.maximum(share[:, -1:] - share, 0.0)  # what is deaf still can't deliver yet
    deaf = np.cumsum(level * data.full * lost, axis=1)
    hears = lost < 0.05
    settled = hears.copy()
    for n in range(1, after + 1):
        settled[:, n:] &= hears[:, :-n]
    unheard = deaf - np.maximum.accumulate(np.where(settled, deaf, 0.0), axis=1)

    mean = level * data.mean
    worth = 1 / (1 + mean / data.size[:, None])
    walk = np.cumsum(worth * (mean * (1 - SILENCE_SHARE) + data.seen * math.log(SILENCE_SHARE)), axis=1)
    lowest = np.minimum.accumulate(np.minimum(walk, 0.0), axis=1)
    missing = np.zeros((len(walk), count + 1))
    np.cumsum(mean - data.seen, axis=1, out=missing[:, 1:])
    began = np.maximum.accumulate(np.where(walk <= lowest, np.arange(1, count + 1), 0), axis=1)
    began = np.maximum(began, np.arange(1, count + 1) - data.steps(SILENCE_MOST))
    lacking = missing[:, 1:] - np.take_along_axis(missing, began, axis=1)
    believed = 1 / (1 + np.exp(np.minimum(SILENCE_PRIOR - (walk - lowest), 50.0)))
    silent = believed * np.maximum(lacking, 0.0)

    owed = unheard.copy()
    for n in range(1, after + 1):
        owed[:, n:] = np.maximum(owed[:, n:], unheard[:, n:] + silent[:, :-n])
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

    A region that brings more than its price is in: that is the best subset, found in linear time. What remains pays for
    the choice among all subsets. No region brings more than half the threshold: a loud one must not carry quiet ones along.
    """
    brought = np.minimum(scores, options.threshold / 2) - JOINING
    member = brought > 0
    choice = scores.shape[1] * math.log1p(math.exp(-JOINING))
    sums = np.where(member, brought, 0.0).sum(axis=1) - choice
    enough = (np.where(member, seen, 0.0).sum(axis=1) >= options.least) & (member.sum(axis=1) >= 2)
    sums = np.where(enough, sums, 0.0)
    window = int(sums.argmax())
    return np.where(member[window], max(float(sums[window]), 0.0), 0.0)
