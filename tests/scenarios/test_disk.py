"""The disk fills up, turns read-only, is held by somebody else or tells lies: nothing accepted is lost, and people are told.

The file system is a small one in memory, which only root may mount; without that the tests that need it are skipped.
`LISTENER_TEST_MINUTES` makes the waits as long as they are in life.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from listener.store import open_store
from listener.store.sqlite_backup import back_up, put_back
from tests.servers.nursery import Life, Nursery, answers, config, count, said

MINUTES = float(os.environ.get("LISTENER_TEST_MINUTES", "0"))
HELD = 1.5 + 60.0 * min(MINUTES, 1)  # seconds the store is locked; longer than SQLite waits in the long form
SIZE = 24 * 2**20


@pytest.fixture(autouse=True)
def nobody_survives(nursery: Nursery) -> Iterator[None]:
    yield
    nursery.clear()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or _mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)):
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*arguments: str) -> int:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode


class World:
    """A daemon that follows a file, and what was written to that."""

    def __init__(self, nursery: Nursery, folder: Path, database: Path) -> None:
        self.base = config(folder, said(folder))
        self.database = database
        self.written = 0
        self._file = folder / "said.jsonl"
        self.life = nursery.born(folder, database)

    def says(self, posts: int, size: int = 0) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            for _ in range(posts):
                self.written += 1
                post = {"id": f"{self.written:07}", "text": f"instagram çöktü mü {self.written}"}
                file.write(json.dumps({**post, "url": f"https://page.example/{'a' * size}"}) + "\n")

    def stored(self) -> int:
        return count(self.database)

    def has_all(self) -> bool:
        return self.stored() == self.written

    def is_ready(self) -> bool:
        return answers(f"{self.base}/readyz").startswith("ready")

    def is_whole(self) -> None:
        """Every post is stored once, and the store has no fault."""
        with closing(open_store(f"sqlite:///{self.database}", read_only=True)) as store:
            assert store.verify() == []
            posts = Counter(mention.post.id for mention in store.mentions(limit=1_000_000))
        assert posts == Counter(f"jsonl:{n + 1:07}" for n in range(self.written))


def ballast(folder: Path, leave: int) -> Path:
    """A file that takes all the room but so many bytes."""
    path = folder / "ballast"
    free = shutil.disk_usage(folder).free
    assert free < 2**30, "this is no disk of our own"
    with path.open("wb", buffering=0) as file, suppress(OSError):  # somebody else may write there meanwhile
        file.write(b"\0" * max(0, free - leave))
    return path


def test_a_full_disk_holds_the_posts_back_and_when_there_is_room_all_are_stored(
    nursery: Nursery, tmp_path: Path, disk: Path
) -> None:
    world = World(nursery, tmp_path, disk / "listener.db")
    world.says(200)
    world.life.until(lambda: world.has_all() and world.is_ready())
    filled = ballast(disk, leave=200_000)
    world.says(400, size=3_000)
    noticed = world.life.until(lambda: not world.is_ready())
    assert "the disk is full; free some space" in world.life.log
    held = world.stored()
    assert held < world.written
    assert answers(f"{world.base}/healthz") == "ok\n", "it lives and waits"
    assert "<html" in answers(f"{world.base}/"), "what was stored can be looked at"
    filled.unlink()
    resumed = world.life.until(lambda: world.stored() > held)
    world.life.until(world.has_all)
    world.life.until(world.is_ready)
    assert world.life.end(signal.SIGTERM) == 0
    world.is_whole()
    print(f"\nfull disk: noticed after {noticed:.1f} s, went on {resumed:.1f} s after there was room", end="")


def test_stopped_or_killed_on_a_full_disk_it_goes_on_where_it_was(nursery: Nursery, tmp_path: Path, disk: Path) -> None:
    world = World(nursery, tmp_path, disk / "listener.db")
    world.says(50)
    world.life.until(world.has_all)
    for how, code in ((signal.SIGTERM, 1), (signal.SIGKILL, -signal.SIGKILL)):
        filled = ballast(disk, leave=0)
        world.says(200, size=3_000)
        world.life.until(lambda: "the disk is full" in world.life.log)
        assert world.life.end(how) == code, "it says so when something was left"
        filled.unlink()
        world.life = nursery.born(tmp_path, world.database)
        world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    world.is_whole()


def test_a_disk_that_refuses_or_is_read_only_ends_the_daemon_with_one_line(
    nursery: Nursery, tmp_path: Path, disk: Path
) -> None:
    world = World(nursery, tmp_path, disk / "listener.db")
    world.says(50)
    world.life.until(world.has_all)
    log = world.database.with_name("listener.db-wal")
    resource.prlimit(world.life.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
    world.says(50, size=3_000)  # the log can't grow, as when a file system with an error refuses what it took before
    assert f"listener: {world.database}: the disk refuses to read or write; check its free space" in last_words(
        world.life
    )
    assert _mount("-o", "remount,ro", str(disk)) == 0
    world.life = nursery.born(tmp_path, world.database)
    assert "check the permissions and free space of its folder" in last_words(world.life)
    assert _mount("-o", "remount,rw", str(disk)) == 0
    world.life = nursery.born(tmp_path, world.database)
    world.says(10)
    world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    world.is_whole()


def test_a_store_that_somebody_else_holds_is_waited_for(nursery: Nursery, tmp_path: Path) -> None:
    world = World(nursery, tmp_path, tmp_path / "listener.db")
    world.says(100)
    world.life.until(world.has_all)
    before = world.life.memory()
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(world.database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    world.says(20_000 if MINUTES else 600)
    with pytest.raises(AssertionError, match="nothing happens"):
        world.life.until(lambda: world.stored() > 100, patience=HELD)
    grown = world.life.memory() - before
    if MINUTES:
        assert not world.is_ready()
        assert "another program keeps the store locked" in world.life.log
    assert "<html" in answers(f"{world.base}/")
    holder.communicate(b"\n")
    world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    world.is_whole()
    assert grown < 50
    print(f"\nlocked for {HELD:.0f} s: {grown:+.0f} MB, {world.written} posts, all stored", end="")


_HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
db.execute("ROLLBACK")
"""


def spoil(path: Path, begin: int) -> None:
    """Every page from there on is not what it was."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for at in range(begin, size, 4096):
            file.seek(at)
            file.write(b"\xa5" * 2048)


def last_words(life: Life) -> str:
    """What it said at its end, which came with exit code 1 and nothing that only programmers read."""
    assert life.ended() == 1
    assert "Traceback" not in life.log
    return life.log.strip().splitlines()[-1]


def test_corrupt_pages_end_the_daemon_with_what_to_do_and_a_backup_brings_it_back(
    nursery: Nursery, tmp_path: Path
) -> None:
    world = World(nursery, tmp_path, tmp_path / "listener.db")
    world.says(800)
    world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    copy = tmp_path / "copy.db"
    back_up(world.database, copy)
    spoil(world.database, 4096)
    world.life = nursery.born(tmp_path, world.database)
    world.says(200)
    assert "the store is corrupt; stop the daemon, keep the store aside and `listener restore`" in last_words(
        world.life
    )
    put_back(copy, world.database, "aside")
    world.life = nursery.born(tmp_path, world.database)
    world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    world.is_whole()


def test_pages_that_rot_under_a_running_daemon_end_it_the_same_way(nursery: Nursery, tmp_path: Path) -> None:
    world = World(nursery, tmp_path, tmp_path / "listener.db")
    world.says(800)
    world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    world.life = nursery.born(tmp_path, world.database)
    world.life.until(lambda: answers(f"{world.base}/healthz"))
    spoil(world.database, 4 * 4096)
    world.says(500)
    assert "the store is corrupt" in last_words(world.life)


def test_a_log_that_was_torn_or_spoilt_loses_nothing_that_upstream_still_has(nursery: Nursery, tmp_path: Path) -> None:
    world = World(nursery, tmp_path, tmp_path / "listener.db")
    world.says(150)
    world.life.until(world.has_all)
    log = tmp_path / "listener.db-wal"
    for harm in ("torn", "spoilt"):
        world.says(150)
        world.life.until(world.has_all)
        assert world.life.end(signal.SIGKILL) == -signal.SIGKILL
        size = log.stat().st_size
        assert size > 0
        if harm == "torn":
            os.truncate(log, size * 2 // 3)
        else:
            spoil(log, size // 2)
        world.life = nursery.born(tmp_path, world.database)
        world.life.until(world.has_all)
    assert world.life.end(signal.SIGTERM) == 0
    world.is_whole()
