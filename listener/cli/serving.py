"""How the dashboard is served: uvicorn within our own loop, on a port taken early, patient but not for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from listener import config
from listener.errors import ConfigError, ListenerError
from listener.web.access import Access, digest

PATIENCE = 10.0  # seconds for a request to be complete; uvicorn by itself waits for ever
CONNECTIONS = 500  # more are told to come back later
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SHORTEST_TOKEN = 16
GRACE = 2  # seconds for answers on their way when we stop
TURN = 0.0005  # seconds a busy thread keeps the interpreter while another one waits, such as for an answer (Python's: 0.005)


class Patient(H11Protocol):
    """Hangs up on who does not get a request finished. Bytes that drip in do not move the deadline."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_a_request()
        self._make_room()

    def _make_room(self) -> None:
        """Of too many connections the one whose request is awaited longest goes, so that they shut nobody out."""
        if len(self.connections) < CONNECTIONS:
            return
        others = [one for one in self.connections if isinstance(one, Patient) and not one.transport.is_closing()]
        waiting = [one for one in others if one.is_waiting and one is not self]
        if len(others) >= CONNECTIONS and waiting:
            min(waiting, key=lambda one: one._deadline.when() if one._deadline else 0.0)._give_up()

    def on_response_complete(self) -> None:
        self._expect_a_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _expect_a_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(PATIENCE, self._give_up)

    @property
    def is_waiting(self) -> bool:
        """For a request, be it the first or the next; else an answer is on its way."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr] # None at first

    def _give_up(self) -> None:
        if self.is_waiting:
            self.transport.abort()


class Server(uvicorn.Server):
    """It logs nothing by itself, the daemon keeps the signals, and `is_up` is set when it can be asked."""

    def __init__(self, settings: uvicorn.Config) -> None:
        super().__init__(settings)
        self.is_up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def web_server(app: Any) -> Server:
    """The server of an application made by `create_app`."""
    settings = uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    server = Server(settings)
    app.state.closing = lambda: server.should_exit  # open event streams end then
    sys.setswitchinterval(TURN)
    return server


async def announced(server: Server | None) -> None:
    """Tell systemd that we are ready, once the dashboard can be asked."""
    if server is not None:
        await server.is_up.wait()
    notify("READY=1")


def notify(state: str) -> None:
    """sd_notify(3): one datagram to the socket systemd names, if it started us."""
    address = config.notify_socket()
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line, contextlib.suppress(OSError):
        line.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def access_of(web: config.Web) -> Access:
    """Who may ask. Raises `ConfigError` when anybody could, from anywhere, and nobody said that this is meant."""
    token = web.token.reveal()
    near = web.host in LOOPBACK or web.host.startswith("127.")
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"web: token: at least {SHORTEST_TOKEN} characters, so that nobody guesses it")
    if not near and not token and not web.open:
        raise ConfigError(
            f"web: host {web.host} is reached from elsewhere: set token (docs/operations.md), or open = true when"
            " something before us asks who it is"
        )
    named = {urlsplit(web.url).hostname or "", web.host}
    hosts = frozenset(LOOPBACK | named) - {""} if near and not token else frozenset()
    return Access(digest(token), web.a_minute, hosts)


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything else starts, so that a second daemon fails at once and clearly."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        raise ListenerError(
            f"can't listen on {host}:{port}: {os.strerror(error.errno or 0)}; choose another [web] port in listener.toml or"
            f" LISTENER_WEB_PORT"
        ) from error
    return made
