"""Tells transitions as log lines: the channel that needs nothing and is always there."""

from __future__ import annotations

from dataclasses import dataclass

from listener import telemetry
from listener.kinds import option
from listener.types import Transition


@dataclass(frozen=True)
class Options:
    level: str = option("warning", "level of the log line: info or warning")


async def send(transition: Transition, options: Options) -> None:
    """Write one line; never fails."""
    incident = transition.incident
    write = telemetry.log("channel").info if options.level == "info" else telemetry.log("channel").warning
    write(
        "incident_told",
        incident=incident.id,
        service=incident.service,
        regions=",".join(incident.regions),
        state=str(transition.to_state),
        since=incident.started_at.isoformat(),
        observed=round(incident.observed, 1),
        expected=round(incident.expected, 1),
    )
