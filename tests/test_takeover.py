"""A promoted model is taken over by the daemon that runs, and no post is lost or stored twice; a broken one changes nothing."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from listener.classify.folder import digest_at
from listener.promotion import promote, rollback
from tests.conftest import ROOT
from tests.servers.process import Process, fetch, free_port
from tests.small_model import small_model

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Feed:
    """Writes fifty lines a second until told to stop."""

    def __init__(self, path: Path) -> None:
        self.written = 0
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            while not self._stop.wait(0.02):
                self.written += 1
                file.write(
                    json.dumps({"id": f"{self.written:06}", "text": f"instagram çöktü mü {self.written}"}) + "\n"
                )
                file.flush()


def stored(database: Path) -> list[tuple[str, str]]:
    """Post and model of every mention, in the order they were stored."""
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return db.execute("SELECT id, model FROM mentions ORDER BY n").fetchall()
    return []  # not made yet


@contextmanager
def living(folder: Path, environ: dict[str, str]) -> Iterator[Process]:
    """A daemon that does not outlive a test that fails."""
    life = Process(folder, environ, folder / "listener.db")
    try:
        yield life
    finally:
        if life.process.poll() is None:
            life.end(signal.SIGKILL)


def until(true: Callable[[], object], life: Process) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert life.process.poll() is None, "the daemon is gone"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (1, 2):
        small_model(tmp_path / f"seed-{seed}", seed)
    small_model(tmp_path / "models" / "current", 0)
    (tmp_path / "said.jsonl").touch()
    return tmp_path


def test_a_running_daemon_takes_a_promoted_model_over_and_every_post_is_stored_once(
    folder: Path, environ: dict[str, str]
) -> None:
    port, current, database = free_port(), folder / "models" / "current", folder / "listener.db"
    base = f"http://127.0.0.1:{port}"
    (folder / "listener.toml").write_text(
        f'default_sources = false\n[web]\nport = {port}\n[paths]\nmodel = "{current}"\n'
        f'[[source]]\nkind = "jsonl"\nname = "said"\npath = "{folder}/said.jsonl"\nfollow = true\nevery = "100ms"\n'
    )
    first, second = digest_at(current), digest_at(folder / "seed-1")
    with living(folder, environ) as life, Feed(folder / "said.jsonl") as feed:
        until(lambda: len(stored(database)) > 20, life)
        promote(folder / "seed-1", current, floors=ROOT / "models" / "floors.json", at=AT, who="x")
        until(lambda: stored(database)[-1][1] == second, life)

        (current / "arrays.npz").write_bytes(b"no model at all")
        until(lambda: "listener_model_refused 1.0" in fetch(f"{base}/metrics"), life)
        assert "refused" in fetch(f"{base}/readyz")
        assert b"model_refused" in (folder / "daemon.log").read_bytes()
        many = len(stored(database))
        until(lambda: len(stored(database)) > many, life)
        assert stored(database)[-1][1] == second, "the old model goes on"
        life.process.send_signal(signal.SIGHUP)  # nor does it begin anew with a model that it could not load
        until(lambda: b"config_refused" in (folder / "daemon.log").read_bytes(), life)

        rollback(current, at=AT, who="x")
        until(lambda: stored(database)[-1][1] == first, life)
        assert f'listener_model_info{{digest="{first}"}} 1' in fetch(f"{base}/metrics")
        assert "listener_model_refused 0.0" in fetch(f"{base}/metrics")
        assert fetch(f"{base}/readyz") == "ready\n"
        assert first[:19] in fetch(f"{base}/sources")
        assert first[:19] in fetch(f"{base}/methodology")
        feed.end()
        until(lambda: len(stored(database)) == feed.written, life)
        assert life.end(signal.SIGTERM) == 0
    posts, models = zip(*stored(database), strict=True)
    assert list(posts) == [f"jsonl:{n + 1:06}" for n in range(feed.written)], "each once, in order"
    changes = [model for n, model in enumerate(models) if n == 0 or model != models[n - 1]]
    assert changes == [first, second, first]
