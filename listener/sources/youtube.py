"""New videos of YouTube channels and playlists, by their feeds: title and the beginning of the description.

Feeds of sound channels answer 404 or 500 for hours now and then, so none is ever given up; a poll has failed only when
no feed could be read at all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import MalformedError
from listener.sources import _xml as xml
from listener.sources._conditional import Validators, ask
from listener.sources._dates import feed_date
from listener.sources._feed import digest
from listener.sources._json import cursor_of, encoded
from listener.sources._net import Net, Response
from listener.types import Delete, Post, Tier

CORROBORATES = True  # its silence is no deafness
AT_TIMES = (400, 404, 500, 502)  # what a sound feed answers in bad hours
REMEMBERED = 60  # videos of a feed, which shows fifteen
DESCRIPTION = 300  # characters; what follows is links
TITLE = 500  # characters; theirs have a hundred at most


@dataclass(frozen=True)
class Options:
    server: str = option("https://www.youtube.com", "address of YouTube")
    channels: tuple[str, ...] = option((), "channels by their id, which begins with UC")
    playlists: tuple[str, ...] = option((), "playlists by their id, which begins with PL or UU")
    every: timedelta = option(timedelta(minutes=15), "how often to ask for each feed")


@dataclass(frozen=True, slots=True)
class Raw:
    """A video as a feed has it."""

    id: str
    title: str
    description: str
    published: str
    channel: str
    link: str

    @property
    def mark(self) -> str:
        return digest(self.title, self.description[:DESCRIPTION])[:8]


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    validators: dict[str, Validators] = {}
    seen: dict[str, dict[str, str]] = {}  # feed -> video -> digest of its text, oldest first


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """Videos that are new or reworded, oldest first; after each feed that could be read a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    feeds = [f"channel_id={quote(name, safe='')}" for name in options.channels]
    feeds += [f"playlist_id={quote(name, safe='')}" for name in options.playlists]
    if not feeds:
        raise SourceError("no channel and no playlist is named", reason="no_feeds", permanent=True)
    while True:
        statuses: list[int] = []
        for feed in feeds:
            url = f"{options.server.rstrip('/')}/feeds/videos.xml?{feed}"
            response, validators = await ask(url, state.validators.get(feed, Validators()), net, accept=AT_TIMES)
            if response is not None and response.status in AT_TIMES:
                statuses.append(response.status)
            else:
                videos = _videos(response) if response is not None else []
                seen = dict(state.seen.get(feed, {}))
                for raw in reversed(videos):  # feeds begin with the newest
                    if seen.pop(raw.id, "") != raw.mark:
                        yield raw, None
                    seen[raw.id] = raw.mark
                state = _after(state, feeds, feed, validators, seen)
                yield None, encoded(state)
            if len(statuses) == len(feeds):
                raise SourceError(
                    f"no feed could be read: {url} answered {statuses[-1]}", reason=f"status_{statuses[-1]}"
                )
            await net.sleep(net.spread(options.every / len(feeds)))


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    """A post of a video. Its channel is the author."""
    if not raw.id or not raw.title:
        raise MalformedError("a video without an id or without a title")
    return Post(
        id=f"youtube:{raw.id}",
        source="youtube",
        text=f"{raw.title[:TITLE]}\n{_beginning(raw.description)}".strip(),
        created_at=min(feed_date(raw.published) or received_at, received_at),
        received_at=received_at,
        author=raw.channel,
        url=raw.link if raw.link.startswith("https://") else "",
        tier=Tier.PRESS,
    )


def _videos(response: Response) -> list[Raw]:
    return [
        Raw(
            id=xml.text(entry, "videoid") or xml.text(entry, "id").removeprefix("yt:video:"),
            title=xml.text(entry, "title"),
            description=xml.text(entry, "group", "description"),
            published=xml.text(entry, "published"),
            channel=xml.text(entry, "channelid") or xml.text(entry, "author", "name"),
            link=xml.attribute(entry, "href", "link"),
        )
        for entry in xml.children(xml.document(response, "feed"), "entry")
    ]


def _beginning(description: str) -> str:
    """Up to the limit, at the end of a word."""
    if len(description) <= DESCRIPTION:
        return description
    return description[:DESCRIPTION].rpartition(" ")[0].rstrip()


def _after(state: Cursor, feeds: list[str], feed: str, validators: Validators, seen: dict[str, str]) -> Cursor:
    known = {name: kept for name, kept in state.validators.items() if name in feeds}
    videos = {name: kept for name, kept in state.seen.items() if name in feeds}
    return replace(
        state,
        validators=known | {feed: validators},
        seen=videos | {feed: dict(list(seen.items())[-REMEMBERED:])},
    )
