"""The HTTP server of `feeds` for those who also send something: the body of the request at hand is `body()`."""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar

from tests.servers.feeds import HttpServer

_BODY: ContextVar[bytes] = ContextVar("body", default=b"")  # each connection is served in a task of its own


def body() -> bytes:
    return _BODY.get()


class PostServer(HttpServer):
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
            _BODY.set(await reader.readexactly(int(length.group(1)) if length else 0))
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
            return
        again = asyncio.StreamReader()
        again.feed_data(head)
        again.feed_eof()
        await super().serve(again, writer)
