"""The daemon as a process, against real servers: nothing lost, nothing doubled, whoever pulls the plug and when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from listener.store import open_store
from tests.conftest import ROOT
from tests.servers import feeds, jetstream, mastodon

KILLS = int(os.environ.get("LISTENER_TEST_KILLS", "4"))  # 20 and more for the long form
EVENTS_A_SECOND = 60
TROUBLE = "instagram çöktü mü, giremiyorum"
TALK = "günaydın, bugün hava çok güzel"

CONFIG = """
default_sources = false
[http]
allow_private = true
[web]
port = {port}
[[source]]
kind = "jetstream"
name = "second"
hosts = ["{second}"]
legacy_hosts = []
[[source]]
kind = "jetstream"
name = "first"
hosts = []
legacy_hosts = ["{first}"]
[[source]]
kind = "rss"
name = "feed"
url = "{feed}/feed.xml"
every = "1s"
region = "RS"
[[source]]
kind = "mastodon"
name = "tags"
server = "{mastodon}"
tags = ["outage"]
every = "1s"
pause = "100ms"
"""


class Process:
    """One life of the daemon, with its log in a file."""

    def __init__(self, folder: Path, environ: dict[str, str], database: Path) -> None:
        self.log = (folder / "daemon.log").open("ab")
        command = [sys.executable, "-m", "listener", "run", "--store", f"sqlite:///{database}", "--log-level", "debug"]
        self.process = subprocess.Popen(
            command, cwd=folder, env={**environ, "PYTHONPATH": str(ROOT)}, stdout=self.log, stderr=self.log
        )

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=20)
        self.log.close()
        return code


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class World:
    """What the servers serve, growing while the daemon is killed."""

    def __init__(self) -> None:
        self.second = jetstream.Jetstream(live_from=0, repeats=True)
        self.first = jetstream.Jetstream(live_from=0)
        self.feed = feeds.HttpServer()
        self.mastodon = mastodon.MastodonServer(timelines={"outage": []})
        self.wanted: set[str] = set()
        self._items: list[str] = []
        self._number = 0

    def grow(self) -> None:
        """One more post at every server; every third says nothing of interest."""
        self._number += 1
        n, now, is_trouble = self._number, datetime.now(UTC), self._number % 3 != 0
        text = f"{TROUBLE} {n}" if is_trouble else TALK
        new = jetstream.post_event(2 * n, now, text)
        old = jetstream.post_event(2 * n + 1, now, text)
        self.second.events.append(new)
        self.first.events.append(old)
        ids = [jetstream.post_id(new), jetstream.post_id(old)]
        if n % 20 == 0:
            self._items = [feeds.item(f"guid-{n}", title=f"{TROUBLE} {n}"), *self._items][:200]
            self.feed.behaviours["/feed.xml"] = feeds.feed(feeds.rss(*self._items), {"ETag": f'"{n}"'})
            self.mastodon.timelines["outage"].append(mastodon.status(n, now, f"<p>Instagram ne radi {n}</p>"))
            self.wanted |= {"rss:127.0.0.1:guid-" + str(n), f"mastodon:https://m.example/users/a/statuses/{n}"}
        if is_trouble:
            self.wanted |= set(ids)


def stored(database: Path) -> list[str]:
    if not database.exists():
        return []
    store = open_store(f"sqlite:///{database}", read_only=True)
    with contextlib.closing(store):
        return [mention.post.id for mention in store.mentions(limit=1_000_000)]


async def killed_again_and_again(folder: Path, environ: dict[str, str], port: int) -> tuple[World, Path]:
    world, database, rng = World(), folder / "listener.db", random.Random(5)
    world.grow()
    async with (
        jetstream.running(world.second),
        jetstream.running(world.first),
        feeds.running(world.feed),
        feeds.running(world.mastodon),
    ):
        addresses = {"second": world.second.url, "first": world.first.url, "feed": world.feed.url}
        text = CONFIG.format(port=port, mastodon=world.mastodon.url, **addresses)
        (folder / "listener.toml").write_text(text, encoding="utf-8")

        async def growing() -> None:
            while True:
                world.grow()
                await asyncio.sleep(1 / EVENTS_A_SECOND)

        growth = asyncio.create_task(growing())
        for _ in range(KILLS):
            life = Process(folder, environ, database)
            await asyncio.sleep(rng.uniform(2.0, 5.0))
            await asyncio.to_thread(life.end, signal.SIGKILL)
        growth.cancel()
        last = Process(folder, environ, database)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not world.wanted <= set(await asyncio.to_thread(stored, database)):
            await asyncio.sleep(0.5)  # another process is watched: there is no event to wait for
        body = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/metrics")
        assert 'listener_posts_received_total{source="second"}' in body
        assert await asyncio.to_thread(last.end, signal.SIGTERM) == 0
    return world, database


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.timeout(60 + 15 * KILLS)
def test_killed_at_random_moments_every_post_is_stored_exactly_once(
    tmp_path: Path, environ: dict[str, str], port: int
) -> None:
    world, database = asyncio.run(killed_again_and_again(tmp_path, environ, port))
    ids = stored(database)
    assert len(ids) == len(set(ids))
    assert set(ids) == world.wanted
    store = open_store(f"sqlite:///{database}", read_only=True)
    with contextlib.closing(store):
        assert store.verify() == []
        assert {h.source for h in store.health()} == {"first", "second", "feed", "tags"}
        assert all("did:plc" not in m.post.author for m in store.mentions())
    log = (tmp_path / "daemon.log").read_text(encoding="utf-8", errors="replace")
    assert "giremiyorum" not in log, "texts of posts are never logged"
    assert "did:plc" not in log, "authors are never logged"
    print(f"{KILLS} kills, {len(world.wanted)} posts wanted and stored")


def test_without_a_network_the_sources_say_when_they_try_again(
    tmp_path: Path, environ: dict[str, str], port: int
) -> None:
    (tmp_path / "listener.toml").write_text(
        f'default_sources = false\n[web]\nport = {port}\n[[source]]\nkind = "rss"\nname = "gone"\n'
        'url = "https://nothing.invalid/feed.xml"\n'
    )
    life = Process(tmp_path, environ, tmp_path / "listener.db")
    log = tmp_path / "daemon.log"
    deadline = time.monotonic() + 30
    while "source_failed" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    page = fetch(f"http://127.0.0.1:{port}/")
    assert life.end(signal.SIGTERM) == 0
    assert "source=gone" in log.read_text()
    assert "next_try_in=" in log.read_text()
    assert "listener" in page


def test_a_second_daemon_is_kept_out(tmp_path: Path, environ: dict[str, str], port: int) -> None:
    (tmp_path / "listener.toml").write_text(f"default_sources = false\n[web]\nport = {port}\n")
    life = Process(tmp_path, environ, tmp_path / "listener.db")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            fetch(f"http://127.0.0.1:{port}/healthz")
            break
        time.sleep(0.1)
    other = subprocess.run(
        [sys.executable, "-m", "listener", "run", "--store", f"sqlite:///{tmp_path / 'listener.db'}"],
        env={**environ, "PYTHONPATH": str(ROOT), "LISTENER_WEB_ENABLED": "false"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert other.returncode == 1
    assert str(life.process.pid) in other.stderr.strip().splitlines()[-1]
    openapi = json.loads(fetch(f"http://127.0.0.1:{port}/api/v1/openapi.json"))
    assert "/api/v1/signals" in openapi["paths"]
    assert life.end(signal.SIGTERM) == 0
