"""What was seen in the last minutes of each region, what was to be expected, and how sure that is. The arithmetic of `scan`.

Arrays are regions x bins, or windows x regions once they are summed; every window ends with the last bin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.types import Baseline, Floats, Panel

LEVEL_GAP = timedelta(minutes=20)  # the level is read up to this long before a window, lest it learn the outage's start
LOWEST = 0.8  # of the level: after a silence nobody told us about, the usual must not look like a rise
AFTERMATH = timedelta(minutes=10)  # a backlog arrives within this time after a silence
DEAF = 0.05  # of what is heard now, missing before: so much makes a known silence
SILENCE_SHARE = 0.15  # a silent failure lets through at most about this share
SILENCE_MOST = timedelta(hours=12)  # no source keeps more than this for later
SILENCE_PRIOR = 5.5  # log odds against a silence being a failure of the source, before looking at it
SILENCE_NOISE = 0.2  # of the noise's memory: for so long a lull of slow noise says the same thing over again
LULL_SHARE = 0.6  # a source that lost only a part of its ears lets through at most about this share
JUMP = 15.0  # times the usual and the bin before: people never start that suddenly, a backlog does
JUMP_OWED = 0.2  # of a jump must have been missing before, for it to be a backlog
DOUBTED = 0.02  # bins that may hold a backlog with this probability are left out when they are not to be trusted
ECHO_SHARE = 0.08  # of the peak excess, that comes back as news about it
ECHO_AFTER, ECHO_UNTIL = timedelta(hours=18), timedelta(hours=36)
ECHO_OF = 4.0  # only outages of this many times the expectation make the news


@dataclass(frozen=True, slots=True)
class Data:
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
class Sums:
    """Windows x regions: what was seen and expected, and the negative-binomial size k of the whole window."""

    seen: Floats
    mean: Floats
    size: Floats


@dataclass(frozen=True, slots=True)
class Windows:
    """Three readings of every window, and how believable it is that a backlog lies in it.

    `plain` takes all bins for what they are, `clear` leaves out those in which a source may have caught up, `owed` expects in
    them what it may have kept.
    """

    bins: tuple[int, ...]
    plain: Sums
    clear: Sums
    owed: Sums
    backlog: Floats
    level: Floats  # times the baseline that the last bin should lie, by region


def stack(panel: Panel, baselines: Mapping[str, Baseline]) -> Data:
    signals = list(panel.signals.values())
    usual = [baselines[region] for region in panel.signals]
    heard = np.stack([s.exposure for s in signals])
    full = np.stack([b.mean for b in usual])
    return Data(
        seen=np.where(heard > 0, np.stack([s.observed for s in signals]), 0.0),
        full=full,
        mean=full * heard,
        size=np.array([b.dispersion for b in usual]),
        noise=np.array([max(b.noise, 1e-3) for b in usual]),
        doubt=np.array([max(b.doubt, 1e-3) for b in usual]),
        memory=np.array([b.memory / s.bin for b, s in zip(usual, signals, strict=True)]),
        bin=signals[0].bin,
    )


def read(data: Data, minutes: Sequence[int]) -> Windows:
    """The sums of every window with their null, after the short-term level of the hours before it."""
    count = data.seen.shape[1]
    lengths = tuple(dict.fromkeys(min(data.steps(timedelta(minutes=m)), count) for m in sorted(minutes)))
    longest = max(lengths)
    cuts = np.array([max(count - n - data.steps(LEVEL_GAP), 0) for n in lengths])
    capped = _capped(data)
    known, unknown = _known(data, capped, cuts)
    level, doubt = _level(data, capped, lengths, cuts, known)
    echo = _echo(data)
    believed, kept = _silences(data, known[-1], unknown[-1], longest)
    seen, mean, clear = data.seen[:, count - longest :], data.mean[:, count - longest :], believed < DOUBTED

    def sums(counts: Floats, means: Floats, more: Floats) -> Sums:
        total = _ending(means, lengths)
        spread = _ending(means**2, lengths) / (data.size * np.maximum(total, 1e-12) ** 2)
        extra = np.array(lengths)[:, None] * echo + more
        return Sums(_ending(counts, lengths), level * total + extra, 1 / (unknown + doubt + spread))

    none = np.zeros((len(lengths), len(seen)))
    owed = np.stack([kept[:, longest - n :].max(axis=1) for n in lengths])
    plain = sums(seen, mean, none)
    return Windows(
        bins=lengths,
        plain=plain,
        clear=sums(seen * clear, mean * clear, none),
        owed=Sums(plain.seen, plain.mean + owed, plain.size),
        backlog=np.stack([believed[:, longest - n :].max(axis=1) for n in lengths]),
        level=level[0],
    )


def _ending(values: Floats, lengths: Sequence[int]) -> Floats:
    return np.stack([values[:, values.shape[1] - n :].sum(axis=1) for n in lengths])


def _known(data: Data, capped: Floats, cuts: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """What the panel before each cut says about the baseline's own doubt: a gamma posterior's mean and relative variance."""
    worth = 1 / (1 + data.mean * (1 / data.size + 2 * data.memory * data.noise)[:, None])
    seen = _before(worth * capped, cuts)
    expected = _before(worth * data.mean, cuts)
    known = (1 / data.doubt + seen) / (1 / data.doubt + expected)
    return known, 1 / (1 / data.doubt + expected * known)


def _level(
    data: Data, capped: Floats, lengths: tuple[int, ...], cuts: NDArray[np.int64], known: Floats
) -> tuple[Floats, Floats]:
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
    seen, heard, full = (_before(weights * values, cuts) for values in (capped, data.mean, data.full))
    strength = full * forgets / (fades - forgets)
    short = (strength * known + seen) / np.maximum(strength + heard, 1e-300) / known
    left = data.noise - (data.noise - sure) * heard / np.maximum(full, 1e-300)

    ahead = (np.array(lengths) / 2 + data.steps(LEVEL_GAP))[:, None]
    kept = np.exp(-ahead * forgets)
    level = known * np.clip(1 + (short - 1) * kept, LOWEST, np.exp(2 * np.sqrt(data.noise)))
    return level, left * kept**2 + data.noise * (1 - kept**2)


def _capped(data: Data) -> Floats:
    """Counts without their extremes, so that an outage does not become the new normal."""
    most: Floats = data.mean * np.exp(2 * np.sqrt(data.noise + data.doubt))[:, None] + 2
    return np.minimum(data.seen, most)


def _before(values: Floats, cuts: NDArray[np.int64]) -> Floats:
    """Sums over the bins before each cut: cuts x regions."""
    first = int(cuts.min())  # up to here all cuts share one sum
    sums = np.zeros((values.shape[1] - first + 1, values.shape[0]))
    np.cumsum(values[:, first:].T, axis=0, out=sums[1:])
    made: Floats = values[:, :first].sum(axis=1) + sums[cuts - first]
    return made


def _silences(data: Data, known: Floats, unknown: Floats, longest: int) -> tuple[Floats, Floats]:
    """For each of the last bins: how believable it is that a source catches up in it, and with how many posts.

    After a known silence (low exposure) it is certain, and what was not heard is owed. A run of too few posts may be an
    unknown one: a CUSUM towards `SILENCE_SHARE` of the rate says how believable that is. A smaller lull looks like slow noise,
    until more than people could ever write at once comes in a single bin.
    """
    after, count = data.steps(AFTERMATH), data.seen.shape[1]
    span = min(longest + after + data.steps(SILENCE_MOST), count)
    data = replace(data, **{name: getattr(data, name)[:, count - span :] for name in ("seen", "full", "mean")})
    level = known[:, None]
    lost = data.mean / np.maximum(data.full, 1e-12)
    lost = np.maximum(lost[:, -1:] - lost, 0.0)  # what is deaf still can't deliver yet
    deaf = np.cumsum(level * data.full * lost, axis=1)
    times_deaf = np.cumsum(lost >= DEAF, axis=1)
    settled = times_deaf == _shifted(times_deaf, after + 1)
    unheard = deaf - np.maximum.accumulate(np.where(settled, deaf, 0.0), axis=1)
    (likely, lacking), (_, lulled) = _lulls(data, level, unknown[:, None], longest + after, SILENCE_SHARE, LULL_SHARE)
    jumped = _jumps(data, level, lulled)

    last = slice(span - longest, None)
    believed, owed = np.where(settled, 0.0, 1.0)[:, last], unheard[:, last]
    for n in range(1, after + 1):
        ago, jump = slice(after - n, after - n + longest), jumped[:, after - n + 1 : after - n + 1 + longest]
        believed = np.maximum(believed, np.maximum(likely[:, ago], jump > 0))
        owed = np.maximum(owed, np.maximum(unheard[:, last] + lacking[:, ago], jump))
    return believed, np.where(believed >= DOUBTED, owed, 0.0)


def _last(values: NDArray[Any], bins: int) -> NDArray[Any]:
    """The last columns, with nothing before the first."""
    short = max(bins - values.shape[1], 0)
    return np.pad(values, ((0, 0), (short, 0))) if short else values[:, values.shape[1] - bins :]


def _shifted(values: NDArray[Any], bins: int) -> NDArray[Any]:
    """What stood so many bins before; nothing before the first."""
    made = np.zeros_like(values)
    made[:, bins:] = values[:, : max(values.shape[1] - bins, 0)]
    return made


def _jumps(data: Data, level: Floats, lacking: Floats) -> Floats:
    """For each of the last bins in which more came than people ever write at once: twice that, which may still come; else 0."""
    bins = lacking.shape[1]
    seen, before, mean = _last(data.seen, bins), _last(data.seen, bins + 1)[:, :-1], _last(data.mean, bins)
    sudden = seen > JUMP * (np.maximum(level * mean, before) + 1)
    lacked = _shifted(lacking, 1)
    return np.where(sudden & (lacked >= JUMP_OWED * seen), 2 * seen, 0.0)


def _lulls(data: Data, level: Floats, unknown: Floats, bins: int, *shares: float) -> list[tuple[Floats, Floats]]:
    """How believable it is, at the end of each of the last bins, that a source is silent unknown to us; and what is missing.

    For each of the shares of its posts that it may still let through. Slow noise and a baseline that expects too much explain
    a lull as well.
    """
    count, mean = data.seen.shape[1], level * data.mean
    most = mean[:, -data.steps(SILENCE_MOST) :].sum(axis=1, keepdims=True) * unknown
    worth = 1 / (1 + most + mean * (1 / data.size + SILENCE_NOISE * data.memory * data.noise)[:, None])
    missing = np.zeros((len(mean), count + 1))
    np.cumsum(mean - data.seen, axis=1, out=missing[:, 1:])
    at = np.arange(1, count + 1)
    late = slice(max(count - bins, 0), None)
    made = []
    for share in shares:
        walk = np.cumsum(worth * (mean * (1 - share) + data.seen * math.log(share)), axis=1)
        lowest = np.minimum.accumulate(np.minimum(walk, 0.0), axis=1)
        began = np.maximum.accumulate(np.where(walk <= lowest, at, 0), axis=1)[:, late]
        began = np.maximum(began, at[late] - data.steps(SILENCE_MOST))
        lacking = missing[:, 1:][:, late] - np.take_along_axis(missing, began, axis=1)
        likely = 1 / (1 + np.exp(np.minimum(SILENCE_PRIOR - (walk - lowest)[:, late], 50.0)))
        made.append((_last(likely, bins), _last(np.maximum(lacking, 0.0), bins)))
    return made


def _echo(data: Data) -> Floats:
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
