"""Connects to vetted addresses only: what a name resolved to is what is spoken to, while SNI and `Host` stay the name's."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, cached_property
from urllib.parse import urljoin

import httpx

from listener.errors import SourceError
from listener.sources._gate import Resolve, vetted

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one answer may cost. Times are seconds, sizes bytes; tests shorten them."""

    connect: float = 10
    read: float = 20
    total: float = 60
    wire: int = 5 * _MIB
    decoded: int = 10 * _MIB
    ratio: int = 100  # decoded bytes per wire byte, once past 1 MiB
    redirects: int = 5
    gap: float = 2  # between two requests to one host
    line: int = _MIB  # of a stream without end


class Dialer:
    """Opens what `Net` was asked for, one exchange or one socket at a time; it neither waits its turn nor redirects."""

    def __init__(self, *, user_agent: str, limits: Limits, look_up: Resolve, allow_private: bool) -> None:
        self._user_agent = user_agent
        self._limits = limits
        self._look_up = look_up
        self._allow_private = allow_private

    async def close(self) -> None:
        await self._transport.aclose()

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, silence: float | None = None
    ) -> httpx.Response:
        """One exchange, its body not yet read. `silence` is how long a stream may say nothing."""
        host, port, _ = checked(url)
        target = httpx.URL(url)
        limits = self._limits
        read = limits.read if silence is None else silence
        times = {"connect": limits.connect, "read": read, "write": limits.read, "pool": limits.read}
        own = {"Host": target.netloc.decode("ascii"), "User-Agent": self._user_agent, "Accept-Encoding": "gzip, br"}
        lost: httpx.TransportError | None = None
        for address in await self.addresses(host, port):
            request = httpx.Request(
                method,
                target.copy_with(host=address, fragment=None),
                content=body or None,
                headers={**own, **headers, "Connection": "close"},
                extensions={"timeout": times, "sni_hostname": host},
            )
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                lost = error
        assert lost is not None  # `vetted` gives at least one address
        raise lost

    async def connected(self, host: str, port: int) -> socket.socket:
        """A socket connected to one of the vetted addresses."""
        lost: OSError | None = None
        for address in await self.addresses(host, port):
            with ExitStack() as undo:
                made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
                undo.callback(made.close)
                made.setblocking(False)
                try:
                    async with asyncio.timeout(self._limits.connect):
                        await asyncio.get_running_loop().sock_connect(made, (address, port))
                except OSError as error:  # a TimeoutError is one
                    lost = error
                else:
                    undo.pop_all()
                    return made
        raise SourceError(f"{host}: can't connect: {lost}", reason="unreachable") from lost

    async def addresses(self, host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(self._limits.connect):
                return await vetted(host, port, self._look_up, allow_private=self._allow_private)
        except TimeoutError as error:
            raise SourceError(f"{host}: the name is not resolved in time", reason="unreachable") from error

    async def looked_up(self, host: str, port: int) -> list[str]:
        """What the resolver says, unvetted: for a probe, to which a poisoned answer is the finding. Raises `OSError`."""
        async with asyncio.timeout(self._limits.connect):
            return await self._look_up(host, port)

    @cached_property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        # Connections are not kept: they are pooled by address, and two hosts of one address must not share one.
        return httpx.AsyncHTTPTransport(
            verify=trusting(), trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )


@cache
def trusting() -> ssl.SSLContext:
    """One for all, not to be changed: the certificates of all authorities take a twentieth of a second to read."""
    return httpx.create_ssl_context(trust_env=False)


def joined(url: str, location: str) -> str:
    """Where a redirect leads. A bad one is the server's fault, not the URL's: it may be better next time."""
    try:
        target = urljoin(url, location)
        checked(target)
    except (ValueError, SourceError) as error:
        raise SourceError(f"{url}: redirects to {location!r}, where we don't go", reason="redirects") from error
    return target


def checked(url: str) -> tuple[str, int, bool]:
    """Host, port and whether it is encrypted. Raises `SourceError` for anything but http, https, ws and wss."""
    try:
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode("ascii"), parsed.port
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise SourceError(f"{url!r} is not a URL: {error}", reason="bad_url", permanent=True) from error
    if parsed.scheme not in ("http", "https", "ws", "wss") or not host:
        raise SourceError(f"{url!r} is not an http or ws URL", reason="bad_url", permanent=True)
    secure = parsed.scheme in ("https", "wss")
    return host, port or (443 if secure else 80), secure
