"""Stories and comments of Hacker News that have a word in them, through Algolia's open search.

The index lags behind the site and items can be edited for two hours, so each poll looks back, and the cursor remembers what
of that time has been passed on. Pages are walked back in time, not by number: new items would shift the numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net
from listener.sources._text import from_html
from listener.types import Delete, Post, PostKind

PAGE = 100
PAGES = 50  # of one query in one poll
LONGEST_ABSENCE = timedelta(hours=24)
LONGEST_TEXT = 4_000
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Options:
    server: str = option("https://hn.algolia.com", "address of the search")
    queries: tuple[str, ...] = option(("instagram", "whatsapp"), "what to search for; all words of one must occur")
    comments: bool = option(True, "comments as well as stories")
    every: timedelta = option(timedelta(minutes=5), "how often to ask for each query")
    overlap: timedelta = option(timedelta(hours=2), "how far to look back for what is indexed or edited late")


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    polled: dict[str, int] = {}  # query -> up to when it has been read, in seconds
    seen: dict[str, tuple[int, str]] = {}  # item -> when it was written, and a digest of its text


class _Answer(msgspec.Struct):
    hits: list[dict[str, Any]]


class _Hit(msgspec.Struct):
    object_id: str = msgspec.field(name="objectID")
    created_at_i: int
    author: str | None = ""
    title: str | None = None
    comment_text: str | None = None
    story_text: str | None = None


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[dict[str, Any] | Gap | None, str | None], None]:
    """New and edited hits of each query, newest first; after each query a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    overlap = options.overlap // SECOND
    if not options.queries:
        raise SourceError("no query is named", reason="no_query", permanent=True)
    while True:
        for query in options.queries:
            started = _seconds(net.now())
            since = state.polled.get(query, started)
            if started - since > LONGEST_ABSENCE // SECOND:
                oldest = started - LONGEST_ABSENCE // SECOND
                yield Gap(_instant(since), _instant(oldest)), None
                since = oldest
            seen, before = dict(state.seen), started + LONGEST_ABSENCE // SECOND
            for page in range(PAGES):
                hits = await _page(options, query, since - overlap, before, net)
                for hit in hits:
                    key, mark = str(hit.get("objectID")), (_written(hit, before), _digest(hit))
                    if seen.get(key) != mark:
                        seen[key] = mark
                        yield hit, None
                if len(hits) < PAGE:
                    break
                before = min(*(_written(hit, before) for hit in hits), before - 1)
                if page == PAGES - 1:
                    yield Gap(_instant(since - overlap), _instant(before)), None
            state = _advanced(state, options, query, started, seen)
            yield None, encoded(state)
            await net.sleep(net.spread(options.every / len(options.queries)))


def parse(raw: dict[str, Any] | Gap, received_at: datetime) -> Post | Delete | None:
    """A story's title and text, or a comment. What has no text any more is None."""
    if isinstance(raw, Gap):
        return None
    hit = converted(raw, _Hit, "hit")
    text = "\n".join(
        part for part in map(from_html, (hit.title or "", hit.comment_text or hit.story_text or "")) if part
    )
    if not text:
        return None
    return Post(
        id=f"hackernews:{hit.object_id}",
        source="hackernews",
        text=text[:LONGEST_TEXT],
        created_at=min(_instant(hit.created_at_i), received_at),
        received_at=received_at,
        author=hit.author or "",
        kind=PostKind.REPLY if hit.comment_text else PostKind.POST,
        url=f"https://news.ycombinator.com/item?id={hit.object_id}",
    )


async def _page(options: Options, query: str, since: int, before: int, net: Net) -> list[dict[str, Any]]:
    """The newest hits written within two instants, the second included: a page may end amidst a second."""
    asked = {
        "query": query,
        "tags": "(story,comment)" if options.comments else "story",
        "numericFilters": f"created_at_i>{since},created_at_i<={before}",
        "hitsPerPage": PAGE,
    }
    response = await net.get(f"{options.server.rstrip('/')}/api/v1/search_by_date?{urlencode(asked)}")
    try:
        return decoded(response.body, _Answer, response.url).hits
    except MalformedError as error:
        raise SourceError(str(error), reason="not_algolia") from error


def _advanced(state: Cursor, options: Options, query: str, until: int, seen: dict[str, tuple[int, str]]) -> Cursor:
    """The query is read up to then; what no query will be asked for again is forgotten."""
    polled = {name: at for name, at in (state.polled | {query: until}).items() if name in options.queries}
    oldest = min(polled.values()) - options.overlap // SECOND - 60
    return Cursor(polled, {key: mark for key, mark in seen.items() if mark[0] >= oldest})


def _written(hit: dict[str, Any], otherwise: int) -> int:
    at = hit.get("created_at_i")
    return at if isinstance(at, int) else otherwise


def _digest(hit: dict[str, Any]) -> str:
    text = "\0".join(str(hit.get(name) or "") for name in ("title", "comment_text", "story_text"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _instant(seconds: int) -> datetime:
    """What can be no date becomes the nearest that can: 1970 is never news, and the far future is now."""
    return EPOCH + max(0, min(seconds, 2**36)) * SECOND


def _seconds(at: datetime) -> int:
    return (at - EPOCH) // SECOND
