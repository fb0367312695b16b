"""A message as plain JSON, for programs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from listener.channels import Message

KEPT = timedelta(days=1)  # how long Alertmanager keeps an alert that nobody tells the end of


def payload(message: Message) -> dict[str, Any]:
    """`id` is the same whenever this message is told again; `incident` is the same over all messages of an incident."""
    made: dict[str, Any] = {
        "id": message.id,
        "at": message.at.isoformat(),
        "title": message.title,
        "body": message.body,
        "link": message.link,
    }
    if message.transition is None:
        return {"type": "heartbeat", **made}
    incident = message.transition.incident
    return {
        "type": "transition",
        **made,
        "incident": incident.id,
        "service": incident.service,
        "regions": list(incident.regions),
        "from": message.transition.from_state,
        "to": message.transition.to_state,
        "started_at": incident.started_at.isoformat(),
        "resolved_at": incident.resolved_at.isoformat() if incident.resolved_at else None,
        "cause": incident.cause,
        "observed": incident.observed,
        "expected": incident.expected,
        "authors": incident.authors,
        "posts": incident.posts,
        "evidence": [
            {"text": one.text, "language": one.language, "source": one.source, "at": one.at.isoformat()}
            for one in message.evidence
        ],
    }


def alerts(message: Message) -> list[dict[str, Any]]:
    """The body of Alertmanager's `POST /api/v2/alerts`: one alert an incident, told to end when it is over.

    Its labels stay the same as long as the incident goes on, since they are what Alertmanager knows an alert by. While it
    goes on its end lies ahead: one without an end is over for Alertmanager after `resolve_timeout`, five minutes.
    """
    if message.transition is None:
        labels = {"alertname": "ListenerHeartbeat", "severity": "none"}
        return [{"labels": labels, "annotations": {"summary": message.title}, "startsAt": message.at.isoformat()}]
    incident = message.transition.incident
    alert: dict[str, Any] = {
        "labels": {
            "alertname": "OutageChatter",
            "service": incident.service,
            "incident": incident.id,
            "severity": "warning",
        },
        "annotations": {
            "summary": message.title,
            "description": message.body,
            "regions": ",".join(incident.regions),
            "state": str(incident.state),
        },
        "startsAt": incident.started_at.isoformat(),
        "generatorURL": message.link,
    }
    alert["endsAt"] = (incident.resolved_at or message.at + KEPT).isoformat()
    return [alert]
