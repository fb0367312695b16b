"""Tells transitions as log lines: the channel that needs nothing and is always there. Texts of posts stay out of it."""

from __future__ import annotations

from dataclasses import dataclass

from listener import telemetry
from listener.channels import Message
from listener.kinds import option


@dataclass(frozen=True)
class Options:
    level: str = option("warning", "level of the log line: info or warning")


async def send(message: Message, options: Options) -> None:
    """Write one line; never fails."""
    write = telemetry.log("channel").info if options.level == "info" else telemetry.log("channel").warning
    if message.transition is None:
        write("heartbeat", said=message.title)
        return
    incident = message.transition.incident
    write(
        "incident_told",
        incident=incident.id,
        service=incident.service,
        regions=",".join(incident.regions),
        state=str(message.transition.to_state),
        since=incident.started_at.isoformat(),
        observed=round(incident.observed, 1),
        expected=round(incident.expected, 1),
    )
