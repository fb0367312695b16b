"""The one small network edge of all sources: polite, bounded GETs and WebSockets that reach public addresses only.

It never retries: what goes wrong becomes a `SourceError` with a reason, and with the wait the server asked for.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import TracebackType
from urllib.parse import urljoin

import httpx

from listener.errors import SourceError
from listener.sources._body import bounded
from listener.sources._gate import Resolve, resolve, vetted
from listener.sources._refusal import refusal
from listener.sources._socket import Socket, shake_hands

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
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


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of status 2xx, 304, or one the caller accepts. Header names are lower case; `url` is the last hop's."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass
class _Host:
    """What we remember of one host, as long as the daemon runs."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    last_at: datetime | None = None
    cool_until: datetime | None = None


class Net:
    """Built once by the daemon and shared by all sources. `clock`, `sleep` and `rng` make its time and chance arguments."""

    def __init__(
        self,
        *,
        user_agent: str,
        clock: Callable[[], datetime],
        allow_private: bool = False,
        limits: Limits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        look_up: Resolve = resolve,
    ) -> None:
        self.user_agent = user_agent
        self.limits = limits or Limits()
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - it spreads requests over time and keeps no secret
        self._allow_private = allow_private
        self._look_up = look_up
        self._hosts: dict[str, _Host] = {}

    async def __aenter__(self) -> Net:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._transport.aclose()

    def now(self) -> datetime:
        return self._clock()

    async def sleep(self, seconds: float) -> None:
        await self._sleep(seconds)

    def spread(self, length: timedelta) -> float:
        """A polling interval in seconds, up to 15 % longer by chance, so that sources don't march in step."""
        return length.total_seconds() * (1 + 0.15 * self._rng.random())

    def cool_down(self, url: str, seconds: float) -> None:
        """Leave a host alone for a while; `get` refuses until then, `cooling` tells how long is left."""
        self._host(url).cool_until = self.now() + timedelta(seconds=seconds)

    def cooling(self, url: str) -> float:
        until = self._host(url).cool_until
        return max(0.0, (until - self.now()).total_seconds()) if until is not None else 0.0

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, accept: Collection[int] = ()
    ) -> Response:
        """GET, following redirects. Any status but 2xx, 304 and those in `accept` raises `RefusedError`."""
        _checked(url)
        async with self._turn(url):
            try:
                async with asyncio.timeout(self.limits.total):
                    return await self._follow(url, dict(headers or {}), accept)
            except (TimeoutError, httpx.TimeoutException) as error:
                raise SourceError(f"{url}: no answer in time", reason="timeout") from error
            except httpx.ConnectError as error:
                raise SourceError(f"{url}: can't connect: {error}", reason="unreachable") from error
            except httpx.RemoteProtocolError as error:
                raise SourceError(f"{url}: broken answer: {error}", reason="protocol") from error
            except httpx.TransportError as error:
                raise SourceError(f"{url}: connection lost: {error}", reason="disconnected") from error

    @asynccontextmanager
    async def websocket(
        self, url: str, *, subprotocols: Sequence[str] = (), max_size: int = _MIB
    ) -> AsyncIterator[Socket]:
        """Open a WebSocket, uncompressed, without redirects. A refused handshake raises `RefusedError` with status and body."""
        host, port, secure = _checked(url)
        connection = await shake_hands(
            url,
            await self._connected(host, port),
            tls=self._tls if secure else None,
            host=host,
            user_agent=self.user_agent,
            subprotocols=subprotocols,
            max_size=max_size,
            within=self.limits.connect + self.limits.read,
            now=self.now(),
        )
        async with connection:
            yield Socket(connection)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(trust_env=False)

    @cached_property
    def _transport(self) -> httpx.AsyncHTTPTransport:
        # Connections are not kept: they are pooled by address, and two hosts of one address must not share one.
        return httpx.AsyncHTTPTransport(
            verify=self._tls, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def _host(self, url: str) -> _Host:
        host, port, _ = _checked(url)
        return self._hosts.setdefault(f"{host}:{port}", _Host())

    def _refuse_while_cooling(self, url: str) -> None:
        if left := self.cooling(url):
            raise SourceError(f"{url}: the host asked to be left alone", reason="cooling_down", retry_after=left)

    @asynccontextmanager
    async def _turn(self, url: str) -> AsyncIterator[None]:
        """One request at a time to a host, and a pause between two."""
        host = self._host(url)
        async with host.lock:
            self._refuse_while_cooling(url)
            if host.last_at is not None:
                wait = self.limits.gap - (self.now() - host.last_at).total_seconds()
                if wait > 0:
                    await self.sleep(min(wait, self.limits.gap))  # a clock set back must not make it longer
            try:
                yield
            finally:
                host.last_at = self.now()

    async def _follow(self, url: str, headers: dict[str, str], accept: Collection[int]) -> Response:
        visited, limits = {url}, self.limits
        for _ in range(limits.redirects + 1):
            self._refuse_while_cooling(url)
            answer = await self._send(url, headers)
            try:
                status, location = answer.status_code, answer.headers.get("location")
                if status in _REDIRECTS and location:
                    url = _joined(url, location)
                    if url in visited:
                        raise SourceError(f"{url}: redirects in a circle", reason="redirects")
                    visited.add(url)
                    continue
                if not (200 <= status < 300 or status == 304 or status in accept):
                    refused = refusal(url, status, answer.headers, b"", self.now())
                    if refused.cools_host and refused.retry_after is not None:
                        self.cool_down(url, refused.retry_after)
                    raise refused
                return Response(status, answer.headers, await self._body(answer), url)
            finally:
                await answer.aclose()
        raise SourceError(f"{url}: more than {limits.redirects} redirects", reason="redirects")

    async def _body(self, answer: httpx.Response) -> bytes:
        limits, encoding = self.limits, answer.headers.get("content-encoding", "")
        return await bounded(answer.aiter_raw(), encoding, wire=limits.wire, decoded=limits.decoded, ratio=limits.ratio)

    async def _send(self, url: str, headers: dict[str, str]) -> httpx.Response:
        """One exchange with one of the vetted addresses; SNI and Host stay the name's."""
        host, port, _ = _checked(url)
        target = httpx.URL(url)
        limits = self.limits
        times = {"connect": limits.connect, "read": limits.read, "write": limits.read, "pool": limits.read}
        own = {"Host": target.netloc.decode("ascii"), "User-Agent": self.user_agent, "Accept-Encoding": "gzip"}
        lost: httpx.TransportError | None = None
        for address in await self._addresses(host, port):
            request = httpx.Request(
                "GET",
                target.copy_with(host=address, fragment=None),
                headers={**own, **headers, "Connection": "close"},
                extensions={"timeout": times, "sni_hostname": host},
            )
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                lost = error
        assert lost is not None  # `vetted` gives at least one address
        raise lost

    async def _connected(self, host: str, port: int) -> socket.socket:
        """A socket connected to one of the vetted addresses."""
        lost: OSError | None = None
        for address in await self._addresses(host, port):
            with ExitStack() as undo:
                made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
                undo.callback(made.close)
                made.setblocking(False)
                try:
                    async with asyncio.timeout(self.limits.connect):
                        await asyncio.get_running_loop().sock_connect(made, (address, port))
                except OSError as error:  # a TimeoutError is one
                    lost = error
                else:
                    undo.pop_all()
                    return made
        raise SourceError(f"{host}: can't connect: {lost}", reason="unreachable") from lost

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(self.limits.connect):
                return await vetted(host, port, self._look_up, allow_private=self._allow_private)
        except TimeoutError as error:
            raise SourceError(f"{host}: the name is not resolved in time", reason="unreachable") from error


def _joined(url: str, location: str) -> str:
    """Where a redirect leads. A bad one is the server's fault, not the URL's: it may be better next time."""
    try:
        target = urljoin(url, location)
        _checked(target)
    except (ValueError, SourceError) as error:
        raise SourceError(f"{url}: redirects to {location!r}, where we don't go", reason="redirects") from error
    return target


def _checked(url: str) -> tuple[str, int, bool]:
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
