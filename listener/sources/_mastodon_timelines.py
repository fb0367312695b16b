"""Reads the timelines of a Mastodon server forward, page by page, and remembers what has been passed on.

A federated post gets an id from when it was written, so it may appear behind what was already read: each poll looks back
a while, and the memory tells what of that time is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec

from listener.errors import SourceError
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH
from listener.sources._feed import Item
from listener.sources._json import decoded, encoded
from listener.sources._mastodon_server import REFUSED, SHUT, Access, ClosedError, Instance, Server, read_answer

PAGE = 40
PAGES = 50  # of one timeline in one poll; the next poll goes on from there
JOINED = 4  # tags a server looks for in one request, the one in the path included
PROBES = 5  # tags tried for one that the server knows
URIS = 1_000  # posts of which a deletion is understood
LONGEST_ABSENCE = timedelta(hours=24)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Raw:
    """A status as the server has it, the server's name, and the tags by which sensitive posts are left out."""

    status: dict[str, Any]
    server: str
    adult_tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Gone:
    """A post was deleted."""

    uri: str


@dataclass(frozen=True, slots=True)
class Fed:
    """An item of a hashtag's feed."""

    item: Item


Heard = tuple[Raw | Gone | Fed | Gap | None, str | None]


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    polled_ms: dict[str, int] = {}  # tag, or "@" and a public timeline -> up to when it has been read
    seen: dict[str, tuple[int, str]] = {}  # post -> when it was written (ms), and its last edit
    instance: Instance = Instance()
    lead: str = ""  # a tag the server knows, in the path of requests for several
    uris: dict[str, str] = {}  # id on this server -> identity everywhere, for deletions
    fed: dict[str, dict[str, str]] = {}  # tag -> items of its last feed, each with a digest of its text


@dataclass(frozen=True, slots=True)
class Timeline:
    """What one request reads. `names` are its places in the cursor."""

    names: tuple[str, ...]
    path: str
    query: tuple[tuple[str, str], ...]


def hashtag(tags: Sequence[str], scope: dict[str, str]) -> Timeline:
    """Posts with any of the tags. About the others the server is silent if it does not know the first."""
    others = [("any[]", tag) for tag in tags[1:]]
    return Timeline(tuple(tags), f"/api/v1/timelines/tag/{quote(tags[0], safe='')}", (*others, *scope.items()))


def hashtags(tags: Sequence[str], lead: str, scope: dict[str, str]) -> list[Timeline]:
    """The tags in as few requests as it takes."""
    if not lead:
        return [hashtag([tag], scope) for tag in tags]
    others = [tag for tag in tags if tag != lead]
    groups = [others[i : i + JOINED - 1] for i in range(0, len(others), JOINED - 1)] or [[]]
    return [hashtag([lead, *group], scope) for group in groups]


def everything(which: str, access: Access, server: Server) -> Timeline:
    """The public timeline: `local`, `remote` or `all` of it."""
    scope = access.scope(has_token=bool(server.token))
    if scope is None or (which != "all" and scope and which not in scope):
        raise ClosedError(f"{server.address} does not show us its public timeline ({which}); leave out `public`")
    query = tuple(scope.items()) if which == "all" else ((which, "true"),)
    return Timeline((f"@{which}",), "/api/v1/timelines/public", query)


class Reader:
    """What is known of one server: a cursor to begin with, changed as things are heard. `cursor` writes it down."""

    def __init__(
        self, server: Server, cursor: Cursor, names: Iterable[str], overlap: timedelta, adult_tags: frozenset[str]
    ) -> None:
        self.server = server
        self.names = tuple(names)
        self.instance = cursor.instance
        self.lead = cursor.lead
        self.polled = {name: ms for name, ms in cursor.polled_ms.items() if name in self.names}
        self.seen = dict(cursor.seen)
        self.uris = dict(cursor.uris)
        self.fed = {name: dict(marks) for name, marks in cursor.fed.items() if name in self.names}
        self.behind: set[str] = set()  # of these timelines there was more than one poll reads
        self._overlap_ms = overlap // MILLISECOND
        self._adult_tags = adult_tags

    @property
    def hashtag_scope(self) -> dict[str, str] | None:
        """How to ask for hashtags; None when they are closed to us."""
        return self.instance.hashtags.scope(has_token=bool(self.server.token))

    def cursor(self) -> str:
        """What no timeline will be asked for again is forgotten."""
        oldest = min(self.polled.values(), default=0) - self._overlap_ms - 60_000
        self.seen = {key: mark for key, mark in self.seen.items() if mark[0] >= oldest}
        self.uris = dict(list(self.uris.items())[-URIS:])
        return encoded(Cursor(self.polled, self.seen, self.instance, self.lead, self.uris, self.fed))

    async def find_lead(self, tags: Sequence[str], scope: dict[str, str]) -> str:
        """A tag that has ever been used here; empty when the tags must be asked for one by one."""
        if len(tags) < 2 or not self.instance.joins_tags:
            return ""
        for tag in tags[:PROBES]:
            if await self._page(hashtag([tag], scope), ("limit", 1)):
                return tag
        return ""

    async def round(self, timelines: Sequence[Timeline], every: timedelta) -> AsyncGenerator[Heard, None]:
        """Each timeline once, the whole within `every`; zero is as fast as the server's pace allows."""
        net = self.server.net
        for timeline in timelines:
            begun = net.now()
            async with aclosing(self._read(timeline)) as heard:
                async for one in heard:
                    yield one
            share = net.spread(every / len(timelines)) - (net.now() - begun).total_seconds()
            if share > 0:
                await net.sleep(share)

    async def _read(self, timeline: Timeline) -> AsyncGenerator[Heard, None]:
        """New and edited statuses, oldest first, then a heartbeat with the new cursor."""
        started = self.server.net.now()
        since_ms = min(self.polled.get(name, as_ms(started)) for name in timeline.names)
        if started - _instant(since_ms) > LONGEST_ABSENCE:
            yield Gap(_instant(since_ms), started - LONGEST_ABSENCE), None
            since_ms = as_ms(started - LONGEST_ABSENCE)
        after, until_ms = (since_ms - self._overlap_ms) << 16, as_ms(started)
        self.behind.difference_update(timeline.names)
        for pages in range(1, PAGES + 1):
            statuses = await self._page(timeline, ("limit", PAGE), ("min_id", after))
            for status in statuses:
                if self.is_fresh(status):
                    yield self._raw(status), None
            newest = _id(statuses[-1]) if statuses else after
            if newest <= after:  # nothing, or a server that does not page
                break
            after = newest
            if pages == PAGES:  # there is more, and the next poll begins right here
                until_ms = (after >> 16) + self._overlap_ms
                self.behind.update(timeline.names)
        self.polled |= dict.fromkeys(timeline.names, until_ms)
        yield None, self.cursor()

    async def _page(self, timeline: Timeline, *query: tuple[str, Any]) -> list[dict[str, Any]]:
        """The statuses of a page, oldest first; a tag nobody has used yet has none."""
        response = await self.server.get(timeline.path, (*query, *timeline.query), accept=(404, *REFUSED))
        if response.status in REFUSED:
            if not timeline.names[0].startswith("@"):  # the server said otherwise, or could not say
                self.instance = msgspec.structs.replace(self.instance, hashtags=SHUT)
            raise ClosedError(f"{self.server.address} shows {timeline.path} to its users only")
        if response.status == 404:
            return []
        return sorted(read_answer(response, list[dict[str, Any]]), key=_id)

    def _raw(self, status: dict[str, Any]) -> Raw:
        return Raw(status, self.server.host, self._adult_tags)

    def is_fresh(self, status: dict[str, Any]) -> bool:
        """Whether this version of a post, or a later one, has not been passed on yet. From now on it has."""
        key, edited = _key(status), str(status.get("edited_at") or "")
        known = self.seen.get(key)
        if known is not None and edited <= known[1]:
            return False
        self.seen[key] = (_id(status) >> 16, edited)
        if self.server.token:
            self.uris[str(status["id"])] = str(status.get("uri") or "")
        return True

    def told(self, event: str, data: str) -> Raw | Gone | None:
        """What an event of the stream brings; None for those of no interest, and for what was heard before."""
        self.heard_all()
        if event == "delete":
            uri = self.uris.pop(data.strip(' \n"'), "")
            return Gone(uri) if uri else None
        if event not in ("update", "status.update"):
            return None
        try:
            status = decoded(data, dict[str, Any], "event")
            is_fresh = self.is_fresh(status)
        except (MalformedError, SourceError):
            return self._raw({})  # one broken event is `parse`'s to count and no reason to hang up
        return self._raw(status) if is_fresh else None

    def heard_all(self) -> None:
        """The stream is alive: there is nothing up to now that it has not told."""
        self.polled = dict.fromkeys(self.names, as_ms(self.server.net.now()))


def as_ms(at: datetime) -> int:
    return (at - EPOCH) // MILLISECOND


def _instant(ms: int) -> datetime:
    return EPOCH + ms * MILLISECOND


def _id(status: dict[str, Any]) -> int:
    """Decimal digits: milliseconds since 1970, shifted left by 16 bits."""
    try:
        return int(status["id"])
    except (KeyError, ValueError, TypeError) as error:
        raise SourceError(f"ids such as {status.get('id')!r} are not Mastodon's", reason="not_mastodon") from error


def _key(status: dict[str, Any]) -> str:
    """The post's identity on every server, made short enough to remember many."""
    return hashlib.sha256(str(status.get("uri") or status.get("id")).encode()).hexdigest()[:12]
