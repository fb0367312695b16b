"""Public hashtag timelines of one Mastodon server, polled without an account.

A federated post gets an id from when it was written, so it may appear behind what was already read: each poll looks back a
quarter of an hour, and the cursor remembers what of that time has been passed on.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH, iso
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net, Response
from listener.sources._text import from_html, primary_languages
from listener.types import Delete, Post, PostKind

T = TypeVar("T")

PAGE = 40
PAGES = 50  # of one tag in one poll; the next poll goes on from there
LONGEST_ABSENCE = timedelta(hours=24)
INSTANCE_LASTS = timedelta(hours=24)
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class Options:
    server: str = option("https://mastodon.social", "address of the server")
    tags: tuple[str, ...] = option(("instagramdown", "outage"), "hashtags, without #; letters may be plain (coktu)")
    every: timedelta = option(timedelta(minutes=2), "how often to ask for each tag")
    pause: timedelta = option(timedelta(seconds=10), "shortest time between two requests to the server")
    overlap: timedelta = option(timedelta(minutes=15), "how far to look back for posts that arrive late")


@dataclass(frozen=True, slots=True)
class Raw:
    """A status as the server has it, and the server's name."""

    status: dict[str, Any]
    server: str


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    polled_ms: dict[str, int] = {}  # tag -> up to when it has been read
    seen: dict[str, tuple[int, str]] = {}  # post -> when it was written (ms), and its last edit
    open_at: str = ""  # when the server last said that it lets anyone read hashtags


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Gap | None, str | None], None]:
    """New and edited statuses, oldest first; after each tag a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    server, host = options.server.rstrip("/"), urlsplit(options.server).hostname or ""
    overlap = options.overlap // MILLISECOND
    if not options.tags:
        raise SourceError("no hashtag is named", reason="no_tags", permanent=True)
    while True:
        if not state.open_at or net.now() - datetime.fromisoformat(state.open_at) > INSTANCE_LASTS:
            await _check_open(server, net)
            state = msgspec.structs.replace(state, open_at=net.now().isoformat(timespec="seconds"))
        for tag in options.tags:
            started = net.now()
            since_ms = state.polled_ms.get(tag, _ms(started))
            if started - _at(since_ms) > LONGEST_ABSENCE:
                yield Gap(_at(since_ms), started - LONGEST_ABSENCE), None
                since_ms = _ms(started - LONGEST_ABSENCE)
            seen, until_ms = dict(state.seen), _ms(started)
            min_id, pages = (since_ms - overlap) << 16, 0
            while True:
                response = await _page(server, tag, min_id, net)
                statuses = _statuses(response)
                for status in statuses:
                    key, mark = _key(status), (_id(status) >> 16, str(status.get("edited_at") or ""))
                    if seen.get(key) != mark:
                        seen[key] = mark
                        yield Raw(status, host), None
                pages += 1
                if not statuses or pages == PAGES:
                    break
                min_id = _id(statuses[-1])
                await net.sleep(_pause(response, options.pause, net.now()))
            if statuses:  # there is more: the next poll goes on from here
                until_ms = min(until_ms, (_id(statuses[-1]) >> 16) + overlap)
            state = _advanced(state, options, tag, until_ms, seen)
            yield None, encoded(state)
            share = net.spread(options.every / len(options.tags))
            await net.sleep(max(share, _pause(response, options.pause, net.now())))


class _Account(msgspec.Struct):
    acct: str = ""


class _Status(msgspec.Struct):
    uri: str
    account: _Account
    created_at: str = ""
    content: str | None = ""
    spoiler_text: str | None = ""
    url: str | None = None
    language: str | None = None
    visibility: str = "public"
    in_reply_to_id: Any = None
    reblog: dict[str, Any] | None = None
    quote: Any = None


def parse(raw: Raw | Gap, received_at: datetime) -> Post | Delete | None:
    """A post of a status; a boost carries the text of what it boosts. What is not public is None."""
    if isinstance(raw, Gap):
        return None
    status = converted(raw.status, _Status, "status")
    if status.visibility not in ("public", "unlisted"):
        return None
    said = converted(status.reblog, _Status, "boosted status") if status.reblog else status
    acct = status.account.acct
    return Post(
        id=f"mastodon:{status.uri}",
        source="mastodon",
        text="\n".join(part for part in (from_html(said.spoiler_text or ""), from_html(said.content or "")) if part),
        created_at=min(iso(status.created_at) or received_at, received_at),
        received_at=received_at,
        author=acct if "@" in acct or not acct else f"{acct}@{raw.server}",
        kind=_kind(status),
        languages=primary_languages([said.language]),
        url=status.url or "",
    )


def _kind(status: _Status) -> PostKind:
    if status.reblog:
        return PostKind.REPOST
    if status.in_reply_to_id:
        return PostKind.REPLY
    return PostKind.QUOTE if status.quote else PostKind.POST


async def _page(server: str, tag: str, min_id: int, net: Net) -> Response:
    query = urlencode({"limit": PAGE, "min_id": min_id})
    response = await net.get(f"{server}/api/v1/timelines/tag/{quote(tag, safe='')}?{query}", accept=(401, 404, 422))
    if response.status in (401, 422):
        raise SourceError(f"{server} shows hashtags to its users only", reason="closed", permanent=True)
    return response


def _statuses(response: Response) -> list[dict[str, Any]]:
    """The statuses of a page, oldest first; a tag nobody has used yet has none."""
    return [] if response.status == 404 else sorted(_decoded(response, list[dict[str, Any]]), key=_id)


async def _check_open(server: str, net: Net) -> None:
    """A server that shows hashtags to nobody answers with an empty list, as if all were quiet: so it is asked first."""
    response = await net.get(f"{server}/api/v2/instance", accept=(404,))
    if response.status == 404:
        return  # older than 4.0, or another program: hashtags are open there
    table: Any = _decoded(response, dict[str, Any])
    for key in ("configuration", "timelines_access", "hashtag_feeds"):
        table = table.get(key) if isinstance(table, dict) else None
    access = {table.get("local"), table.get("remote")} if isinstance(table, dict) else {"public"}
    if "public" not in access:
        raise SourceError(f"{server} does not show hashtags to anyone", reason="closed", permanent=True)


def _decoded(response: Response, into: type[T]) -> T:
    try:
        return decoded(response.body, into, response.url)
    except MalformedError as error:
        raise SourceError(str(error), reason="not_mastodon") from error


def _pause(response: Response, shortest: timedelta, now: datetime) -> float:
    """Until the server's count starts anew when it is used up, at most a quarter of an hour; else our own pause."""
    reset = iso(response.headers.get("x-ratelimit-reset", ""))
    is_used_up = response.headers.get("x-ratelimit-remaining", "").strip() in ("0", "1")
    wait = reset - now if reset and is_used_up else timedelta(0)
    return min(max(wait, shortest), max(timedelta(minutes=15), shortest)).total_seconds()


def _advanced(state: Cursor, options: Options, tag: str, until_ms: int, seen: dict[str, tuple[int, str]]) -> Cursor:
    """The tag is read up to then; what no tag will be asked for again is forgotten."""
    polled = {name: ms for name, ms in (state.polled_ms | {tag: until_ms}).items() if name in options.tags}
    oldest = min(polled.values()) - options.overlap // MILLISECOND - 60_000
    seen = {key: mark for key, mark in seen.items() if mark[0] >= oldest}
    return msgspec.structs.replace(state, polled_ms=polled, seen=seen)


def _id(status: dict[str, Any]) -> int:
    """Decimal digits: milliseconds since 1970, shifted left by 16 bits."""
    try:
        return int(status["id"])
    except (KeyError, ValueError, TypeError) as error:
        raise SourceError(f"ids such as {status.get('id')!r} are not Mastodon's", reason="not_mastodon") from error


def _key(status: dict[str, Any]) -> str:
    """The post's identity on every server, made short enough to remember many."""
    return hashlib.sha256(str(status.get("uri") or status["id"]).encode()).hexdigest()[:12]


def _at(ms: int) -> datetime:
    return EPOCH + ms * MILLISECOND


def _ms(at: datetime) -> int:
    return (at - EPOCH) // MILLISECOND
