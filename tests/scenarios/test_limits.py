"""The system gives no more descriptors or memory, or stops the daemon: it lives on or says why not, and loses nothing.

The short form takes seconds; `LISTENER_TEST_MINUTES` makes the wants and the sleep last longer.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from listener.authors import unnamed
from listener.cli import live
from listener.errors import ListenerError
from listener.store import open_store
from tests.servers import jetstream
from tests.servers.nursery import Life, Nursery, answers, config, count

pytestmark = pytest.mark.anyio

MINUTES = float(os.environ.get("LISTENER_TEST_MINUTES", "0"))
LASTS = 2.0 + 60.0 * min(MINUTES, 5)  # seconds


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class World:
    """A stream of posts and the daemon that hears it."""

    def __init__(self, nursery: Nursery, folder: Path, host: jetstream.Jetstream) -> None:
        table = f'[[source]]\nkind = "jetstream"\nname = "stream"\nhosts = ["{host.url}"]\nlegacy_hosts = []\n'
        self.base = config(folder, table)
        self.folder, self.database = folder, folder / "listener.db"
        self.host, self._nursery = host, nursery
        self.life = self.born()

    def born(self) -> Life:
        self.life = self._nursery.born(self.folder, self.database)
        return self.life

    def says(self, posts: int) -> None:
        begin = len(self.host.events)
        self.host.events += [
            jetstream.post_event(n, datetime.now(UTC), f"instagram çöktü mü {n}") for n in range(begin, begin + posts)
        ]

    async def until_all(self) -> float:
        return await anyio.to_thread.run_sync(self.life.until, self.has_all)

    def has_all(self) -> bool:
        return count(self.database) == len(self.host.events)

    def stored(self) -> Counter[str]:
        with closing(open_store(f"sqlite:///{self.database}", read_only=True)) as store:
            return Counter(mention.post.id for mention in store.mentions(limit=10_000_000))

    def is_whole(self) -> None:
        with closing(open_store(f"sqlite:///{self.database}", read_only=True)) as store:
            assert store.verify() == []
            assert store.transitions() == [], "nothing was told that people did not say"
        assert self.stored() == Counter(unnamed(id) for id in jetstream.ids(self.host.events))


@asynccontextmanager
async def living(nursery: Nursery, folder: Path) -> AsyncIterator[World]:
    """A daemon that has heard the first posts."""
    async with jetstream.running(jetstream.Jetstream(live_from=0)) as host:
        world = World(nursery, folder, host)
        try:
            world.says(20)
            await world.until_all()
            yield world
        finally:
            nursery.clear()


async def test_without_descriptors_it_goes_on_with_those_it_has(nursery: Nursery, tmp_path: Path) -> None:
    async with living(nursery, tmp_path) as world:
        soft, hard = resource.prlimit(world.life.pid, resource.RLIMIT_NOFILE)
        before = world.life.descriptors()
        resource.prlimit(world.life.pid, resource.RLIMIT_NOFILE, (before, hard))
        with ExitStack() as visitors:
            address = ("127.0.0.1", int(world.base.rpartition(":")[2]))
            for _ in range(20):
                visitors.enter_context(socket.create_connection(address)).sendall(b"GET / HTTP/1.1\r\n")
            ends = time.monotonic() + LASTS
            while time.monotonic() < ends:
                world.says(10)
                await anyio.sleep(0.2)
            assert not world.life.is_over()
            assert not await anyio.to_thread.run_sync(answers, f"{world.base}/healthz", 0.5)
        resource.prlimit(world.life.pid, resource.RLIMIT_NOFILE, (soft, hard))
        back = await anyio.to_thread.run_sync(world.life.until, lambda: answers(f"{world.base}/healthz"))
        world.says(10)
        stored = await world.until_all()
        assert world.life.descriptors() <= before + 20
        assert world.life.end(signal.SIGTERM) == 0
        world.is_whole()
        print(f"\n{before} descriptors at most: answers {back:.1f} s after, all stored {stored:.1f} s after", end="")


async def test_without_memory_it_says_so_or_lives_and_begins_where_it_was(nursery: Nursery, tmp_path: Path) -> None:
    async with living(nursery, tmp_path) as world:
        for spare in (0, 4, 64):  # megabytes
            limits = (world.life.address_space() + spare * 2**20, resource.RLIM_INFINITY)
            resource.prlimit(world.life.pid, resource.RLIMIT_AS, limits)
            world.says(2_000)
            ends = time.monotonic() + LASTS
            while time.monotonic() < ends and not world.life.is_over():
                await anyio.sleep(0.05)
            if world.life.is_over():
                code = world.life.ended()
                last = world.life.log.strip().splitlines()[-1]
                print(f"\n{spare} MB to spare: ended with {code}, {last!r}", end="")
                assert code == 1
                assert last.startswith("listener: there is not enough memory")
                world.born()
            else:
                print(f"\n{spare} MB to spare: lived", end="")
                resource.prlimit(world.life.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await world.until_all()
        assert world.life.end(signal.SIGTERM) == 0
        world.is_whole()


async def test_what_ends_for_want_of_memory_says_so_in_one_line() -> None:
    def work(_: object) -> None:
        raise ExceptionGroup("tasks", [MemoryError()])

    with pytest.raises(ListenerError, match="there is not enough memory; give it more"):
        live._unwrapped(work, None)


async def test_a_daemon_that_slept_hears_what_was_said_meanwhile(nursery: Nursery, tmp_path: Path) -> None:
    async with living(nursery, tmp_path) as world:
        os.kill(world.life.pid, signal.SIGSTOP)
        ends = time.monotonic() + LASTS
        while time.monotonic() < ends:
            world.says(5)
            await anyio.sleep(0.1)
        assert not world.has_all()
        world.host.hang_up()  # nobody waits for so long
        os.kill(world.life.pid, signal.SIGCONT)
        took = await world.until_all()
        assert await anyio.to_thread.run_sync(answers, f"{world.base}/readyz") == "ready\n"
        assert world.life.end(signal.SIGTERM) == 0
        world.is_whole()
        print(f"\nstopped for {LASTS:.0f} s: all of it stored {took:.1f} s after", end="")
