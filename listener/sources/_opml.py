"""Subscription lists (OPML) into feeds and back: what other feed readers write, and what they read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

from defusedxml.ElementTree import ParseError, fromstring

from listener.sources import MalformedError

LARGEST = 10 * 2**20  # bytes of a list
OWN = "urn:listener:source"  # the namespace of options that other programs don't know
LONGEST_URL, LONGEST_NAME = 2_000, 200

_FEEDS = frozenset({"", "rss", "rss1", "rss2", "atom", "feed", "rdf", "jsonfeed", "json"})  # what `type` says of a feed


@dataclass(frozen=True, slots=True)
class Feed:
    """One subscription. `folders` are the outlines around it, the outermost first; `options` are a source's own keys."""

    title: str
    url: str
    language: str = ""
    folders: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bad:
    """An outline that is neither a folder nor a feed, and why."""

    title: str
    why: str


def read_opml(data: bytes) -> list[Feed | Bad]:
    """The feeds of a list in its order, and what is wrong with others. Raises `MalformedError` when it is no list at all."""
    if len(data) > LARGEST:
        raise MalformedError(f"larger than {LARGEST // 2**20} MiB")
    try:
        root = fromstring(data)
    except (ParseError, ValueError, LookupError) as error:  # what defusedxml forbids is a ValueError
        raise MalformedError(f"not XML that can be read: {error}") from error
    if _local(root.tag) != "opml":
        raise MalformedError(f"not OPML: it begins with <{_local(root.tag)[:40]}>")
    return list(_outlines(root))


def _outlines(root: Any) -> Iterator[Feed | Bad]:
    """Without recursion: how deep folders are nested is not ours to decide."""
    waiting: list[tuple[Any, tuple[str, ...]]] = [(root, ())]
    while waiting:
        element, folders = waiting.pop()
        children = [child for child in element if _local(child.tag) in ("body", "outline")]
        inside = folders
        if _local(element.tag) == "outline":
            own = {_local(name).lower(): value for name, value in element.attrib.items() if name[0] != "{"}
            title = _line(own.get("title") or own.get("text") or "")
            if "xmlurl" in own or not children:
                yield _feed(own, title, folders, element.attrib)
            inside = (*folders, title) if title else folders
        waiting += [(child, inside) for child in reversed(children)]


def _feed(own: Mapping[str, str], title: str, folders: tuple[str, ...], attributes: Mapping[str, str]) -> Feed | Bad:
    kind = own.get("type", "").strip().lower()
    url = re.sub(r"^feed:(?=https?:)", "", own.get("xmlurl", "").strip(), flags=re.IGNORECASE)
    url = re.sub(r"^feed://", "http://", url, flags=re.IGNORECASE)
    if kind not in _FEEDS:
        return Bad(title, f"no feed but {_line(kind)[:20]!r}")
    if not url:
        return Bad(title, "no feed address")
    if not is_web_address(url):
        return Bad(title, "not a web address")
    return Feed(
        title=title or urlsplit(url).hostname or "",
        url=url,
        language=own.get("language", "").strip(),
        folders=folders,
        categories=tuple(_line(part) for part in re.split(r"[,/]", own.get("category", "")) if part.strip()),
        options={name.partition("}")[2]: value for name, value in attributes.items() if name.startswith(f"{{{OWN}}}")},
    )


def is_web_address(url: str) -> bool:
    """Whether a request could be made of it at all."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    is_plain = url.isprintable() and " " not in url and len(url) <= LONGEST_URL
    return parts.scheme in ("http", "https") and bool(host) and is_plain


def same_address(url: str) -> str:
    """What two ways to write one address have in common.

    >>> same_address("HTTPS://News.example:443/rss/#top") == same_address("http://news.example/rss")
    True
    """
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
    query = f"?{parts.query}" if parts.query else ""
    return f"{(parts.hostname or '').rstrip('.')}{port}{parts.path.rstrip('/')}{query}"


def placed(feed: Feed, regions: Mapping[str, str]) -> tuple[str, str]:
    """Region and topic, by category first, then by the nearest folder. `regions` maps codes and names, in lower case.

    >>> placed(Feed("a", "http://a.example/", folders=("Serbia", "Tech")), {"rs": "RS", "serbia": "RS"})
    ('RS', 'Tech')
    """
    said = (*reversed(feed.categories), *reversed(feed.folders))
    region = next((regions[word.casefold()] for word in said if word.casefold() in regions), "")
    topic = next((word for word in said if word.casefold() not in regions), "")
    return region, topic


def write_opml(title: str, feeds: Sequence[Feed], at: datetime) -> str:
    """The list as other feed readers take it: a folder for each first folder of the feeds, and those without one."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<opml version="2.0" xmlns:listener="{OWN}">',
        "  <head>",
        f"    <title>{escape(_line(title))}</title>",
        f"    <dateCreated>{format_datetime(at, usegmt=True)}</dateCreated>",
        "  </head>",
        "  <body>",
    ]
    for folder in dict.fromkeys(feed.folders[:1] for feed in feeds):
        inside = [_outline(feed) for feed in feeds if feed.folders[:1] == folder]
        if folder:
            lines += [f"    <outline text={_quoted(folder[0])}>", *(f"  {line}" for line in inside), "    </outline>"]
        else:
            lines += inside
    return "\n".join([*lines, "  </body>", "</opml>", ""])


def _outline(feed: Feed) -> str:
    attributes = {
        "type": "rss",
        "text": feed.title,
        "title": feed.title,
        "xmlUrl": feed.url,
        "language": feed.language,
        "category": ",".join(f"/{word}" for word in feed.categories),
        **{f"listener:{name}": value for name, value in feed.options.items()},
    }
    return "    <outline " + " ".join(f"{name}={_quoted(value)}" for name, value in attributes.items() if value) + "/>"


def _quoted(text: str) -> str:
    return quoteattr(_line(text, LONGEST_URL))


def _line(text: str, longest: int = LONGEST_NAME) -> str:
    """On one line, without what has no business in a name."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:longest].strip()


def _local(tag: Any) -> str:
    """A tag without its namespace; comments have no name at all."""
    return str(tag).rpartition("}")[2] if isinstance(tag, str) else ""
