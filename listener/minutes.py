"""What is done when a minute is over, in one process or by the role that watches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from listener import telemetry
from listener.drifting import tell_drift
from listener.recorder import Recorder
from listener.signals import bins
from listener.types import IncidentState

GRACE = timedelta(seconds=5)  # posts of a minute may arrive a little after it
FORGET_EVERY = timedelta(hours=1)  # how often texts past the retention are erased
OLD_NEWS = timedelta(days=1)  # transitions older than this when a process starts are not told any more

Do = Callable[[Callable[[], Any]], Any]  # how a step is done: at once, or again while the store is away

log = telemetry.log("minutes")


def watch(recorder: Recorder, minute: datetime, metrics: telemetry.Metrics, do: Do = lambda step: step()) -> None:
    """Tick the minute that ends then; count and log what changed."""
    with metrics.tick.time():
        transitions = do(partial(recorder.tick, minute))
    for transition in transitions:
        metrics.transitions.labels(transition.to_state).inc()
        log.info(
            "incident_changed",
            incident=transition.incident.id,
            to=str(transition.to_state),
            regions=",".join(transition.incident.regions),
        )
    metrics.trouble(do(partial(recorder.store.incidents, states=(IncidentState.FIRING,), limit=1000)))


def keep_house(recorder: Recorder, minute: datetime, metrics: telemetry.Metrics, do: Do = lambda step: step()) -> None:
    """What real time asks for beside: erase texts past the retention once an hour, look for drift once a day."""
    if bins.floor(minute, FORGET_EVERY) == minute:
        log.info("texts_forgotten", posts=do(partial(recorder.forget, minute)))
    drifts, is_new = do(partial(recorder.drift, minute))
    metrics.drifts(drifts)
    if is_new:
        tell_drift(log, drifts)
