"""Feeds are asked politely, read in every code page, and lose nothing whenever the daemon dies."""

from __future__ import annotations

import json
import time as real_time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import rss as kind
from listener.sources._dates import feed_date
from listener.sources._feed import Item, decode, read_feed
from listener.sources._text import from_html
from listener.types import Post
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import HttpServer, answer, feed, in_turn, item, rss, running

pytestmark = pytest.mark.anyio

TURKISH = (
    *(("ocak", "oca"), ("şubat", "şub"), ("mart", "mar"), ("nisan", "nis"), ("mayıs", "may"), ("haziran", "haz")),
    *(("temmuz", "tem"), ("ağustos", "ağu"), ("eylül", "eyl"), ("ekim", "eki"), ("kasım", "kas"), ("aralık", "ara")),
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: HttpServer, **changes: Any) -> kind.Options:
    return kind.Options(url=f"{server.url}/feed", **changes)


def read(raw: Any, received_at: datetime = NOW) -> Post:
    made = kind.parse(raw, received_at)
    assert isinstance(made, Post)
    return made


def an_item(**changes: Any) -> kind.Raw:
    fields: dict[str, Any] = {
        "id": "1",
        "link": "",
        "title": "naslov",
        "summary": "",
        "author": "",
        "dates": (),
        "is_html": True,
    }
    return kind.Raw(Item(**fields | changes), "portal.example")


async def test_a_feed_that_has_not_changed_is_asked_for_with_its_validators_and_only_heard() -> None:
    validators = {"ETag": 'W/"abc"', "Last-Modified": "Fri, 20 Nov 2026 13:00:00 GMT"}
    async with running(HttpServer({"/feed": feed(rss(item("1")), validators)})) as server, net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
        assert [read(raw).id for raw in raws] == ["rss:127.0.0.1:1"]
        assert await one_poll(kind.posts(options(server), cursor, edge)) == ([], None)
    assert server.requests[1].headers["if-none-match"] == 'W/"abc"'
    assert server.requests[1].headers["if-modified-since"] == "Fri, 20 Nov 2026 13:00:00 GMT"


async def test_a_304_may_bring_new_validators() -> None:
    first, second = feed(rss(item("1")), {"ETag": '"1"'}), answer(304, b"", {"ETag": '"2"'})
    async with running(HttpServer({"/feed": in_turn(first, second)})) as server, net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        _, cursor = await one_poll(kind.posts(options(server), cursor, edge))
    assert json.loads(cursor)["etag"] == '"2"'


async def test_the_same_body_without_validators_gives_nothing_twice() -> None:
    async with running(HttpServer({"/feed": answer(200, rss(item("1")))})) as server, net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert raws == []


async def test_a_server_that_always_says_304_is_not_believed_for_ever() -> None:
    time = Time()
    behave = in_turn(feed(rss(item("1")), {"ETag": '"x"'}), answer(304), answer(200, rss(item("2"))))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now += timedelta(days=7)
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
        assert raws == []
        time.now += timedelta(days=2)
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
        assert [read(raw).id for raw in raws] == ["rss:127.0.0.1:2"]
    assert "if-none-match" not in server.requests[2].headers


async def test_only_new_and_changed_items_come_again_oldest_first() -> None:
    before = rss(item("2", "Instagram ne radi"), item("1", "Vreme"))
    after = rss(item("4"), item("3"), item("2", "Instagram opet radi"), item("1", "Vreme"))
    async with (
        running(HttpServer({"/feed": in_turn(answer(200, before), answer(200, after))})) as server,
        net() as edge,
    ):
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert [(read(raw).id[-1], read(raw).text) for raw in raws] == [
        *(("2", "Instagram opet radi"), ("3", "Instagram ne radi"), ("4", "Instagram ne radi")),
    ]


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(200, b"<!DOCTYPE html><html><head><title>Consent</title></head><body>ok</body></html>"),
        answer(200, b""),
        answer(200, b"plain words"),
        answer(200, b'{"error": "no"}'),
        answer(200, b"/etc/passwd"),
    ],
)
async def test_what_is_not_a_feed_is_a_failure_and_keeps_the_validators(behaviour: Any) -> None:
    async with running(HttpServer({"/feed": behaviour})) as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), '{"etag": "kept"}', edge))
    assert caught.value.reason == "not_a_feed"


async def test_an_empty_feed_is_heard() -> None:
    async with running(HttpServer({"/feed": answer(200, rss())})) as server, net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
    assert raws == []
    assert cursor is not None


@pytest.mark.parametrize(
    ("channel", "headers", "minutes"),
    [
        ("", {}, 10),
        ("<ttl>30</ttl>", {}, 30),
        ("<ttl>1440</ttl>", {}, 60),
        ("", {"Cache-Control": "public, max-age=1200"}, 20),
        ("", {"Cache-Control": "no-cache, max-age=1200"}, 10),
        ("", {"Expires": "Fri, 20 Nov 2026 13:25:00 GMT", "Date": "Fri, 20 Nov 2026 13:00:00 GMT"}, 25),
        ("", {"Expires": "0"}, 10),
        ("<ttl>2</ttl>", {}, 10),
    ],
)
async def test_a_feed_may_ask_for_more_time_up_to_an_hour(channel: str, headers: dict[str, str], minutes: int) -> None:
    time = Time()
    behave = answer(200, rss(item("1"), channel=channel), headers)
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        await take(kind.posts(options(server), None, edge), 3)  # the third comes after the pause
    assert minutes * 60 <= time.slept[0] <= minutes * 60 * 1.15


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("windows-1250", "Instagram ne radi, šćučurili smo se"),
        ("windows-1251", "Инстаграм не работи"),
        ("windows-1253", "Έπεσε το Instagram"),
        ("windows-1254", "Instagram çöktü, şaka gibi ığ"),
        ("iso-8859-9", "İnternet gitti, şimdi ne olacak"),
        ("utf-8", "чöктü Έπεσε"),
        ("utf-16", "Έπεσε το Instagram"),
    ],
)
def test_a_document_is_read_in_its_code_page_however_it_is_declared(encoding: str, text: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?><rss>{text}</rss>'
    bare = f"<rss>{text}</rss>"
    assert text in decode(declared.encode(encoding), "application/xml")
    assert text in decode(declared.encode(encoding), "application/xml; charset=utf-8")  # the server errs
    assert text in decode(bare.encode(encoding), f'text/xml; charset="{encoding}"')
    assert text in decode(bare.encode(encoding), "text/xml", encoding)
    assert text in decode(declared.replace(encoding, "utf-8").encode(encoding), "", encoding)  # the document errs


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("Fri, 20 Nov 2026 15:10:00 +0200", "13:10"),
        ("Fri, 20 Nov 2026 15:10:00 EET", "13:10"),
        ("Fri, 20 Nov 2026 15:10 EEST", "12:10"),
        ("Fri, 20 Nov 2026 16:10:00 TRT", "13:10"),
        ("Fri, 20 Nov 2026 14:10:00 CET", "13:10"),
        ("Fri, 20 Nov 2026 15:10:00 CEST", "13:10"),
        ("Fri, 20 Nov 26 13:10:00 GMT", "13:10"),
        ("2026-11-20T13:10:00.000Z", "13:10"),
        ("2026-11-20 15:10:00 GMT+2", "13:10"),
        ("20 Kas 2026 16:10", "13:10"),
        ("20 KASIM 2026, 16:10", "13:10"),
        ("Cuma, 20 Kasım 2026 - 16:10", None),
        ("20.11.2026 16:10", "13:10"),
        ("Nov 20, 2026 4:10 PM", "13:10"),
        ("dün akşam", None),
        ("", None),
        ("Fri, 30 Nov 0002 00:00:00 +0000", None),
        ("Fri, 20 Nov 2026 25:61:00 +0200", None),
    ],
)
def test_dates_are_read_as_feeds_write_them(written: str, utc: str | None) -> None:
    found = feed_date(written, "Europe/Istanbul", TURKISH)
    assert (found and found.strftime("%F %R")) == (utc and f"2026-11-20 {utc}")


def test_a_date_is_theirs_unless_it_is_missing_or_far_in_the_future() -> None:
    assert read(an_item(dates=("2026-11-01T00:00:00Z",))).created_at == datetime(2026, 11, 1, tzinfo=UTC)
    assert read(an_item(dates=("someday", "2026-11-20T13:00:00Z"))).created_at == NOW - timedelta(minutes=10)
    assert read(an_item(dates=())).created_at == NOW
    assert read(an_item(dates=("2026-11-20T13:15:00Z",))).created_at == NOW + timedelta(minutes=5)
    assert read(an_item(dates=("2026-11-20T13:30:00Z",))).created_at == NOW


def test_an_item_is_known_by_guid_then_link_then_content_and_never_twice_the_same() -> None:
    document = rss(
        *(
            item("same", "a"),
            item("same", "b").replace("portal.example/same", "portal.example/other"),
            item("same", "c"),
        ),
        "<item><title>only a link</title><link>https://portal.example/x</link></item>",
        "<item><title>nothing</title></item>",
    )
    ids = [found.id for found in read_feed(document, "").items]
    assert ids[:4] == [
        "same https://portal.example/same",
        "same https://portal.example/other",
        "same https://portal.example/same #2",
        "https://portal.example/x",
    ]
    assert len(ids[4]) == 16


def test_html_becomes_what_a_reader_sees() -> None:
    assert from_html("<p>ne&nbsp;radi</p>\n<p>opet &amp;amp; opet</p>") == "ne radi\nopet &amp; opet"
    assert from_html('<a href="x"><span class="invisible">https://</span>x.rs</a> 3 < 5') == "x.rs 3 < 5"
    assert from_html("<style>p{}</style><script>if (a<b) x()</script>tekst<!-- <p>ne --> ovde") == "tekst ovde"
    assert from_html("c\u0327o\u0308ktu\u0308\x00") == "çöktü"


HOSTILE = {
    "attributes": rss("<item " + " ".join(f'a{i}="1"' for i in range(20_000)) + "/>"),
    "attributes in broken markup": b"<rss version='2.0'><channel>&nosuch;<item "
    + b'a="1" ' * 20_000
    + b"/></channel></rss>",
    "a long author": rss(item("1", extra=f"<author>{'a' * 64_000}</author>")),
    "a long author in broken markup": b"<rss version='2.0'><channel><item>&nosuch;<author>"
    + b"a" * 64_000
    + b"</author></item>",
    "depth": rss("<b>" * 10_000 + "</b>" * 10_000),
    "nothing but brackets": b"<rss version='2.0'>" + b"<" * 2_000_000,
    "items": rss(*(f"<item><guid>{i}</guid></item>" for i in range(6_000))),
    "a long field": rss(item("1", "x" * 100_000)),
    "laughs": b'<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "' + b"&a;" * 50 + b'"><!ENTITY c "' + b"&b;" * 50 + b'">]>'
    b'<rss version="2.0"><channel><title>&c;</title></channel></rss>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_made_to_keep_us_busy_is_refused_at_once(name: str) -> None:
    begun = real_time.process_time()
    with pytest.raises(SourceError) as caught:
        read_feed(HOSTILE[name], "application/rss+xml")
    assert caught.value.reason == "unsafe_feed"
    assert real_time.process_time() - begun < 1


def test_files_named_by_a_document_are_not_read() -> None:
    doctype = b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    document = doctype + b'<rss version="2.0"><channel><item><title>[&x;]</title></item></channel></rss>'
    assert "root:" not in "".join(found.title for found in read_feed(document, "").items)


def test_broken_markup_is_read_as_far_as_it_goes() -> None:
    document = rss(item("1", "Instagram &nbsp;ne radi & ne radi"), item("2", "ok"))[:-30]
    assert [found.id for found in read_feed(document, "").items] == ["1", "2"]


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 12), max_size=8), news=st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], news: list[int]) -> None:
    """The portal shows its last 60 items and publishes between polls; the daemon is killed after any item."""
    import asyncio

    async def life() -> None:
        shown = [item(str(i), f"vest {i}") for i in range(5)]
        time, daemon, left = Time(), Daemon(kind), list(news)
        async with running() as server, net(time) as edge:

            def publish() -> None:
                for _ in range(left.pop(0) if left else 0):
                    shown.insert(0, item(str(len(shown)), f"vest {len(shown)}"))
                server.behaviours["/feed"] = feed(rss(*shown[:60]), {"ETag": f'"{len(shown)}"'})

            publish()
            time.on_sleep = publish
            everything = {f"rss:127.0.0.1:{i}" for i in range(5 + sum(news))}
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
