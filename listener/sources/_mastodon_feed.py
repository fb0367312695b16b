"""Hashtag feeds, for servers whose JSON is for users only: the twenty newest posts, with neither author nor language."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

from listener.errors import SourceError
from listener.sources import Gap
from listener.sources._dates import EPOCH, feed_date
from listener.sources._feed import Item, feed_of
from listener.sources._mastodon_server import REFUSED, ClosedError
from listener.sources._mastodon_timelines import MILLISECOND, Fed, Heard, Reader, as_ms
from listener.sources._net import Response
from listener.sources._text import from_html
from listener.types import Post

FULL = 20  # items a feed has when there are more

_ADDRESS = re.compile(r"https?://(?P<host>[^/]+)/@(?P<name>[^/@]+)(?:@(?P<home>[^/@]+))?/\d+$")


async def fed(reader: Reader, tags: Sequence[str], every: timedelta) -> AsyncGenerator[Heard, None]:
    """The feed of each tag once. A server that has nothing in any of them is closed, so nothing counts as heard before."""
    net, is_open = reader.server.net, False
    for tag in tags:
        begun = net.now()
        items = await _items(reader, tag)
        is_open = is_open or bool(items)
        known: dict[str, str] = {}
        for marks in reader.fed.values():
            known |= marks
        fresh = [item for item in items if known.get(item.key) != item.text_digest]
        if (gap := _gap(reader, tag, items, fresh)) is not None:
            yield gap, None
        for item in reversed(fresh):  # feeds begin with the newest
            yield Fed(item), None
        if is_open:
            reader.fed[tag] = {item.key: item.text_digest for item in items}
            reader.polled[tag] = as_ms(begun)
            yield None, reader.cursor()
        share = net.spread(every / len(tags)) - (net.now() - begun).total_seconds()
        if share > 0:
            await net.sleep(share)
    if not is_open:
        raise ClosedError(f"{reader.server.address} shows hashtags to its users only, and its feeds are empty")


def post_of(item: Item, received_at: datetime) -> Post:
    """The author is taken from the address, which has their name where Mastodon wrote it."""
    found = _ADDRESS.match(item.link)
    dates = (feed_date(date) for date in item.dates)
    return Post(
        id=f"mastodon:{item.id}",
        source="mastodon",
        text=from_html(item.summary),
        created_at=min(next((date for date in dates if date is not None), received_at), received_at),
        received_at=received_at,
        author=f"{found['name']}@{found['home'] or found['host']}" if found else "",
        url=item.link if item.link.startswith(("http://", "https://")) else "",
    )


async def _items(reader: Reader, tag: str) -> tuple[Item, ...]:
    """Newest first. A tag nobody has used yet has none."""
    address = reader.server.address
    response = await reader.server.get(f"/tags/{quote(tag, safe='')}.rss", accept=(404, *REFUSED), anonymous=True)
    if response.status in REFUSED:
        raise ClosedError(f"{address} shows hashtags to its users only, and their feeds as well")
    return () if response.status == 404 else await _read(response, address)


async def _read(response: Response, address: str) -> tuple[Item, ...]:
    try:
        return (await feed_of(response.body, response.headers.get("content-type", ""))).items
    except SourceError as error:
        if error.reason == "not_a_feed":  # a page to log in at
            raise ClosedError(f"{address} shows hashtags to its users only, and has no feeds of them") from error
        raise SourceError(f"{response.url}: {error}", reason=error.reason) from error


def _gap(reader: Reader, tag: str, items: Sequence[Item], fresh: Sequence[Item]) -> Gap | None:
    """A full feed without anything we knew: what lies between was pushed out of it."""
    if not reader.fed.get(tag) or len(items) < FULL or len(fresh) < len(items) or tag not in reader.polled:
        return None
    since = EPOCH + reader.polled[tag] * MILLISECOND
    until = feed_date(items[-1].dates[0]) if items[-1].dates else None
    return Gap(since, until) if until is not None and until > since else None
