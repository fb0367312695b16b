"""Counts of one series, or of a panel of regions, with outages and nuisances whose place is known.

Constants follow real series of chatter: negative-binomial counts (k = 8 in five minutes), a daily and a weekly course, slow
drift, autocorrelated noise (sd 0.30, 4 hours), replies that follow posts (0.2 each, 12 minutes later). After a warm-up come
outages of five shapes, sources that drop out and catch up, and the news about big outages the day after.

>>> made = single(seed=1, mean=0.5)
>>> len(made.counts), sorted({event.shape for event in made.events})[:3]
(17280, ['fast', 'in_gap', 'large'])
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from listener.types import Floats

BIN = timedelta(minutes=5)
HOUR = 12  # bins
DAY = 24 * HOUR
WARM_UP = 14 * DAY
START_AT = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday

SHAPES = ("fast", "slow", "short", "small", "large")
SIZE, NOISE, MEMORY = 8.0, 0.30, 4 * HOUR  # k of five minutes; sd of the log-rate; bins
REPLIES, REPLY_AFTER = 0.2, 12 / 5  # a post; mean in bins
ECHO_SHARE = 0.06  # of the peak excess
DROPOUTS = ("flagged", "silent", "partial")


@dataclass(frozen=True, slots=True)
class Event:
    """An outage in bins: from `start` on; an alarm that starts before `end` has found it."""

    shape: str
    start: int
    end: int
    profile: Floats  # times the usual rate that are added, a bin from `start` on
    late: float = 0.0  # minutes into bin `start` at which it begins

    def delay(self, bin: int) -> float:
        """Minutes from its beginning to the end of a bin."""
        return (bin - self.start + 1) * 5 - self.late


@dataclass(frozen=True, slots=True)
class Nuisance:
    """Something that is no outage, in bins: `flagged`, `silent`, `partial` (a source drops out and catches up), or `echo`."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Series:
    """One series; `usual` is the true rate without outages and nuisances, which only an oracle may see."""

    mean: float
    counts: Floats
    exposure: Floats
    usual: Floats
    events: tuple[Event, ...]
    nuisances: tuple[Nuisance, ...]
    bin: timedelta = BIN
    start_at: datetime = START_AT

    def row(self, i: int) -> tuple[datetime, float | None]:
        """As `listener detect` reads it: an empty count where nothing could be heard."""
        return self.start_at + i * self.bin, float(self.counts[i]) if self.exposure[i] > 0 else None


def single(
    seed: int, mean: float, *, days: int = 60, weighted: bool = False, echo_labelled: bool = False, quiet: bool = False
) -> Series:
    """One series of `days` with ten outages, two of each shape, six dropouts and echoes; the first 14 days are calm.

    Besides the ten there are one `second` outage the day after a large one, within its echo, and one that begins `in_gap`.
    `weighted`: every post counts what a classifier would give it instead of 1. `echo_labelled`: the classifier knows most of
    the echo for what it is. `quiet`: no outage and no nuisance at all.
    """
    rng = np.random.default_rng([seed, round(mean * 1000)])
    bins = days * DAY
    usual = usual_rate(rng, bins, mean)
    if quiet:
        counts = _weighed(rng, _with_replies(rng, _counts(rng, usual)), weighted=weighted)
        return Series(mean, counts, np.ones(bins), usual, (), ())
    events = _outages(rng, bins)
    echoes = [_echo(rng, event) for event in events if event.shape in ("fast", "slow", "large")]
    events += [_second(rng, next(e for e in events if e.shape == "large"), echoes)]
    gaps = _dropouts(rng, bins, [(e.start, e.end) for e in events] + [(n.start, n.end) for n, _ in echoes])
    events.append(_in_gap(rng, gaps[-1]))
    rate = usual.copy()
    for event in events:
        stop = min(event.start + len(event.profile), bins)
        rate[event.start : stop] += usual[event.start : stop] * event.profile[: stop - event.start]
    counts = _weighed(rng, _with_replies(rng, _counts(rng, rate)), weighted=weighted)
    for nuisance, times in echoes:
        part = slice(nuisance.start, min(nuisance.end, bins))
        counts[part] += _echoed(rng, usual[part] * times, labelled=echo_labelled, weighted=weighted)
    exposure = np.ones(bins)
    for gap in gaps:
        _drop(rng, gap, counts, exposure)
    nuisances = [*gaps, *(nuisance for nuisance, _ in echoes)]
    return Series(
        mean,
        counts,
        exposure,
        usual,
        tuple(sorted(events, key=lambda e: e.start)),
        tuple(sorted(nuisances, key=lambda n: n.start)),
    )


def panel(
    seed: int, means: tuple[float, ...], hit: int, *, days: int = 60, outages: int = 15, shared: float = 0.0
) -> list[Series]:
    """One service in several regions: `outages` fast ones, each in the first `hit` regions after a shuffle.

    `shared` is the part of the slow noise's variance that all regions have in common.
    """
    rng = np.random.default_rng([seed, len(means), hit])
    bins = days * DAY
    common = _slow(rng, bins) if shared else np.zeros(bins)
    usual = [usual_rate(rng, bins, mean, shared=shared, common=common) for mean in means]
    rates = [rate.copy() for rate in usual]
    events: list[list[Event]] = [[] for _ in means]
    slot = (bins - WARM_UP) // max(outages, 1)
    for n in range(outages):
        start = WARM_UP + n * slot + int(rng.integers(DAY // 4, slot - DAY // 2))
        plateau, late = int(rng.integers(8, 17)), rng.uniform(0, 5)
        for region in rng.permutation(len(means))[:hit]:
            event = shaped("fast", start, plateau, late)
            stop = min(start + len(event.profile), bins)
            rates[region][start:stop] += usual[region][start:stop] * event.profile[: stop - start]
            events[region].append(event)
    return [
        Series(mean, _with_replies(rng, _counts(rng, rate)), np.ones(bins), rate_, tuple(own), ())
        for mean, rate, rate_, own in zip(means, rates, usual, events, strict=True)
    ]


def usual_rate(
    rng: np.random.Generator, bins: int, mean: float, *, shared: float = 0.0, common: Floats | None = None
) -> Floats:
    """Daily and weekly course, drift and slow noise around `mean` posts a bin."""
    at = np.arange(bins)
    turn = 2 * np.pi * (at % DAY) / DAY
    peak = rng.uniform(0, 2 * np.pi)
    course = 0.7 * np.cos(turn - peak) + 0.25 * np.cos(2 * turn - rng.uniform(0, 2 * np.pi))
    week = np.where((at // DAY) % 7 >= 5, rng.uniform(-0.3, 0.1), 0.0)
    drift = rng.uniform(-0.25, 0.25) * at / bins + 0.1 * np.sin(2 * np.pi * at / (30 * DAY) + rng.uniform(0, 6))
    shape = np.exp(course + week + drift)
    slow = np.sqrt(1 - shared) * _slow(rng, bins)
    if common is not None:
        slow = slow + np.sqrt(shared) * common
    rate: Floats = mean * shape / shape.mean() * np.exp(slow - NOISE**2 / 2)
    return rate


def _slow(rng: np.random.Generator, bins: int) -> Floats:
    """Noise of standard deviation `NOISE` that forgets two thirds in `MEMORY` bins (an Ornstein-Uhlenbeck process)."""
    keeps = np.exp(-1 / MEMORY)
    steps = rng.normal(0.0, NOISE * np.sqrt(1 - keeps**2), bins)
    steps[0] = rng.normal(0.0, NOISE)
    made = np.empty(bins)
    now = 0.0
    for i, step in enumerate(steps.tolist()):
        now = keeps * now + step
        made[i] = now
    return made


def _counts(rng: np.random.Generator, rate: Floats) -> Floats:
    """First posts; what replies add is taken off, so that the mean is the rate."""
    return rng.poisson(rng.gamma(SIZE, 1 / SIZE, len(rate)) * rate / (1 + REPLIES)).astype(np.float64)


def _with_replies(rng: np.random.Generator, counts: Floats) -> Floats:
    made = counts.copy()
    replies = rng.poisson(REPLIES * counts)
    at = np.repeat(np.arange(len(counts)), replies) + rng.uniform(0, 1, int(replies.sum()))
    bins = (at + rng.exponential(REPLY_AFTER, len(at))).astype(np.int64)
    np.add.at(made, bins[bins < len(made)], 1.0)
    return made


def _weighed(rng: np.random.Generator, counts: Floats, *, weighted: bool) -> Floats:
    """What a classifier makes of real chatter: weights of 0.8 on average; under 0.2 a post counts nothing."""
    if not weighted:
        return counts
    weights = rng.beta(6.0, 1.5, int(counts.sum()))
    return _summed(counts, np.where(weights < 0.2, 0.0, weights))


def _echoed(rng: np.random.Generator, rate: Floats, *, labelled: bool, weighted: bool) -> Floats:
    counts = rng.poisson(rng.gamma(SIZE, 1 / SIZE, len(rate)) * rate).astype(np.float64)
    if not labelled:
        return _weighed(rng, counts, weighted=weighted)
    weights = rng.beta(0.5, 4.5, int(counts.sum()))
    return _summed(counts, np.where(weights < 0.2, 0.0, weights))


def _summed(counts: Floats, weights: Floats) -> Floats:
    ends = np.r_[0, np.cumsum(counts).astype(np.int64)]
    sums = np.r_[0.0, np.cumsum(weights)]
    return np.asarray(sums[ends[1:]] - sums[ends[:-1]])


def shaped(shape: str, start: int, plateau: int, late: float) -> Event:
    """Times the usual rate added, bin by bin. Nobody writes in the first two minutes."""
    minutes = np.arange(0, 8 * 60) + 0.5 - late
    since = minutes - 2.0
    times: Floats
    match shape:
        case "slow":
            times, end = 9.0 * np.clip(since / 180, 0, 1) * (minutes < 240), 4 * HOUR
        case "short":
            times, end = np.where(since <= 15, 9.0, 0.0), 6
        case "small":
            times, end = np.where(since <= 180, 1.0, 0.0), 3 * HOUR + 3
        case _:
            top = 49.0 if shape == "large" else 9.0
            held = 10 + 5 * plateau
            times = top * np.where(since < held, np.clip(since / 10, 0, 1), 0.5 ** ((since - held) / 45))
            end = 2 + plateau + 9
    return Event(shape, start, start + end, np.where(since > 0, times, 0.0).reshape(-1, 5).mean(axis=1), late)


def _outages(rng: np.random.Generator, bins: int) -> list[Event]:
    """Two of each shape in random order, a slot of time each, so that echoes do not reach the next."""
    order = rng.permutation(np.repeat(np.array(SHAPES), 2))
    slot = (bins - WARM_UP) // len(order)
    starts = [WARM_UP + n * slot + int(rng.integers(HOUR, slot - 2 * DAY)) for n in range(len(order))]
    plateaus = rng.integers(8, 17, len(order))
    return [
        shaped(str(shape), start, int(held), rng.uniform(0, 5))
        for shape, start, held in zip(order, starts, plateaus, strict=True)
    ]


def _echo(rng: np.random.Generator, event: Event) -> tuple[Nuisance, float]:
    start = event.start + int(rng.integers(20 * HOUR, 26 * HOUR + 1))
    length = int(rng.integers(6 * HOUR, 10 * HOUR + 1))
    return Nuisance("echo", start, start + length), ECHO_SHARE * float(event.profile.max())


def _second(rng: np.random.Generator, first: Event, echoes: list[tuple[Nuisance, float]]) -> Event:
    echo = min((n for n, _ in echoes if n.start > first.start), key=lambda n: n.start)
    start = int(rng.integers(echo.start + HOUR, echo.end - 2 * HOUR))
    return replace(shaped("fast", start, int(rng.integers(8, 17)), rng.uniform(0, 5)), shape="second")


def _dropouts(rng: np.random.Generator, bins: int, taken: list[tuple[int, int]]) -> list[Nuisance]:
    """Two of each kind, and a flagged one more for the outage that begins in it; clear of outages and echoes."""
    made: list[Nuisance] = []
    busy = list(taken)
    for kind in (*DROPOUTS, *DROPOUTS, "flagged"):
        while True:
            start = int(rng.integers(WARM_UP, bins - DAY))
            end = start + int(rng.integers(2 * HOUR, 8 * HOUR + 1))
            if all(end + 6 * HOUR < a or start > b + 6 * HOUR for a, b in busy):
                break
        busy.append((start, end))
        made.append(Nuisance(kind, start, end))
    return made


def _in_gap(rng: np.random.Generator, gap: Nuisance) -> Event:
    start = gap.end - int(rng.integers(2, 7))
    return replace(shaped("fast", start, int(rng.integers(10, 17)), rng.uniform(0, 5)), shape="in_gap")


def _drop(rng: np.random.Generator, gap: Nuisance, counts: Floats, exposure: Floats) -> None:
    """Take away what is not heard, and deliver it in the first one or two bins after."""
    part = slice(gap.start, gap.end)
    heard = np.zeros(gap.end - gap.start)
    if gap.kind == "partial":
        share = rng.uniform(0.1, 0.5)
        whole = np.floor(counts[part])
        heard = rng.binomial(whole.astype(np.int64), share) + (counts[part] - whole) * share
    backlog = counts[part].sum() - heard.sum()
    counts[part] = heard
    if gap.kind == "flagged":
        exposure[part] = 0.0
    first = backlog if rng.random() < 0.5 else np.floor(backlog * rng.uniform(0.3, 0.9))
    counts[gap.end] += first
    counts[gap.end + 1] += backlog - first
