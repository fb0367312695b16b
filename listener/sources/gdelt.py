"""News about outages from GDELT, which reads the world's press: one search, in one language, every quarter of an hour.

News is a quarter of an hour to an hour late here, so it corroborates and does not warn. GDELT searches the English
translation of every article: the words of a search are English, whatever the language of the articles looked for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import iso
from listener.sources._json import converted, cursor_of, encoded
from listener.sources._net import Net, Response
from listener.sources._text import collapse
from listener.types import Delete, Post, Tier

CORROBORATES = True  # its silence is no deafness
GAP = 6.5  # seconds between two requests: GDELT allows one in five, and refuses some that come after exactly five
LIMITED = 600.0  # seconds to leave the host alone after its notice, which names no time
MOST = 250  # articles in an answer
OVERLAP = timedelta(hours=1)  # an article shows up some time after the moment it is filed under
LONGEST_ABSENCE = timedelta(days=1)
REMEMBERED = 1_000  # articles

LANGUAGES = {
    "albanian": "sq", "bosnian": "bs", "bulgarian": "bg", "croatian": "hr", "english": "en", "greek": "el",
    "macedonian": "mk", "romanian": "ro", "serbian": "sr", "slovenian": "sl", "turkish": "tr",
}  # fmt: skip
COUNTRIES = {
    "albania": "AL", "bosnia-herzegovina": "BA", "bosnia and herzegovina": "BA", "bulgaria": "BG", "croatia": "HR",
    "greece": "GR", "kosovo": "XK", "macedonia": "MK", "north macedonia": "MK", "montenegro": "ME", "romania": "RO",
    "serbia": "RS", "slovenia": "SI", "turkey": "TR", "türkiye": "TR", "turkiye": "TR",
}  # fmt: skip
_NAMES = {code: name for name, code in LANGUAGES.items()}

# What GDELT says, with status 200, of a search it can't make sense of. Anything else that is not JSON is its limit.
_COMPLAINT = re.compile(
    r"too short|too long|surrounded by|parenthes[ei]s|invalid|unsupported|not supported", re.IGNORECASE
)
_PAIR = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # half of one is no character
_ESCAPE = re.compile(rf'\\(["\\/bfnrt]|{_PAIR}|u(?![dD][89a-fA-F])[0-9a-fA-F]{{4}})|\\')


@dataclass(frozen=True)
class Options:
    server: str = option("https://api.gdeltproject.org", "address of GDELT")
    query: str = option(
        "(instagram OR whatsapp OR facebook OR twitter OR tiktok OR youtube) "
        '(outage OR outages OR crashed OR inaccessible OR "went down" OR "is down" OR "not working" OR "access problem")',
        "what to search for, in English; words of three letters or more, quotes around phrases only",
    )
    language: str = option("", "only articles in this language, such as tr; empty = in any")
    every: timedelta = option(timedelta(minutes=15), "how often to ask; GDELT itself is renewed every 15 minutes")

    def __post_init__(self) -> None:
        if self.language and self.language not in _NAMES:
            raise ValueError(f"language {self.language!r} is none of {', '.join(sorted(_NAMES))}")

    @property
    def search(self) -> str:
        return f"{self.query} sourcelang:{_NAMES[self.language]}" if self.language else self.query


@dataclass(frozen=True, slots=True)
class Raw:
    """An article as GDELT lists it."""

    article: Any


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    polled_at: str = ""
    seen: list[str] = []  # digests of addresses, oldest first


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Gap | None, str | None], None]:
    """Articles that are new, oldest first; then, once a poll, a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    if not options.query.strip():
        raise SourceError("no search is named", reason="no_query", permanent=True)
    while True:
        started = net.now()
        since = min(iso(state.polled_at) or started, started)
        if started - since > LONGEST_ABSENCE:
            yield Gap(since, started - LONGEST_ABSENCE), None
            since = started - LONGEST_ABSENCE
        articles = await _articles(options, started - since + OVERLAP, net)
        known = set(state.seen)
        fresh = {key: article for article in reversed(articles) if (key := _key(article)) not in known}
        for article in fresh.values():
            yield Raw(article), None
        state = Cursor(started.isoformat(timespec="seconds"), [*state.seen, *fresh][-REMEMBERED:])
        yield None, encoded(state)
        await net.sleep(net.spread(options.every))


class _Article(msgspec.Struct):
    url: str
    title: str | None = ""
    seendate: str | None = ""
    domain: str | None = ""
    language: str | None = ""
    sourcecountry: str | None = ""


def parse(raw: Raw | Gap, received_at: datetime) -> Post | Delete | None:
    """A post of an article: its headline. Where its paper is says little of where the trouble is, yet more than nothing."""
    if isinstance(raw, Gap):
        return None
    article = converted(raw.article, _Article, "article")
    if not article.url.startswith(("http://", "https://")):
        raise MalformedError("an article without an address")
    language = LANGUAGES.get((article.language or "").casefold())
    return Post(
        id=f"gdelt:{article.url if len(article.url) <= 200 else _key(raw.article)}",
        source="gdelt",
        text=collapse(article.title or ""),
        created_at=min(iso(article.seendate or "") or received_at, received_at),
        received_at=received_at,
        author=article.domain or "",
        languages=(language,) if language else (),
        region=COUNTRIES.get((article.sourcecountry or "").casefold(), ""),
        url=article.url,
        tier=Tier.PRESS,
    )


async def _articles(options: Options, back: timedelta, net: Net) -> list[Any]:
    """What was filed within the time given, newest first."""
    query = {
        "query": options.search,
        "mode": "artlist",
        "format": "json",
        "timespan": f"{back // timedelta(minutes=1)}min",
        "maxrecords": MOST,
        "sort": "datedesc",
    }
    response = await net.get(f"{options.server.rstrip('/')}/api/v2/doc/doc?{urlencode(query)}", gap=GAP)
    text = response.body.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if not text.startswith("{"):
        raise _refused(response, " ".join(text[:200].split()), net)
    return _listed(response, text)


def _refused(response: Response, notice: str, net: Net) -> SourceError:
    """GDELT answers in words, and with status 200, when it is asked too often or not understood."""
    if _COMPLAINT.search(notice):
        return SourceError(f"GDELT can't make sense of the search: {notice}", reason="bad_query", permanent=True)
    net.cool_down(response.url, LIMITED)
    return SourceError(f"GDELT wants to be asked less: {notice}", reason="status_429", retry_after=LIMITED)


def _listed(response: Response, text: str) -> list[Any]:
    """Headlines hold stray control characters, and backslashes that escape nothing."""
    try:
        found = json.loads(_ESCAPE.sub(lambda match: match.group() if match.group(1) else "", text), strict=False)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{response.url}: {error}", reason="not_gdelt") from error
    articles = found.get("articles", [])
    if not isinstance(articles, list):
        raise SourceError(f"{response.url}: no list of articles", reason="not_gdelt")
    return articles


def _key(article: Any) -> str:
    address = article.get("url") if isinstance(article, dict) else None
    return hashlib.sha256(str(address or article).encode("utf-8", "surrogatepass")).hexdigest()[:12]
