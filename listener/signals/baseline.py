"""What is expected of every series: a profile fitted on its history, or the prior of `data/baseline.toml` while there is none."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from listener.catalog import Catalog, Region, Service
from listener.errors import ConfigError
from listener.kinds import convert, toml_file
from listener.signals.bins import floor
from listener.signals.profile import HOUR, WEEK, Profile, fit_all
from listener.types import UNKNOWN_REGION, UNNAMED, Baseline, Panel

__all__ = ["Baselines", "Hourly", "Numbers", "Profile", "numbers", "prior"]

HISTORY = timedelta(weeks=8)
REFIT = timedelta(hours=6)  # each service at its own minute of these, so that no tick has to fit them all

Hourly = Callable[[str, datetime, datetime], tuple[Mapping[tuple[str, datetime], float], Mapping[datetime, float]]]
"""(service, since, until) -> observed by (region, full hour), and how much of each full hour was listened to (0..1).

An hour that is missing in the second was not listened to; one that is only there had no chatter."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """`data/baseline.toml`: what a series does before it has any history. Its comments say what each figure means."""

    source: str
    per_million: float
    least: float
    foreign: float
    unknown_online: float
    doubt: float
    dispersion: float
    noise: float
    memory: float
    kinds: dict[str, float]
    services: dict[str, float]


def numbers(path: Path) -> Numbers:
    """Read and check the file. Raises `ConfigError` that says what is wrong with it."""
    made = convert(toml_file(path), Numbers, str(path))
    for name in ("per_million", "least", "doubt", "dispersion", "noise", "memory"):
        if not getattr(made, name) > 0:
            raise ConfigError(f"{path}: {name} must be more than 0")
    return made


def prior(region: Region, service: Service | None, of: Numbers, at: datetime) -> Profile:
    """What to expect without history; `service` is None for trouble that names none. `at` fixes the region's clock."""
    online = of.unknown_online if region.code == UNKNOWN_REGION else region.population * region.online_share / 1e6
    weight = of.services.get(service.id if service else UNNAMED, of.kinds.get(service.kind, 0.2) if service else 1.0)
    if service and service.regions and region.code not in service.regions:
        weight *= of.foreign
    offset = at.astimezone(ZoneInfo(region.zone)).utcoffset() or timedelta()
    local = (np.arange(WEEK) + round(offset / HOUR)) % 24
    share = np.asarray(region.hours)[local] * 24
    return Profile(
        rate=max(of.per_million * online * region.volume * weight, of.least),
        shape=tuple(np.log(np.maximum(share, 0.1)).tolist()),
        dispersion=of.dispersion,
        noise=of.noise,
        memory=of.memory,
        doubt=of.doubt,
        weeks=0.0,
    )


class Baselines:
    """The expectations of panels, from hourly sums of the last eight weeks; profiles are kept until they are refitted."""

    def __init__(self, catalog: Catalog, hourly: Hourly, of: Numbers | None = None):
        self._catalog = catalog
        self._hourly = hourly
        self._numbers = of or numbers(catalog.root / "baseline.toml")
        self._fitted: dict[str, tuple[datetime, dict[str, Profile]]] = {}

    def of(self, panel: Panel, now: datetime) -> dict[str, Baseline]:
        """What is expected of each region of a panel, learnt from what was over before the last refit."""
        stagger = zlib.crc32(panel.service.encode()) % (REFIT // timedelta(minutes=1)) * timedelta(minutes=1)
        until = floor(floor(now - stagger, REFIT) + stagger, HOUR)
        at, profiles = self._fitted.get(panel.service, (None, {}))
        if at != until or not panel.signals.keys() <= profiles.keys():
            profiles = self.profiles(panel.service, list(panel.signals), until)
            self._fitted[panel.service] = (until, profiles)
        return {
            region: profiles[region].expect(signal.start_at, len(signal.observed), signal.bin)
            for region, signal in panel.signals.items()
        }

    def profiles(self, service: str, regions: Sequence[str], until: datetime) -> dict[str, Profile]:
        """What each region usually does with a service, learnt from the full hours before `until`."""
        observed, heard = self._hourly(service, until - HISTORY, until)
        known = self._catalog.services.get(service)
        first = min((hour for hour in heard if heard[hour] > 0), default=until)
        hours = [first + n * HOUR for n in range(math.floor((until - first) / HOUR))]
        priors = [prior(self._catalog.regions[region], known, self._numbers, until) for region in regions]
        exposure = np.array([heard.get(hour, 0.0) for hour in hours])
        seen = np.array([[observed.get((region, hour), 0.0) for hour in hours] for region in regions])
        return dict(zip(regions, fit_all(first, HOUR, seen, exposure, priors), strict=True))
