"""New posts, and if wanted comments, of a Lemmy server: of some communities, or of all it knows.

Both of its interfaces are spoken, version 3 (Lemmy 0.19) and version 4 (1.0). Lists begin with the newest, so each poll reads
back to where the last one began, and a while further, for posts that arrive late. A community the server does not know is
empty; a server that knows none of them, or is for its users only, fails and says so. What a bot posts counts as press.
Lemmy's RSS feeds say less and later; there is no use for them where the interface answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import EPOCH, iso
from listener.sources._json import converted, cursor_of, encoded
from listener.sources._lemmy_api import Api, Listing, Site, entry_of, is_pinned, written_ms
from listener.sources._net import Net
from listener.sources._text import collapse, primary_languages
from listener.types import Delete, Post, PostKind, Tier

PAGES = 20  # of one list in one poll
LONGEST_ABSENCE = timedelta(hours=24)
SITE_LASTS = timedelta(hours=24)
LONGEST_TEXT = 2_000
MILLISECOND = timedelta(milliseconds=1)

_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,2000}(?:\s\"[^\"]{0,300}\")?\)")
_MARKS = re.compile(r"\*\*|__|~~|`+|^[ \t]{0,3}(?:#{1,6}|[*+-]|:::)[ \t]+|^:::[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Options:
    server: str = option("https://lemmy.world", "address of the server")
    communities: tuple[str, ...] = option(
        (), "communities such as `croatia` or `greece@lemmy.ml`; none is all that the server knows"
    )
    comments: bool = option(False, "comments as well as posts")
    every: timedelta = option(timedelta(minutes=5), "how often to ask")
    pause: timedelta = option(timedelta(seconds=10), "shortest time between two requests to the server")
    overlap: timedelta = option(timedelta(minutes=15), "how far to look back for posts that arrive late")


@dataclass(frozen=True, slots=True)
class Raw:
    """A post or comment as the server has it, with the code of its language if it names one."""

    view: dict[str, Any]
    language: str


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    polled_ms: dict[str, int] = {}  # list -> up to when it has been read
    seen: dict[str, tuple[int, str]] = {}  # post -> when it was written (ms), and its last edit
    site: Site = Site()


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Gap | None, str | None], None]:
    """What is new or edited, oldest first; after each list a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    api = Api(options.server.rstrip("/"), options.pause, net)
    kinds = ("post", "comment") if options.comments else ("post",)
    lists = [Listing(what, community) for community in options.communities or ("",) for what in kinds]
    while True:
        was_asked = not _is_stale(state.site, net.now())
        if not was_asked:
            state = msgspec.structs.replace(state, site=await api.site())
        known = 0
        for one in lists:
            started = net.now()
            since_ms = state.polled_ms.get(one.name, _ms(started))
            if started - _at(since_ms) > LONGEST_ABSENCE:
                yield Gap(_at(since_ms), started - LONGEST_ABSENCE), None
                since_ms = _ms(started - LONGEST_ABSENCE)
            floor_ms = since_ms - options.overlap // MILLISECOND
            found = await _back_to(floor_ms, one, api, state.site.version)
            if found is not None:
                known += 1
                if found.reached_ms > since_ms:
                    yield Gap(_at(since_ms), _at(found.reached_ms)), None
                seen = dict(state.seen)
                for view in found.fresh(floor_ms, seen):
                    number = str(entry_of(view).get("language_id", ""))
                    yield Raw(view, state.site.languages.get(number, "")), None
                state = _advanced(state, lists, one, _ms(started), seen, options.overlap)
                yield None, encoded(state)
            share = net.spread(options.every / len(lists)) - (net.now() - started).total_seconds()
            if share > 0:
                await net.sleep(share)
        if not known and was_asked:  # it may speak another version by now
            state = msgspec.structs.replace(state, site=Site())
        elif not known:
            raise SourceError(f"{options.server} has none of these lists", reason="no_community", permanent=True)


class _Person(msgspec.Struct):
    name: str = ""
    actor_id: str = ""  # version 3
    ap_id: str = ""  # version 4
    bot_account: bool = False


class _Community(msgspec.Struct):
    nsfw: bool = False


class _Entry(msgspec.Struct):
    """A post, which has a name and perhaps a body, or a comment, which has a content."""

    ap_id: str
    name: str = ""
    body: str | None = None
    content: str | None = None
    published: str = ""  # version 3
    published_at: str = ""  # version 4
    deleted: bool = False
    removed: bool = False
    nsfw: bool = False


class _View(msgspec.Struct):
    creator: _Person
    community: _Community
    post: _Entry
    comment: _Entry | None = None


def parse(raw: Raw | Gap, received_at: datetime) -> Post | Delete | None:
    """A post, or a comment as a reply. What was taken back by its author or a moderator is a delete; adult ones are None."""
    if isinstance(raw, Gap):
        return None
    view = converted(raw.view, _View, "view")
    said, person = view.comment or view.post, view.creator
    if not said.ap_id:
        raise MalformedError("view: an entry without an identity")
    id = f"lemmy:{said.ap_id}"
    if said.deleted or said.removed:
        return Delete(source="lemmy", at=received_at, post_id=id)
    if view.post.nsfw or view.community.nsfw:
        return None
    parts = (said.content or "",) if view.comment else (said.name, said.body or "")
    return Post(
        id=id,
        source="lemmy",
        text="\n".join(text for part in parts if (text := _plain(part)))[:LONGEST_TEXT],
        created_at=min(iso(said.published_at or said.published) or received_at, received_at),
        received_at=received_at,
        author=f"{person.name}@{_host(person.ap_id or person.actor_id)}" if person.name else "",
        kind=PostKind.REPLY if view.comment else PostKind.POST,
        languages=primary_languages([raw.language]),
        url=said.ap_id if said.ap_id.startswith(("http://", "https://")) else "",
        tier=Tier.PRESS if person.bot_account else Tier.PERSON,
    )


def _plain(markdown: str) -> str:
    """The text without its marks, and without the lines that quote others.

    >>> _plain("> radi li?\\n\\n**Ne** radi, [vidi](https://x.example)")
    'Ne radi, vidi'
    """
    own = (line for line in markdown[: 5 * LONGEST_TEXT].split("\n") if not line.lstrip().startswith(">"))
    return collapse(_MARKS.sub("", _LINK.sub(r"\1", "\n".join(own))))


@dataclass(frozen=True, slots=True)
class _Found:
    """What a list had, and since when (ms) it is complete: 0 when all that was asked for is there."""

    views: list[dict[str, Any]]
    reached_ms: int

    def fresh(self, floor_ms: int, seen: dict[str, tuple[int, str]]) -> list[dict[str, Any]]:
        """What has not been passed on in this version, oldest first; from now on it has. What has no date is `parse`'s."""
        made: list[tuple[int, dict[str, Any]]] = []
        for view in self.views:
            entry = entry_of(view)
            at = written_ms(entry) or floor_ms
            key = hashlib.sha256(str(entry.get("ap_id")).encode()).hexdigest()[:12]
            mark = (at, str(entry.get("updated_at") or entry.get("updated") or ""))
            if at >= floor_ms and seen.get(key) != mark:
                seen[key] = mark
                made.append((at, view))
        return [view for _, view in sorted(made, key=lambda pair: pair[0])]


async def _back_to(floor_ms: int, one: Listing, api: Api, version: str) -> _Found | None:
    """What was written since then; None when the server has no such list."""
    views: list[dict[str, Any]] = []
    place: dict[str, Any] = {}
    reached_ms: int | None = None
    for number in range(1, PAGES + 1):
        page = await api.page(version, one, place, number)
        if page is None:
            return None
        views += page.views
        entries = [entry_of(view) for view in page.views]
        times = [ms for entry in entries if not is_pinned(entry) and (ms := written_ms(entry)) is not None]
        reached_ms = min(times, default=reached_ms)
        if not page.views or not page.onward or (reached_ms is not None and reached_ms < floor_ms):
            return _Found(views, 0)
        place = page.onward
    return _Found(views, reached_ms or 0)


def _advanced(
    state: Cursor, lists: Sequence[Listing], one: Listing, ms: int, seen: dict[str, tuple[int, str]], overlap: timedelta
) -> Cursor:
    """The list is read up to then; what no list will reach back to is forgotten."""
    names = {each.name for each in lists}
    polled = {name: at for name, at in (state.polled_ms | {one.name: ms}).items() if name in names}
    oldest = min(polled.values()) - overlap // MILLISECOND - 60_000
    seen = {key: mark for key, mark in seen.items() if mark[0] >= oldest}
    return msgspec.structs.replace(state, polled_ms=polled, seen=seen)


def _is_stale(site: Site, now: datetime) -> bool:
    asked_at = iso(site.asked_at)
    return asked_at is None or now - asked_at > SITE_LASTS


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _at(ms: int) -> datetime:
    return EPOCH + ms * MILLISECOND


def _ms(at: datetime) -> int:
    return (at - EPOCH) // MILLISECOND
