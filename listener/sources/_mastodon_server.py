"""A Mastodon server as a visitor meets it: what it says of itself, and GETs at the pace it allows."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import MalformedError
from listener.sources._json import decoded
from listener.sources._net import Net, Response
from listener.sources._refusal import asked_wait

T = TypeVar("T")

INSTANCE_LASTS = timedelta(hours=24)
LONGEST_WAIT = timedelta(minutes=15)  # for an allowance to start anew; servers count over 5 minutes, paging over 15
REFUSED = frozenset({401, 403, 422})  # how versions differ in saying that a visitor may not read this


class ClosedError(SourceError):
    """The server shows this to nobody, or to its users only: not the same as having nothing to show."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="closed", permanent=True)


class Access(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who may read posts written on the server, and posts from elsewhere: `public`, `authenticated` or `disabled`."""

    local: str = "public"
    remote: str = "public"

    def scope(self, *, has_token: bool) -> dict[str, str] | None:
        """How to ask so that the server does not refuse; None when nothing is open to us.

        A server that shows only one of the two refuses whoever names neither.
        """
        closed = {"disabled"} if has_token else {"disabled", "authenticated"}
        here, elsewhere = self.local not in closed, self.remote not in closed
        if here and elsewhere:
            return {}
        if here:
            return {"local": "true"}
        return {"remote": "true"} if elsewhere else None


USERS_ONLY = Access("authenticated", "authenticated")
SHUT = Access("disabled", "disabled")


class Instance(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server says of itself. It was never asked when `asked_at` is empty."""

    asked_at: str = ""
    version: str = ""
    streaming: str = ""  # http address to stream from
    hashtags: Access = Access()
    live: Access = Access()

    @property
    def joins_tags(self) -> bool:
        """Whether several tags may be asked for at once. Other programs that speak this API ignore all but one."""
        return re.match(r"[3-9]|\d\d", self.version) is not None and "compatible" not in self.version


@dataclass
class Server:
    """Where requests go. They keep `pause` between them, and wait when the allowance is used up."""

    address: str
    net: Net
    token: Secret
    pause: timedelta
    _free_at: datetime | None = field(default=None, init=False)

    @property
    def host(self) -> str:
        return urlsplit(self.address).hostname or ""

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.reveal()}"} if self.token else {}

    async def get(
        self, path: str, query: Sequence[tuple[str, Any]] = (), *, accept: Collection[int], anonymous: bool = False
    ) -> Response:
        """Raises `SourceError` for what is neither a success nor in `accept`, and `token_refused` for our token."""
        await self._allowed()
        headers = {} if anonymous else self.authorization
        response = await self.net.get(
            f"{self.address}{path}{'?' if query else ''}{urlencode(query)}",
            headers=headers,
            accept=accept,
            gap=self.pause.total_seconds(),
        )
        if response.status == 401 and headers:
            raise token_refused(self.address)
        if response.headers.get("x-ratelimit-remaining", "").strip() in ("0", "1"):
            told = {name: response.headers.get(name, "") for name in ("x-ratelimit-reset", "date")}
            wait = timedelta(seconds=asked_wait(told, self.net.now()) or 0)
            self._free_at = self.net.now() + min(wait, LONGEST_WAIT)
        return response

    async def _allowed(self) -> None:
        """Wait until the server's count starts anew when it is used up: a 429 would cost more than that."""
        if self._free_at is not None and (wait := (self._free_at - self.net.now()).total_seconds()) > 0:
            await self.net.sleep(wait)
        self._free_at = None

    async def instance(self) -> Instance:
        """What is open here. A server older than 4.0, and some other programs, can't tell: then all is worth a try."""
        response = await self.get("/api/v2/instance", accept=(404, *REFUSED))
        asked_at = self.net.now().isoformat(timespec="seconds")
        if response.status == 404:
            return Instance(asked_at, streaming=self.address)
        if response.status in REFUSED:
            return Instance(asked_at, streaming=self.address, hashtags=USERS_ONLY, live=USERS_ONLY)
        about: dict[str, Any] = read_answer(response, dict[str, Any])
        configuration = _table(about.get("configuration"))
        access = _table(configuration.get("timelines_access"))
        return Instance(
            asked_at,
            version=str(about.get("version", "")),
            streaming=_streaming(self.address, _table(configuration.get("urls")).get("streaming")),
            hashtags=_access(access.get("hashtag_feeds")),
            live=_access(access.get("live_feeds")),
        )


def token_refused(address: str) -> SourceError:
    return SourceError(
        f"{address} does not accept the token; without one hashtags are polled", reason="token_refused", permanent=True
    )


def read_answer(response: Response, into: type[T]) -> T:
    try:
        return decoded(response.body, into, response.url)
    except MalformedError as error:
        raise SourceError(str(error), reason="not_mastodon") from error


def _access(value: Any) -> Access:
    table = _table(value)
    return Access(str(table.get("local", "public")), str(table.get("remote", "public")))


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _streaming(address: str, told: Any) -> str:
    """The address to stream from. Ours when the told one is none, or would carry the token over an open connection."""
    try:
        parts = urlsplit(told if isinstance(told, str) else "")
    except ValueError:
        return address
    scheme = {"wss": "https", "https": "https", "ws": "http", "http": "http"}.get(parts.scheme, "")
    if not scheme or not parts.netloc or (scheme == "http" and address.startswith("https:")):
        return address
    return f"{scheme}://{parts.netloc}"
