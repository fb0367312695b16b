"""Reads a feed document (RSS, Atom, RDF or JSON Feed) into plain items, after checking that it can't hurt the parser."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from xml.parsers import expat

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources._json import decoded

ATTRIBUTES, DEPTH, ITEMS = 64, 100, 5_000
FIELD, ARTICLE, NAME = 64_000, 1_000_000, 1_000  # characters of any element, of one that holds an article, of a person
TAGS = 100_000  # tags of a document that is not well-formed XML

_PEOPLE = re.compile(r"author|creator|editor|webmaster|publisher|contributor|owner|name|email", re.IGNORECASE)
_ARTICLES = frozenset({"description", "encoded", "content", "summary", "body"})
_DECLARED = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_TAG = re.compile(r"<[^<>]*")
# What the parser has been seen to raise on broken markup, where it should have gone on: it is no bug of ours.
_STUMBLES = (AttributeError, LookupError, ValueError, ArithmeticError, TypeError, AssertionError, RecursionError)
_CODE_PAGE = re.compile(r"(?:utf-?(?:8|16|32)|iso-?8859|windows-|cp\d|koi8|latin|us-ascii|x-mac|mac)")  # not punycode
_JSON_FEED = "https://jsonfeed.org/version/"


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


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_feed(body: bytes, content_type: str, fallback_encoding: str = "") -> Feed:
    """The items of a document, in its order. Raises `SourceError`: `not_a_feed`, `broken_feed` or `unsafe_feed`."""
    text = decode(body, content_type, fallback_encoding)
    if text.lstrip()[:1] == "{":
        return _json_feed(text)
    _check(text)
    import feedparser

    # What was checked is what is parsed: the parser gets UTF-8 and is told so, whatever the document said of itself.
    # A file object, because given bytes it would first try to open a file of that name.
    document = io.BytesIO(_DECLARED.sub("", text, count=1).encode("utf-8", "replace"))
    try:
        found = feedparser.parse(
            document,
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
    return Feed(tuple(_identified(entries)), ttl=str(dict.get(found.feed, "ttl", "")))


def decode(body: bytes, content_type: str, fallback: str = "") -> str:
    """The document's text: by its mark, else as UTF-8 if it is UTF-8, else by what it or the server declares.

    What declares nothing, or something it is not, is taken for the source's usual code page.
    """
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if body.startswith(mark):
            return body.decode(name, "replace").lstrip("\ufeff")
    if body[:4] in (b"<\0?\0", b"\0<\0?"):
        return body.decode("utf-16-le" if body[0] else "utf-16-be", "replace")
    served = re.search(r"charset\s*=\s*[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    declared = _DECLARED.match(body[:400].decode("latin-1"))
    names = [
        match.group(1).lower() for match in (served, declared) if match and _CODE_PAGE.match(match.group(1).lower())
    ]
    if names and names[0] in ("iso-8859-1", "latin1", "us-ascii"):
        names.reverse()  # a server's default that nobody chose; the document knows better
    for name in ("utf-8", *names, fallback or "windows-1252"):
        try:
            return body.decode(name)
        except (UnicodeError, LookupError):
            continue
    return body.decode("windows-1252", "replace")


def _entry(entry: dict[str, Any], *, is_atom: bool) -> Item:
    """`dict.get` is on purpose: feedparser's own answers for keys that are not there."""
    contents = dict.get(entry, "content") or [{}]
    summary = str(dict.get(entry, "summary") or contents[0].get("value") or "")
    detail = dict.get(entry, "summary_detail") or contents[0]
    return Item(
        id=str(dict.get(entry, "id") or ""),
        link=str(dict.get(entry, "link") or ""),
        title=str(dict.get(entry, "title") or ""),
        summary=summary,
        author=str(dict.get(entry, "author") or ""),
        dates=tuple(str(dict.get(entry, key)) for key in ("published", "updated", "created") if dict.get(entry, key)),
        is_html=not (is_atom and detail.get("type") == "text/plain"),
    )


def _identified(items: list[Item]) -> Iterator[Item]:
    """By guid, else link, else content. Where several items share a guid, the link tells them apart, else their order."""
    made: Counter[str] = Counter()
    bases = [item.id or item.link or digest(item.title, item.summary) for item in items]
    uses = Counter(bases)
    for item, base in zip(items, bases, strict=True):
        name = f"{base} {item.link}" if uses[base] > 1 and item.link and item.link != base else base
        made[name] += 1
        if made[name] > 1:
            name = f"{name} #{made[name]}"
        yield replace(item, id=name if len(name) <= 200 else digest(name))


def _check(text: str) -> None:
    """Raise `SourceError` for a document whose shape would keep the parser busy for minutes.

    The parser is quadratic in attributes of one element and in the length of a person's name, and slow in markup that
    is no markup; all three are public.
    """
    guard = _Guard()
    try:
        guard.parse(text)
    except expat.ExpatError:  # the parser will go on in its lenient way, so the whole document is looked at by the way
        for i, tag in enumerate(_TAG.finditer(text)):
            if i > TAGS or tag.group().count("=") > 4 * ATTRIBUTES or len(tag.group()) > FIELD:
                raise _unsafe("broken markup") from None
            follows = text[tag.end() : tag.end() + NAME]
            if len(follows) == NAME and "<" not in follows and _PEOPLE.search(tag.group()[:100]):
                raise _unsafe("a very long name") from None


def _unsafe(why: str) -> SourceError:
    return SourceError(f"refused to parse the feed: {why}", reason="unsafe_feed")


class _Guard:
    """One pass of expat that counts."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._lengths: list[int] = []
        self._items = 0

    def parse(self, text: str) -> None:
        parser = expat.ParserCreate("utf-8")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._entity
        parser.buffer_text = True
        parser.Parse(_DECLARED.sub("", text, count=1).encode("utf-8", "replace"), True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2].lower()
        self._items += local in ("item", "entry")
        self._path.append(local)
        self._lengths.append(0)
        if len(attributes) > ATTRIBUTES:
            raise _unsafe(f"an element has {len(attributes)} attributes")
        if len(self._path) > DEPTH:
            raise _unsafe(f"elements are nested more than {DEPTH} deep")
        if self._items > ITEMS:
            raise _unsafe(f"more than {ITEMS} items")
        if sum(map(len, attributes.values())) > FIELD:
            raise _unsafe(f"a very long attribute of <{local}>")

    def _end(self, _: str) -> None:
        self._path.pop()
        self._lengths.pop()

    def _text(self, data: str) -> None:
        if not self._path:
            return
        local = self._path[-1]
        self._lengths[-1] += len(data)
        if self._lengths[-1] > (ARTICLE if _ARTICLES.intersection(self._path) else FIELD):
            raise _unsafe(f"<{local}> is longer than {FIELD} characters")
        if self._lengths[-1] > NAME and _PEOPLE.search(local):
            raise _unsafe("a very long name")

    def _entity(self, name: str, is_parameter: int, value: str | None, *_: Any) -> None:
        if value is not None and not is_parameter and ("&" in value or len(value) > 100):
            raise _unsafe(f"entity {name!r} is declared in terms of others, or is long")


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
