"""The grid of time everything is counted on: bins of one minute, starting at full minutes of UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

BIN = timedelta(minutes=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def floor(at: datetime, bin: timedelta = BIN) -> datetime:
    """The start of the bin an instant falls into."""
    return at - (at - _EPOCH) % bin


def ceil(at: datetime, bin: timedelta = BIN) -> datetime:
    """The first bin start that is not before an instant."""
    start = floor(at, bin)
    return start if start == at else start + bin


def count(start_at: datetime, end_at: datetime, bin: timedelta = BIN) -> int:
    """How many bins lie in `start_at <= t < end_at`; both are bin starts."""
    return max(0, (end_at - start_at) // bin)


def index(at: datetime, start_at: datetime, bin: timedelta = BIN) -> int:
    """Which bin after `start_at` an instant falls into; negative before it."""
    return (at - start_at) // bin
