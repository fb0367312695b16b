"""Daemons that come and go in a scenario, each the real command (see `quick`), and what is asked of them.

    with Nursery(environ) as nursery:
        life = nursery.born(folder, store)      # `listener run` in a folder with a `listener.toml`; it adds to `daemon.log`
        assert life.end(signal.SIGTERM) == 0

A file `slow` in the folder holds how many seconds each commit of the store takes longer.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from tests.servers import quick
from tests.servers.process import free_port

PATIENCE = float(os.environ.get("LISTENER_TEST_PATIENCE", "90"))  # seconds; only a failing test waits for so long


class Life:
    """One daemon, from its birth to its end."""

    def __init__(self, process: quick.Born, folder: Path) -> None:
        self.pid = process.pid
        self.folder = folder
        self._process = process

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def until(self, true: Callable[[], object], patience: float = PATIENCE) -> float:
        """Wait until something is true; give back after how many seconds it was."""
        began = time.monotonic()
        while not true():
            assert not self.is_over(), f"the daemon is gone\n{self.log[-2000:]}"
            assert time.monotonic() - began < patience, f"nothing happens\n{self.log[-2000:]}"
            time.sleep(0.02)
        return time.monotonic() - began

    def ended(self) -> int:
        """Its exit code, or minus the signal that killed it, once it is over."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end\n{self.log[-2000:]}") from None

    def end(self, how: signal.Signals) -> int:
        self._process.send_signal(how)
        return self.ended()

    def memory(self) -> float:
        """What is in memory now, in megabytes."""
        return self._pages()[1] * resource.getpagesize() / 1e6

    def address_space(self) -> int:
        """In bytes."""
        return self._pages()[0] * resource.getpagesize()

    def _pages(self) -> list[int]:
        return [int(count) for count in Path(f"/proc/{self.pid}/statm").read_text().split()]

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


class Nursery:
    """Where they come from. None outlives it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = {**environ, quick.BEFORE: f"{__name__}:slow_down"}
        self._lives: list[Life] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Nobody lives here any more."""
        while self._lives:
            self._lives.pop().end(signal.SIGKILL)

    def born(self, folder: Path, store: Path) -> Life:
        arguments = ["run", "--config", f"{folder}/listener.toml", "--store", f"sqlite:///{store}"]
        with (folder / "daemon.log").open("ab") as log:
            born = quick.start(arguments, env=self._environ, cwd=folder, stdout=log, stderr=log)
        self._lives.append(Life(born, folder))
        return self._lives[-1]


def config(folder: Path, *tables: str, port: int | None = None) -> str:
    """Write one that listens to these only; give back where the dashboard is."""
    port = port or free_port()
    head = f"default_sources = false\n[http]\nallow_private = true\n[web]\nport = {port}\na_minute = 0\n"
    (folder / "listener.toml").write_text(head + "".join(tables), encoding="utf-8")
    return f"http://127.0.0.1:{port}"


def said(folder: Path, name: str = "said") -> str:
    """The table of a source that follows `NAME.jsonl`."""
    (folder / f"{name}.jsonl").touch()
    return (
        f'[[source]]\nkind = "jsonl"\nname = "{name}"\npath = "{folder}/{name}.jsonl"\nfollow = true\nevery = "100ms"\n'
    )


def answers(url: str, patience: float = 10) -> str:
    """The page, or nothing when it can't be had now."""
    try:
        with urllib.request.urlopen(url, timeout=patience) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def count(database: Path, table: str = "mentions") -> int:
    """The rows of a store that is in use, or not even made yet."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


# --- within the new process ----------------------------------------------------------------------------------------


class _Slow(sqlite3.Connection):
    """Takes its time to commit, as long as a file says so."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and Path("slow").exists():
            with suppress(FileNotFoundError, ValueError):  # it has just gone, or is being written
                time.sleep(float(Path("slow").read_text()))
        return super().execute(sql, *values)


def slow_down() -> None:
    sqlite3.connect = partial(sqlite3.connect, factory=_Slow)  # type: ignore[assignment]
