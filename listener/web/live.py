"""`/events`: tells open pages that something changed, as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from listener.errors import StoreError
from listener.store import Store
from listener.web.access import client_of

EVERY = 0.5  # seconds between two looks at the store
QUIET = 30  # looks without news after which a comment keeps the connection open
MOST = 200  # open streams; more are told to come back later
MOST_EACH = 50  # of them for one client
SLOW = 10.0  # seconds in which a reader must take what it is sent, else it is hung up on
WATCHED = "watched"


def version(store: Store) -> str:
    """A short name for what pages would show now: it changes when an incident or the minute watched does."""
    newest = [(i.id, i.state, i.updated_at) for i in store.incidents(limit=50)]
    return hashlib.sha256(repr((store.mark(WATCHED), newest)).encode()).hexdigest()[:16]


class _Watch:
    """One look at the store for all who ask within the same moment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: tuple[float, str] | None = None
        self._turn = asyncio.Lock()

    async def now(self) -> str:
        async with self._turn:
            moment = asyncio.get_running_loop().time()
            if self._seen is None or moment - self._seen[0] >= EVERY / 2:
                self._seen = (moment, await asyncio.to_thread(version, self._store))
            return self._seen[1]


class _Stream(StreamingResponse):
    """Ends when its reader does not read: what waits for it stays small."""

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(SLOW):
                await send(message)

        try:
            await super().stream_response(in_time)
        except TimeoutError:
            return  # without its last chunk; the server then closes the connection


def router(store: Store) -> APIRouter:
    """The stream over one store. It ends when the server stops, lest an open page hold up its end."""
    routes = APIRouter(include_in_schema=False)
    listening: Counter[str] = Counter()
    watch = _Watch(store)

    @routes.get("/events")
    async def events(request: Request) -> StreamingResponse:
        me = client_of(request.scope)
        full = listening.total() >= MOST or listening[me] >= MOST_EACH

        async def told() -> AsyncIterator[str]:
            if full:
                yield "retry: 60000\n\n"
                return
            listening[me] += 1
            try:
                last, silent = "", 0
                while not request.app.state.closing() and not await request.is_disconnected():
                    try:
                        now = await watch.now()
                    except StoreError:  # a browser comes back by itself to a stream that ends, to an error it does not
                        yield "retry: 5000\n\n"
                        return
                    silent += 1
                    if now != last:
                        yield f"event: changed\ndata: {now}\n\n"
                        last, silent = now, 0
                    elif silent >= QUIET:
                        yield ": still here\n\n"
                        silent = 0
                    await asyncio.sleep(EVERY)
            finally:
                listening[me] -= 1
                if not listening[me]:
                    del listening[me]

        return _Stream(told(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return routes
