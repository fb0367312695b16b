"""Plain text of the HTML that feeds and servers send, and the language tags beside it."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

LONGEST = 20_000  # of HTML read for one text: far more than the longest post, little enough to be cheap

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]*+)([^<>]*+)>|<!--|<[!?][^<>]*>")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all of category Cc but line feed and tab
_BREAKS = frozenset({"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "blockquote", "ul", "ol"})
_HIDDEN = frozenset({"script", "style"})
_INVISIBLE = re.compile(r"""class\s*=\s*(?:"[^"]*\binvisible\b|'[^']*\binvisible\b|invisible\b)""")


def from_html(source: str) -> str:
    """What a reader would see: tags dropped, entities unescaped once, spaces collapsed, one line a paragraph, NFC.

    >>> from_html('<p>Instagram ne radi &amp; ne radi<br>opet <a href="x">#pad</a></p>')
    'Instagram ne radi & ne radi\\nopet #pad'
    """
    source = source[:LONGEST]
    kept: list[str] = []
    at, hidden, inner = 0, "", 0  # inside which invisible element, and how many of its kind are nested in it
    while found := _TAG.search(source, at):
        if not hidden:
            kept.append(source[at : found.start()])
        at = found.end()
        closing, name, attributes = found.group(1), (found.group(2) or "").lower(), found.group(3) or ""
        if found.group() == "<!--":
            end = source.find("-->", at)
            at = len(source) if end < 0 else end + 3
        elif hidden:
            if name == hidden and not attributes.endswith("/"):
                inner += -1 if closing else 1
                hidden = hidden if inner else ""
        elif not closing and (name in _HIDDEN or (name == "span" and _INVISIBLE.search(attributes))):
            hidden, inner = name, 1
        elif name in _BREAKS:
            kept.append("\n")
    if not hidden:
        kept.append(source[at:])
    return collapse(html.unescape("".join(kept)))


def collapse(text: str) -> str:
    """Runs of spaces become one, empty lines go, NFC. NUL and other control characters go as well."""
    text = _CONTROL.sub("", text)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return unicodedata.normalize("NFC", "\n".join(line for line in lines if line))


def primary_languages(tags: Iterable[object]) -> tuple[str, ...]:
    """The languages of BCP 47 tags, without script and region; what is no tag is left out.

    >>> primary_languages(["sr-Latn", "en-US", "en", None, "?"])
    ('sr', 'en')
    """
    found = (re.match(r"[a-z]{2,3}(?=$|[-_])", tag.lower()) for tag in tags if isinstance(tag, str))
    return tuple(dict.fromkeys(match.group() for match in found if match))
