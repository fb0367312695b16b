"""Speaks with Reddit: at its pace, with its tokens, and not at all while it wants to be left alone."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import MalformedError
from listener.sources._dates import EPOCH
from listener.sources._json import decoded
from listener.sources._net import Net, Response
from listener.sources._refusal import asked_wait

T = TypeVar("T")

PAGE = 100
GAP = 65.0  # seconds between two feeds: one a minute, and a little more
LIMITED_FOR = 120.0  # seconds, at least, after a 429
BLOCKED_FOR, BLOCKED_MOST = timedelta(minutes=61), timedelta(hours=24)
ACCEPT = "application/atom+xml, application/xml;q=0.9, */*;q=0.5"


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the next process must know of how Reddit sees us. Times are in seconds."""

    asked_at: int = 0  # when a feed was last asked for
    parked_until: int = 0
    blocked: int = 0  # 403s in a row


@dataclass
class Site:
    """Feeds without `client_id`, else the API."""

    server: str
    api: str
    user: str
    client_id: Secret
    client_secret: Secret
    net: Net
    standing: Standing
    used_up: float = 0  # seconds until Reddit counts anew, when nothing is left
    _token: str = field(default="", repr=False)
    _good_until: int = 0

    @property
    def is_parked(self) -> bool:
        return self.standing.parked_until > seconds(self.net.now())

    def check_parked(self) -> None:
        left = self.standing.parked_until - seconds(self.net.now())
        if left > 0:
            self.net.cool_down(self._base, left)
            raise SourceError("Reddit wants to be left alone", reason="parked", retry_after=left)

    async def feed(self, path: str) -> Response:
        """One that the process before this one asked for counts as well."""
        wait = self.standing.asked_at + GAP - seconds(self.net.now())
        if wait > 0:
            await self.net.sleep(min(wait, GAP))
        self._stand(asked_at=seconds(self.net.now()))
        return await self._get(f"{path}limit={PAGE}", {"Accept": ACCEPT}, GAP)

    async def page(self, path: str, before: str) -> list[dict[str, Any]]:
        """Things of a listing, newest first."""
        if self._good_until - seconds(self.net.now()) < 60:
            await self._renew()
        asked = urlencode({"limit": PAGE, "raw_json": 1} | ({"before": before} if before else {}))
        response = await self._get(f"{path}{asked}", {"Authorization": f"Bearer {self._token}"}, None)
        if response.status == 401:
            raise SourceError("Reddit wants a new token", reason="unauthorized")
        return [child.data for child in _decoded(response, _Listing).data.children if child.kind in ("t1", "t3")]

    async def _renew(self) -> None:
        names = f"{self.client_id.reveal()}:{self.client_secret.reveal()}"
        headers = {
            "Authorization": f"Basic {b64encode(names.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        url = f"{self.server.rstrip('/')}/api/v1/access_token"
        body = b"grant_type=client_credentials"
        response = await self.net.post(url, body, headers={**self._agent(), **headers}, accept={400, 401, 403, 429})
        self._check(response)
        if response.status in (400, 401):
            raise SourceError("Reddit does not know the app's id and secret", reason="bad_secret", permanent=True)
        made = _decoded(response, _Token)
        self._token, self._good_until = made.access_token, seconds(self.net.now()) + made.expires_in

    async def _get(self, path: str, headers: dict[str, str], gap: float | None) -> Response:
        url = f"{self._base}{path}"
        response = await self.net.get(url, headers={**self._agent(), **headers}, accept={401, 403, 429}, gap=gap)
        self._check(response)
        return response

    def _check(self, response: Response) -> None:
        """After a 403 or a 429 Reddit is left alone."""
        now = self.net.now()
        self.used_up = _reset(response, now) if _remaining(response) < 1 else 0.0
        if response.status == 403:
            blocked = self.standing.blocked + 1
            wait = min(BLOCKED_FOR * 2 ** min(blocked - 1, 10), BLOCKED_MOST).total_seconds()
        elif response.status == 429:
            blocked, wait = self.standing.blocked, max(_reset(response, now), LIMITED_FOR)
        else:
            self._stand(blocked=0, parked_until=0)
            return
        self._stand(blocked=blocked, parked_until=seconds(now) + round(wait))
        self.net.cool_down(response.url, wait)
        reason = "blocked" if response.status == 403 else "limited"
        raise SourceError(f"{response.url}: answered {response.status}", reason=reason, retry_after=wait)

    def _stand(self, **changes: int) -> None:
        self.standing = msgspec.structs.replace(self.standing, **changes)

    @property
    def _base(self) -> str:
        return (self.api if self.client_id else self.server).rstrip("/")

    def _agent(self) -> dict[str, str]:
        """Reddit wants `platform:app:version (by /u/name)`."""
        app = self.net.user_agent.partition(" ")[0].replace("/", ":")
        return {"User-Agent": f"python:{app} (by /u/{self.user})"} if self.user else {}


class _Child(msgspec.Struct):
    kind: str
    data: dict[str, Any]


class _Children(msgspec.Struct):
    children: list[_Child]


class _Listing(msgspec.Struct):
    data: _Children


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int


def _remaining(response: Response) -> float:
    try:
        return float(response.headers.get("x-ratelimit-remaining", "1"))
    except ValueError:
        return 1.0


def _reset(response: Response, now: datetime) -> float:
    """The longer of the two waits that Reddit names."""
    date = {"date": response.headers.get("date", "")}
    names = ("retry-after", "x-ratelimit-reset")
    return max(asked_wait({name: response.headers.get(name, ""), **date}, now) or 0.0 for name in names)


def _decoded(response: Response, into: type[T]) -> T:
    try:
        return decoded(response.body, into, response.url)
    except MalformedError as error:
        raise SourceError(str(error), reason="not_reddit") from error


def seconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(seconds=1)
