"""Keeps how small an outage could be and still be noticed, for people who look: see `signals.visible`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from listener.pipeline import Pipeline
from listener.signals.visible import smallest_visible
from listener.store import Store
from listener.store import noticed as kept_in
from listener.store.noticed import HOLDS, Figure, Kept
from listener.types import Baseline, Panel

MOVED = 0.1  # of the usual, by which hearing must have changed for a series nobody talked about to be asked again
SELDOM = 6  # hours after which it is asked in any case


class Noticing:
    """What is known of all services. Begins with what the store holds, so that a restart goes on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, Kept] | None = None

    @property
    def kept(self) -> dict[str, Kept]:
        if self._kept is None:
            self._kept = kept_in.kept(self._store)
        return self._kept

    def begin_anew(self) -> None:
        """Forget what is kept in memory of the store: others may have written to it."""
        self._kept = None

    def work_out(
        self,
        panel: Panel,
        usual: Mapping[str, Baseline],
        lately: Collection[str],
        now: datetime,
        pipeline: Pipeline,
    ) -> None:
        """Ask the detector about each region of a service, beginning with what it said last time.

        Where nobody talked `lately` the answer hardly moves, and is asked for seldom.
        """
        before = self.kept.get(panel.service, Kept(now, {})).regions
        heard = {region: round(float(signal.exposure[-1]), 3) for region, signal in panel.signals.items()}
        figures = {
            region: was
            for region, was in before.items()
            if region not in lately and now.hour % SELDOM and abs(was.heard - heard.get(region, -1.0)) < MOVED
        }
        found = smallest_visible(
            panel,
            usual,
            pipeline.detector.detect,
            _alone(pipeline.detector_options),
            near={region: was.authors for region, was in before.items() if was.authors is not None},
            regions=sorted(panel.signals.keys() - figures.keys()),
        )
        asked = {region: Figure(authors, heard[region]) for region, authors in found.items()}
        self.kept[panel.service] = Kept(now, dict(sorted((figures | asked).items())))

    def mark(self, now: datetime) -> str:
        """What to keep of it all; services nobody has spoken of for long are left out."""
        self._kept = {service: one for service, one in sorted(self.kept.items()) if now - one.at <= HOLDS}
        return kept_in.encoded(self._kept)


def _alone(options: Any) -> Any:
    """A detector's options with which it reads each region by itself; most have no other."""
    return replace(options, joint=False) if hasattr(options, "joint") else options
