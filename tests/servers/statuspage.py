"""A status page on loopback, in the shape of Statuspage.io or of Instatus, with validators like the real ones'."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.servers.driving import NOW
from tests.servers.feeds import HttpServer, Request, feed, running


def update(name: str, status: str = "investigating", at: datetime = NOW, **changes: Any) -> dict[str, Any]:
    """A note on an incident."""
    own = {"id": name, "status": status, "body": "We are looking into it.", "affected_components": None}
    return {**own, "created_at": at.isoformat(timespec="milliseconds"), "display_at": None, **changes}


def incident(name: str, *updates: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Updates come newest first; the incident stands as the newest says."""
    status = updates[0]["status"] if updates else "investigating"
    own = {"id": name, "name": "Logins fail", "status": status, "impact": "major", "resolved_at": None}
    return {**own, "shortlink": None, "components": [], "incident_updates": list(updates), **changes}


def component(name: str, status: str = "operational", **changes: Any) -> dict[str, Any]:
    own = {"id": name.lower(), "name": name, "status": status, "group": False, "group_id": None, "description": None}
    return {**own, "updated_at": NOW.isoformat(timespec="milliseconds"), **changes}


@dataclass
class StatusPage(HttpServer):
    """`documents` replaces what the page would answer at a path."""

    components: list[dict[str, Any]] | None = field(default_factory=list)
    maintenances: list[dict[str, Any]] | None = field(default_factory=list)
    incidents: list[dict[str, Any]] | None = field(default_factory=list)
    instatus: dict[str, Any] = field(default_factory=dict)
    has_validators: bool = True

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._answer}

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        page = {"id": "p", "name": "Acme", "url": "https://status.acme.example", "time_zone": "Etc/UTC"}
        documents: dict[str, Any] = {
            "/api/v2/summary.json": {
                "page": page,
                "status": {"indicator": "none", "description": "All Systems Operational"},
                "components": self.components,
                "scheduled_maintenances": self.maintenances,
            },
            "/api/v2/incidents.json": {"page": page, "incidents": self.incidents},
            "/summary.json": {"page": {"name": "Acme", "url": "https://acme.example", "status": "UP"}, **self.instatus},
        }
        await _served(documents[request.path], has_validators=self.has_validators)(request, writer)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


def _served(document: Any, *, has_validators: bool = True) -> Any:
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "max-age=0, must-revalidate"}
    tag = {"ETag": f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'} if has_validators else {}
    return feed(body, {**headers, **tag})


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server that has the payload's documents, each at its path."""
    del content_type  # always JSON
    documents = {path: _served(document) for path, document in json.loads(payload).items()}
    async with running(HttpServer(documents)) as server:
        yield server.url
