"""Public hashtag timelines of one Mastodon server, polled without an account, or heard live with a user's token.

A server is asked first what it shows to whom. One that keeps hashtags to its users answers with an empty list, as if all
were quiet: then its RSS feeds are read, and if they are closed too, the source fails and says so.

Whose account asks not to be indexed (`noindex`) is left out altogether. Of those not `indexable`, as most are by default,
posts count and nothing leads back to them. What a bot posts counts as press: it passes on what others said. Content
warnings are read like any text, for people put them on trouble too; only posts marked sensitive under a tag of
`adult_tags` are left out. Polling does not hear of deletions, the stream does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from listener.errors import SourceError
from listener.kinds import Secret, option
from listener.sources import Gap
from listener.sources._dates import iso
from listener.sources._json import converted, cursor_of
from listener.sources._mastodon_feed import fed, post_of
from listener.sources._mastodon_server import INSTANCE_LASTS, ClosedError, Server
from listener.sources._mastodon_stream import Channel, Stream, opened, opened_at_once
from listener.sources._mastodon_timelines import Cursor, Fed, Gone, Heard, Raw, Reader, Timeline, everything, hashtags
from listener.sources._net import Net
from listener.sources._text import LONGEST, from_html, primary_languages
from listener.types import Delete, Post, PostKind, Tier

IDS_NAME_AUTHORS = True  # an address such as https://HOST/users/ana/statuses/1
MOST_CONNECTIONS = 4  # streams with a connection each; more of them share one
REFILL = timedelta(minutes=15)  # how often timelines are read while the stream is heard
LONGEST_BEAT = 60.0  # seconds between heartbeats of a stream with nothing to tell

_QUOTED = re.compile(r'<p class="quote-inline">.*?</p>', re.DOTALL)  # "RE: address", for programs that show no quotes


@dataclass(frozen=True)
class Options:
    server: str = option("https://mastodon.social", "address of the server")
    tags: tuple[str, ...] = option(
        ("instagramdown", "outage"),
        "hashtags, those in common use first; letters may be plain (coktu)",
    )
    public: Literal["", "local", "remote", "all"] = option(
        "", "also the whole public timeline: `local`, `remote` or `all` of it; for small servers"
    )
    every: timedelta = option(timedelta(minutes=2), "how often to ask for each tag")
    pause: timedelta = option(timedelta(seconds=10), "shortest time between two requests to the server")
    overlap: timedelta = option(timedelta(minutes=15), "how far to look back for posts that arrive late")
    adult_tags: tuple[str, ...] = option(
        ("nsfw", "porn", "nude", "nudes", "onlyfans", "sex", "xxx", "hentai", "lewd"),
        "a post marked sensitive that bears one of these is left out",
    )
    token: Secret = option(Secret(""), "access token of a user there; with one, hashtags are heard live")
    stream: Literal["auto", "sse", "websocket"] = option(
        "auto", "how to listen live: a connection a tag (`sse`), or one for all; `auto` is `sse` up to 4 tags"
    )
    silence: timedelta = option(timedelta(seconds=45), "silence of an `sse` stream that makes us connect anew")


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[Heard, None]:
    """New, edited and, live, deleted posts; a heartbeat with the new cursor after each timeline read."""
    tags = tuple(dict.fromkeys(name for tag in options.tags if (name := tag.strip().lstrip("#"))))
    names = [*tags, *([f"@{options.public}"] if options.public else [])]
    if not names:
        raise SourceError("no hashtag is named", reason="no_tags", permanent=True)
    server = Server(options.server.rstrip("/"), net, options.token, options.pause)
    adult_tags = frozenset(tag.lower() for tag in options.adult_tags)
    reader = Reader(server, cursor_of(cursor, Cursor), names, options.overlap, adult_tags)
    while True:
        was_open = True
        try:
            if _is_stale(reader):
                reader.instance = await server.instance()
                if tags and (scope := reader.hashtag_scope) is not None:
                    reader.lead = await reader.find_lead(tags, scope)
            was_open = reader.hashtag_scope is not None
            for way in _ways(options, reader, tags):
                async with aclosing(way) as heard:
                    async for one in heard:
                        yield one
        except ClosedError:
            if not was_open or reader.hashtag_scope is not None:
                raise  # else it was hashtags, and their feeds are left to try


def _ways(options: Options, reader: Reader, tags: Sequence[str]) -> list[AsyncGenerator[Heard, None]]:
    """One round of all that is wanted; live, it has no end for a day."""
    scope, timelines = reader.hashtag_scope, list[Timeline]()
    if tags and scope is not None:
        timelines += hashtags(tags, reader.lead, scope)
    if options.public:
        timelines.append(everything(options.public, reader.instance.live, reader.server))
    if options.token and timelines:
        if tags and scope is None:
            raise ClosedError(f"{reader.server.address} shows hashtags to nobody; leave out `tags`")
        return [_live(options, reader, timelines, tags)]
    ways = [reader.round(timelines, options.every)] if timelines else []
    return ways if scope is not None or not tags else [*ways, fed(reader, tags, options.every)]


async def _live(
    options: Options, reader: Reader, timelines: Sequence[Timeline], tags: Sequence[str]
) -> AsyncGenerator[Heard, None]:
    """First the stream is opened, then what was missed is read, then what waits in the stream is told.

    Timelines are read again now and then: a sign of life only says that the server's front door is open.
    """
    net, beat = reader.server.net, min(LONGEST_BEAT, options.every.total_seconds())
    filled_at: datetime | None = None
    told_at = net.now()
    async with _opened(options, reader, tags) as stream:
        while True:
            if reader.behind or filled_at is None or net.now() - filled_at >= REFILL:
                if _is_stale(reader):
                    return
                filled_at = net.now()
                async with aclosing(reader.round(timelines, timedelta(0))) as heard:
                    async for one in heard:
                        yield one
                continue
            event = await stream.next(beat)
            raw = reader.told(event.name, event.data) if event is not None else None
            if raw is None and event is not None and (net.now() - told_at).total_seconds() < beat:
                continue
            reader.heard_all()
            told_at = net.now()
            yield raw, reader.cursor()


def _opened(options: Options, reader: Reader, tags: Sequence[str]) -> AbstractAsyncContextManager[Stream]:
    server, suffix = reader.server, ":local" if "local" in (reader.hashtag_scope or {}) else ""
    channels = [Channel(f"hashtag{suffix}", tag) for tag in tags]
    if options.public:
        channels.append(Channel("public" if options.public == "all" else f"public:{options.public}"))
    address, silence = reader.instance.streaming or server.address, options.silence.total_seconds()
    if options.stream == "sse" or (options.stream == "auto" and len(channels) <= MOST_CONNECTIONS):
        return opened(address, channels, server.authorization, server.net, silence=silence)
    return opened_at_once(address, channels, server.authorization, server.net)


def _is_stale(reader: Reader) -> bool:
    asked_at = iso(reader.instance.asked_at)
    return asked_at is None or reader.server.net.now() - asked_at > INSTANCE_LASTS


class _Account(msgspec.Struct):
    acct: str = ""
    bot: bool | None = False
    noindex: bool | None = False
    indexable: bool | None = True


class _Named(msgspec.Struct):
    name: str = ""


class _Card(msgspec.Struct):
    title: str | None = ""


class _Status(msgspec.Struct):
    uri: str
    account: _Account
    created_at: str = ""
    content: str | None = ""
    spoiler_text: str | None = ""
    sensitive: bool | None = False
    url: str | None = None
    language: str | None = None
    visibility: str = "public"
    in_reply_to_id: Any = None
    reblog: dict[str, Any] | None = None
    quote: Any = None
    tags: list[_Named] | None = None
    card: _Card | None = None


def parse(raw: Raw | Gone | Fed | Gap, received_at: datetime) -> Post | Delete | None:
    """A post of a status; a boost carries the text of what it boosts. What is not public is None."""
    if isinstance(raw, Gap):
        return None
    if isinstance(raw, Gone):
        return Delete(source="mastodon", at=received_at, post_id=f"mastodon:{raw.uri}")
    if isinstance(raw, Fed):
        return post_of(raw.item, received_at)
    status = converted(raw.status, _Status, "status")
    said = converted(status.reblog, _Status, "boosted status") if status.reblog else status
    if not all(_may_be_kept(one, raw.adult_tags) for one in (status, said)):
        return None
    acct, may_be_found = status.account.acct, all(one.account.indexable is not False for one in (status, said))
    return Post(
        id=f"mastodon:{status.uri}",
        source="mastodon",
        text=_text(said),
        created_at=min(iso(status.created_at) or received_at, received_at),
        received_at=received_at,
        author=acct if "@" in acct or not acct else f"{acct}@{raw.server}",
        kind=_kind(status),
        languages=primary_languages([said.language]),
        url=status.url or "" if may_be_found else "",
        tier=Tier.PRESS if status.account.bot else Tier.PERSON,
    )


def _may_be_kept(status: _Status, adult_tags: frozenset[str]) -> bool:
    """Public, of someone who does not ask to be left alone, and not adult."""
    is_adult = status.sensitive and not adult_tags.isdisjoint(tag.name.lower() for tag in status.tags or [])
    return status.visibility in ("public", "unlisted") and not status.account.noindex and not is_adult


def _text(status: _Status) -> str:
    """The warning, the text, and the title of the page it links to, unless the text repeats it."""
    warning, said = from_html(status.spoiler_text or ""), from_html(_QUOTED.sub("", (status.content or "")[:LONGEST]))
    title = from_html((status.card.title if status.card else "") or "")[:300]
    return "\n".join(part for part in (warning, said, "" if title in said else title) if part)


def _kind(status: _Status) -> PostKind:
    if status.reblog:
        return PostKind.REPOST
    if status.in_reply_to_id:
        return PostKind.REPLY
    return PostKind.QUOTE if status.quote else PostKind.POST
