"""Whether a site lets programs read an address: its robots.txt (RFC 9309), asked for once a day and kept while it runs.

A site without one, or that refuses it (4xx), lets everybody in. While it can't be had for another reason, nothing is read there
unless an older answer is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from listener.errors import SourceError
from listener.sources._refusal import RefusedError

if TYPE_CHECKING:
    from listener.sources._net import Net

NAME = "listener"  # how a site may speak of us, and of us alone
KEPT = timedelta(days=1)
LARGEST = 500 * 1024  # bytes that are read of it
AGAIN = 6 * 3600.0  # seconds until a feed that is shut is worth another look


@dataclass(frozen=True)
class Rules:
    """What applies to us, as (pattern, whether it lets us in)."""

    patterns: tuple[tuple[str, bool], ...] = ()

    def permit(self, path: str) -> bool:
        """The longest pattern that matches decides; between two as long, the one that lets in.

        >>> Rules((("/feeds/", False), ("/feeds/news*.xml$", True))).permit("/feeds/news-1.xml")
        True
        """
        found = [(len(pattern), lets_in) for pattern, lets_in in self.patterns if _matches(pattern, path)]
        return max(found)[1] if found else True


class Robots:
    """The rules of every site asked so far."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[datetime, Rules]] = {}

    async def check(self, url: str, net: Net) -> None:
        """Raises `SourceError` (`robots`) when the site wants programs to stay away from there."""
        parts = urlsplit(url)
        site = f"{parts.scheme}://{parts.netloc}"
        asked_at, rules = self._known.get(site, (None, Rules()))
        if asked_at is None or not timedelta(0) <= net.now() - asked_at < KEPT:
            try:
                rules = await _asked(site, net)
            except SourceError:
                if asked_at is None:
                    raise
            self._known[site] = net.now(), rules
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not rules.permit(path):
            raise SourceError(
                f"{url}: the site's robots.txt asks programs to stay away; with its owner's word, set robots = false",
                reason="robots",
                retry_after=AGAIN,
            )


def rules_of(text: str) -> Rules:
    """The rules for us: those of the groups that name us, else those for all."""
    ours: list[tuple[str, bool]] = []
    all_: list[tuple[str, bool]] = []
    named = False
    for agents, patterns in _groups(text.splitlines()):
        if NAME in agents:
            named = True
            ours += patterns
        elif "*" in agents:
            all_ += patterns
    return Rules(tuple(ours if named else all_))


async def _asked(site: str, net: Net) -> Rules:
    try:
        response = await net.get(f"{site}/robots.txt")
    except RefusedError as refused:
        if 400 <= refused.status < 500 and refused.status != 429:
            return Rules()
        raise
    return rules_of(response.body[:LARGEST].decode("utf-8-sig", "replace"))


def _groups(lines: Iterable[str]) -> Iterator[tuple[set[str], list[tuple[str, bool]]]]:
    """Names, in lower case, and the rules that follow them."""
    agents: set[str] = set()
    patterns: list[tuple[str, bool]] = []
    ruled = False
    for line in lines:
        key, _, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if key == "user-agent":
            if ruled:
                yield agents, patterns
                agents, patterns, ruled = set(), [], False
            agents.add(value.lower())
        elif key in ("allow", "disallow") and agents:
            ruled = True
            if value:
                patterns.append((value, key == "allow"))
    yield agents, patterns


def _matches(pattern: str, path: str) -> bool:
    """`*` stands for anything and a final `$` for the end; found part by part, so that no pattern takes long."""
    anchored = pattern.endswith("$")
    first, *rest = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    if not rest:
        return not anchored or at == len(path)
    *middle, last = rest
    for part in middle:
        at = path.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return (path.endswith(last) and len(path) - len(last) >= at) if anchored else path.find(last, at) >= 0
