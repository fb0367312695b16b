"""Feeds of services whose shape is known, read as elements. Names are without their namespace, whose address changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from listener.errors import SourceError
from listener.sources._net import Response
from listener.sources._text import collapse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

LARGEST = 2 * 2**20  # a hundred items take a quarter of it; elements take far more memory than their text


def document(response: Response, root: str) -> Element:
    """The root element of an answer. Raises `SourceError`: `not_a_feed` unless it is well-formed and called `root`."""
    if len(response.body) > LARGEST:
        raise SourceError(f"{response.url}: the feed is too large", reason="too_large")
    try:
        made = fromstring(response.body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SourceError(f"{response.url}: the answer is not a feed: {error!r}", reason="not_a_feed") from error
    if name(made) != root:
        raise SourceError(f"{response.url}: the answer is not a feed but <{name(made)[:50]}>", reason="not_a_feed")
    return made


def name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2].lower()


def children(element: Element, *path: str) -> Iterator[Element]:
    """The elements at a path of names below an element."""
    if not path:
        yield element
        return
    for child in element:
        if name(child) == path[0]:
            yield from children(child, *path[1:])


def text(element: Element, *path: str) -> str:
    """The text of the first element at a path; empty when there is none."""
    return collapse(next((found.text or "" for found in children(element, *path)), ""))


def attribute(element: Element, key: str, *path: str) -> str:
    return next((found.get(key, "") for found in children(element, *path)), "")
