"""`/events`: tells open pages that something changed, as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from listener.store import Store

EVERY = 0.5  # seconds between two looks at the store
QUIET = 30  # looks without news after which a comment keeps the connection open
MOST = 200  # open streams; more are told to come back later
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


def router(store: Store) -> APIRouter:
    """The stream over one store. It ends when the server stops, lest an open page hold up its end."""
    routes = APIRouter(include_in_schema=False)
    listening: set[object] = set()
    watch = _Watch(store)

    @routes.get("/events")
    async def events(request: Request) -> StreamingResponse:
        me = object()
        full = len(listening) >= MOST

        async def told() -> AsyncIterator[str]:
            if full:
                yield "retry: 60000\n\n"
                return
            listening.add(me)
            try:
                last, silent = "", 0
                while not request.app.state.closing() and not await request.is_disconnected():
                    now = await watch.now()
                    silent += 1
                    if now != last:
                        yield f"event: changed\ndata: {now}\n\n"
                        last, silent = now, 0
                    elif silent >= QUIET:
                        yield ": still here\n\n"
                        silent = 0
                    await asyncio.sleep(EVERY)
            finally:
                listening.discard(me)

        return StreamingResponse(told(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return routes
