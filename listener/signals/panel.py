"""Points -> panel: the gapless signals of one service over all regions, as detectors read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from listener.signals.bins import BIN, count, index
from listener.types import Floats, Panel, Point, SeriesKey, Signal

_COLUMNS = ("observed", "recovered", "posts", "authors")


def panel(
    service: str,
    points: Sequence[Point],
    exposure: Mapping[str, Floats],
    regions: Sequence[str],
    start_at: datetime,
    end_at: datetime,
) -> Panel:
    """Signals over `start_at <= t < end_at`. A bin without a point is a bin in which nobody reported anything."""
    length = count(start_at, end_at)
    columns: dict[str, dict[str, Floats]] = defaultdict(lambda: {name: np.zeros(length) for name in _COLUMNS})
    for point in points:
        i = index(point.at, start_at)
        if point.key.service == service and 0 <= i < length:
            for name in _COLUMNS:
                columns[point.key.region][name][i] = getattr(point, name)
    return Panel(
        service,
        {
            region: Signal(SeriesKey(service, region), start_at, BIN, exposure=exposure[region], **columns[region])
            for region in regions
        },
    )
