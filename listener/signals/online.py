"""One series watched strictly online: each row is judged before the next is seen, by the detector and profile that run live.

The caller names the detector (`listener.detectors.<kind>.detect` and its options). Rows must come in order of time on one
grid; a missing row is a bin in which nothing could be heard.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.errors import InputError
from listener.signals.profile import FLAT, HOUR, Profile, fit
from listener.types import Alarm, Baseline, Floats, Panel, SeriesKey, Signal

LOOKBACK = timedelta(hours=36)  # what the detector sees
FEWEST = 48  # bins the detector sees at least, when bins are long
HISTORY = timedelta(weeks=8)  # what a profile is fitted on
REFIT = timedelta(days=1)
AT_ONCE = 64  # rows that `run` judges together: more do not fit into a processor's cache
NEW_NORMAL = timedelta(days=1)  # an alarm that lasts longer is how the series is now

Detect = Callable[[Panel, Mapping[str, Baseline], Any], list[Alarm]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row's answer. `observed` is None when nothing could be heard."""

    at: datetime
    observed: float | None
    expected: float
    upperbound: float
    score: float
    alarm: bool


class Online:
    """The runner: `step` once a row.

    >>> from datetime import UTC
    >>> from listener.detectors import scan
    >>> runner = Online(scan.detect, scan.Options(), bin=timedelta(minutes=5))
    >>> start = datetime(2026, 3, 2, tzinfo=UTC)
    >>> [runner.step(start + i * runner.bin, 2 if i < 300 else 40).alarm for i in range(301)][-2:]
    [False, True]
    """

    def __init__(self, detect: Detect, options: Any, bin: timedelta | None = None):
        if bin is not None:
            _check(bin)
        self.detect = detect
        self.options = options
        self.bin = bin
        self._key = SeriesKey("series", "ZZ")
        self._first_at: datetime | None = None  # of the buffers
        self._count = 0  # bins in the buffers
        self._observed = np.zeros(1024)
        self._exposure = np.zeros(1024)
        self._raised = np.zeros(1024, dtype=np.bool_)
        self._refit_at: datetime | None = None
        self._usual: Baseline | None = None  # from bin `_usual_from` of the buffers on
        self._usual_from = 0

    def step(self, at: datetime, count: float | None, exposure: float = 1.0) -> Verdict:
        """Judge one row: the bin that starts at `at`. Raises `InputError` for a row that can't follow the one before."""
        _check_row(at, count, exposure)
        heard = 0.0 if count is None else exposure
        seen = 0.0 if count is None or exposure == 0 else float(count)
        missing = self._missing(at)
        if self._count and self.bin is not None and missing * self.bin > HISTORY:
            self._count, missing, self._usual, self._refit_at = 0, 0, None, None  # too long ago to say anything
        if self._count == 0:
            self._first_at = at
            self._append(seen, heard, raised=False)
            return Verdict(at, seen if heard else None, seen, seen, 0.0, alarm=False)
        for _ in range(missing):
            self._append(0.0, 0.0, raised=False)
        if self._refit_at is None or at >= self._refit_at:
            self._refit(at)
        alarm = self._judge(seen, heard)
        self._append(seen, heard, raised=alarm.raised)
        return Verdict(at, seen if heard else None, alarm.expected, alarm.upperbound, alarm.score, alarm.raised)

    def run(self, start_at: datetime, counts: Floats, exposure: Floats) -> list[Verdict]:
        """`step` over a whole series at once: the same answers, many times faster.

        The rows of one fit are handed to the detector as the regions of one panel, so it must judge each region by itself
        (`scan` with `joint = false`). Needs `bin`. Shapes: (n,), (n,).
        """
        assert self.bin is not None
        made: list[Verdict] = []
        while len(made) < len(counts):
            n = len(made)
            at = start_at + n * self.bin
            if self._count < self._width or self._refit_at is None or at >= self._refit_at:
                made.append(self.step(at, float(counts[n]) if exposure[n] > 0 else None, float(exposure[n])))
            else:
                many = min((self._refit_at - at) // self.bin, len(counts) - n, AT_ONCE)
                made += self._judge_many(counts[n : n + many], exposure[n : n + many])
        return made

    def _judge_many(self, counts: Floats, exposure: Floats) -> list[Verdict]:
        assert self._usual is not None
        before = self._count
        for seen, heard in zip(counts.tolist(), exposure.tolist(), strict=True):
            self._append(seen if heard > 0 else 0.0, heard, raised=False)
        signals, usual = {}, {}
        for i in range(before, self._count):
            start = i + 1 - self._width
            region = str(i)
            signals[region] = self._signal(start, i + 1)
            mean = self._usual.mean[start - self._usual_from : i + 1 - self._usual_from]
            usual[region] = replace(self._usual, mean=mean)
        alarms = self.detect(Panel(self._key.service, signals), usual, self.options)
        self._raised[before : self._count] = [alarm.raised for alarm in alarms]
        return [
            Verdict(a.at, a.observed if a.exposure > 0 else None, a.expected, a.upperbound, a.score, a.raised)
            for a in alarms
        ]

    def _missing(self, at: datetime) -> int:
        """How many bins were left out since the last row."""
        if self._first_at is None or self._count == 0:
            return 0
        if self.bin is None:
            bin = at - self._first_at
            _check(bin)
            self.bin = bin
        ahead = at - self._first_at - self._count * self.bin
        if ahead < timedelta() or ahead % self.bin:
            raise InputError(f"{at.isoformat()}: not on the grid of {self.bin} bins that the rows before make, or late")
        return ahead // self.bin

    def _append(self, seen: float, heard: float, *, raised: bool) -> None:
        if self._count == len(self._observed):
            for name in ("_observed", "_exposure", "_raised"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros_like(old)]))
        self._observed[self._count] = seen
        self._exposure[self._count] = heard
        self._raised[self._count] = raised
        self._count += 1

    def _refit(self, at: datetime) -> None:
        """Learn from everything before `at`: at the 1st, 2nd, 4th ... row, then once a day."""
        assert self.bin is not None
        assert self._first_at is not None
        self._forget()
        n = self._count
        seen, heard = self._observed[:n], self._exposure[:n]
        rate = (seen.sum() + 0.1) / (heard.sum() + 0.1) / (self.bin / HOUR)
        prior = replace(FLAT, rate=float(rate), doubt=1.0)
        profile: Profile = fit(self._signal(0, n), prior, _flagged(self._raised[:n], NEW_NORMAL // self.bin))
        wait = min(n * self.bin, REFIT)
        self._refit_at = at + wait
        self._usual_from = max(0, n - self._width)
        start_at = self._first_at + self._usual_from * self.bin
        self._usual = profile.expect(start_at, n - self._usual_from + wait // self.bin + 1, self.bin)

    def _forget(self) -> None:
        assert self.bin is not None
        assert self._first_at is not None
        surplus = self._count - max(HISTORY // self.bin, self._width)
        if surplus > 0:
            for values in (self._observed, self._exposure, self._raised):
                values[: self._count - surplus] = values[surplus : self._count].copy()
            self._count -= surplus
            self._first_at += surplus * self.bin

    @property
    def _width(self) -> int:
        assert self.bin is not None
        return max(LOOKBACK // self.bin, FEWEST)

    def _judge(self, seen: float, heard: float) -> Alarm:
        assert self._usual is not None
        self._append(seen, heard, raised=False)
        start, end = max(0, self._count - self._width), self._count
        self._count -= 1  # appended for good once judged
        mean = self._usual.mean[start - self._usual_from : end - self._usual_from]
        signal = self._signal(start, end)
        region = self._key.region
        panel = Panel(self._key.service, {region: signal})
        return self.detect(panel, {region: replace(self._usual, mean=mean)}, self.options)[0]

    def _signal(self, start: int, end: int) -> Signal:
        assert self.bin is not None
        assert self._first_at is not None
        observed: Floats = self._observed[start:end]
        return Signal(
            key=self._key,
            start_at=self._first_at + start * self.bin,
            bin=self.bin,
            observed=observed,
            exposure=self._exposure[start:end],
            recovered=np.zeros(end - start),
            posts=observed,
            authors=observed,
        )


def _flagged(raised: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """Bins of past alarms, but for alarms so long that they are the new normal."""
    edges = np.flatnonzero(np.diff(np.r_[False, raised, False].astype(np.int8)))
    flagged = raised.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start > longest:
            flagged[start:end] = False
    return flagged


def _check(bin: timedelta) -> None:
    if bin < timedelta(minutes=1):
        raise InputError(f"bins of {bin} are too short or rows out of order: one minute is the least")
    if bin > HOUR and bin % HOUR:
        raise InputError(f"bins of {bin} can't be read: longer than an hour, they must be whole hours")


def _check_row(at: datetime, count: float | None, exposure: float) -> None:
    if at.tzinfo is None:
        raise InputError(f"{at.isoformat()}: a time needs its offset from UTC")
    if count is not None and not (math.isfinite(count) and count >= 0):
        raise InputError(f"{at.isoformat()}: count {count} must be a number of at least 0, or empty")
    if not 0 <= exposure <= 1:
        raise InputError(f"{at.isoformat()}: exposure {exposure} must lie between 0 and 1")
