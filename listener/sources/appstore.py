"""Customer reviews in Apple's App Store: the newest ones of some apps, in the storefront of one country.

The feed is undocumented, and at times empty at one address and full at another. Reviews don't vanish, so an app without
any at every address is not quiet but unknown: the source fails, once the other apps have been read.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import Gap, MalformedError
from listener.sources._dates import iso
from listener.sources._json import cursor_of, decoded, encoded
from listener.sources._net import Net, Response
from listener.sources._text import collapse
from listener.types import Delete, Post

FORMS = (  # of the address: the first page, and those that follow
    ("id={app}/sortBy=mostRecent/json", "id={app}/sortBy=mostRecent/page={page}/json"),
    ("page=1/id={app}/sortby=mostrecent/json", "page={page}/id={app}/sortby=mostrecent/json"),
    ("id={app}/json", "id={app}/page={page}/json"),
)
PAGES = 10  # of fifty reviews; Apple refuses the eleventh
REMEMBERED = 100  # reviews of each app
ABSENT_LASTS = timedelta(days=1)  # how long we don't ask for an app that a storefront doesn't have
RETRY_FIRST = timedelta(minutes=10)  # empty feeds last longer than the supervisor's usual wait
LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class Options:
    server: str = option("https://itunes.apple.com", "address of the store")
    storefront: str = option("tr", "country of the store, in two letters")
    apps: dict[str, int] = option(
        {"instagram": 389801252}, "the number of each app to read about, by the service its reviews are about"
    )
    every: timedelta = option(timedelta(minutes=15), "how often to ask for each app")


@dataclass(frozen=True, slots=True)
class Raw:
    """An entry of a feed as it came, and the service it is about."""

    entry: Any
    service: str


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    seen: dict[str, dict[str, str]] = {}  # service -> review -> when it was last changed, newest first
    absent: dict[str, str] = {}  # service -> when its app was found not to be in the storefront


@dataclass(frozen=True, slots=True)
class _Found:
    """What an app's feed holds, newest first; `is_cut` when it does not reach back to what is known."""

    reviews: dict[str, Any]
    is_cut: bool = False
    is_absent: bool = False


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Gap | None, str | None], None]:
    """New and changed reviews, app by app and oldest first; after all apps a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    if not options.apps:
        raise SourceError("no app is named", reason="no_apps", permanent=True)
    while True:
        heard: list[str] = []
        empty: list[str] = []
        for service, app in options.apps.items():
            if _is_absent(state, service, net.now()):
                continue
            known = state.seen.get(service, {})
            found = await _reviews(options, app, known, net)
            if found.is_absent:
                state = _without(state, service, net.now())
                continue
            (heard if found.reviews else empty).append(service)
            if found.is_cut and (gap := _gap(known, found)) is not None:
                yield gap, None
            fresh = [Raw(entry, service) for key, entry in found.reviews.items() if known.get(key) != _mark(entry)]
            state = _remember(state, service, found)
            for raw in reversed(fresh):
                yield raw, encoded(state) if raw is fresh[0] else None
        _check(options.storefront, heard, empty, state)
        yield None, encoded(state)
        await net.sleep(net.spread(options.every))


def parse(raw: Raw | Gap, received_at: datetime) -> Post | Delete | None:
    """A post of a review: its title and text. An edited review keeps its id and has a later date."""
    if isinstance(raw, Gap):
        return None
    entry = raw.entry
    if not (name := _label(entry, "id")):
        raise MalformedError("a review without an id")
    title, content = collapse(_label(entry, "title")), collapse(_label(entry, "content")[:LONGEST_TEXT])
    link = _at(entry, "link", "attributes", "href")
    return Post(
        id=f"appstore:{name}",
        source="appstore",
        text=content if content.startswith(title) else f"{title}\n{content}".strip(),
        created_at=min(iso(_mark(entry)) or received_at, received_at),
        received_at=received_at,
        author=_label(entry, "author", "uri") or _label(entry, "author", "name"),
        url=link if isinstance(link, str) and link.startswith("https://") else "",
        services=(raw.service,),
    )


async def _reviews(options: Options, app: int, known: dict[str, str], net: Net) -> _Found:
    """An app's first page, and more of them until one holds a review that is known.

    Where none is known, the first page is enough: what is older is of no use to anyone who starts to listen now.
    """
    base = f"{options.server.rstrip('/')}/{options.storefront}/rss/customerreviews/"
    pages = [entries async for entries in _first_pages(base, app, net)]
    if not pages[-1]:
        return _Found({}, is_absent=all(entries is None for entries in pages))
    further, found, page = FORMS[len(pages) - 1][1], _keyed(pages[-1]), 1
    while known and not _reaches(found, known):
        page += 1
        if page > PAGES:
            return _Found(found, is_cut=True)
        if not (entries := await _page(f"{base}{further.format(app=app, page=page)}", net)):
            break
        found |= {key: entry for key, entry in _keyed(entries).items() if key not in found}
    return _Found(found)


async def _first_pages(base: str, app: int, net: Net) -> AsyncGenerator[list[Any] | None, None]:
    """The first page as each form of the address shows it, until one has reviews."""
    for first, _ in FORMS:
        entries = await _page(f"{base}{first.format(app=app)}", net)
        yield entries
        if entries:
            return


async def _page(url: str, net: Net) -> list[Any] | None:
    """The reviews of a page, newest first; None when the storefront has no such feed."""
    response = await net.get(url, headers={"Accept": "application/json"}, accept=(404,))
    return None if response.status == 404 else _entries(response)


def _entries(response: Response) -> list[Any]:
    """`entry` is absent when there is none, one object when there is one; the app itself, first in some, has no rating."""
    try:
        feed = decoded(response.body, dict[str, Any], response.url).get("feed")
    except MalformedError as error:
        raise SourceError(str(error), reason="not_reviews") from error
    if not isinstance(feed, dict):
        raise SourceError(f"{response.url}: no feed of reviews", reason="not_reviews")
    entry = feed.get("entry") or []
    entries = entry if isinstance(entry, list) else [entry]
    return [entry for entry in entries if not isinstance(entry, dict) or "im:rating" in entry]


def _check(storefront: str, heard: list[str], empty: list[str], state: Cursor) -> None:
    """Raise `SourceError` unless the storefront was heard: an app nobody there has reviewed yet is no fault."""
    if not heard and not empty:
        raise SourceError(f"the storefront {storefront!r} has none of the apps", reason="no_storefront", permanent=True)
    if vanished := [service for service in empty if not heard or service in state.seen]:
        raise SourceError(f"{storefront}: no reviews of {', '.join(vanished)} at any address", reason="empty")


def _is_absent(state: Cursor, service: str, now: datetime) -> bool:
    since = iso(state.absent.get(service, ""))
    return since is not None and now - since < ABSENT_LASTS


def _without(state: Cursor, service: str, now: datetime) -> Cursor:
    return msgspec.structs.replace(state, absent={**state.absent, service: now.isoformat(timespec="seconds")})


def _remember(state: Cursor, service: str, found: _Found) -> Cursor:
    before = state.seen.get(service, {})
    marks = {key: _mark(entry) for key, entry in found.reviews.items()}
    marks |= {key: mark for key, mark in before.items() if key not in marks}
    kept = dict(list(marks.items())[:REMEMBERED])
    absent = {name: at for name, at in state.absent.items() if name != service}
    return msgspec.structs.replace(state, seen={**state.seen, service: kept} if kept else state.seen, absent=absent)


def _reaches(found: dict[str, Any], known: dict[str, str]) -> bool:
    """Whether a review is among them that we have as it is: an edited one stands among the newest again."""
    return any(known.get(key) == _mark(entry) for key, entry in found.items())


def _gap(known: dict[str, str], found: _Found) -> Gap | None:
    since = max((at for at in map(iso, known.values()) if at), default=None)
    until = min((at for at in (iso(_mark(entry)) for entry in found.reviews.values()) if at), default=None)
    return Gap(since, until) if since and until and since < until else None


def _keyed(entries: list[Any] | None) -> dict[str, Any]:
    return {_label(entry, "id") or _digest(entry): entry for entry in entries or []}


def _digest(entry: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(entry)).hexdigest()[:16]


def _mark(entry: Any) -> str:
    return _label(entry, "updated")


def _label(entry: Any, *path: str) -> str:
    """Every scalar of the feed is an object with a `label`."""
    found = _at(entry, *path, "label")
    return found if isinstance(found, str) else ""


def _at(entry: Any, *path: str) -> Any:
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry
