"""The live stream of a Mastodon server, for a user's token: an SSE connection a timeline, or one WebSocket for all.

Nothing is replayed: what was missed between two connections is for others to fill in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
from httpx_sse import EventSource

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources._json import decoded
from listener.sources._mastodon_server import token_refused
from listener.sources._net import Net
from listener.sources._refusal import RefusedError
from listener.sources._socket import Socket

PATH = "/api/v1/streaming"
WAITING = 1_000  # events read ahead while the timelines are being filled in
QUIET = 24 * 3600.0  # a socket with nothing to tell is kept: pings say whether the server is there


@dataclass(frozen=True, slots=True)
class Channel:
    """A stream as the WebSocket names it, such as `hashtag:local`, and its tag."""

    name: str
    tag: str = ""

    @property
    def path(self) -> str:
        query = f"?{urlencode({'tag': self.tag})}" if self.tag else ""
        return f"{PATH}/{self.name.replace(':', '/')}{query}"

    @property
    def request(self) -> str:
        about = {"tag": self.tag} if self.tag else {}
        return msgspec.json.encode({"type": "subscribe", "stream": self.name, **about}).decode()


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    data: str


class Stream:
    """Connections that are being read."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self._readers: list[asyncio.Task[None]] = []

    async def next(self, within: float) -> Event | None:
        """The next event; None when so many seconds brought none. Raises what ended a connection, once all is told."""
        waiting = asyncio.ensure_future(self._events.get())
        try:
            await asyncio.wait({waiting, *self._readers}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
        finally:
            waiting.cancel()
        for reader in self._readers:
            if reader.done():
                reader.result()
        return None

    def read(self, events: Coroutine[Any, Any, None]) -> None:
        self._readers.append(asyncio.create_task(events))

    async def close(self) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def from_sse(self, response: httpx.Response) -> None:
        """Comments (`:)`, `:thump`) are only signs of life, and an event that is cut off is none: the decoder's work."""
        try:
            async for sse in EventSource(response).aiter_sse():
                await self._events.put(Event(sse.event, sse.data))
        except httpx.HTTPError as error:
            raise SourceError(f"the answer is not a stream of events: {error}", reason="not_mastodon") from error
        raise SourceError("the server ended the stream", reason="disconnected")

    async def from_socket(self, socket: Socket) -> None:
        while True:
            message = await socket.receive(QUIET)
            try:
                frame = decoded(message, _Frame, "frame")
            except MalformedError:
                frame = _Frame("update", message.decode("utf-8", "replace")[:1000])  # counted as a broken post
            if frame.error:
                raise SourceError(f"the server ended the stream: {frame.error}", reason="stream_error")
            await self._events.put(Event(frame.event, frame.payload if isinstance(frame.payload, str) else ""))


class _Frame(msgspec.Struct):
    event: str = ""
    payload: Any = None
    error: str = ""


@asynccontextmanager
async def opened(
    address: str, channels: Sequence[Channel], authorization: Mapping[str, str], net: Net, *, silence: float
) -> AsyncIterator[Stream]:
    """A connection a channel. `silence` seconds without a byte end one: the server sends a sign of life every 15."""
    async with AsyncExitStack() as stack:
        stream = Stream()
        for channel in channels:
            with _refusals(address):
                response = await stack.enter_async_context(
                    net.stream(f"{address}{channel.path}", headers=authorization, silence=silence)
                )
            stream.read(stream.from_sse(response))
            stack.push_async_callback(stream.close)  # before the response, also when the next channel is refused
        yield stream


@asynccontextmanager
async def opened_at_once(
    address: str, channels: Sequence[Channel], authorization: Mapping[str, str], net: Net
) -> AsyncIterator[Stream]:
    """One WebSocket for all channels."""
    async with AsyncExitStack() as stack:
        with _refusals(address):
            socket = await stack.enter_async_context(
                net.websocket(f"ws{address.removeprefix('http')}{PATH}", headers=authorization)
            )
        for channel in channels:
            await socket.send(channel.request)
        stream = Stream()
        stack.push_async_callback(stream.close)
        stream.read(stream.from_socket(socket))
        yield stream


@contextmanager
def _refusals(address: str) -> Iterator[None]:
    """What a refused stream means. None of these will be otherwise in a minute."""
    try:
        yield
    except RefusedError as refused:
        if refused.status in (401, 403):
            raise token_refused(address) from refused
        if refused.status == 400:
            raise SourceError(f"{address} does not know this stream", reason="bad_stream", permanent=True) from refused
        if refused.status == 404:
            raise SourceError(f"{address} does not stream", reason="no_stream", permanent=True) from refused
        raise
