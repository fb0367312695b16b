"""Reddit: posts and comments of subreddits, from feeds without an account or, with an app's id and secret, from the API.

Feeds give one request a minute to an address, whatever is asked, so all subreddits share one request, and several sources
one queue. What Reddit refuses is left alone for long, restarts included: an hour after a 403, doubling to a day.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret, option
from listener.sources import Gap, Memo
from listener.sources._dates import EPOCH, feed_date
from listener.sources._feed import Item, digest, feed_of
from listener.sources._json import converted, cursor_of, encoded
from listener.sources._net import Net
from listener.sources._reddit_site import PAGE, Site, Standing, seconds
from listener.sources._text import collapse, from_html
from listener.types import Delete, Post, PostKind

TERMS = (
    "Reddit's robots.txt shuts everyone out and its Responsible Builder Policy asks that any automatic reading, feeds "
    "included, be approved by Reddit first; since November 2025 new API keys are given by hand. Its Data API Terms ask that "
    "what users delete be deleted here too, so keep [privacy] retention short."
)

PAGES = 10  # of one listing in one poll, from the API
FULL = 25  # entries of a feed that may have had more to tell
ANCHORS = 5  # posts to go on from: any of them may be deleted
REMEMBERED = 500
LONGEST_TEXT = 4_000
ERASED = frozenset({"[deleted]", "[removed]"})
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Options:
    server: str = option("https://www.reddit.com", "address of the feeds, and of the API's tokens")
    api: str = option("https://oauth.reddit.com", "address of the API")
    accept_terms: bool = option(False, "you have read the terms of this source and keep to them")
    subreddits: tuple[str, ...] = option(("Instagram", "facebook", "whatsapp"), "subreddits, all in one request")
    query: str = option("", "only posts that match this search; without subreddits, of all Reddit")
    comments: bool = option(False, "comments of the subreddits too: one more request")
    user: str = option("", "your Reddit name, for the User-Agent that Reddit asks for")
    client_id: Secret = option(Secret(""), "id of your app: the API is asked instead of feeds")
    client_secret: Secret = option(Secret(""), "secret of your app")
    every: timedelta = option(timedelta(minutes=5), "how often to ask")


@dataclass(frozen=True, slots=True)
class Raw:
    """An entry of a feed, or a thing of the API, as it was given."""

    entry: Item | None = None
    thing: dict[str, Any] | None = None


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    seen: dict[str, str] = {}  # entry or thing -> digest of its text, oldest first
    anchors: dict[str, list[str]] = {}  # listing of the API -> its newest things, newest first
    read_at: dict[str, int] = {}  # listing -> when it was last read, in seconds
    standing: Standing = Standing()


class _Thing(msgspec.Struct):
    name: str
    created_utc: float
    title: str = ""
    selftext: str = ""
    body: str = ""
    author: str | None = None
    permalink: str = ""
    over_18: bool = False
    removed_by_category: str | None = None
    crosspost_parent: str | None = None


_Items = AsyncGenerator[tuple[Raw | Gap | Memo | None, str | None], None]


async def posts(options: Options, cursor: str | None, net: Net) -> _Items:
    """New entries or things, oldest first, and a heartbeat after each listing; a `Memo` when Reddit wants to be left alone."""
    if not options.subreddits and not options.query:
        raise SourceError("no subreddit and no query is named", reason="no_query", permanent=True)
    state = cursor_of(cursor, Cursor)
    where = (options.server, options.api, options.user, options.client_id, options.client_secret)
    reader = _Reader(options, net, Site(*where, net, state.standing), state)
    reader.site.check_parked()
    try:
        async with aclosing(reader.things() if options.client_id else reader.entries()) as items:
            async for item in items:
                yield item
    except SourceError:
        if reader.site.is_parked:
            yield Memo(), reader.cursor()
        raise


def parse(raw: Raw | Gap | Memo, received_at: datetime) -> Post | Delete | None:
    """A post or a comment; that one was removed; None for subreddits found by a search, and for adult posts."""
    if isinstance(raw, Gap | Memo):
        return None
    if raw.entry is not None:
        return _of_entry(raw.entry, received_at)
    thing = converted(raw.thing, _Thing, "thing")
    if thing.over_18:
        return None
    at = min(_instant(thing.created_utc), received_at)
    texts = (thing.title, thing.body or thing.selftext)
    if thing.removed_by_category or texts[1].strip() in ERASED:
        return Delete(source="reddit", at=received_at, post_id=f"reddit:{thing.name}")
    link = f"https://www.reddit.com{thing.permalink}" if thing.permalink else ""
    made = _post(thing.name, texts, thing.author or "", link, at, received_at)
    return replace(made, kind=PostKind.REPOST) if thing.crosspost_parent else made


def _of_entry(entry: Item, received_at: datetime) -> Post | Delete | None:
    name = entry.id.partition(" ")[0]
    if not name.startswith(("t1_", "t3_")):
        return None
    body = from_html(_own(entry.summary))
    if body in ERASED:
        return Delete(source="reddit", at=received_at, post_id=f"reddit:{name}")
    dates = (feed_date(date) for date in entry.dates)
    at = min(next((date for date in dates if date is not None), received_at), received_at)
    title = "" if name.startswith("t1_") else entry.title  # a comment's repeats the post's
    return _post(name, (title, body), entry.author, entry.link, at, received_at)


def _post(
    name: str, texts: tuple[str, str], author: str, url: str, created_at: datetime, received_at: datetime
) -> Post:
    author = author.removeprefix("/u/")
    return Post(
        id=f"reddit:{name}",
        source="reddit",
        text="\n".join(text for text in map(collapse, texts) if text)[:LONGEST_TEXT],
        created_at=created_at,
        received_at=received_at,
        author="" if author in ERASED else author,
        kind=PostKind.REPLY if name.startswith("t1_") else PostKind.POST,
        url=url,
    )


def _own(summary: str) -> str:
    """What the writer wrote: it stands between two marks, and after it who submitted it, and where."""
    text, mark, _ = summary.rpartition("<!-- SC_ON -->")
    return text if mark else summary.rpartition("submitted by")[0] or summary * ("submitted by" not in summary)


@dataclass
class _Reader:
    options: Options
    net: Net
    site: Site
    state: Cursor

    def cursor(self) -> str:
        return encoded(msgspec.structs.replace(self.state, standing=self.site.standing))

    async def entries(self) -> _Items:
        """Of feeds."""
        while True:
            for listing, path in _listings(self.options, ".rss"):
                response = await self.site.feed(path)
                feed = await feed_of(response.body, response.headers.get("content-type", ""))
                known = self.state.seen
                fresh = [entry for entry in feed.items if known.get(entry.key) != entry.text_digest]
                if len(fresh) == len(feed.items) >= FULL and (gap := self._missed(listing, _dates(fresh))):
                    yield gap, None
                for entry in reversed(fresh):
                    yield Raw(entry), None
                self._read(listing, {entry.key: entry.text_digest for entry in reversed(feed.items)})
                yield None, self.cursor()
            await self._pause()

    async def things(self) -> _Items:
        """Of the API."""
        while True:
            for listing, path in _listings(self.options, ""):
                async with aclosing(self._listed(listing, path)) as items:
                    async for item in items:
                        yield item
            await self._pause()

    async def _listed(self, listing: str, path: str) -> _Items:
        """What follows the newest thing we know that still stands: after a deleted one there is never anything."""
        anchors, things = self.state.anchors.get(listing, []), list[dict[str, Any]]()
        for n, anchor in enumerate(anchors):
            if things := await self.site.page(path, anchor):
                anchors = anchors[n:]
                break
        else:
            things = await self.site.page(path, "")
            if len(things) == PAGE and (gap := self._missed(listing, _created(things))):
                yield gap, None
            anchors = []
        for _ in range(PAGES):
            for thing in reversed(things):
                if self.state.seen.get(_name(thing)) != _digest(thing):
                    yield Raw(thing=thing), None
            anchors = list(dict.fromkeys([*filter(None, map(_name, things)), *anchors]))[:ANCHORS]
            self.state = msgspec.structs.replace(self.state, anchors={**self.state.anchors, listing: anchors})
            self._read(listing, {_name(thing): _digest(thing) for thing in reversed(things)})
            yield None, self.cursor()
            if len(things) < PAGE:
                break
            things = await self.site.page(path, anchors[0])

    async def _pause(self) -> None:
        await self.net.sleep(max(self.net.spread(self.options.every), self.site.used_up))

    def _read(self, listing: str, here: dict[str, str]) -> None:
        before = {key: text for key, text in self.state.seen.items() if key not in here}
        self.state = msgspec.structs.replace(
            self.state,
            seen=dict(list(before.items())[-REMEMBERED:]) | here,
            read_at={**self.state.read_at, listing: seconds(self.net.now())},
        )

    def _missed(self, listing: str, dates: list[datetime]) -> Gap | None:
        """All that was given is new: what lies between is lost."""
        since = EPOCH + self.state.read_at.get(listing, 2**33) * SECOND
        return Gap(since, min(dates)) if dates and since < min(dates) else None


def _listings(options: Options, suffix: str) -> list[tuple[str, str]]:
    """Names and paths; what is asked for every time is in them already."""
    joined = "/r/" + "+".join(quote(name, safe="") for name in options.subreddits) if options.subreddits else ""
    if options.query:
        asked = {"q": options.query, "sort": "new", "t": "day"} | ({"restrict_sr": "on"} if joined else {})
        found = [("search", f"{joined}/search{suffix}?{urlencode(asked)}&")]
    else:
        found = [("new", f"{joined}/new{suffix and '/' + suffix}?")]
    comments = [("comments", f"{joined}/comments{suffix and '/' + suffix}?")] if options.comments and joined else []
    return found + comments


def _name(thing: dict[str, Any]) -> str:
    return str(thing.get("name") or "")


def _digest(thing: dict[str, Any]) -> str:
    return digest(*(str(thing.get(name) or "") for name in ("title", "selftext", "body")))[:8]


def _dates(entries: list[Item]) -> list[datetime]:
    return [date for entry in entries if entry.dates and (date := feed_date(entry.dates[0]))]


def _created(things: list[dict[str, Any]]) -> list[datetime]:
    return [_instant(at) for thing in things if isinstance(at := thing.get("created_utc"), int | float)]


def _instant(seconds: float) -> datetime:
    """What can be no date becomes the nearest that can: 1970 is never news, and the far future is now."""
    return EPOCH + max(0, min(seconds, 2**36)) * SECOND
