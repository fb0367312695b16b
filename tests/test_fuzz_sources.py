"""No kind of source is brought down by what it is sent: spoiled items, documents and dates end in a post or a `MalformedError`.

A few hundred spoiled items a kind here, in a few seconds. The long form, one kind at a time (`-k "spoiled_item and rss]"`):

    LISTENER_FUZZ=200000 nice -n 10 .venv/bin/python -m pytest -q -s -n0 --timeout=0 tests/test_fuzz_sources.py

A failure names its seed: the same seed spoils the same item in the same way.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import kinds
from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import Gap, MalformedError, Memo
from listener.sources._dates import feed_date, iso
from listener.sources._feed import read_feed
from listener.sources._net import Net, Response
from listener.types import LABELS, Delete, Post
from tests.servers.driving import NOW, Time, net
from tests.spoiling import DATES, TEXTS, Spoiler

ROUNDS = int(os.environ.get("LISTENER_FUZZ", "300"))
DOCUMENTS = max(ROUNDS // 20, 15)  # documents cost a server and a parser each
ANSWERS = min(max(ROUNDS // 100, 6), 500)
LONGEST_TEXT, LONGEST_LINE = (
    100_000,
    2**20,
)  # characters of a post; of a line of a file, whose reader knows its own limit
SLOW = 1.0  # seconds of work for one item, above which somebody could keep us busy
PATIENCE = 1.5  # seconds of real time for a source to make of its spoiled answers what it can
DATA = Path(__file__).parent / "data" / "sources"
KINDS = [kind for kind in kinds.names("sources") if list(DATA.glob(f"{kind}/*.expected.json"))]


@dataclass(frozen=True)
class Case:
    """A recorded payload with the options under which its kind reads it."""

    kind: str
    payload: Path
    options: dict[str, Any]
    content_type: str

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Any]:
        """The kind's options, pointing at a server of the payload."""
        name = self.kind if importlib.util.find_spec(f"tests.servers.{self.kind}") else "feeds"
        serving = importlib.import_module(f"tests.servers.{name}").serving
        async with serving(self.payload.read_bytes(), self.content_type) as url:
            text = json.dumps(self.options).replace("{server}", url).replace("{path}", str(self.payload))
            table = {key: _secret(value) for key, value in json.loads(text).items()}
            yield kinds.convert(table, module_of(self.kind).Options, "case")


def _secret(value: Any) -> Any:
    return Secret(value["secret"]) if isinstance(value, dict) and value.keys() == {"secret"} else value


@cache
def module_of(kind: str) -> Any:
    return kinds.load("sources", kind, "here")


@cache
def cases(kind: str) -> list[Case]:
    found = []
    for path in sorted((DATA / kind).glob("*.expected.json")):
        payload = next(p for p in path.parent.glob(f"{path.name.removesuffix('.expected.json')}.*") if p != path)
        said = json.loads(path.read_text(encoding="utf-8"))
        found.append(Case(kind, payload, said["options"], said.get("content_type", "")))
    return found


@cache
def items(kind: str) -> list[Any]:
    """What `posts` makes of the payloads of a kind."""
    found = [raw for case in cases(kind) for raw in asyncio.run(_heard(case, net()))]
    assert found
    return found


async def _heard(case: Case, edge: Net, limit: int = 500) -> list[Any]:
    """Up to the first heartbeat, or to the failure that ends it."""
    raws: list[Any] = []
    async with case.served() as options, edge, aclosing(module_of(case.kind).posts(options, None, edge)) as posts:
        try:
            async for raw, _ in posts:
                if raw is None or len(raws) == limit:
                    break
                if not isinstance(raw, Gap | Memo):
                    raws.append(raw)
        except SourceError:
            pass
    return raws


def checked(kind: str, made: object) -> str:
    """What came of an item, in a word; fails when it can't be stored and shown."""
    if made is None:
        return "none"
    if isinstance(made, Delete):
        assert made.at.utcoffset() == timedelta(0)
        assert made.post_id or made.author
        for text in (made.post_id, made.author):
            text.encode()
        return "delete"
    assert isinstance(made, Post)
    assert made.created_at.utcoffset() == timedelta(0)
    assert made.received_at.utcoffset() == timedelta(0)
    assert made.created_at >= datetime(1970, 1, 1, tzinfo=UTC)
    assert made.id
    assert made.source
    assert made.stated in ("", *LABELS)
    assert len(made.text) <= (LONGEST_LINE if kind == "jsonl" else LONGEST_TEXT)
    for text in (made.id, made.source, made.text, made.author, made.place, made.region, made.url):
        assert isinstance(text, str)
        text.encode()
    for texts in (made.languages, made.services):
        assert isinstance(texts, tuple)
        assert all(isinstance(text, str) for text in texts)
    return "post"


def answer_to(kind: str, raw: Any) -> str:
    """What `parse` makes of an item, within the time that one item may take."""
    started = time.perf_counter()
    try:
        said = checked(kind, module_of(kind).parse(raw, NOW))
    except MalformedError:
        said = "malformed"
    if time.perf_counter() - started > SLOW:  # or the machine is busy with other things: the clock of the thread tells
        worked = time.thread_time()
        with suppress(MalformedError):
            module_of(kind).parse(raw, NOW)
        assert time.thread_time() - worked < SLOW
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_a_spoiled_item_is_a_post_or_malformed(kind: str) -> None:
    originals = items(kind)
    outcomes: Counter[str] = Counter()
    started = time.perf_counter()
    for i in range(ROUNDS):
        seed = f"{kind}:{i}"
        spoiler = Spoiler(seed, originals)
        spoiled = spoiler.item(spoiler.random.choice(originals))
        try:
            outcomes[answer_to(kind, spoiled)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed!r}: {error!r} on {_shown(spoiled)}") from error
    print(f"\n{kind}: {ROUNDS} spoiled items in {time.perf_counter() - started:.1f} s: {dict(outcomes)}")


def _shown(value: object) -> str:
    """Deep ones have no repr."""
    try:
        return repr(value)[:1500]
    except RecursionError:
        return f"a deep {type(value).__name__}"


# --- documents ----------------------------------------------------------------------------------------------------


class SpoiledNet(Net):
    """A network whose answers arrive spoiled, about one in two of them."""

    spoiler: Spoiler

    async def get(self, url: str, **rest: Any) -> Response:
        return self._spoiled(await super().get(url, **rest))

    async def post(self, url: str, body: bytes, **rest: Any) -> Response:
        return self._spoiled(await super().post(url, body, **rest))

    def _spoiled(self, response: Response) -> Response:
        if self.spoiler.random.random() < 0.4:
            return response
        return replace(response, body=self.spoiler.document(response.body))

    @asynccontextmanager
    async def websocket(self, url: str, **rest: Any) -> AsyncIterator[Any]:
        async with super().websocket(url, **rest) as socket:
            whole = socket.receive

            async def receive(within: float) -> bytes:
                message: bytes = await whole(within)
                return self.spoiler.document(message) if self.spoiler.random.random() < 0.3 else message

            socket.receive = receive  # type: ignore[method-assign]
            yield socket


def spoiled_net(seed: str) -> SpoiledNet:
    plain, time_of = net(), Time()
    made = SpoiledNet(
        user_agent=plain.user_agent, clock=time_of.read, sleep=time_of.sleep, allow_private=True, limits=plain.limits
    )
    made.spoiler = Spoiler(seed)
    return made


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "jsonl"])
def test_spoiled_answers_end_in_items_or_in_a_reason(kind: str) -> None:
    outcomes: Counter[str] = Counter()
    started = time.perf_counter()
    for i in range(ANSWERS):
        case = cases(kind)[i % len(cases(kind))]
        seed, worked = f"{kind}:answer:{i}", time.thread_time()
        try:
            for raw in asyncio.run(_within(PATIENCE, _heard(case, spoiled_net(seed)))):
                outcomes[answer_to(kind, raw)] += 1
        except TimeoutError:
            outcomes["waits"] += 1  # for a message that was spoiled; which must cost nothing
            assert time.thread_time() - worked < PATIENCE / 2, f"seed {seed!r}: is busy for ever"
        except Exception as error:
            raise AssertionError(f"seed {seed!r}: {error!r}") from error
    print(f"\n{kind}: {ANSWERS} spoiled answers in {time.perf_counter() - started:.1f} s: {dict(outcomes)}")


async def _within(seconds: float, work: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await work


def feed_documents() -> Iterator[bytes]:
    for path in sorted(DATA.glob("*/*.xml")):
        yield path.read_bytes()
    for path in sorted(DATA.glob("rss/*.json")):
        if not path.name.endswith(".expected.json"):
            yield path.read_bytes()


def test_spoiled_feeds_are_read_or_refused() -> None:
    documents = list(feed_documents())
    outcomes: Counter[str] = Counter()
    started = time.perf_counter()
    for i in range(DOCUMENTS):
        seed = f"feed:{i}"
        spoiler = Spoiler(seed, documents)
        body = spoiler.random.choice(documents)
        for _ in range(spoiler.random.choice((1, 1, 2, 4))):
            body = spoiler.document(body)
        content_type = spoiler.random.choice(
            ("", "text/xml", "application/xml; charset=windows-1254", "text/html; charset=nonsense")
        )
        clock = time.thread_time()
        try:
            feed = read_feed(body, content_type, spoiler.random.choice(("", "windows-1251", "no-such")))
        except SourceError as error:
            outcomes[error.reason] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed!r}: {error!r}") from error
        else:
            for item in feed.items:
                for text in (item.id, item.link, item.title, item.summary, item.author, *item.dates):
                    text.encode()
            assert len({item.id for item in feed.items}) == len(feed.items)
            outcomes["read"] += 1
        assert time.thread_time() - clock < SLOW, f"seed {seed!r} takes too long"
    print(f"\nfeeds: {DOCUMENTS} spoiled documents in {time.perf_counter() - started:.1f} s: {dict(outcomes)}")


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", "text/xml; charset=utf-16", "x; charset=koi8-r"]))
def test_any_bytes_are_a_feed_or_refused(body: bytes, content_type: str) -> None:
    openings = (b"", b"<rss version='2.0'><channel><item>", b'{"version":"https://jsonfeed.org/version/1","items":[')
    for opening in openings:
        with suppress(SourceError):
            read_feed(opening + body, content_type)


# --- dates --------------------------------------------------------------------------------------------------------

WRITTEN = (
    "Fri, 20 Nov 2026 15:10:00 EET",
    "2026-11-20T13:10:00.123+02:00",
    "20.11.2026 10:00",
    "Cum, 20 Kas 2026 10:00 +0300",
    "Nov 20, 2026 3:10 PM",
)
MONTHS = tuple((f"ay{i}", f"Ay{i}ı") for i in range(12))


def test_spoiled_dates_are_an_instant_in_utc_or_none() -> None:
    outcomes: Counter[str] = Counter()
    started = time.perf_counter()
    for i in range(ROUNDS):
        seed = f"date:{i}"
        spoiler = Spoiler(seed)
        text = spoiler.text(spoiler.random.choice((*WRITTEN, *DATES)))
        zone = spoiler.random.choice(("UTC", "Europe/Istanbul", "No/Where", "", "../etc/passwd", "\0"))
        outcomes[_dated(text, zone)] += 1
    print(f"\ndates: {ROUNDS} in {time.perf_counter() - started:.1f} s: {dict(outcomes)}")


def _dated(text: str, zone: str) -> str:
    found = [feed_date(text, zone, MONTHS), iso(text), iso(text, ZoneInfo("Europe/Istanbul"))]
    for when in found:
        assert when is None or (when.utcoffset() == timedelta(0) and when.year >= 1970)
    return "none" if found[0] is None else "date"


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.from_regex(r"[0-9A-Za-z:,.+/ -]{1,40}", fullmatch=True),
        st.sampled_from([*DATES, *TEXTS]),
    )
)
def test_any_text_is_a_date_or_none(text: str) -> None:
    _dated(text, "Europe/Istanbul")


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_date_written_well_is_read_as_it_was_meant(when: datetime) -> None:
    when = when.replace(microsecond=0)
    assert iso(when.isoformat()) == feed_date(when.isoformat()) == when
    assert feed_date(when.strftime("%d %b ") + f"{when.year:04d} {when:%H:%M:%S} +0000") == when
