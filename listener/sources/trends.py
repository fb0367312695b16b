"""What people of one country suddenly search for: Google's feed of trending searches.

The feed shows some ten searches, so an outage that is not among them says nothing; one that is corroborates. It is not
documented, and does not know every country.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import MalformedError
from listener.sources import _xml as xml
from listener.sources._conditional import Validators, ask
from listener.sources._dates import feed_date
from listener.sources._json import cursor_of, encoded
from listener.sources._net import Net, Response
from listener.sources._text import from_html
from listener.types import Delete, Post, Tier

CORROBORATES = True  # its silence is no deafness
SHORTEST = timedelta(minutes=15)
REMEMBERED = 200  # trends
LONGEST_TEXT = 2_000

# How a thousand and a million are shortened where we listen, by their first letters. A Turkish b is bin, never billion.
_TIMES = {
    **dict.fromkeys(("k", "b", "bin", "mii", "mij", "tis", "tys", "тис", "хил", "χιλ", "хиљ", "илј"), 1_000),
    **dict.fromkeys(("m", "mn", "mio", "mil", "mln", "млн", "мил", "εκ"), 1_000_000),
}
_TRAFFIC = re.compile(r"(\d[\d.,' \u00a0\u202f]*)\s*([^\W\d_]*)")


@dataclass(frozen=True)
class Options:
    server: str = option("https://trends.google.com", "address of Google Trends")
    geo: str = option("TR", "country, in two letters")
    least: int = option(0, "leave out what fewer people searched for; 0 = nothing")
    every: timedelta = option(timedelta(minutes=30), "how often to ask, at most every 15 minutes")


@dataclass(frozen=True, slots=True)
class Raw:
    """A trending search as the feed has it, and what is needed to read it."""

    geo: str
    title: str
    started: str
    traffic: str
    link: str
    news: tuple[str, ...]  # headlines
    least: int = 0

    @property
    def key(self) -> str:
        """There is no guid and all share one link: a trend is its country, its words and when it began."""
        when = feed_date(self.started)
        return f"{self.geo}:{' '.join(self.title.casefold().split())}:{when.isoformat() if when else self.started}"


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    validators: Validators = Validators()
    seen: dict[str, str] = {}  # trend -> digest of its text, oldest first


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """Trends that are new or about which there is other news; then, once a poll, a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    url = f"{options.server.rstrip('/')}/trending/rss?geo={quote(options.geo)}"
    while True:
        answer, validators = await ask(url, state.validators, net, accept=(400, 404, 410, 422))
        if answer is not None:
            found = {_digest(raw.key): raw for raw in _trends(answer, options)} if answer.status < 300 else {}
            if not found:
                raise _nothing(options.geo, is_known=bool(state.seen))
            texts = {key: _digest(raw.title, *raw.news) for key, raw in found.items()}
            for key, raw in found.items():
                if state.seen.get(key) != texts[key]:
                    yield raw, None
            before = [(key, text) for key, text in state.seen.items() if key not in texts]
            state = Cursor(validators, {**dict(before[-REMEMBERED:]), **texts})
        yield None, encoded(state)
        await net.sleep(net.spread(max(options.every, SHORTEST)))


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    """A post of a trend: what is searched for, then the headlines about it. None when too few search for it."""
    title = from_html(raw.title)
    if not title:
        raise MalformedError("a trend without words")
    many = traffic(raw.traffic)
    if many is not None and many < raw.least:
        return None
    name = raw.key if len(raw.key) <= 200 else f"{raw.geo}:{_digest(raw.key)}"
    return Post(
        id=f"trends:{name}",
        source="trends",
        text="\n".join(dict.fromkeys(line for line in (title, *map(from_html, raw.news)) if line))[:LONGEST_TEXT],
        created_at=min(feed_date(raw.started) or received_at, received_at),
        received_at=received_at,
        url=raw.link if raw.link.startswith("https://") else "",
        tier=Tier.MEASURED,
    )


def traffic(text: str) -> int | None:
    """About how many searches: `2000+`, `20,000+`, `2.5M+` or what a language makes of it; None when that is unclear.

    >>> traffic("20.000+"), traffic("2,5 mln+"), traffic("200 B+"), traffic("çok")
    (20000, 2500000, 200000, None)
    """
    found = _TRAFFIC.search(text)
    if not found:
        return None
    digits, unit = found.group(1).strip(" .,'\u00a0\u202f"), found.group(2).casefold()
    times = next((_TIMES[unit[:n]] for n in range(len(unit), 0, -1) if unit[:n] in _TIMES), None) if unit else 1
    parts = re.split(r"\D+", digits)
    if times is None:
        return None
    if len(parts) == 2 and times > 1 and len(parts[1]) < 3:  # 2.5M: the mark is no thousands separator
        return round(float(".".join(parts)) * times)
    return int("".join(parts)[:12]) * times


def _trends(response: Response, options: Options) -> Iterator[Raw]:
    for item in xml.children(xml.document(response, "rss"), "channel", "item"):
        yield Raw(
            geo=options.geo,
            title=xml.text(item, "title"),
            started=xml.text(item, "pubdate"),
            traffic=xml.text(item, "approx_traffic"),
            link=xml.text(item, "link"),
            news=tuple(xml.text(news, "news_item_title") for news in xml.children(item, "news_item")),
            least=options.least,
        )


def _nothing(geo: str, *, is_known: bool) -> SourceError:
    """A country that Google doesn't know is refused, or has no trends; one that had some is only not shown right now."""
    if is_known:
        return SourceError(f"no trends for {geo} at the moment", reason="empty")
    return SourceError(f"Google Trends has no feed for {geo}", reason="unsupported_geo", permanent=True)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
