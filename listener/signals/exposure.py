"""How much of what we usually hear from a region we hear now. Silence of a source is never zero chatter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np

from listener.signals.bins import count, index
from listener.types import Floats, Hearing

Shares = Mapping[str, Mapping[str, float]]  # source -> region -> share of the region's usual volume


def exposure(
    hearing: Sequence[Hearing], shares: Shares, regions: Sequence[str], start_at: datetime, end_at: datetime
) -> dict[str, Floats]:
    """For each region an array over the bins of `start_at <= t < end_at`, each value 0 (deaf) to 1 (as usual).

    A source that left no word about a bin counts as down in it. With no sources at all, as in a replay of an archive, everything
    was heard: 1 throughout.
    """
    length = count(start_at, end_at)
    if not shares:
        return {region: np.ones(length) for region in regions}
    up: dict[str, Floats] = defaultdict(lambda: np.zeros(length))
    for heard in hearing:
        i = index(heard.at, start_at)
        if heard.up and 0 <= i < length:
            up[heard.source][i] = 1.0
    heard_of: dict[str, Floats] = {}
    for region in regions:
        total = sum(of.get(region, 0.0) for of in shares.values())
        parts = [of.get(region, 0.0) / total * up[source] for source, of in shares.items()] if total > 0 else []
        heard_of[region] = np.clip(np.sum(parts, axis=0), 0.0, 1.0) if parts else np.zeros(length)
    return heard_of


def volumes(places: Iterable[tuple[str, str]], regions: Collection[str]) -> dict[str, dict[str, float]]:
    """What sources usually bring before anything was counted, from their names and regions.

    A national source speaks for its region; a global stream (its region is empty) for all of them and as loudly as ten
    national ones.
    """
    return {name: {region: 1.0} if region else dict.fromkeys(regions, 10.0) for name, region in places}


def shares_of(volumes: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Turn usual volumes (source -> region -> posts) into shares that sum to 1 over the sources of a region."""
    totals: dict[str, float] = defaultdict(float)
    for of in volumes.values():
        for region, posts in of.items():
            totals[region] += posts
    return {
        source: {region: posts / totals[region] for region, posts in of.items() if totals[region] > 0}
        for source, of in volumes.items()
    }
