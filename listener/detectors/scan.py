"""Seasonal negative-binomial window scan: how much likelier the last minutes are under an outage than under any usual story.

For each region and each window (5 to 90 minutes, ending now) the log-likelihood ratio of "the rate is at least `increase`
times what was to be expected" against "as expected" is taken. Expected is the seasonal baseline, times the short-term level
of the hours before, times what share could be heard. The null's variance is that of the whole window: counting, bursts of
single bins, slow noise that the level does not know yet, and doubt about the baseline itself. A window must also stand
against a silence before it (a source that catches up): either without the bins in which the backlog would lie, or as more
than was owed; how believable the silence is says how much better that story is. The echo that a big outage has in the next
day's news is expected, too. Regions are read together as well, as a mixture: each may be hit or not.

Runs on any panel; the last 36 hours are best (the echo needs them), two hours are enough. Ideas: Höhle & Paul 2008
(likelihood ratios for negative-binomial counts), Xie & Siegmund 2013 (mixtures over which series are hit).

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from listener.detectors._windows import Sums, Windows, read, stack
from listener.kinds import option
from listener.types import Alarm, Baseline, Floats, Panel

HIT = 0.25  # of all regions that a trouble of several regions is expected to hit
TIMES = (3.0, 6.0, 12.0)  # the usual rate, in all regions it hits alike
MEMBER = 2.5  # evidence a region must bring to be named among those hit: it is four times as likely to be as not
TOGETHER = 1.5  # a mixture is quieter than the best of many windows: so much less of it raises as few alarms


@dataclass(frozen=True)
class Options:
    threshold: float = option(8.0, "log-likelihood ratio that raises an alarm; higher = fewer false alarms")
    windows: tuple[int, ...] = option((5, 10, 15, 30, 60, 90), "lengths in minutes of the windows looked at")
    increase: float = option(1.5, "smallest rise of the rate, in times, that counts as an outage")
    least: float = option(3.0, "fewer distinct authors than this in a window are never an alarm")
    joint: bool = option(True, "also look for weak trouble in several regions at once")


def detect(panel: Panel, baselines: Mapping[str, Baseline], options: Options) -> list[Alarm]:
    """One verdict per region on the panel's last bin, in the panel's order."""
    if not panel.signals:
        return []
    data = stack(panel, baselines)
    windows = read(data, options.windows)
    scores = _standing(windows, lambda sums: evidence(sums.seen, sums.mean, sums.size, options.increase))
    own = np.where(windows.plain.seen >= options.least, scores, 0.0)
    best = own.argmax(axis=0)
    column = np.arange(own.shape[1])
    score = own[best, column]
    if options.joint:
        score = np.maximum(score, _joint(windows, options))
    mean, size = windows.owed.mean[best, column], windows.plain.size[best, column]
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
                expected=float(windows.level[i] * data.mean[i, -1]),
                upperbound=float(needed[i] / length),
                score=float(score[i]) if heard else 0.0,
                raised=heard and bool(score[i] >= options.threshold),
                window=length * signal.bin,
                exposure=float(signal.exposure[last]),
            )
        )
    return alarms


def _standing(windows: Windows, judge: Callable[[Sums], Floats]) -> Floats:
    """What is left of a window's evidence when a backlog may lie in it: the better of two readings, less that story's odds."""
    guarded = np.maximum(judge(windows.clear), judge(windows.owed)) - np.log(np.maximum(windows.backlog, 1e-9))
    return np.asarray(np.minimum(judge(windows.plain), guarded))


def evidence(seen: Floats, mean: Floats, size: Floats, increase: float) -> Floats:
    """Log-likelihood ratio of a rate of at least `increase` times `mean` against `mean`; 0 where there is no rise.

    >>> evidence(np.array([2.0, 20.0]), np.array([2.0, 2.0]), np.array([8.0, 8.0]), 1.5).round(1)
    array([ 0. , 17.2])
    """
    mean = np.maximum(mean, 1e-9)
    times = np.maximum(seen / mean, increase)
    return np.maximum(seen * np.log(times) - (seen + size) * np.log((size + times * mean) / (size + mean)), 0.0)


def _needed(mean: Floats, size: Floats, options: Options) -> Floats:
    """The count at which `evidence` reaches the threshold: Newton's steps on a convex function.

    The first leads above what is looked for, from wherever it rises; all others come down to it.
    """
    mean = np.maximum(mean, 1e-9)
    seen = 2 * mean
    for _ in range(12):
        times = np.maximum(seen / mean, options.increase)
        spread = np.log((size + times * mean) / (size + mean))
        value = seen * np.log(times) - (seen + size) * spread
        seen = seen - (value - options.threshold) / (np.log(times) - spread)
    return seen


def _joint(windows: Windows, options: Options) -> Floats:
    """For each region the evidence that it is hit together with at least one other; 0 for those that are not.

    All hit regions rise by the same of `TIMES`, and each is hit with probability `HIT`. No region brings more than the
    threshold: a loud one alone must not carry quiet ones along.
    """
    made = np.zeros(windows.plain.seen.shape[1])
    for times in TIMES:
        brought = np.minimum(_standing(windows, lambda sums, t=times: _rise(sums, t)), options.threshold)  # type: ignore[misc]
        sums = np.logaddexp(math.log(1 - HIT), math.log(HIT) + brought).sum(axis=1)
        member = brought > MEMBER
        enough = (np.where(member, windows.plain.seen, 0.0).sum(axis=1) >= options.least) & (member.sum(axis=1) >= 2)
        sums = np.where(enough, sums + TOGETHER, 0.0)
        window = int(sums.argmax())
        made = np.maximum(made, np.where(member[window], sums[window], 0.0))
    return made


def _rise(sums: Sums, times: float) -> Floats:
    """Log-likelihood ratio of `times` the expected rate against the expected one; below 0 where too little was seen."""
    spread = np.log((sums.size + times * sums.mean) / (sums.size + sums.mean))
    return np.asarray(sums.seen * math.log(times) - (sums.seen + sums.size) * spread)
