"""News search of Google News, as its feed of one edition gives it; off unless the operator accepts what Google says of it.

Google answers in another edition when it has none for a country, without saying so, which would count that country's news
for this one: so the edition that came back is looked at first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import MalformedError
from listener.sources import _xml as xml
from listener.sources._conditional import Validators, ask
from listener.sources._dates import EPOCH, feed_date
from listener.sources._feed import digest
from listener.sources._json import cursor_of, encoded
from listener.sources._net import Net, Response
from listener.sources._text import primary_languages
from listener.types import Delete, Post, Tier

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CORROBORATES = True  # its silence is no deafness
TERMS = (
    "Every Google News feed carries a note that it is meant for a personal feed reader and for personal, non-commercial "
    "use, and that any other use is prohibited. Google's robots.txt asks programs to stay away from /rss. Turn this source "
    "on only if your use is within that note, and keep it slow."
)

REMEMBERED = 300  # items beyond those of the last answer, which come and go
FUTURE = timedelta(minutes=10)
LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class Options:
    accept_terms: bool = option(False, "you have read what Google says of its feeds (listener shows it) and keep to it")
    server: str = option("https://news.google.com", "address of Google News")
    queries: tuple[str, ...] = option(
        ("instagram when:1h",), "searches, with Google's operators: quotes, OR, -, when:1h"
    )
    language: str = option("tr", "language of the edition")
    country: str = option("TR", "country of the edition, in two letters")
    every: timedelta = option(timedelta(minutes=15), "how often to ask for each search")


@dataclass(frozen=True, slots=True)
class Raw:
    """A headline as the feed has it."""

    guid: str
    title: str
    publisher: str
    date: str
    link: str
    language: str

    @property
    def key(self) -> str:
        return digest(self.guid)[:12]


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    validators: dict[str, Validators] = {}
    seen: dict[str, str] = {}  # headline -> digest of its text, oldest first


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """Headlines that are new or reworded, oldest first; after each search a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    if not options.queries:
        raise SourceError("no search is named", reason="no_queries", permanent=True)
    while True:
        for query in options.queries:
            url = _url(query, options)
            response, validators = await ask(url, state.validators.get(query, Validators()), net)
            found = _headlines(response, options) if response is not None else []
            fresh = [raw for raw in found if state.seen.get(raw.key) != digest(raw.title)[:8]]
            for raw in sorted(fresh, key=lambda raw: feed_date(raw.date) or EPOCH):  # the feed has its own order
                yield raw, None
            state = _after(state, options, query, validators, found)
            yield None, encoded(state)
            await net.sleep(net.spread(options.every / len(options.queries)))


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    """A post of a headline. What the feed calls a description is the headline again, so it is left out."""
    title = raw.title
    if raw.publisher:
        title = f" {title}".removesuffix(f" - {raw.publisher}").strip()
    if not title or not raw.guid:
        raise MalformedError("a headline without words or without a guid")
    created_at = feed_date(raw.date) or received_at
    return Post(
        id=f"googlenews:{raw.guid if len(raw.guid) <= 200 else digest(raw.guid)}",
        source="googlenews",
        text=title[:LONGEST_TEXT],
        created_at=created_at if created_at <= received_at + FUTURE else received_at,
        received_at=received_at,
        author=raw.publisher[:200],
        languages=primary_languages([raw.language]),
        url=raw.link if raw.link.startswith("https://") else "",
        tier=Tier.PRESS,
    )


def _url(query: str, options: Options) -> str:
    edition = {"hl": options.language, "gl": options.country, "ceid": f"{options.country}:{options.language}"}
    return f"{options.server.rstrip('/')}/rss/search?{urlencode({'q': query, **edition})}"


def _headlines(response: Response, options: Options) -> list[Raw]:
    root = xml.document(response, "rss")
    _check_edition(root, options)
    return [
        Raw(
            guid=xml.text(item, "guid") or xml.text(item, "link"),
            title=xml.text(item, "title"),
            publisher=xml.text(item, "source"),
            date=xml.text(item, "pubdate"),
            link=xml.text(item, "link"),
            language=options.language,
        )
        for item in xml.children(root, "channel", "item")
    ]


def _check_edition(root: Element, options: Options) -> None:
    """Raise `SourceError` unless the answer is of the edition asked for, by its link, else by its language."""
    link = parse_qs(urlsplit(xml.text(root, "channel", "link")).query)
    country, _, language = next(iter(link.get("ceid", [])), "").partition(":")
    came = (country or next(iter(link.get("gl", [])), ""), language or xml.text(root, "channel", "language"))
    if came == ("", ""):
        raise SourceError("the answer does not say of which edition it is", reason="not_a_feed")
    is_country = came[0].upper() in ("", options.country.upper())
    is_language = primary_languages([came[1]]) in ((), primary_languages([options.language]))
    if not (is_country and is_language):
        asked = f"{options.country}:{options.language}"
        raise SourceError(
            f"asked for the edition {asked}, Google News answered in {':'.join(came)!r}: it has none for {asked}",
            reason="other_edition",
            permanent=True,
        )


def _after(state: Cursor, options: Options, query: str, validators: Validators, found: list[Raw]) -> Cursor:
    here = {raw.key: digest(raw.title)[:8] for raw in found}
    before = {key: mark for key, mark in state.seen.items() if key not in here}
    kept = {name: known for name, known in state.validators.items() if name in options.queries}
    room = REMEMBERED * len(options.queries)
    return Cursor(kept | {query: validators}, dict(list(before.items())[-room:]) | here)
