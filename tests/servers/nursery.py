"""Daemons that are born quickly: a process that has loaded the model already forks one after another, each the real command.

    with Nursery(environ) as nursery:
        life = nursery.born(folder, store)      # `listener run` in a folder with a `listener.toml`; it adds to `daemon.log`
        assert life.end(signal.SIGTERM) == 0

A file `slow` in the folder holds how many seconds each commit of the store takes longer.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from tests.conftest import ROOT
from tests.servers.process import free_port

PATIENCE = float(os.environ.get("LISTENER_TEST_PATIENCE", "90"))  # seconds; only a failing test waits for so long


class Life:
    """One daemon, from its birth to its end."""

    def __init__(self, pid: int, folder: Path, ending: int) -> None:
        self.pid = pid
        self.folder = folder
        self._ending = ending  # a pipe that says how it ended
        self._code: int | None = None

    @property
    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(encoding="utf-8", errors="replace")

    def is_over(self) -> bool:
        return self._code is not None or bool(select.select([self._ending], [], [], 0)[0])

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
        if self._code is None:
            assert select.select([self._ending], [], [], PATIENCE)[0], f"it does not end\n{self.log[-2000:]}"
            self._code = os.waitstatus_to_exitcode(int(os.read(self._ending, 100)))
        return self._code

    def end(self, how: signal.Signals) -> int:
        with suppress(ProcessLookupError):
            os.kill(self.pid, how)
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
    """Where they come from. One lives at a time."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ
        self._last: Life | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.nursery"],
            cwd=ROOT,
            env={**self._environ, "OPENBLAS_NUM_THREADS": "1"},  # its threads do not come along when a process forks
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
        self._process.communicate()

    def clear(self) -> None:
        """Nobody lives here any more."""
        if self._last is not None:
            self._last.end(signal.SIGKILL)

    def born(self, folder: Path, store: Path) -> Life:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(folder), f"sqlite:///{store}"]).encode() + b"\n")
        assert select.select([self._process.stdout], [], [], PATIENCE)[0], "nobody is born"
        said = os.read(self._process.stdout.fileno(), 100)
        assert said, "the nursery is closed"
        self._last = Life(int(said), folder, self._process.stdout.fileno())
        return self._last


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


# --- within --------------------------------------------------------------------------------------------------------


class _Slow(sqlite3.Connection):
    """Takes its time to commit, as long as a file says so."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if sql == "COMMIT" and Path("slow").exists():
            with suppress(FileNotFoundError, ValueError):  # it has just gone, or is being written
                time.sleep(float(Path("slow").read_text()))
        return super().execute(sql, *values)


def _live(folder: str, store: str) -> None:
    """The command, as it is typed."""
    os.chdir(folder)
    log = os.open("daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sqlite3.connect = partial(sqlite3.connect, factory=_Slow)  # type: ignore[assignment]
    sys.argv = ["listener", "run", "--config", f"{folder}/listener.toml", "--store", store]
    from listener import cli

    cli.main()


def _nursery() -> None:
    from listener import daemon, takeover  # noqa: F401 - so that no child has to
    from listener.catalog import load
    from listener.cli import live, serving, wiring  # noqa: F401
    from listener.config import Config
    from listener.web import app  # noqa: F401

    loaded = wiring.pipeline(Config(), load(ROOT / "data"), ROOT / "models" / "current")
    wiring.pipeline = lambda config, catalog, model=None: replace(loaded, config=config)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _live(*json.loads(line))
            return
        os.write(1, f"{pid}\n".encode())
        os.write(1, f"{os.waitpid(pid, 0)[1]}\n".encode())


if __name__ == "__main__":
    _nursery()
