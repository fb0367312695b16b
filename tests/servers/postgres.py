"""PostgreSQL for tests: the one that runs at 127.0.0.1:5432, or a server of our own, made with initdb and started here.

Every test works in a schema of its own and removes it. Whoever kills or restarts a server makes its own with `Own`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers.process import free_port

THEIRS = "postgresql://postgres@127.0.0.1:5432/test"
STARTS = 30.0  # seconds a server may take to answer


class Own:
    """A server in a folder that is removed with it. Its files are not synced: it is killed, the machine is not."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.folder = Path(tempfile.mkdtemp(prefix="listener-postgres-"))
        # As root it runs as the user its package made; as anybody else, as oneself.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user, self._user)
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it (again) on the same data and port, and wait until it answers."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "restart_after_crash": "on",
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + STARTS
        while True:
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    [str(_binary("postgres")), "-D", str(self.folder / "data"), *flags],
                    user=self._user, group=self._user, extra_groups=[] if self._user else None,
                    stdout=subprocess.DEVNULL, stderr=log, start_new_session=True,
                )  # fmt: skip
            while self.process.poll() is None and time.monotonic() < deadline:
                if answers(self.url):
                    return self.process
                time.sleep(0.02)
            # Right after a SIGKILL what is left of the old one may hold the data for a moment.
            assert time.monotonic() < deadline, (self.folder / "log").read_text(errors="replace")[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to all of it, as when the machine goes."""
        family = [self.process.pid, *_children(self.process.pid)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=STARTS)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT breaks connections off and shuts down; SIGKILL as `kill`."""
        if how is signal.SIGKILL:
            self.kill()
        else:
            self.process.send_signal(how)
            self.process.wait(timeout=STARTS)
        self.start()

    def remove(self) -> None:
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(_binary(name)), "-D", str(self.folder / "data"), *arguments],
            user=self._user, group=self._user, extra_groups=[] if self._user else None,
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def _binary(name: str) -> Path:
    """A program of the newest PostgreSQL here."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: float(p.parts[-3]))
    on_path = shutil.which(name)
    return found[-1] if found else Path(on_path or name)


def is_installed() -> bool:
    return _binary("initdb").is_absolute()


def answers(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5):
        return True
    return False


def skip_without() -> None:
    """In CI it is installed, so nothing is skipped there."""
    if not is_installed():
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")


@functools.cache
def url() -> str:
    """A server for this test process: theirs when it answers, else our own, ended with the process."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 5432), timeout=1):
        if answers(THEIRS):
            return THEIRS
    skip_without()
    own = Own()
    atexit.register(own.remove)
    return own.url


@contextlib.contextmanager
def empty_store(server: str = "") -> Iterator[str]:
    """The URL of a store that is not made yet, in a schema of its own, removed at the end."""
    server = server or url()
    schema = f"test_{secrets.token_hex(8)}"
    try:
        yield f"{server}?schema={schema}"
    finally:
        with psycopg.connect(server, autocommit=True) as db:
            db.execute("SET client_min_messages = error")
            db.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
