"""Meta's status page on loopback: one data file, feeds of open events, and for everything else an empty frame with 200."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.servers.feeds import HttpServer, Request, answer, feed, rss, running

FRAME = b'<!DOCTYPE html><html><head><title>Meta Status</title></head><body><div id="root"></div></body></html>'


def product(name: str, *services: tuple[str, str], **changes: Any) -> dict[str, Any]:
    made = [{"id": i, "name": what, "status": status} for i, (what, status) in enumerate(services, 1)]
    own = {"id": name, "name": name.replace("-", " ").title(), "rss_file_paths": [f"outage-events-feed-{name}.rss"]}
    return {**own, "services": made, **changes}


@dataclass
class MetaStatus(HttpServer):
    """`products` is the data file, `events` the items of each product's feed; a feed that is in neither is the frame."""

    products: Any = field(default_factory=list)
    events: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.behaviours = {"*": self._answer}

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        behave = answer(200, FRAME, {"Content-Type": "text/html"})
        name = request.path.removeprefix("/outage-events-feed-").removesuffix(".rss")
        if request.path == "/data/orgs.json":
            body = json.dumps(self.products).encode()
            behave = feed(body, {"Content-Type": "application/json", "ETag": f'"{hash(body)}"'})
        elif name in self.events:
            behave = answer(200, rss(*self.events[name]), {"Content-Type": "text/xml"})
        await behave(request, writer)


@asynccontextmanager
async def serving(payload: bytes, content_type: str) -> AsyncIterator[str]:
    """The address of a server with the payload's products and events."""
    del content_type  # JSON
    async with running(MetaStatus(**json.loads(payload))) as server:
        yield server.url
