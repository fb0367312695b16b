"""The daemon as a process, as an operator runs it."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import urllib.request
from pathlib import Path

from tests.servers import quick


class Process:
    """One life of the daemon in a folder: it reads `listener.toml` there, and adds to `daemon.log`."""

    def __init__(self, folder: Path, environ: dict[str, str], database: Path | str) -> None:
        """`database` is a SQLite file, or the URL of a store."""
        self.log = (folder / "daemon.log").open("ab")
        store = database if isinstance(database, str) else f"sqlite:///{database}"
        config = ["--config", str(folder / "listener.toml"), "--store", store]
        self.process = quick.start(
            ["run", *config, "--log-level", "debug"], env=environ, cwd=folder, stdout=self.log, stderr=self.log
        )

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=30)
        self.log.close()
        return code


def free_port() -> int:
    """Below those that the system gives to connections, one of which could take it before we do."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            return port


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
