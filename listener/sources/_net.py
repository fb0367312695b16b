"""The one small network edge of all sources: polite, bounded requests and WebSockets that reach public addresses only.

It never retries: what goes wrong becomes a `SourceError` with a reason, and with the wait the server asked for.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType

import httpx

from listener.errors import SourceError
from listener.sources._body import bounded
from listener.sources._dial import Dialer, Limits, checked, joined, trusting
from listener.sources._gate import Resolve, resolve
from listener.sources._refusal import refusal
from listener.sources._robots import Robots
from listener.sources._socket import Socket, shake_hands

__all__ = ["Limits", "Net", "Response"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PERMANENT = frozenset({301, 308})


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of status 2xx, 304, or one the caller accepts. Header names are lower case; `url` is the last hop's."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    moved: bool = False  # redirected, and every hop said that this is for good


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
        self.robots = Robots()
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - it spreads requests over time and keeps no secret
        self._dialer = Dialer(user_agent=user_agent, limits=self.limits, look_up=look_up, allow_private=allow_private)
        self._hosts: dict[str, _Host] = {}

    async def __aenter__(self) -> Net:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self._dialer.close()

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

    async def looked_up(self, host: str, port: int) -> list[str]:
        """The addresses the resolver gives, whatever they are: for a probe, to which a poisoned answer is the finding."""
        return await self._dialer.looked_up(host, port)

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        gap: float | None = None,
    ) -> Response:
        """GET, following redirects. Any status but 2xx, 304 and those in `accept` raises `RefusedError`.

        `gap` is the pause in seconds that this host wants between two requests, where the usual one is too short.
        """
        async with self._turn(url, gap):
            with _failures(url):
                async with asyncio.timeout(self.limits.total):
                    return await self._follow(url, dict(headers or {}), accept)

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        gap: float | None = None,
    ) -> Response:
        """POST to where `url` says and nowhere else: a redirect is refused like any other status."""
        async with self._turn(url, gap):
            with _failures(url):
                async with asyncio.timeout(self.limits.total):
                    answer = await self._dialer.send("POST", url, headers or {}, body)
                    try:
                        self._check(url, answer, accept)
                        return Response(answer.status_code, answer.headers, await self._body(answer), url)
                    finally:
                        await answer.aclose()

    @asynccontextmanager
    async def stream(
        self, url: str, *, headers: Mapping[str, str] | None = None, silence: float = 45
    ) -> AsyncIterator[httpx.Response]:
        """A GET whose body has no end, not redirected; lines are bounded, and `silence` seconds without a byte end it.

        Raises `SourceError`: `silent`, `disconnected`, `too_large`; a body that ends properly just ends.
        """
        async with self._turn(url, None):
            with _failures(url):
                async with asyncio.timeout(self.limits.connect + self.limits.read):
                    answer = await self._dialer.send(
                        "GET", url, {"Accept-Encoding": "identity", **(headers or {})}, silence=silence
                    )
        try:
            with _failures(url, silence):
                self._check(url, answer, ())
            body = _Lines(url, answer, self.limits.line, silence)
            yield httpx.Response(answer.status_code, headers=answer.headers, stream=body)
        finally:
            await answer.aclose()

    @asynccontextmanager
    async def websocket(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        max_size: int = 2**20,
    ) -> AsyncIterator[Socket]:
        """Open a WebSocket, uncompressed, without redirects. A refused handshake raises `RefusedError` with status and body."""
        host, port, secure = checked(url)
        connection = await shake_hands(
            url,
            await self._dialer.connected(host, port),
            tls=trusting() if secure else None,
            host=host,
            headers={"User-Agent": self.user_agent, **(headers or {})},
            subprotocols=subprotocols,
            max_size=max_size,
            within=self.limits.connect + self.limits.read,
            now=self.now(),
        )
        async with connection:
            yield Socket(connection)

    def _host(self, url: str) -> _Host:
        host, port, _ = checked(url)
        return self._hosts.setdefault(f"{host}:{port}", _Host())

    def _refuse_while_cooling(self, url: str) -> None:
        if left := self.cooling(url):
            raise SourceError(f"{url}: the host asked to be left alone", reason="cooling_down", retry_after=left)

    @asynccontextmanager
    async def _turn(self, url: str, gap: float | None) -> AsyncIterator[None]:
        """One request at a time to a host, and a pause between two."""
        host, pause = self._host(url), self.limits.gap if gap is None else gap
        async with host.lock:
            self._refuse_while_cooling(url)
            if host.last_at is not None:
                wait = pause - (self.now() - host.last_at).total_seconds()
                if wait > 0:
                    await self.sleep(min(wait, pause))  # a clock set back must not make it longer
            try:
                yield
            finally:
                host.last_at = self.now()

    async def _follow(self, url: str, headers: dict[str, str], accept: Collection[int]) -> Response:
        visited, limits, moved = {url}, self.limits, True
        for _ in range(limits.redirects + 1):
            self._refuse_while_cooling(url)
            answer = await self._dialer.send("GET", url, headers)
            try:
                status, location = answer.status_code, answer.headers.get("location")
                if status in _REDIRECTS and location:
                    target, moved = joined(url, location), moved and status in _PERMANENT
                    if target in visited:
                        raise SourceError(f"{target}: redirects in a circle", reason="redirects")
                    if checked(target) != checked(url):  # a token is for the host it was given for
                        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
                    url = target
                    visited.add(url)
                    continue
                self._check(url, answer, accept)
                return Response(status, answer.headers, await self._body(answer), url, moved and len(visited) > 1)
            finally:
                await answer.aclose()
        raise SourceError(f"{url}: more than {limits.redirects} redirects", reason="redirects")

    def _check(self, url: str, answer: httpx.Response, accept: Collection[int]) -> None:
        status = answer.status_code
        if 200 <= status < 300 or status == 304 or status in accept:
            return
        refused = refusal(url, status, answer.headers, b"", self.now())
        if refused.cools_host and refused.retry_after is not None:
            self.cool_down(url, refused.retry_after)
        raise refused

    async def _body(self, answer: httpx.Response) -> bytes:
        limits, encoding = self.limits, answer.headers.get("content-encoding", "")
        return await bounded(answer.aiter_raw(), encoding, wire=limits.wire, decoded=limits.decoded, ratio=limits.ratio)


class _Lines(httpx.AsyncByteStream):
    """The bytes of a stream, as long as its lines are of a sane length."""

    def __init__(self, url: str, answer: httpx.Response, longest: int, silence: float) -> None:
        self._url, self._answer, self._longest, self._silence = url, answer, longest, silence

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        with _failures(self._url, self._silence):
            async for chunk in self._answer.aiter_raw():
                end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
                length = len(chunk) - end - 1 if end >= 0 else length + len(chunk)
                if length > self._longest:
                    raise SourceError(f"{self._url}: a line without end", reason="too_large")
                yield chunk


@contextmanager
def _failures(url: str, silence: float | None = None) -> Iterator[None]:
    """The transport's errors as ours."""
    try:
        yield
    except (TimeoutError, httpx.TimeoutException) as error:
        if silence is not None:
            raise SourceError(f"{url}: nothing heard for {silence:g} s", reason="silent") from error
        raise SourceError(f"{url}: no answer in time", reason="timeout") from error
    except httpx.ConnectError as error:
        raise SourceError(f"{url}: can't connect: {error}", reason="unreachable") from error
    except httpx.RemoteProtocolError as error:
        if silence is not None:
            raise SourceError(f"{url}: connection lost: {error}", reason="disconnected") from error
        raise SourceError(f"{url}: broken answer: {error}", reason="protocol") from error
    except httpx.TransportError as error:
        raise SourceError(f"{url}: connection lost: {error}", reason="disconnected") from error
