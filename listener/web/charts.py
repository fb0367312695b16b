"""Numbers as shapes: points of SVG lines and areas, worked out on the server so that pages need no chart library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from listener.store.usual import top_of
from listener.types import Expected, Point

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Spark:
    """A small line of so many bars with the usual range behind it, in a box of `len(bars)` by 20."""

    bars: Sequence[float]
    highs: Sequence[float | None]  # the top of the usual range, None where nobody worked it out

    @property
    def top(self) -> float:
        return max([3.0, *self.bars, *(high for high in self.highs if high is not None)])

    @property
    def most(self) -> float:
        return max(self.bars, default=0.0)

    @property
    def line(self) -> str:
        top = self.top
        return " ".join(f"{x},{20 - 18 * value / top:.1f}" for x, value in enumerate(self.bars))

    @property
    def band(self) -> str:
        """The path of the usual range."""
        known = [(x, high) for x, high in enumerate(self.highs) if high is not None]
        if len(known) < 2:
            return ""
        top = self.top
        upper = "L".join(f"{x},{20 - 18 * high / top:.1f}" for x, high in known)
        return f"M{known[0][0]},20L{upper}L{known[-1][0]},20Z"


def spark(points: Sequence[Point], usual: Sequence[Expected], start_at: datetime, end_at: datetime, bars: int) -> Spark:
    """Points and usual hours of one series (or of several, added up) as a small line."""
    length = (end_at - start_at) / bars
    seen = [0.0] * bars
    for point in points:
        seen[min(bars - 1, int((point.at - start_at) / length))] += point.observed
    by_hour: dict[datetime, float] = {}
    for row in usual:
        by_hour[row.at] = by_hour.get(row.at, 0.0) + row.high
    highs = []
    last: float | None = None
    for bar in range(bars):
        at = start_at + bar * length
        hour = at - (at - datetime(1970, 1, 1, tzinfo=at.tzinfo)) % HOUR
        last = by_hour.get(hour, last)  # the hour that runs is like the one before until it is over
        highs.append(None if last is None else top_of(last, length))
    return Spark(seen, highs)


@dataclass(frozen=True)
class Moment:
    """Where an instant stands on a time line, in per mille of its length."""

    start_at: datetime
    end_at: datetime

    def __call__(self, at: datetime) -> float:
        span = (self.end_at - self.start_at) / timedelta(seconds=1)
        return round(1000 * min(1.0, max(0.0, (at - self.start_at) / timedelta(seconds=1) / span)), 1)

    @property
    def hours(self) -> list[datetime]:
        """Full hours to label: at most a dozen."""
        step = HOUR * max(1, -(-((self.end_at - self.start_at) // HOUR) // 8))
        first = self.start_at - (self.start_at - datetime(1970, 1, 1, tzinfo=self.start_at.tzinfo)) % step + step
        return [first + n * step for n in range(12) if first + n * step < self.end_at]


def shares(labels: Mapping[str, float], prefix: str) -> list[tuple[str, float]]:
    """The parts of `labels` that begin with `prefix`, as shares of their sum, the largest first."""
    parts = {name.removeprefix(prefix): value for name, value in labels.items() if name.startswith(prefix)}
    total = sum(parts.values())
    if total <= 0:
        return []
    return sorted(((name, value / total) for name, value in parts.items()), key=lambda part: (-part[1], part[0]))
