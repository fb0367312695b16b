"""Publisher feeds: RSS, Atom, RDF and JSON Feed, polled politely with conditional requests.

A cursor keeps the validators of the last answer that could be read, what of the feed has been passed on, and where it lives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Memo
from listener.sources import _address as addresses
from listener.sources._address import Address
from listener.sources._conditional import Validators, asked
from listener.sources._dates import Months, feed_date, iso
from listener.sources._feed import Feed, Item, feed_of
from listener.sources._instead import explained
from listener.sources._json import cursor_of, encoded
from listener.sources._links import plain
from listener.sources._net import Net, Response
from listener.sources._rhythm import Rhythm, pace, pause, rhythm
from listener.sources._text import collapse, from_html
from listener.types import Delete, Post, Tier

HEADERS = {
    "Accept": "application/atom+xml, application/rss+xml, application/xml;q=0.9, application/feed+json;q=0.9, */*;q=0.5",
    "A-IM": "feed",  # a server that can may send what is new since the validators, with status 226
}
TIERS = (Tier.PERSON, Tier.PRESS, Tier.OFFICIAL)
FUTURE = timedelta(minutes=10)  # by how much clocks differ; a date later than that is a mistake, often of the time zone
REMEMBERED = 300  # items beyond those of the last document, for feeds that show an item again
RHYTHM_OF = 200  # items, the first of a document, that tell how often the feed has new ones
LONGEST_TEXT = 2_000

RETRY_FIRST, RETRY_MOST = timedelta(minutes=5), timedelta(hours=6)  # a portal in trouble is not asked every minute


@dataclass(frozen=True)
class Options:
    url: str = option("", "address of the feed")
    every: timedelta = option(timedelta(minutes=10), "how often to ask, unless the feed asks for more time")
    adaptive: bool = option(False, "ask as often as the feed has entries, every 5 to 60 minutes, instead of `every`")
    longest: timedelta = option(timedelta(hours=1), "most time a feed may ask for; some ask for weeks")
    tier: str = option("press", "who writes there: press, person (a forum) or official (a company about itself)")
    fallback_encoding: str = option(
        "", "code page of a feed that declares none, such as windows-1254; else it is guessed"
    )
    zone: str = option("UTC", "time zone of dates that name none, such as Europe/Istanbul")
    months: tuple[tuple[str, ...], ...] = option((), "twelve lists of local month names, for dates that use them")
    robots: bool = option(True, "stay away when the site's robots.txt says so; false when its owner lets you read it")

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise ValueError(f"tier must be {', '.join(TIERS)}, not {self.tier!r}")


@dataclass(frozen=True, slots=True)
class Raw:
    """An item, and what is needed to read it."""

    item: Item
    host: str
    zone: str = "UTC"
    months: Months = field(default=())
    tier: Tier = Tier.PRESS
    first_seen_at: datetime | None = None  # of an item that does not say when it was written


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    address: Address = Address()
    validators: Validators = Validators()
    ttl: str = ""
    rhythm: Rhythm = Rhythm()
    seen: dict[str, str] = {}  # item -> digest of its text, and when it was first seen if it has no date; oldest first


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Memo | None, str | None], None]:
    """Items that are new or whose text changed, oldest first; then, once a poll, a heartbeat with the new cursor."""
    state = _begun(cursor, options.url)
    host, tier = urlsplit(options.url).hostname or "", Tier(options.tier)
    while True:
        before = state
        if options.robots:
            await net.robots.check(state.address.now_at, net)
        try:
            response, is_known, validators = await asked(state.address.now_at, state.validators, net, headers=HEADERS)
            feed = None if is_known else await _feed(response, options)
        except SourceError as error:
            address, told = addresses.failed(state.address, error, net.now())
            if address != state.address:
                yield Memo(), encoded(msgspec.structs.replace(state, address=address))
            if told is error:
                raise
            raise told from error
        if feed is not None:
            marks = {item.key: _mark(item, state.seen.get(item.key, ""), options, net.now()) for item in feed.items}
            fresh = [item for item in feed.items if state.seen.get(item.key) != marks[item.key]]
            for item in reversed(fresh):  # feeds begin with the newest
                yield Raw(item, host, options.zone, options.months, tier, _first_seen_at(marks[item.key])), None
            state = _read(state, feed, marks, options, response, net.now())
        state = msgspec.structs.replace(
            state,
            address=addresses.answered(state.address, response, net.now()),
            validators=validators if feed is None or feed.is_whole else state.validators,
        )
        yield None, None if state == before else encoded(state)
        base = pace(state.rhythm, options.every, net.now()) if options.adaptive else options.every
        await net.sleep(net.spread(pause(base, response.headers, state.ttl, net.now(), options.longest)))


def parse(raw: Raw | Memo, received_at: datetime) -> Post | Delete | None:
    """A post of an item: title and summary. Without a date, or with one to come, it was written when it was first seen."""
    if isinstance(raw, Memo):
        return None
    item = raw.item
    to_text = from_html if item.is_html else collapse
    title, summary = from_html(item.title), to_text(item.summary)[:LONGEST_TEXT]
    text = summary if summary.startswith(title) else f"{title}\n{summary}".strip()
    created_at = _written_at(item, raw.zone, raw.months, received_at) or raw.first_seen_at or received_at
    author = collapse(item.author)[:200]
    return Post(
        id=f"rss:{raw.host}:{item.id}",
        source="rss",
        text=text,
        created_at=created_at,
        received_at=received_at,
        author=f"{author}@{raw.host}" if author else raw.host,
        url=plain(item.link) if item.link.startswith(("http://", "https://")) else "",
        tier=raw.tier,
    )


def _begun(cursor: str | None, url: str) -> Cursor:
    """What is known of the feed at this address: nothing when the operator has put another one there."""
    state = cursor_of(cursor, Cursor)
    return state if state.address.url == url else Cursor(Address(url))


async def _feed(response: Response, options: Options) -> Feed:
    try:
        return await feed_of(response.body, response.headers.get("content-type", ""), options.fallback_encoding)
    except SourceError as error:
        if error.reason == "not_a_feed":
            raise explained(response) from error
        raise SourceError(f"{response.url}: {error}", reason=error.reason) from error


def _mark(item: Item, known: str, options: Options, now: datetime) -> str:
    """What to remember of an item; an edit keeps when it was first seen."""
    first = known.partition(" ")[2]
    if not known and _written_at(item, options.zone, options.months, now) is None:
        first = now.isoformat(timespec="seconds")
    return f"{item.text_digest} {first}".strip()


def _first_seen_at(mark: str) -> datetime | None:
    return iso(mark.partition(" ")[2])


def _read(
    state: Cursor, feed: Feed, marks: dict[str, str], options: Options, response: Response, now: datetime
) -> Cursor:
    """After a document has been passed on. One that has only what is new (226) says nothing about the feed's rhythm."""
    others = {name: mark for name, mark in state.seen.items() if name not in marks}
    own = state.rhythm
    if options.adaptive and response.status != 226:
        dates = (_written_at(item, options.zone, options.months, now) for item in feed.items[:RHYTHM_OF])
        own = rhythm(date for date in dates if date is not None)
    return msgspec.structs.replace(
        state, ttl=feed.ttl, rhythm=own, seen=dict(list(others.items())[-REMEMBERED:]) | marks
    )


def _written_at(item: Item, zone: str, months: Months, now: datetime) -> datetime | None:
    """The first of its dates that can be read; None for one that is yet to come."""
    dates = (feed_date(date, zone, months) for date in item.dates)
    found = next((date for date in dates if date is not None), None)
    return found if found is None or found <= now + FUTURE else None
