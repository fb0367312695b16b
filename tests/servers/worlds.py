"""What is said at upstreams of every kind while a daemon listens, dies and comes back: each remembers all it ever served.

A world keeps its posts as long as it must and no longer than upstream would; everything else it does as badly as it can:
posts come twice, late and out of order, connections end in the middle of a frame, hosts fall silent or refuse.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from bisect import bisect_right, insort
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from random import Random
from typing import Any

from listener.authors import unnamed
from tests.servers import feeds, jetstream, mastodon

SAYINGS = (
    "instagram çöktü mü, giremiyorum {}",
    "whatsapp mesajlar gitmiyor, sizde de mi? {}",
    "Instagram ne radi, ne mogu da se prijavim {}",
    "jel pao fejsbuk ili je samo do mene {}",
    "Инстаграм не работи от сутринта {}",
    "пак ли падна фейсбук, не зарежда нищо {}",
    "έπεσε το instagram; δεν ανοίγει {}",
    "nu merge facebook, da eroare {}",
    "is whatsapp down for anyone else? {}",
    "instagrami nuk punon, a ka rënë {}",
    "youtube açılmıyor, hata veriyor {}",
    "ne dela mi whatsapp, kaj se dogaja {}",
)
ONE_IN = 20  # posts is changed by its author later, and as many are taken back where upstream tells of it
LATEST = timedelta(seconds=20)  # how long a federated post may be on its way
OVERLAP = timedelta(seconds=60)  # how far back a timeline is read again


def now() -> datetime:
    return datetime.now(UTC)


class World(ABC):
    """One upstream. `texts` is what must be stored in the end, by post: the last text, or none if it was taken back."""

    is_asked_again_soon = False  # by a daemon it has failed

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = Random(f"{name} {seed}")
        self.texts: dict[str, str] = {}
        self.read: set[str] = set()
        self.edits = self.deletes = self.deliveries = self.connections = 0
        self.came = asyncio.Event()  # the daemon, since this was last cleared
        self._count = 0

    @abstractmethod
    def table(self) -> str:
        """The daemon's config for it."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    def grow(self) -> None:
        """Somebody writes one more post."""

    @abstractmethod
    def disturb(self) -> None:
        """Something happens to a server."""

    @abstractmethod
    def calm(self) -> None:
        """Nothing happens to it any more."""

    def has_been_read(self, stored: Mapping[str, str]) -> None:
        """What the daemon has by now, upstream need not show any longer."""
        self.read = {id for id, text in self.texts.items() if stored.get(id) == text}

    def saying(self) -> tuple[int, str]:
        self._count += 1
        return self._count, self.rng.choice(SAYINGS).format(self._count)

    def contact(self) -> None:
        self.connections += 1
        self.came.set()


class _Host(jetstream.Jetstream):
    """Counts what it sends. `stamps` has the time of the last event of each post: those of one post are in order."""

    world: Stream
    stamps: dict[str, int]

    async def check(self, connection: Any, request: Any) -> Any:
        refused = await super().check(connection, request)
        if refused is None:
            self.world.contact()
        return refused

    async def _send(self, connection: Any, frame: bytes, number: int) -> None:
        self.world.deliveries += 1
        await super()._send(connection, frame, number)


class Stream(World):
    """Jetstream hosts that number, stamp and order the same events each in its own way."""

    is_asked_again_soon = True

    def __init__(self, name: str, seed: int, *, protocol: str, hosts: int = 1) -> None:
        super().__init__(name, seed)
        self.protocol = protocol
        self.hosts = [self._host(n) for n in range(hosts)]
        self._behind: list[list[dict[str, Any]]] = [[] for _ in self.hosts]
        self._recent: list[dict[str, Any]] = []

    def _host(self, n: int) -> _Host:
        dictionaries = [20_260_811] if self.protocol == "v2" else []
        host = _Host(live_from=0, first_seq=1 + 40 * n, dictionaries=dictionaries)
        host.world, host.stamps = self, {}
        return host

    def table(self) -> str:
        urls = [host.url for host in self.hosts]
        v2, v1 = (urls, []) if self.protocol == "v2" else ([], urls)
        patience = 'next_event = "2s"\nrewind_elsewhere = "5s"' if len(urls) > 1 else 'next_event = "30s"'
        return (
            f'[[source]]\nkind = "jetstream"\nname = "{self.name}"\nhosts = {json.dumps(v2)}\n'
            f'legacy_hosts = {json.dumps(v1)}\nfirst_event = "1s"\navoid = "1s"\n{patience}\n'
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for host in self.hosts:
                await stack.enter_async_context(jetstream.running(host))
            yield

    def grow(self) -> None:
        number, text = self.saying()
        event = jetstream.post_event(number, now(), text) | {"did": f"did:plc:{self.name}{number % 7}"}
        self.texts[unnamed(jetstream.post_id(event))] = text
        self._happen(event)
        self._recent = [*self._recent[-40:], event]
        if self.rng.random() < 1 / ONE_IN:
            self._change()
        if self.rng.random() < 1 / ONE_IN:
            self._take_back()

    def _change(self) -> None:
        event = self.rng.choice(self._recent)
        text = f"{event['commit']['record']['text']} !"
        self.texts[unnamed(jetstream.post_id(event))] = text
        self.edits += 1
        changed = jetstream.edit_event(event, now(), text)
        self._recent[self._recent.index(event)] = changed
        self._happen(changed)

    def _take_back(self) -> None:
        event = self._recent.pop(self.rng.randrange(len(self._recent)))
        self.texts[unnamed(jetstream.post_id(event))] = ""
        self.deletes += 1
        self._happen(jetstream.delete_event(event, now()))

    def _happen(self, event: dict[str, Any]) -> None:
        """The first host tells of it now, the others may first tell of what others wrote; no clock is quite right."""
        for host, behind in zip(self.hosts, self._behind, strict=True):
            waiting = self.rng.randrange(3) if host is not self.hosts[0] else 0
            if any(other["commit"]["rkey"] == event["commit"]["rkey"] for other in behind):
                waiting = 0  # what one author does to one post keeps its order everywhere
                self._catch_up(host, behind)
            behind.append(event)
            if len(behind) > waiting:
                self._catch_up(host, behind)

    def _catch_up(self, host: _Host, behind: list[dict[str, Any]]) -> None:
        self.rng.shuffle(behind)
        for event in behind:
            off = timedelta(milliseconds=self.rng.randint(-300, 0))
            stamp = max(jetstream.microseconds(now() + off), host.stamps.get(event["commit"]["rkey"], 0) + 1)
            host.stamps[event["commit"]["rkey"]] = stamp
            host.events.append({**event, "time_us": stamp})
        behind.clear()

    def disturb(self) -> None:
        victim, what = self.rng.choice(self.hosts), self.rng.random()
        for host in self.hosts:
            host.is_silent, host.refuse = False, None
            host.repeats = self.rng.random() < 0.3
        if what < 0.5:
            victim.hang_up()
        elif len(self.hosts) > 1 and what < 0.75:
            victim.is_silent = True
        elif len(self.hosts) > 1:
            victim.refuse = HTTPStatus.SERVICE_UNAVAILABLE
            victim.hang_up()

    def calm(self) -> None:
        for host, behind in zip(self.hosts, self._behind, strict=True):
            host.is_silent, host.refuse, host.repeats = False, None, False
            self._catch_up(host, behind)


class Web(World):
    """An upstream that is asked again and again. Now and then an answer is cut off; then it is not asked again for long."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self.server = feeds.HttpServer({"*": self._behave})
        self._cuts = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with feeds.running(self.server):
            yield

    async def _behave(self, request: feeds.Request, writer: asyncio.StreamWriter) -> None:
        self.contact()
        headers, body = self.answer(request)
        if self._cuts and self.rng.random() < 0.1:
            await feeds.cut(body[: len(body) // 2], len(body))(request, writer)
        else:
            await (feeds.feed(body, headers) if body else feeds.answer(404))(request, writer)

    @abstractmethod
    def answer(self, request: feeds.Request) -> tuple[dict[str, str], bytes]:
        """Headers and body; an empty body stands for a page that does not exist."""

    def disturb(self) -> None:
        self._cuts = True

    def calm(self) -> None:
        self._cuts = False


class Hashtag(Web):
    """A Mastodon server: posts of other servers appear among older ones, authors change theirs."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._ids: list[int] = []
        self._statuses: dict[int, dict[str, Any]] = {}

    def table(self) -> str:
        return (
            f'[[source]]\nkind = "mastodon"\nname = "{self.name}"\nserver = "{self.server.url}"\ntags = ["outage"]\n'
            f'every = "1s"\npause = "20ms"\noverlap = "{OVERLAP.seconds}s"\n'
        )

    def grow(self) -> None:
        number, text = self.saying()
        at = now() - LATEST * self.rng.random() * (self.rng.random() < 0.3)
        status = mastodon.status(number, at, f"<p>{text}</p>")
        self.texts[unnamed(f"mastodon:{status['uri']}")] = text
        insort(self._ids, int(status["id"]))
        self._statuses[int(status["id"])] = status
        if self.rng.random() < 1 / ONE_IN:
            self._change(self.rng.choice(self._young()))

    def _young(self) -> list[dict[str, Any]]:
        """Of older ones a change can't be seen: a timeline is read again only as far back as the source's `overlap`."""
        recent = [self._statuses[id] for id in self._ids[-20:]]
        return [one for one in recent if now() - datetime.fromisoformat(one["created_at"]) < OVERLAP / 2] or recent[-1:]

    def _change(self, status: dict[str, Any]) -> None:
        id = unnamed(f"mastodon:{status['uri']}")
        text = self.texts[id] = f"{self.texts[id]} !"
        self.edits += 1
        status |= {"content": f"<p>{text}</p>", "edited_at": now().isoformat()}

    def answer(self, request: feeds.Request) -> tuple[dict[str, str], bytes]:
        if not request.path.startswith("/api/v1/timelines/tag/"):
            return {}, b""  # as servers before 4.0, it does not say who may read what
        first = bisect_right(self._ids, int(request.query["min_id"][0]))
        page = [self._statuses[id] for id in self._ids[first : first + int(request.query["limit"][0])]]
        self.deliveries += len(page)
        return {"Content-Type": "application/json"}, json.dumps(page[::-1]).encode()


class Feed(Web):
    """A portal's feed: it shows what few have read yet and some of the rest, in no order, and changes headlines."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name, seed)
        self._dates: dict[str, datetime] = {}

    def table(self) -> str:
        return (
            f'[[source]]\nkind = "rss"\nname = "{self.name}"\nurl = "{self.server.url}/feed.xml"\nevery = "1s"\n'
            'region = "RS"\n'
        )

    def grow(self) -> None:
        number, text = self.saying()
        id = f"rss:127.0.0.1:guid-{number}"
        self.texts[id], self._dates[id] = text, now() - LATEST * self.rng.random()
        if self.rng.random() < 1 / ONE_IN:
            changed = self.rng.choice([id for id in list(self.texts)[-40:] if id not in self.read])
            self.texts[changed] += " !"
            self.edits += 1

    def answer(self, request: feeds.Request) -> tuple[dict[str, str], bytes]:
        read = [id for id in self.texts if id in self.read]
        shown = [*read[-150:], *(id for id in self.texts if id not in self.read)]
        self.rng.shuffle(shown)
        self.deliveries += len(shown)
        items = [feeds.item(id.rpartition(":")[2], self.texts[id], format_datetime(self._dates[id])) for id in shown]
        return {"Content-Type": "application/rss+xml", "ETag": f'"{len(self.texts)}-{self.edits}"'}, feeds.rss(*items)


def world(name: str, seed: int = 5) -> World:
    """The upstream of that name."""
    if name == "feed":
        return Feed(name, seed)
    if name == "hashtag":
        return Hashtag(name, seed)
    hosts = 2 if name == "failover" else 1
    return Stream(name, seed, protocol="v1" if name == "v1" else "v2", hosts=hosts)


NAMES = ("v1", "v2", "failover", "hashtag", "feed")
