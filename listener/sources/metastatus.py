"""Meta's own status page, metastatus.com: what Meta says of itself, which is little and late.

It knows business products only, there is no component for the Instagram or WhatsApp that people use, and it is not
documented: an answer that is not as it was is "could not check", and a word nobody has seen is never taken for "fine".
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import MalformedError
from listener.sources import _xml as xml
from listener.sources._conditional import Validators, ask
from listener.sources._dates import feed_date
from listener.sources._feed import digest
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net
from listener.sources._text import collapse, from_html
from listener.types import Delete, Post, Tier

FINE, OVER, TROUBLE, UNKNOWN = "fine", "over", "trouble", "unknown"
CORROBORATES = True  # its silence is no deafness
LONGEST_TEXT = 4_000
REMEMBERED = 100  # events

_FINE = re.compile(r"no known issues?")
_OVER = re.compile(r"resolved|recovered")
_TROUBLE = re.compile(
    r"(?!no\b|.*\bresolved\b).*\b(?:outages?|disruptions?|disrupted|degraded|degradation|issues?|incidents?|down|unavailable)\b.*"
)


@dataclass(frozen=True)
class Options:
    server: str = option("https://metastatus.com", "address of the page")
    products: dict[str, tuple[str, ...]] = option(
        {
            "graph-api": ("facebook", "instagram"),
            "facebook-login": ("facebook",),
            "messenger": ("messenger",),
            "whatsapp-business-api": ("whatsapp",),
            "ig-messenger": ("instagram",),
            "ig-boost": ("instagram",),
            "fb-ig-shops": ("facebook", "instagram"),
            "fbs": ("meta",),
            "ads-manager": ("meta",),
        },
        "products to listen to, and the services in data/services that each is closest to",
    )
    every: timedelta = option(timedelta(minutes=5), "how often to ask")


@dataclass(frozen=True, slots=True)
class Raw:
    """A service of a product whose status has changed, as the page has it, and how it stood before."""

    service: dict[str, Any]
    product: str
    name: str
    before: str
    since: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """An open event of a product, from its feed."""

    id: str
    title: str
    said: str
    date: str
    link: str
    name: str
    services: tuple[str, ...]


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    validators: Validators = Validators()
    read_at: str = ""
    told: dict[str, str] = {}  # product/service -> its status, unless it is fine
    feeds: dict[str, tuple[str, str]] = {}  # product in trouble -> its name and the path of its feed
    seen: dict[str, str] = {}  # event -> digest of its text


class _Service(msgspec.Struct):
    name: str
    status: str
    id: Any = None
    time: Any = None


async def posts(
    options: Options, cursor: str | None, net: Net
) -> AsyncGenerator[tuple[Raw | Event | None, str | None], None]:
    """Services whose status changed, then events of the products in trouble; then a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    while True:
        url = f"{options.server.rstrip('/')}/data/orgs.json"
        answer, validators = await ask(url, state.validators, net, headers={"Accept": "application/json"})
        if answer is not None:
            changes, told, feeds = _changes(_products(answer.body, url), options, state)
            for raw in changes:
                yield raw, None
            state = replace(state, told=told, feeds=feeds)
        seen = dict(state.seen)
        for product, (name, path) in state.feeds.items():
            feed = f"{options.server.rstrip('/')}/{path}"
            for event in await _events(feed, name, options.products.get(product, ()), net):
                mark = digest(event.title, event.said)[:8]
                if seen.pop(event.id, "") != mark:
                    yield event, None
                seen[event.id] = mark
        seen = dict(list(seen.items())[-REMEMBERED:])
        state = replace(state, validators=validators, seen=seen, read_at=net.now().isoformat(timespec="seconds"))
        yield None, encoded(state)
        await net.sleep(net.spread(options.every))


def parse(raw: Raw | Event, received_at: datetime) -> Post | Delete | None:
    """A post of what Meta says; which service it stands for is our reading of a business product."""
    if isinstance(raw, Event):
        text = f"Meta: {raw.name}: {raw.title}\n{raw.said}"
        return _post(f"event:{raw.id}", text.strip(), raw.date, received_at, raw.services, "relay", raw.link)
    service = converted(raw.service, _Service, "service")
    if not service.status.strip():
        raise MalformedError("a service without a status")
    now, before = meaning(service.status), meaning(raw.before) if raw.before else FINE
    back = {TROUBLE: "recovered", UNKNOWN: "works"}.get(before, "works")
    stated = {TROUBLE: "relay", OVER: "recovered", FINE: back, UNKNOWN: ""}[now]
    when = str(service.time or "")
    name = f"{raw.product}:{_key(raw.service)}:{'-'.join(service.status.lower().split())[:100]}:{raw.since}"
    text = collapse(f"Meta: {raw.name}: {service.name}: {service.status}")
    return _post(
        name.rstrip(":"), text, when, received_at, raw.services, stated, f"https://metastatus.com/{raw.product}"
    )


def _post(
    name: str, text: str, date: str, received_at: datetime, services: tuple[str, ...], stated: str, link: str
) -> Post:
    return Post(
        id=f"metastatus:{name}",
        source="metastatus",
        text=text[:LONGEST_TEXT],
        created_at=min(feed_date(date) or received_at, received_at),
        received_at=received_at,
        author="metastatus.com",
        url=link if link.startswith(("http://", "https://")) else "",
        tier=Tier.OFFICIAL,
        services=services,
        stated=stated,
    )


def meaning(status: str) -> str:
    """What a status says. Words we don't know are `unknown`, however friendly they sound.

    >>> [meaning(s) for s in ("No known issues", "Some disruption", "Resolved", "Unresolved", "No data", "Looking good")]
    ['fine', 'trouble', 'over', 'unknown', 'unknown', 'unknown']
    """
    status = " ".join(status.casefold().split())
    for pattern, found in ((_FINE, FINE), (_OVER, OVER), (_TROUBLE, TROUBLE)):
        if pattern.fullmatch(status):
            return found
    return UNKNOWN


def _products(body: bytes, url: str) -> list[dict[str, Any]]:
    """Every path that is none answers 200 with the page's empty frame: that is no answer, and no all clear."""
    if body.lstrip()[:1] == b"<":
        raise SourceError(f"{url}: could not check: a web page came instead of data", reason="web_page")
    try:
        return decoded(body, list[dict[str, Any]], url)
    except MalformedError as error:
        raise SourceError(f"{url}: could not check: {error}", reason="not_metastatus") from error


def _changes(
    products: list[dict[str, Any]], options: Options, state: Cursor
) -> tuple[list[Raw], dict[str, str], dict[str, tuple[str, str]]]:
    """Services with another status than was told, what has now been told, and the feeds of products in trouble."""
    found = [p for p in products if str(p.get("id")) in options.products and isinstance(p.get("services"), list)]
    if not found:
        raise SourceError("could not check: none of the products asked for is on the page", reason="not_metastatus")
    changes, told, feeds = [], {}, {}
    for product in found:
        key, name = str(product["id"]), collapse(str(product.get("name") or product["id"]))[:200]
        for service in (s if isinstance(s, dict) else {} for s in product["services"]):
            place, status = f"{key}/{_key(service)}", str(service.get("status") or "?")
            before, now = state.told.get(place, ""), meaning(status)
            is_nothing = status == before or (now == FINE and (not before or meaning(before) == OVER))
            if not is_nothing:
                changes.append(Raw(service, key, name, before, state.read_at, options.products[key]))
            if now != FINE:
                told[place] = status
            if now == TROUBLE:
                feeds[key] = (name, _feed_of(product))
    return changes, told, feeds


def _feed_of(product: dict[str, Any]) -> str:
    paths = product.get("rss_file_paths")
    path = paths[0] if isinstance(paths, list) and paths else f"outage-events-feed-{product['id']}.rss"
    return str(path).lstrip("/")


async def _events(url: str, name: str, services: tuple[str, ...], net: Net) -> list[Event]:
    """The open events in a product's feed. None if it can't be read: that the product is in trouble has been told."""
    try:
        root = xml.document(await net.get(url), "rss")
    except SourceError:
        return []
    made = []
    for item in xml.children(root, "channel", "item"):
        title, said = from_html(xml.text(item, "title")), from_html(xml.text(item, "description"))
        date, link = xml.text(item, "pubdate"), xml.text(item, "link")
        native = xml.text(item, "guid") or digest(name, title, date)
        made.append(Event(native[:200], title, said, date, link, name, services))
    return made


def _key(service: dict[str, Any]) -> str:
    return str(service.get("id") or service.get("name"))[:100]
