"""Refuses a feed document whose shape is known to keep the parser busy for minutes.

The parser runs in a process that is killed when it takes too long (`_confined`), so this is no longer what protects us. It
stays as a cheap first line, because a document built to hurt is met in a few milliseconds and told for what it is, instead of
taking five seconds of one of two cores at every poll and leaving nothing to tell but that. What it lets through costs that.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from listener.errors import SourceError

ATTRIBUTES, DEPTH, ITEMS = 64, 100, 5_000
FIELD, ARTICLE, NAME = 64_000, 1_000_000, 1_000  # characters of any element, of one that holds an article, of a person
TAGS = 100_000  # tags of a document that is not well-formed XML

_PEOPLE = re.compile(r"author|creator|editor|webmaster|publisher|contributor|owner|name|email", re.IGNORECASE)
_ARTICLES = frozenset({"description", "encoded", "content", "summary", "body"})
_TAG = re.compile(r"<[^<>]*")


def check(text: str) -> None:
    """Raise `SourceError` (`unsafe_feed`) for such a document. `text` comes without its XML declaration.

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
        parser.Parse(text.encode("utf-8", "replace"), True)

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
