"""Who may ask, and how often: a token for all but loopback, the names we answer to, and a share of requests for each client.

A program shows the token as `Authorization: Bearer TOKEN`; a browser asks its user for a name and a password, any name and
the token (RFC 7617). `/healthz` and `/readyz` say no more than their name and are open to whoever reaches them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from listener.web.subpath import within

OPEN = frozenset({"/healthz", "/readyz"})
UNCOUNTED = ("/static/", "/healthz", "/readyz")
CLIENTS = 10_000  # that are remembered; of more the one heard longest ago is forgotten
AT_ONCE = 0.5  # of a minute's requests that may come in one go
GUESS = 10  # requests that a wrong token costs


@dataclass(frozen=True)
class Access:
    """What an operator decided. The token is kept as its digest, so that it is compared in constant time and shown nowhere."""

    token: bytes = field(default=b"", repr=False)  # SHA-256; empty = nobody is asked for one
    a_minute: int = 0  # requests of one client; 0 = no limit
    hosts: frozenset[str] = frozenset()  # names that we answer to; empty = any

    def knows(self, authorization: str) -> bool:
        """Whether the header shows the token, as Bearer or as the password of Basic."""
        return hmac.compare_digest(hashlib.sha256(_shown(authorization)).digest(), self.token)


def digest(token: str) -> bytes:
    """What `Access` keeps of a token."""
    return hashlib.sha256(token.encode()).digest() if token else b""


class Allowance:
    """A bucket of requests for each client: it fills evenly, and one that is full again is as good as forgotten."""

    def __init__(self, a_minute: int, now: Callable[[], float]) -> None:
        self._a_second = a_minute / 60
        self._most = max(1.0, a_minute * AT_ONCE)
        self._now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> requests left, at

    def __len__(self) -> int:
        return len(self._left)

    def take(self, client: str, cost: float = 1.0) -> float:
        """Seconds until there is one for this client; 0 when there is, and then it is taken."""
        if not self._a_second:
            return 0.0
        now = self._now()
        left, at = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - at) * self._a_second)
        wait = max(0.0, (1.0 - left) / self._a_second)
        if not wait:
            left -= cost
        self._left[client] = left, now
        if len(self._left) > CLIENTS:
            self._left.popitem(last=False)
        return wait


class Gate:
    """ASGI middleware: names, then the client's share, then the token."""

    def __init__(self, app: ASGIApp, access: Access, now: Callable[[], float]) -> None:
        self._app = app
        self._access = access
        self._allowance = Allowance(access.a_minute, now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), within(scope)
        if self._access.hosts and _name(headers.get("host", "")) not in self._access.hosts:
            why = (
                "This dashboard answers to its own machine only; set a token, or url, in [web] to be reached otherwise."
            )
            return _said(path, 421, why)
        who = client_of(scope)
        if not path.startswith(UNCOUNTED) and (wait := self._allowance.take(who)):
            return _said(path, 429, "Too many requests; come back later.", {"Retry-After": str(int(wait) + 1)})
        if not self._access.token or path in OPEN:
            return None
        shown = headers.get("authorization", "")
        if self._access.knows(shown):
            return None
        if shown:
            self._allowance.take(who, GUESS)
        asked = {"WWW-Authenticate": 'Basic realm="listener", charset="UTF-8"', "Cache-Control": "no-store"}
        return _said(path, 401, "A token is needed: as a bearer token, or as the password of any user.", asked)


def client_of(scope: Scope) -> str:
    """The address that asks; of IPv6 the network, since one host has many addresses there.

    >>> client_of({"client": ("2001:db8::1:2", 1)}), client_of({"client": ("192.0.2.7", 1)}), client_of({})
    ('2001:db8::/64', '192.0.2.7', '')
    """
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)[:64]
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address.packed, 64), strict=False))


def _shown(authorization: str) -> bytes:
    kind, _, value = authorization.partition(" ")
    if kind.lower() == "bearer":
        return value.strip().encode()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _said(path: str, status: int, why: str, headers: dict[str, str] | None = None) -> Response:
    if path.startswith("/api/"):
        return JSONResponse({"detail": why}, status, headers)
    return PlainTextResponse(f"{why}\n", status, headers)
