"""The summary of an Instatus page in the shape of Statuspage's documents.

It lists what is open, without updates and at times without ids: each status an incident has had is made an update, and
what is gone from the list is resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

_STATUSES = {
    "UP": "operational",
    "HASISSUES": "has_issues",
    "UNDERMAINTENANCE": "under_maintenance",
    "NOTSTARTEDYET": "scheduled",
    "INPROGRESS": "in_progress",
}


class _Page(msgspec.Struct):
    name: str | None = ""
    status: str | None = ""


class Summary(msgspec.Struct, rename="camel"):
    page: _Page
    active_incidents: list[dict[str, Any]] | None = None
    active_maintenances: list[dict[str, Any]] | None = None


def incidents(summary: Summary, open: Mapping[str, str]) -> list[dict[str, Any]]:
    """Those listed, then those that were open and are not listed any more (`open` maps them to their names)."""
    listed = [_incident(entry) for entry in summary.active_incidents or []]
    gone = sorted(open.keys() - {incident["id"] for incident in listed})
    return listed + [_incident({"id": key, "name": open[key], "status": "RESOLVED"}) for key in gone]


def maintenances(summary: Summary) -> list[dict[str, Any]]:
    return [_incident(entry) for entry in summary.active_maintenances or []]


def component(summary: Summary) -> dict[str, Any]:
    """The page as a whole, which may have trouble without an incident."""
    return {"id": "page", "name": "services", "status": _status(summary.page.status)}


def _incident(entry: dict[str, Any]) -> dict[str, Any]:
    key = str(entry.get("id") or str(entry.get("url") or entry.get("name")).rstrip("/").rpartition("/")[2])
    status = _status(entry.get("status"))
    at = entry.get("updatedAt") or (entry.get("started") if status == "investigating" else None)
    update = {"id": f"{key}:{status}", "status": status, "created_at": at}
    own = {"id": key, "name": str(entry.get("name")), "status": status, "shortlink": entry.get("url")}
    return {**own, "incident_updates": [update]}


def _status(word: Any) -> str:
    return _STATUSES.get(str(word), str(word or "").lower())
