"""Publisher feeds: RSS, Atom, RDF and JSON Feed, polled politely with conditional requests.

A cursor keeps the validators of the last answer that could be read, and what of the feed has been passed on.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources._dates import feed_date
from listener.sources._feed import Feed, Item, read_feed
from listener.sources._json import cursor_of, encoded
from listener.sources._net import Net, Response
from listener.sources._text import collapse, from_html
from listener.types import Delete, Post

ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, application/feed+json;q=0.9, */*;q=0.5"
LONGEST_ASKED = timedelta(hours=1)  # some feeds ask for weeks; an outage is over by then
TRUST_VALIDATORS = timedelta(days=8)  # some servers answer 304 to anything
FUTURE = timedelta(minutes=10)
REMEMBERED = 300  # items beyond those of the last document, for feeds that show an item again
LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class Options:
    url: str = option("", "address of the feed")
    every: timedelta = option(timedelta(minutes=10), "how often to ask; a feed that asks for more time gets up to 1 h")
    fallback_encoding: str = option("", "code page of a feed that declares none, such as windows-1254")
    zone: str = option("UTC", "time zone of dates that name none, such as Europe/Istanbul")
    months: tuple[tuple[str, ...], ...] = option((), "twelve lists of local month names, for dates that use them")


@dataclass(frozen=True, slots=True)
class Raw:
    """An item, and what is needed to read it."""

    item: Item
    host: str
    zone: str = "UTC"
    months: tuple[tuple[str, ...], ...] = ()


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    etag: str = ""
    modified: str = ""
    validated_at: str = ""  # since when these validators have been used
    body: str = ""  # digest of the last body
    ttl: str = ""
    seen: dict[str, str] = {}  # item -> digest of its text, oldest first


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """Items that are new or whose text changed, oldest first; then, once a poll, a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    host = urlsplit(options.url).hostname or ""
    while True:
        response = await net.get(options.url, headers=_conditions(state, net.now()))
        body = hashlib.sha256(response.body).hexdigest()
        before, state = state, _validated(state, response, net.now())
        if response.status != 304 and body != state.body:
            feed = await asyncio.to_thread(_feed, response, options)
            fresh = [item for item in feed.items if state.seen.get(item.key) != item.text_digest]
            for item in reversed(fresh):  # feeds begin with the newest
                yield Raw(item, host, options.zone, options.months), None
            state = msgspec.structs.replace(state, body=body, ttl=feed.ttl, seen=_remember(state.seen, feed))
        yield None, None if state == before else encoded(state)
        await net.sleep(net.spread(_pause(options.every, state.ttl, response, net.now())))


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    """A post of an item: title and summary. Without a date that can be read, it happened when it was first seen."""
    item = raw.item
    to_text = from_html if item.is_html else collapse
    title, summary = from_html(item.title), to_text(item.summary)[:LONGEST_TEXT]
    text = summary if summary.startswith(title) else f"{title}\n{summary}".strip()
    dates = (feed_date(date, raw.zone, raw.months) for date in item.dates)
    created_at = next((date for date in dates if date is not None), received_at)
    if created_at > received_at + FUTURE:
        created_at = received_at
    author = collapse(item.author)[:200]
    return Post(
        id=f"rss:{raw.host}:{item.id}",
        source="rss",
        text=text,
        created_at=created_at,
        received_at=received_at,
        author=f"{author}@{raw.host}" if author else raw.host,
        url=item.link if item.link.startswith(("http://", "https://")) else "",
    )


def _feed(response: Response, options: Options) -> Feed:
    try:
        return read_feed(response.body, response.headers.get("content-type", ""), options.fallback_encoding)
    except SourceError as error:
        raise SourceError(f"{response.url}: {error}", reason=error.reason) from error


def _conditions(state: Cursor, now: datetime) -> dict[str, str]:
    headers = {"Accept": ACCEPT}
    since = datetime.fromisoformat(state.validated_at) if state.validated_at else now
    if now - since < TRUST_VALIDATORS:
        headers |= {"If-None-Match": state.etag} if state.etag else {}
        headers |= {"If-Modified-Since": state.modified} if state.modified else {}
    return headers


def _validated(state: Cursor, response: Response, now: datetime) -> Cursor:
    """The validators to send next time: a 304 changes only those it carries, and does not renew our trust in them."""
    headers = response.headers
    if response.status == 304:
        return msgspec.structs.replace(
            state, etag=headers.get("etag", state.etag), modified=headers.get("last-modified", state.modified)
        )
    is_usable = headers.get("expires", "").strip() != "0"
    return msgspec.structs.replace(
        state,
        etag=headers.get("etag", "") if is_usable else "",
        modified=headers.get("last-modified", "") if is_usable else "",
        validated_at=now.isoformat(timespec="seconds"),
    )


def _remember(seen: dict[str, str], feed: Feed) -> dict[str, str]:
    here = {item.key: item.text_digest for item in feed.items}
    before = {name: text for name, text in seen.items() if name not in here}
    return dict(list(before.items())[-REMEMBERED:]) | here


def _pause(every: timedelta, ttl: str, response: Response, now: datetime) -> timedelta:
    """The operator's interval, or the longer one that the feed asks for, within reason."""
    control = response.headers.get("cache-control", "").lower()
    asked = [timedelta(minutes=int(ttl))] if ttl.isdecimal() and len(ttl) < 6 else []
    if (age := re.search(r"max-age\s*=\s*(\d{1,9})", control)) and "no-cache" not in control:
        asked.append(timedelta(seconds=int(age.group(1))))
    elif expires := feed_date(response.headers.get("expires", "")):
        asked.append(expires - (feed_date(response.headers.get("date", "")) or now))
    return max(every, min(max(asked, default=every), LONGEST_ASKED))
