"""A daemon in a bad neighbourhood, for as long as you like: in the end what was served is stored, and what is stored was told.

Upstreams misbehave, the daemon is killed, stopped and put to sleep, its disk is slow, full or held by somebody else, and who is
to be told fails. The short form does each once; half an hour of it, as `./dev soak` does:

    LISTENER_TEST_MINUTES=30 python -m pytest -s --timeout=0 tests/scenarios/test_soak.py
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from listener.errors import StoreError
from listener.store import open_store
from tests.scenarios.test_disk import ballast
from tests.servers.nursery import Life, Nursery, answers, config, count
from tests.servers.process import free_port
from tests.servers.webhook import HANG, Receiver
from tests.servers.worlds import World, world
from tests.test_telling import change, incident

MINUTES = float(os.environ.get("LISTENER_TEST_MINUTES", "0.15"))
SEED = int(os.environ.get("LISTENER_TEST_SEED", "5"))
IS_LONG = MINUTES >= 1
NAMES = ("v2", "hashtag", "feed") if IS_LONG else ("v2",)
BUSY, QUIET = 300.0, 240.0  # seconds in which people complain, and in which hardly anybody does
TURN = 25.0 if IS_LONG else MINUTES * 12  # seconds from one mishap to the next
DISK = 64 << 20
CHANNEL = '[[channel]]\nkind = "webhook"\nname = "hook"\nurl = "{url}"\nfrom_state = "pending"\ntimeout = "2s"\n'
SETTLED = 240.0  # seconds the last life may take


@dataclass
class Trial:
    """The neighbourhood: upstreams, receiver, disk, and one daemon after another."""

    folder: Path
    disk: Path
    nursery: Nursery
    worlds: list[World]
    receiver: Receiver
    rng: Random = field(default_factory=lambda: Random(SEED))
    mishaps: Counter[str] = field(default_factory=Counter)
    memory: float = 0.0
    answered: list[float] = field(default_factory=list)
    naps: int = 0  # how often the daemon was put to sleep or woken
    is_over: bool = False
    life: Life = field(init=False)
    base: str = ""

    @property
    def database(self) -> Path:
        return self.disk / "listener.db"

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            for one in self.worlds:
                await stack.enter_async_context(one.open())
            tables = [one.table() for one in self.worlds]
            tables += [CHANNEL.format(url=self.receiver.url), '[detector]\nresolve_after = "2m"\n']
            self.base = config(self.folder, *tables)
            self._prepare()
            self.born()
            for one in self.worlds:
                await one.came.wait()  # what was said before it came was not meant for it
            around = [asyncio.create_task(work) for work in (self._people(), self._receiving(), self._visiting())]
            await self._until(lambda: count(self.database, "cursors") == len(self.worlds))
            await self._misfortune(time.monotonic() + MINUTES * 60)
            self.is_over = True
            await asyncio.gather(*around)
            await self._settle()

    def _prepare(self) -> None:
        """Something the life before did not get told."""
        with closing(open_store(f"sqlite:///{self.database}")) as store, store.transaction() as tx:
            moment = datetime.now(UTC) - timedelta(minutes=5)
            tx.put_transitions([change("firing", of=incident(began=moment), moment=moment)])

    def born(self) -> None:
        self.life = self.nursery.born(self.folder, self.database)

    async def _until(self, true: Any, patience: float = SETTLED) -> None:
        await asyncio.to_thread(self.life.until, true, patience)

    async def _people(self) -> None:
        began = time.monotonic()
        while not self.is_over:
            is_busy = (time.monotonic() - began) % (BUSY + QUIET) < BUSY
            for one in self.worlds:
                if self.rng.random() < (0.4 if is_busy else 0.01):
                    one.grow()
                if self.rng.random() < 0.004:
                    one.disturb()
            if self.rng.random() < 0.02:
                with suppress(StoreError):  # while the disk is full
                    known = await asyncio.to_thread(texts, self.database)
                    for one in self.worlds:
                        one.has_been_read(known)
            await asyncio.sleep(0.2)

    async def _receiving(self) -> None:
        """Who is to be told: well, cross, slow or away."""
        while not self.is_over:
            self.receiver.answer = lambda _: self.rng.choice((200, 200, 500, 429, HANG))
            async with self.receiver.up():
                await self._nap(TURN * self.rng.uniform(0.3, 2))
            self.mishaps["receiver away"] += 1
            await self._nap(TURN * self.rng.uniform(0, 0.5))

    async def _visiting(self) -> None:
        while not self.is_over:
            began, naps = time.monotonic(), self.naps
            if await asyncio.to_thread(answers, f"{self.base}/") and naps == self.naps and not naps % 2:
                self.answered.append(time.monotonic() - began)
            with suppress(OSError):
                self.memory = max(self.memory, self.life.memory())
            await self._nap(0.5)

    async def _nap(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not self.is_over:
            await asyncio.sleep(0.05)

    async def _misfortune(self, ends: float) -> None:
        kinds = [self._killed, self._slow, self._full, self._held, self._stopped, self._asleep]
        while time.monotonic() < ends:
            self.rng.shuffle(kinds)
            for strike in kinds:
                if time.monotonic() < ends or not IS_LONG:
                    await self._nap(TURN * self.rng.uniform(0.1, 0.5))
                    self.mishaps[strike.__name__.strip("_")] += 1
                    await strike(TURN * self.rng.uniform(0.1, 0.5))
                    assert not self.life.is_over(), f"it ended by itself\n{self.life.log[-2000:]}"

    async def _killed(self, _: float) -> None:
        await asyncio.to_thread(self.life.end, signal.SIGKILL)
        self.born()

    async def _stopped(self, _: float) -> None:
        await self._is_there()
        assert await asyncio.to_thread(self.life.end, signal.SIGTERM) == 0
        self.born()

    async def _is_there(self) -> None:
        """Before that nobody can tell it anything, and a full disk ends it with a line."""
        await self._until(lambda: answers(f"{self.base}/healthz"))

    async def _asleep(self, seconds: float) -> None:
        self.naps += 1
        os.kill(self.life.pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(self.life.pid, signal.SIGCONT)
        self.naps += 1

    async def _slow(self, seconds: float) -> None:
        slow = self.folder / "slow"
        slow.write_text(f"{self.rng.uniform(0.2, 2):.2f}")
        await asyncio.sleep(seconds)
        slow.unlink()

    async def _full(self, seconds: float) -> None:
        if self.disk == self.folder:
            return  # nobody may mount a disk of our own here
        await self._is_there()
        filled = await asyncio.to_thread(ballast, self.disk, 0)
        await asyncio.sleep(seconds)
        filled.unlink()

    async def _held(self, seconds: float) -> None:
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=10)) as db, suppress(sqlite3.Error):
            db.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(seconds)

    async def _settle(self) -> None:
        """The last life: everybody behaves, and it has the time it needs."""
        for one in self.worlds:
            one.calm()
        self.receiver.answer = lambda _: 200
        await self._stopped(0)
        wanted = {id: text for one in self.worlds for id, text in one.texts.items()}
        async with self.receiver.up():
            await self._until_stored(wanted)
            with closing(open_store(f"sqlite:///{self.database}", read_only=True)) as store:
                await self._until(lambda: not store.untold("hook"))
            await self._is_there()
            assert await asyncio.to_thread(self.life.end, signal.SIGTERM) == 0

    async def _until_stored(self, wanted: dict[str, str]) -> None:
        stored: dict[str, str] = {}

        def is_stored() -> bool:
            stored.clear()
            stored.update(texts(self.database))
            return stored == wanted

        try:
            await self._until(is_stored)
        except AssertionError as error:
            ids = sorted(id for id in stored.keys() | wanted.keys() if stored.get(id) != wanted.get(id))
            told = [f"{id}: served {wanted.get(id)!r}, stored {stored.get(id)!r}" for id in ids]
            raise AssertionError("\n".join([f"{len(told)} posts differ", *told[:20], str(error)])) from None


def texts(database: Path) -> dict[str, str]:
    with closing(open_store(f"sqlite:///{database}", read_only=True)) as store:
        return {mention.post.id: mention.post.text for mention in store.mentions(limit=10_000_000)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system when that may be had, so that it can be filled; else any folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        yield tmp_path
        return
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@asynccontextmanager
async def trial(folder: Path, disk: Path, environ: dict[str, str]) -> AsyncIterator[Trial]:
    with Nursery(environ) as nursery:
        yield Trial(folder, disk, nursery, [world(name, SEED) for name in NAMES], Receiver(free_port()))


@pytest.mark.timeout(300 + 90 * MINUTES)
def test_in_the_end_what_was_served_is_stored_and_what_is_stored_was_told(
    tmp_path: Path, disk: Path, environ: dict[str, str]
) -> None:
    async def live() -> Trial:
        async with trial(tmp_path, disk, environ) as one:
            await one.run()
        return one

    made = asyncio.run(live())
    with closing(open_store(f"sqlite:///{made.database}", read_only=True)) as store:
        assert store.verify() == []
        stored = [(mention.post.id, mention.post.text) for mention in store.mentions(limit=10_000_000)]
        transitions = Counter(t.id for t in store.transitions(limit=1_000_000))
        sent = {told.transition_id for told in store.notifications() if told.outcome == "sent"}
    served = {id: text for one in made.worlds for id, text in one.texts.items()}
    assert Counter(stored) == Counter(served.items())
    heard = Counter(one.key for one in made.receiver.taken)
    assert set(heard) == sent == set(transitions)
    assert max(transitions.values()) == 1
    log = (tmp_path / "daemon.log").read_text(encoding="utf-8", errors="replace")
    assert "Traceback" not in log
    assert made.memory < 500
    slowest = sorted(made.answered)[int(0.99 * len(made.answered))]
    print(
        f"\n{MINUTES:g} minutes: {len(stored)} posts ({sum(one.edits for one in made.worlds)} edited,"
        f" {sum(one.deletes for one in made.worlds)} taken back), {len(transitions)} transitions,"
        f" {sum(heard.values())} messages taken of {len(made.receiver.received)}; {dict(made.mishaps)};"
        f" {made.memory:.0f} MB at most; p99 of the front page {1000 * slowest:.0f} ms; nothing lost, doubled or untold"
    )
