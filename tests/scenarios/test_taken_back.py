"""What an author changes or takes back upstream is changed or erased here within seconds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listener import telemetry
from listener.authors import unnamed
from listener.daemon import Daemon
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder, Taken
from listener.roster import Source
from listener.sources import jetstream as kind
from listener.store import Store, open_store
from listener.types import Mention
from tests.servers.driving import net
from tests.servers.jetstream import Jetstream, account_event, delete_event, edit_event, post_event, post_id, running

SOON = 10.0  # seconds; a minute is what is promised, and a loaded machine is slow

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Telling(Recorder):
    """Says when it has stored a batch."""

    told: Callable[[], object]

    def take(self, batch: Batch) -> Taken:
        taken = super().take(batch)
        self.told()
        return taken


class Listening:
    """A daemon that listens to one host, in this process."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.upstream = Jetstream(live_from=0)
        self.changed = asyncio.Event()

    async def becomes(self, id: str, is_right: Callable[[Mention], bool]) -> float:
        """Seconds until the stored post is so."""
        began = time.monotonic()
        async with asyncio.timeout(SOON):
            self.changed.clear()
            while not any(is_right(m) for m in self.store.mentions() if m.post.id == id):
                await self.changed.wait()
                self.changed.clear()
        return time.monotonic() - began


@asynccontextmanager
async def listening(pipeline: Pipeline, folder: Path) -> AsyncIterator[Listening]:
    with contextlib.closing(open_store(f"sqlite:///{folder / 'listener.db'}")) as store:
        made, loop = Listening(store), asyncio.get_running_loop()
        recorder = Telling(pipeline, store)
        recorder.told = lambda: loop.call_soon_threadsafe(made.changed.set)
        async with running(made.upstream), net(clock=lambda: datetime.now(UTC), sleep=asyncio.sleep) as edge:
            options = kind.Options(hosts=(made.upstream.url,), legacy_hosts=())
            source = Source("bluesky", "jetstream", kind, options)
            metrics = telemetry.Metrics("test")
            daemon = Daemon(recorder, store, [source], [], edge, author_key=b"k", metrics=metrics)
            life = asyncio.create_task(daemon.run())
            yield made
            daemon.stop()
            await life


def id_of(event: dict[str, Any]) -> str:
    """What the post is called here."""
    return unnamed(post_id(event))


def all_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_edits_deletes_and_departures_reach_the_store_within_seconds(pipeline: Pipeline, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first, second, third = [post_event(n, now + timedelta(milliseconds=n), f"instagram çöktü mü {n}") for n in range(3)]
    took: dict[str, float] = {}
    async with listening(pipeline, tmp_path) as here:
        here.upstream.events += [first, second, third]
        took["post"] = await here.becomes(id_of(third), lambda m: m.post.text != "")
        here.upstream.events.append(edit_event(first, datetime.now(UTC), "instagram geri geldi"))
        took["edit"] = await here.becomes(id_of(first), lambda m: m.post.text == "instagram geri geldi")
        here.upstream.events.append(delete_event(second, datetime.now(UTC)))
        took["delete"] = await here.becomes(id_of(second), lambda m: m.post.text == "" and m.post.author == "")
        here.upstream.events.append(account_event(third["did"], datetime.now(UTC)))
        took["departure"] = await here.becomes(id_of(third), lambda m: m.post.text == "" and m.post.author == "")
        kept = [m.post.text for m in here.store.mentions() if m.post.id == id_of(first)]
    assert kept == ["instagram geri geldi"], "the others' posts stay"
    stored = all_of(tmp_path)
    assert first["did"].encode() in stored, "the link to a post is kept as long as its text"
    for gone in (second, third):
        assert gone["did"].encode() not in stored, "nothing that is kept of a post names who wrote it"
    print(", ".join(f"{what} after {seconds:.1f} s" for what, seconds in took.items()))
