"""What a series usually does: a level, a shape over the hours of the week, and how far it strays from both.

Robust re-weighting after Noufaily et al. 2013: hours that stick out teach less, hours of incidents nothing. Hours with little
history are shrunk to the prior's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from listener.types import Baseline, Floats, Signal

HOUR = timedelta(hours=1)
WEEK = 168  # hours
DISPERSION_BIN = timedelta(minutes=5)  # the length of time `Profile.dispersion` is about
HALF_LIFE = 28 * 24.0  # hours; older history counts less, because series drift
STICKS_OUT = 2.0  # residuals beyond this many standard deviations lose weight
ROUNDS = 4  # of re-weighting; more changes nothing
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)

# How far the shape of one series strays from its prior's, as the variance of a factor. A day's course differs a lot
# between services (banks by day, games by night); single hours of single weekdays differ little from the product of both.
HOUR_SPREAD, DAY_SPREAD, SLOT_SPREAD = 0.25, 0.03, 0.008
SHAPE_SHARE = 0.5  # of the doubt about the shape acts like slow noise; the rest lasts so long that the level learns it


@dataclass(frozen=True, slots=True)
class Profile:
    """What a series does by hour of week. `shape` holds 168 log multipliers from Monday 00:00 UTC on."""

    rate: float  # chatter an hour, averaged over the week, when everything is heard
    shape: tuple[float, ...]
    dispersion: float  # negative-binomial size k of the count of five minutes
    noise: float  # variance of the slow log-rate noise
    memory: float  # hours after which that noise has forgotten two thirds
    doubt: float  # variance of the log of `rate`: how little we know
    weeks: float

    def expect(self, start_at: datetime, bins: int, bin: timedelta) -> Baseline:
        """The expectation for a run of bins, at full exposure; between the middles of two hours it runs straight."""
        parts = max(1, bin // HOUR)
        step = (bin / HOUR) / parts
        low, high, below, above = _between_hours(start_at, bins * parts, step)
        factors = _factors(self.shape)
        means = self.rate * (factors[low] * below + factors[high] * above) * step
        return Baseline(
            mean=means if parts == 1 else means.reshape(bins, parts).sum(axis=1),
            dispersion=self.dispersion * (bin / DISPERSION_BIN),
            noise=self.noise,
            weeks=self.weeks,
            doubt=self.doubt,
            memory=timedelta(hours=self.memory),
        )


@lru_cache(10_000)  # a profile is asked every minute for hours; so many are a service and a region each
def _factors(shape: tuple[float, ...]) -> Floats:
    made: Floats = np.exp(np.asarray(shape))
    return made


@lru_cache(8)  # the regions of a panel ask for the same bins
def _between_hours(
    start_at: datetime, bins: int, step: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    """For bins of `step` hours: the hours of the week between whose middles each has its own, and what either counts there."""
    at = (start_at - _MONDAY) / HOUR + step * (np.arange(bins) + 0.5) - 0.5
    low = np.floor(at).astype(np.int64)
    above = at - low
    return low % WEEK, (low + 1) % WEEK, 1 - above, above


FLAT = Profile(
    rate=1.0, shape=(0.0,) * WEEK, dispersion=6.0, noise=0.1, memory=4.0, doubt=4.0, weeks=0.0
)  # knows nothing


@dataclass(frozen=True, slots=True)
class _Hours:
    """History in whole hours: what was seen of each series, how much was heard, which hour of the week, how much it counts."""

    seen: Floats  # series x hours
    heard: Floats
    slot: NDArray[np.int64]
    weight: Floats


@dataclass(frozen=True, slots=True)
class _Priors:
    """The numbers of several profiles side by side, a row each."""

    rate: Floats
    noise: Floats
    memory: Floats
    doubt: Floats
    dispersion: Floats
    factors: Floats  # series x 168: exp of their shapes

    @classmethod
    def of(cls, profiles: Sequence[Profile]) -> _Priors:
        def column(name: str) -> Floats:
            return np.array([[getattr(profile, name)] for profile in profiles])

        shapes = np.array([profile.shape for profile in profiles])
        return cls(
            column("rate"), column("noise"), column("memory"), column("doubt"), column("dispersion"), np.exp(shapes)
        )


def fit(history: Signal, prior: Profile, flagged: NDArray[np.bool_] | None = None) -> Profile:
    """Learn a profile from up to some eight weeks of sums over any bin that divides an hour (or is a multiple of one).

    Bins of up to five minutes teach the dispersion of single bins as well; from hourly sums it stays the prior's. `flagged`
    marks bins of past incidents: they teach nothing. Without one heard hour the prior comes back.
    """
    good = np.ones(len(history.observed)) if flagged is None else (~flagged).astype(np.float64)
    heard = history.exposure * good
    (fitted,) = fit_all(history.start_at, history.bin, history.observed[None], heard, [prior])
    if fitted is prior:
        return prior
    return replace(fitted, dispersion=_dispersion(history, flagged, fitted, prior))


def fit_all(
    start_at: datetime, bin: timedelta, observed: Floats, heard: Floats, priors: Sequence[Profile]
) -> list[Profile]:
    """A profile for each row of `observed` (series x bins), all heard alike, as by `fit`; the dispersion stays the prior's.

    All in one go: what takes time are the steps, not the numbers. Each row comes out as it would alone: `take` keeps rows
    in one piece, so that their sums are added up in the same order. Where nothing was heard the very priors come back.
    """
    hours = _hours(start_at, bin, observed, heard) if priors else None
    if hours is None or not hours.weight.any():
        return list(priors)
    prior = _Priors.of(priors)
    before = prior.factors
    shape = before / before.mean(axis=1, keepdims=True)
    rate, trust, variance = prior.rate, np.broadcast_to(hours.weight, hours.seen.shape), prior.noise + prior.doubt
    for _ in range(ROUNDS):
        rate, known = _level(hours, trust, shape, variance, prior)
        shape, doubt_of_shape = _shape(hours, trust, rate, variance, before)
        mean = rate * shape.take(hours.slot, axis=1) * hours.heard
        variance = _excess(hours, trust, mean, prior)
        residual = 2 * (np.sqrt(hours.seen + 0.375) - np.sqrt(mean + 0.375)) / np.sqrt(1 + mean * variance)
        trust = hours.weight * np.minimum(1.0, (STICKS_OUT / np.maximum(np.abs(residual), 1e-9)) ** 2)
    sure = np.where(
        trust > 0, trust**2 / np.maximum(hours.weight, 1e-12), 0.0
    )  # what sticks out is not how it always is
    noise, memory = _noise(hours, sure, mean, prior)
    noise = np.minimum(noise + SHAPE_SHARE * doubt_of_shape, 1.0)
    weeks = float((hours.heard > 0).sum() / WEEK)
    logs = np.log(shape)
    return [
        Profile(
            rate=float(rate[n, 0]),
            shape=tuple(logs[n].tolist()),
            dispersion=usual.dispersion,
            noise=float(noise[n, 0]),
            memory=float(memory[n, 0]),
            doubt=float(1 / known[n, 0]),
            weeks=weeks,
        )
        for n, usual in enumerate(priors)
    ]


def _hours(start_at: datetime, bin: timedelta, observed: Floats, heard: Floats) -> _Hours | None:
    """Sum bins up to whole hours; spread bins longer than an hour over theirs."""
    seen = np.where(heard > 0, observed, 0.0)
    start = (start_at - _MONDAY) / HOUR
    if bin > HOUR:
        times = bin // HOUR
        seen, heard = np.repeat(seen / times, times, axis=1), np.repeat(heard, times)
    else:
        per_hour = HOUR // bin
        head = round((math.ceil(start) - start) * per_hour)
        whole = (len(heard) - head) // per_hour
        if whole < 1:
            return None
        inside = slice(head, head + whole * per_hour)
        seen = seen[:, inside].reshape(len(seen), whole, per_hour).sum(axis=2)
        heard = heard[inside].reshape(whole, per_hour).mean(axis=1)
        start = math.ceil(start)
    slot = (int(start) + np.arange(len(heard))) % WEEK
    age = np.arange(len(heard), 0.0, -1.0)
    return _Hours(seen, heard, slot, np.where(heard > 0, 0.5 ** (age / HALF_LIFE), 0.0))


def _level(hours: _Hours, trust: Floats, shape: Floats, variance: Floats, prior: _Priors) -> tuple[Floats, Floats]:
    """Posterior mean of the rate under a gamma prior, and the counts' worth that stands behind it."""
    mean = prior.rate * shape.take(hours.slot, axis=1) * hours.heard
    worth = trust / (1 + mean * variance * (1 + 2 * prior.memory))  # hours close by say the same thing twice
    strength = 1 / prior.doubt
    rate = prior.rate * (strength + _over(worth * hours.seen)) / (strength + _over(worth * mean))
    at_rate = mean * rate / prior.rate
    worth = trust / (1 + at_rate * variance * (1 + 2 * prior.memory))
    floor = 1e-4  # a series in which nothing was ever said still may speak once a year
    return np.maximum(rate, floor), strength + _over(worth * at_rate)


def _over(values: Floats) -> Floats:
    """Sums over the hours, a row a series."""
    made: Floats = values.sum(axis=1, keepdims=True)
    return made


def _shape(hours: _Hours, trust: Floats, rate: Floats, variance: Floats, before: Floats) -> tuple[Floats, Floats]:
    """The prior's shape times a factor for each hour of day, day of week and hour of week, each shrunk to 1."""
    made = before / before.mean(axis=1, keepdims=True)
    left = np.zeros((len(before), 1))
    series = np.arange(len(before))[:, None]
    hour, day = np.arange(WEEK) % 24, np.arange(WEEK) // 24
    for group, size, spread, smooth in (
        (hour, 24, HOUR_SPREAD, True),
        (day, 7, DAY_SPREAD, False),
        (np.arange(WEEK), WEEK, SLOT_SPREAD, True),
    ):
        mean = rate * made.take(hours.slot, axis=1) * hours.heard
        worth = trust / (1 + mean * variance)
        of = (group[hours.slot] + size * series).ravel()
        sums: list[Floats] = [
            np.bincount(of, (worth * values).ravel(), size * len(before)).reshape(-1, size).astype(np.float64)
            for values in (hours.seen, mean)
        ]
        if smooth:
            around = np.arange(size) - 1, np.arange(1, size + 1) % size
            sums = [x / 2 + (x.take(around[0], axis=1) + x.take(around[1], axis=1)) / 4 for x in sums]
        seen, expected = sums
        factor = (1 / spread + seen) / (1 / spread + expected)
        left += (1 / (1 / spread + 1.5 * expected)).mean(axis=1, keepdims=True)
        made = made * factor.take(group, axis=1)
        made = made / made.mean(axis=1, keepdims=True)
    return made, left


def _excess(hours: _Hours, trust: Floats, mean: Floats, prior: _Priors) -> Floats:
    """Relative variance of an hour's sum beyond what counting alone makes."""
    usual = prior.noise + 1 / (12 * prior.dispersion)
    return _variance((hours.seen - mean) ** 2 - mean, mean, trust, usual)


def _variance(errors: Floats, mean: Floats, trust: Floats, usual: Floats) -> Floats:
    """Mean of `errors / mean**2`, each weighed by how sure it is (method of moments), drawn to the usual value.

    Neighbouring bins err together, so five of them count as one; the usual value is worth being off by half of itself.
    """
    sure = trust / (1 + mean * usual) ** 2 / 10
    few = 4 / usual**2
    return np.clip((few * usual + _over(sure * errors)) / (few + _over(sure * mean**2)), 0.003, 1.5)


def _noise(hours: _Hours, trust: Floats, mean: Floats, prior: _Priors) -> tuple[Floats, Floats]:
    """Variance and memory (hours) of the slow noise, from how the residuals of neighbouring hours go together."""
    residual = hours.seen - mean

    def shared(lag: int) -> Floats:
        usual = prior.noise * _each(math.exp, -lag / prior.memory)
        both = np.sqrt(trust[:, lag:] * trust[:, :-lag])
        errors = residual[:, lag:] * residual[:, :-lag]
        return _variance(errors, np.sqrt(mean[:, lag:] * mean[:, :-lag]), both, usual)

    if mean.shape[1] < 24:
        return prior.noise, prior.memory
    near, far = shared(1), shared(4)
    memory = np.clip(3 / _each(math.log, np.maximum(near / far, 1.05)), 1.0, 12.0)
    return near * _each(math.exp, 1 / memory), memory


def _each(function: Callable[[float], float], values: Floats) -> Floats:
    """Number by number: NumPy's own may differ in the last bit by how many numbers stand beside."""
    return np.array([[function(value)] for value in values.ravel().tolist()])


def _dispersion(history: Signal, flagged: NDArray[np.bool_] | None, fitted: Profile, prior: Profile) -> float:
    """Size k of five minutes' count, from how far neighbouring bins differ: the slow noise is the same in both."""
    if history.bin > DISPERSION_BIN:
        return prior.dispersion
    mean = fitted.expect(history.start_at, len(history.observed), history.bin).mean * history.exposure
    usable = (mean > 0) if flagged is None else (mean > 0) & ~flagged
    both = usable[1:] & usable[:-1]
    counting = (mean[1:] + mean[:-1])[both]
    squares = (mean[1:] ** 2 + mean[:-1] ** 2)[both]
    scale = history.bin / DISPERSION_BIN
    usual = 1 / (prior.dispersion * scale)
    spread = counting + squares * usual
    errors = np.diff(history.observed - mean)[both] ** 2
    errors = np.minimum(errors, np.maximum(12 * spread, 16.0)) - counting  # one burst is not how a series always is
    sure, few = 1 / (8 * spread**2), 4 / usual**2
    fast = (few * usual + (sure * errors * squares).sum()) / (few + (sure * squares**2).sum())
    return float(np.clip(1 / (max(fast, 1e-3) * scale), 0.5, 100.0))
