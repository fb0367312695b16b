"""Reads a feed document (RSS, Atom, RDF or JSON Feed) into plain items, in a process that may be killed over it."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources._charset import DECLARED, decode
from listener.sources._confined import Call
from listener.sources._json import decoded
from listener.sources._links import plain
from listener.sources._precheck import ITEMS, check

# What the parser has been seen to raise on broken markup, where it should have gone on: it is no bug of ours.
_STUMBLES = (AttributeError, LookupError, ValueError, ArithmeticError, TypeError, AssertionError, RecursionError)
_JSON_FEED = "https://jsonfeed.org/version/"
_WEB_PAGE = re.compile(
    r"\s*+(?:<\?xml[^>]*+>\s*+)?(?><!--.{0,2000}?-->\s*)*+<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)
_HALF = re.compile(r"&#(?:x0{0,4}(d[89a-f][0-9a-f]{2})|0{0,4}(5[5-7]\d{3}));", re.IGNORECASE)
_END = re.compile(r"</(?:\w{1,20}:)?(?:rss|feed|rdf)\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One entry as the feed has it; `id` is the same in every document that carries it."""

    id: str
    link: str
    title: str
    summary: str
    author: str
    dates: tuple[str, ...]  # the first that can be read counts
    is_html: bool

    @property
    def key(self) -> str:
        """The id, made short enough to remember many of them."""
        return digest(self.id)[:12]

    @property
    def text_digest(self) -> str:
        return digest(self.title, self.summary)[:8]


@dataclass(frozen=True, slots=True)
class Feed:
    items: tuple[Item, ...]
    ttl: str = ""
    is_whole: bool = True  # False when the document breaks off


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_feed(body: bytes, content_type: str, fallback_encoding: str = "") -> Feed:
    """The items of a document, in its order; to be called from a thread that may wait.

    Raises `SourceError`: `not_a_feed`, `broken_feed`, `unsafe_feed`, or `feed_too_costly` when reading it took more time or
    memory than any feed should.
    """
    return _call(body, content_type, fallback_encoding).wait()


async def feed_of(body: bytes, content_type: str, fallback_encoding: str = "") -> Feed:
    """The same for those who can't wait; reading ends at once when they are cancelled."""
    return await _call(body, content_type, fallback_encoding).aside()


def _call(*arguments: Any) -> Call[Feed]:
    return Call(parsed, *arguments, into=Feed, costly="feed_too_costly", broken="broken_feed")


def parsed(body: bytes, content_type: str, fallback_encoding: str = "") -> Feed:
    """What `read_feed` calls in the other process: everything that looks at what strangers wrote."""
    text = decode(body, content_type, fallback_encoding)
    if text.lstrip()[:1] == "{":
        return _json_feed(text)
    if _WEB_PAGE.match(text[:20_000]):
        raise SourceError("the answer is a web page", reason="not_a_feed")
    text = _whole_characters(DECLARED.sub("", text, count=1))
    check(text)
    return xml_feed(text)


def _whole_characters(text: str) -> str:
    """References to halves of a character, as some programs write an emoji, become it; the parser dies of them."""

    def character(found: re.Match[str]) -> str:
        code = int(found.group(1), 16) if found.group(1) else int(found.group(2))
        return chr(code) if 0xD800 <= code <= 0xDFFF else found.group()

    halves, count = _HALF.subn(character, text)
    return halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if count else text


def xml_feed(text: str) -> Feed:
    """The items of an XML document that has been checked.

    What was checked is what is parsed: the parser gets UTF-8 and is told so, whatever the document said of itself.
    """
    import feedparser

    try:
        found = feedparser.parse(
            io.BytesIO(text.encode("utf-8", "replace")),  # given bytes it would first try to open a file of that name
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,
            resolve_relative_uris=False,
        )
    except _STUMBLES as error:
        raise SourceError(f"the feed can't be read: {error!r}", reason="broken_feed") from error
    version = str(found.get("version", ""))
    if not version and not found.entries:
        raise SourceError("the answer is not a feed", reason="not_a_feed")
    is_atom = version.startswith("atom")
    entries = [_entry(entry, is_atom=is_atom) for entry in found.entries[:ITEMS]]
    is_whole = _END.search(text[-2_000:]) is not None
    return Feed(tuple(_identified(entries)), ttl=_text(found.feed, "ttl"), is_whole=is_whole)


def _entry(entry: dict[str, Any], *, is_atom: bool) -> Item:
    contents = dict.get(entry, "content") or [{}]
    detail = dict.get(entry, "summary_detail") or contents[0]
    dates = (_text(entry, key) for key in ("published", "updated", "created"))
    return Item(
        id=_text(entry, "id"),
        link=_text(entry, "link"),
        title=_text(entry, "title"),
        summary=_text(entry, "summary") or _text(contents[0], "value"),
        author=_text(entry, "author"),
        dates=tuple(date for date in dates if date),
        is_html=not (is_atom and detail.get("type") == "text/plain"),
    )


def _text(entry: dict[str, Any], key: str) -> str:
    """`dict.get` is on purpose: feedparser has answers of its own for keys that are not there."""
    return str(dict.get(entry, key) or "").encode("utf-8", "replace").decode()  # half a surrogate is a question mark


def _identified(items: list[Item]) -> Iterator[Item]:
    """By guid, else link, else content. Where several items share a guid, the link tells them apart, else their order."""
    made: Counter[str] = Counter()
    bases = [item.id or plain(item.link) or digest(item.title, item.summary) for item in items]
    uses = Counter(bases)
    for item, base in zip(items, bases, strict=True):
        name = f"{base} {item.link}" if uses[base] > 1 and item.link and item.link != base else base
        made[name] += 1
        if made[name] > 1:
            name = f"{name} #{made[name]}"
        yield replace(item, id=name if len(name) <= 200 else digest(name))


def _json_feed(text: str) -> Feed:
    try:
        found = decoded(text, dict[str, Any], "feed")
    except MalformedError as error:
        raise SourceError("the answer is not a feed", reason="not_a_feed") from error
    items = found.get("items")
    if not str(found.get("version", "")).startswith(_JSON_FEED) or not isinstance(items, list):
        raise SourceError("the answer is not a feed", reason="not_a_feed")
    made = [_json_item(item) for item in items[:ITEMS] if isinstance(item, dict)]
    return Feed(tuple(_identified(made)))


def _json_item(item: dict[str, Any]) -> Item:
    def field(*names: str) -> str:
        return next((str(item[name]) for name in names if isinstance(item.get(name), str | int)), "")

    authors = item.get("authors")
    people = [a for a in (authors if isinstance(authors, list) else [item.get("author")]) if isinstance(a, dict)]
    html = field("content_html")
    return Item(
        id=field("id"),
        link=field("url", "external_url"),
        title=field("title"),
        summary=field("summary") or html or field("content_text"),
        author=str(people[0].get("name", "")) if people else "",
        dates=tuple(d for d in (field("date_published"), field("date_modified")) if d),
        is_html=bool(html) and not field("summary"),
    )
