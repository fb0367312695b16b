"""NATS for tests: the server that runs at 127.0.0.1:4222, or servers of our own, started here and killed at will."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import free_port

THEIRS = "nats://127.0.0.1:4222"
STARTS = 20.0  # seconds a server may take to answer


class Own:
    """A server with JetStream whose messages lie in a folder that is removed with it; one of a cluster if it has `peers`."""

    def __init__(self, name: str = "n1", cluster_port: int = 0, peers: Sequence[int] = ()) -> None:
        self.name = name
        self.port, self._monitor = free_port(), free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp(prefix="listener-nats-"))
        lines = [
            f"server_name: {name}",
            f"listen: 127.0.0.1:{self.port}",
            f"http: 127.0.0.1:{self._monitor}",
            f'jetstream {{ store_dir: "{self.folder}" }}',
        ]
        if peers:
            routes = ", ".join(f"nats-route://127.0.0.1:{port}" for port in peers)
            lines.append(f"cluster {{ name: test, listen: 127.0.0.1:{cluster_port}, routes: [{routes}] }}")
        (self.folder / "conf").write_text("\n".join(lines))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again) on the same messages and port; it may not answer yet."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(["nats-server", "-c", str(self.folder / "conf")], stdout=log, stderr=log)

    def wait(self) -> None:
        """Until clients are let in."""
        deadline = time.monotonic() + STARTS
        while not answers(self.port):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=STARTS)

    def restart(self) -> None:
        self.kill()
        self.start()
        self.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def asked(self, path: str) -> dict[str, Any]:
        """What its monitoring says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/{path}", timeout=5) as answer:
            said: dict[str, Any] = json.loads(answer.read())
            return said


class Cluster:
    """Three servers that keep copies of each other's messages."""

    def __init__(self) -> None:
        ports = [free_port() for _ in range(3)]
        self.servers = [Own(f"n{i + 1}", port, ports) for i, port in enumerate(ports)]
        self.url = ",".join(server.url for server in self.servers)

    def start(self) -> None:
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait()

    def leader_of(self, stream: str) -> Own | None:
        """The server that leads a stream now, as far as anybody knows."""
        for server in self.servers:
            with contextlib.suppress(OSError):
                said = server.asked("jsz?streams=true")
                for account in said.get("account_details", []):
                    for detail in account.get("stream_detail", []):
                        if detail["name"] == stream and (leader := detail.get("cluster", {}).get("leader")):
                            return next(s for s in self.servers if s.name == leader)
        return None

    def remove(self) -> None:
        for server in self.servers:
            server.remove()


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as line:
        return line.recv(4) == b"INFO"
    return False


def skip_without() -> None:
    """In CI it is installed, so nothing is skipped there."""
    if shutil.which("nats-server") is None:
        pytest.skip("nats-server is not installed: apt-get install nats-server")


@functools.cache
def url() -> str:
    """A server for this test process: theirs when it answers, else our own, ended with the process."""
    if answers(4222):
        return THEIRS
    skip_without()
    own = Own()
    atexit.register(own.remove)
    own.start()
    own.wait()
    return own.url


@contextlib.contextmanager
def stream(server: str = "") -> Iterator[tuple[str, str]]:
    """The URL of a server and the name of a stream that is not there yet, removed at the end."""
    name = f"test-{secrets.token_hex(6)}"
    where = server or url()
    try:
        yield where, name
    finally:
        _remove(where, [name, f"{name}-dead"])


def _remove(server: str, streams: Sequence[str]) -> None:
    import asyncio

    from nats.aio.client import Client
    from nats.js.errors import NotFoundError

    async def work() -> None:
        client = Client()
        await client.connect(server.split(","))
        for name in streams:
            with contextlib.suppress(NotFoundError):
                await client.jetstream().delete_stream(name)
        await client.close()

    asyncio.run(work())
