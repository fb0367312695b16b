"""Polls a feed as a daemon does that is restarted before each poll: what was stored is all it knows."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from listener.errors import SourceError
from listener.sources import Memo
from listener.sources import rss as kind
from listener.sources._net import Net
from tests.servers.feeds import HttpServer


@dataclass
class Poller:
    """One feed of a server, and the cursor that is stored."""

    server: HttpServer
    net: Net
    path: str = "/feed"
    settings: dict[str, Any] = field(default_factory=dict)
    cursor: str | None = None

    async def poll(self) -> list[str]:
        """The texts of what is new. A failure is raised after its memo has been stored."""
        found = []
        options = kind.Options(url=f"{self.server.url}{self.path}", **self.settings)
        async with aclosing(kind.posts(options, self.cursor, self.net)) as items:
            async for raw, cursor in items:
                self.cursor = cursor or self.cursor
                if raw is None:
                    break
                if not isinstance(raw, Memo):
                    found.append(raw.item.title)
        return found

    async def failure(self) -> SourceError:
        with pytest.raises(SourceError) as caught:
            await self.poll()
        return caught.value

    @property
    def asked(self) -> dict[str, str]:
        """The headers of the last request."""
        return self.server.requests[-1].headers

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.server.requests]
