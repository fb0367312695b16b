"""What was usual in a bin of any length, worked out from the hours that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from listener.types import Expected

HOUR = timedelta(hours=1)
SCATTER = 0.7  # the range of a part of an hour is wider than its share of the hour's: less time has more scatter


def mean_of_bin(hours: Mapping[int, Expected], second: int, bin_seconds: int) -> float | None:
    """What was expected of a bin: the shares of the hours it lies in; None when nobody worked one of them out.

    `hours` are the rows of one series by the second (since 1970) in which each hour begins; so is the bin's `second`.
    """
    end = second + bin_seconds
    total = 0.0
    for hour in range(second // 3600 * 3600, end, 3600):
        row = hours.get(hour)
        if row is None:
            return None
        total += row.mean * (min(end, hour + 3600) - max(second, hour)) / 3600
    return round(total, 4)


def top_of_bin(hours: Mapping[int, Expected], second: int, bin_seconds: int) -> float | None:
    """The top of the usual range of the same bin."""
    found = [hours.get(hour) for hour in range(second // 3600 * 3600, second + bin_seconds, 3600)]
    highs = [row.high for row in found if row is not None]
    return top_of(sum(highs) / len(highs), timedelta(seconds=bin_seconds)) if len(highs) == len(found) else None


def top_of(high: float, length: timedelta) -> float:
    """The top of the usual range of so long a time, from that of an hour."""
    return float(high * (length / HOUR) ** SCATTER)
