"""Whoever pulls the plug and when: what upstream served is stored, all of it, each post once, as it was last.

The daemon is killed (SIGKILL) again and again while servers grow and misbehave. By default, all kinds at once; with more
than a few kills, one kind after another. A soak:

    LISTENER_TEST_KILLS=50 LISTENER_TEST_POSTS=20000 python -m pytest -s tests/scenarios/test_no_loss.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from listener.store import open_store
from tests.servers.process import Process, fetch, free_port
from tests.servers.worlds import NAMES, World, world

KILLS = int(os.environ.get("LISTENER_TEST_KILLS", "3"))
POSTS = int(os.environ.get("LISTENER_TEST_POSTS", "300"))  # of each kind
SEED = int(os.environ.get("LISTENER_TEST_SEED", "5"))
ROUNDS = [NAMES] if KILLS <= 5 else [(name,) for name in NAMES]
LIVELY = 2.5  # seconds of a life in which things happen
PATIENCE = 15.0  # seconds a life may take until it stores something
SLOWEST = 60.0  # seconds without news of the daemon after which there is no hope

CONFIG = "default_sources = false\n[http]\nallow_private = true\n[web]\nport = {port}\n"


def texts(database: Path) -> list[tuple[str, str]]:
    """Identity and text of all that is stored."""
    if not database.exists():
        return []
    with contextlib.closing(open_store(f"sqlite:///{database}", read_only=True)) as store:
        return [(mention.post.id, mention.post.text) for mention in store.mentions(limit=10_000_000)]


def count(database: Path, what: str) -> int:
    """A cheap look at a store that is in use, or not even made yet."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return int(db.execute(f"SELECT count(*) FROM {what}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


class Trial:
    """The worlds and the daemon's folder."""

    def __init__(self, worlds: Sequence[World], folder: Path, environ: dict[str, str]) -> None:
        self.worlds = worlds
        self.database = folder / "listener.db"
        self.port = free_port()
        self.rng = Random(SEED)
        self._folder, self._environ = folder, environ
        self.lives: list[Process] = []
        self.metrics = ""

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(self._end)
            for one in self.worlds:
                await stack.enter_async_context(one.open())
            tables = "".join(one.table() for one in self.worlds)
            (self._folder / "listener.toml").write_text(CONFIG.format(port=self.port) + tables, encoding="utf-8")
            shares = [POSTS // (KILLS + 1)] * KILLS
            await self._killed(shares[0], is_first=True)
            for share in shares[1:]:
                await self._killed(share)
            await self._finished(POSTS - sum(shares))

    async def _killed(self, share: int, *, is_first: bool = False) -> None:
        """One life, and what is said before, during and after it.

        In the first the daemon must get to know where it is: before that, what it has not heard was never meant for it.
        """
        life = self._born()
        if is_first:
            await self._has_come()
        early = asyncio.create_task(self._written(share // 2, is_calm=is_first))
        moment = self.rng.random()
        if is_first:
            await self._has_cursors()
        elif moment < 0.15:
            await asyncio.sleep(self.rng.uniform(0, LIVELY))  # it may not even have started
        elif moment < 0.5:
            await self._has_come()
        else:
            await self._has_stored_more()
        late = asyncio.create_task(self._written(share - share // 2))
        await asyncio.sleep(self.rng.uniform(0, LIVELY))
        await asyncio.to_thread(life.end, signal.SIGKILL)
        await asyncio.gather(early, late)
        known = dict(await asyncio.to_thread(texts, self.database))
        for one in self.worlds:
            one.has_been_read(known)

    async def _has_come(self) -> None:
        """Until every upstream has met this life of the daemon."""
        async with asyncio.timeout(SLOWEST):
            for one in self.worlds:
                await one.came.wait()

    async def _has_cursors(self) -> None:
        async with asyncio.timeout(SLOWEST):
            while await asyncio.to_thread(count, self.database, "cursors") < len(self.worlds):
                await asyncio.sleep(0.1)

    async def _has_stored_more(self) -> None:
        """Or gives no sign of it: one that was refused is patient."""
        before, deadline = await asyncio.to_thread(count, self.database, "mentions"), time.monotonic() + PATIENCE
        while await asyncio.to_thread(count, self.database, "mentions") <= before and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    async def _finished(self, share: int) -> None:
        """The last life goes on until all is stored, or nothing more comes."""
        for one in self.worlds:
            one.calm()
        life = self._born()
        await self._has_come()
        await self._written(share, is_last=True)
        wanted: dict[str, str] = {}
        for one in self.worlds:
            one.calm()
            wanted |= one.texts
        heard, stalled = -1, time.monotonic() + SLOWEST
        while time.monotonic() < stalled:
            before, heard = heard, await asyncio.to_thread(count, self.database, "mentions")
            stalled = stalled if heard == before else time.monotonic() + SLOWEST
            if heard >= len(wanted) and dict(await asyncio.to_thread(texts, self.database)) == wanted:
                break
            await asyncio.sleep(0.25)
        self.metrics = await asyncio.to_thread(fetch, f"http://127.0.0.1:{self.port}/metrics")
        assert await asyncio.to_thread(life.end, signal.SIGTERM) == 0

    def _born(self) -> Process:
        for one in self.worlds:
            one.came.clear()
        life = Process(self._folder, self._environ, self.database)
        self.lives.append(life)
        return life

    def _end(self) -> None:
        for life in self.lives:
            life.end(signal.SIGKILL)

    async def _written(self, share: int, *, is_calm: bool = False, is_last: bool = False) -> None:
        """So many posts at every upstream, in bursts, with mishaps in between."""
        left = share
        while left > 0:
            burst = min(left, self.rng.randint(1, max(2, share // 5)))
            left -= burst
            for one in self.worlds:
                for _ in range(burst):
                    one.grow()
                if not is_calm and (one.is_asked_again_soon or not is_last):
                    one.disturb()
            await asyncio.sleep(LIVELY * burst / share)


@pytest.mark.timeout(300 + 30 * KILLS + POSTS // 20)
@pytest.mark.parametrize("names", ROUNDS, ids="-".join)
def test_killed_at_random_moments_every_post_is_stored_exactly_once_and_as_it_was_last(
    names: tuple[str, ...], tmp_path: Path, environ: dict[str, str]
) -> None:
    worlds = [world(name, SEED) for name in names]
    trial, began = Trial(worlds, tmp_path, environ), time.monotonic()
    asyncio.run(trial.run())
    stored = texts(trial.database)
    assert len(stored) == len({id for id, _ in stored}), "no post twice"
    found = dict(stored)
    for one in worlds:
        assert {id for id in one.texts if id not in found} == set(), f"{one.name} lost posts"
        assert {id: found[id] for id in one.texts} == one.texts, f"{one.name} missed what became of posts"
    assert len(found) == sum(len(one.texts) for one in worlds)
    with contextlib.closing(open_store(f"sqlite:///{trial.database}", read_only=True)) as store:
        assert store.verify() == []
        assert {health.source for health in store.health()} == set(names)
        assert all("did:plc" not in mention.post.author for mention in store.mentions(limit=1000))
    log = (tmp_path / "daemon.log").read_text(encoding="utf-8", errors="replace")
    for told in (log, trial.metrics):
        assert not any(word in told for word in ("giremiyorum", "ne radi", "падна")), "texts are never told of"
        assert "did:plc" not in told, "authors are never told of"
    for one in worlds:
        assert f'listener_posts_received_total{{source="{one.name}"}}' in trial.metrics
        print(
            f"\n{one.name}: {len(one.texts)} posts ({one.edits} edits, {one.deletes} deletes) in {one.deliveries} deliveries"
            f" over {one.connections} connections, {KILLS} kills: all stored once",
            end="",
        )
    print(f"; {time.monotonic() - began:.0f} s")
