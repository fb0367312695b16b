"""Feeds are read in every code page, what is in them is told once, and nothing is lost whenever the daemon dies."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import kinds
from listener.errors import ConfigError, SourceError
from listener.sources import Memo, _confined
from listener.sources import rss as kind
from listener.sources._feed import Item
from listener.types import Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll
from tests.servers.feeds import HttpServer, answer, chunked, feed, in_turn, item, redirect, rss, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: HttpServer, **changes: Any) -> kind.Options:
    return kind.Options(url=f"{server.url}/feed", **changes)


def read(raw: Any, received_at: datetime = NOW) -> Post:
    made = kind.parse(raw, received_at)
    assert isinstance(made, Post)
    return made


def an_item(**changes: Any) -> Item:
    fields: dict[str, Any] = {"id": "1", "link": "", "title": "naslov", "summary": "", "author": "", "dates": ()}
    return Item(**{**fields, "is_html": True, **changes})


def a_raw(**changes: Any) -> kind.Raw:
    return kind.Raw(an_item(**changes), "portal.example")


async def texts(server: HttpServer, cursor: str | None = None, **changes: Any) -> tuple[list[str], str]:
    """What a poll brings, and the cursor after it."""
    async with net() as edge:
        raws, after = await one_poll(kind.posts(options(server, **changes), cursor, edge))
    return [read(raw).text for raw in raws], after


async def test_only_new_and_changed_items_come_again_oldest_first() -> None:
    before = rss(item("2", "Instagram ne radi"), item("1", "Vreme"))
    after = rss(item("4"), item("3"), item("2", "Instagram opet radi"), item("1", "Vreme"))
    behave = in_turn(answer(200, before), answer(200, after))
    async with running(HttpServer({"/feed": behave})) as server, net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert [(read(raw).id[-1], read(raw).text) for raw in raws] == [
        *(("2", "Instagram opet radi"), ("3", "Instagram ne radi"), ("4", "Instagram ne radi")),
    ]


async def test_an_edit_is_the_same_post_with_another_text() -> None:
    behave = in_turn(answer(200, rss(item("1", "Ne radi"))), answer(200, rss(item("1", "Opet radi"))))
    async with running(HttpServer({"/feed": behave})) as server, net() as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        second, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert read(first[0]).id == read(second[0]).id
    assert (read(first[0]).text, read(second[0]).text) == ("Ne radi", "Opet radi")


async def test_items_that_share_a_guid_are_all_told_and_only_once() -> None:
    twins = rss(item("1", "Prvi"), item("1", "Drugi"), item("1", "Treći").replace("example/1", "example/3"))
    async with running(HttpServer({"/feed": in_turn(answer(200, twins), answer(200, twins + b" "))})) as server:
        first, cursor = await texts(server)
        again, _ = await texts(server, cursor)
    assert (first, again) == (["Treći", "Drugi", "Prvi"], [])


async def test_what_a_feed_shows_no_more_and_shows_again_is_not_news() -> None:
    pages = [
        rss(item("1", "Jedan"), item("2", "Dva")),
        rss(item("2", "Dva")),
        rss(item("2", "Dva"), item("1", "Jedan")),
    ]
    async with running(HttpServer({"/feed": in_turn(*(answer(200, page) for page in pages))})) as server:
        _, cursor = await texts(server)
        _, cursor = await texts(server, cursor)
        assert (await texts(server, cursor))[0] == []


async def test_an_answer_with_only_what_is_new_leaves_the_rest_known() -> None:
    whole, part = rss(item("1", "Jedan"), item("2", "Dva")), rss(item("3", "Tri"))
    first = answer(200, whole, {"ETag": '"1"'})
    behave = in_turn(first, answer(226, part, {"IM": "feed", "ETag": '"2"'}), answer(200, whole))
    async with running(HttpServer({"/feed": behave})) as server:
        _, cursor = await texts(server)
        new, cursor = await texts(server, cursor)
        old, _ = await texts(server, cursor)
    assert (new, old) == (["Tri"], [])
    assert server.requests[1].headers["a-im"] == "feed"
    assert server.requests[2].headers["if-none-match"] == '"2"'


async def test_a_feed_that_breaks_off_is_read_again_until_it_is_whole() -> None:
    whole = rss(item("1", "Jedan"), item("2", "Dva"))
    cut = answer(200, whole[: whole.index(b"<item><guid>2")], {"ETag": '"1"'})
    async with running(HttpServer({"/feed": in_turn(cut, feed(whole, {"ETag": '"1"'}))})) as server:
        first, cursor = await texts(server)
        second, _ = await texts(server, cursor)
    assert (first, second) == (["Jedan"], ["Dva"])


async def test_an_empty_feed_is_heard() -> None:
    async with running(HttpServer({"/feed": answer(200, rss())})) as server:
        found, cursor = await texts(server)
    assert found == []
    assert cursor is not None


HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = "<!DOCTYPE html><html><head><title>{}</title></head><body>{}</body></html>"
CHALLENGE = PAGE.format("x", '<script src="/cdn-cgi/challenge-platform/h/g/orchestrate/jsch/v1"></script>')


@pytest.mark.parametrize(
    ("behaviour", "reason", "says"),
    [
        (answer(200, b""), "empty", "is empty"),
        (answer(200, b" \n"), "empty", "is empty"),
        (
            answer(200, PAGE.format("Portal", "Vesti i kolačići").encode(), HTML),
            "web_page",
            "is a web page, not a feed",
        ),
        (answer(200, CHALLENGE.encode(), HTML), "challenge", "wants a browser"),
        (answer(200, PAGE.format("x", "y").encode(), {**HTML, "cf-mitigated": "challenge"}), "challenge", "browser"),
        (answer(403, PAGE.format("x", "y").encode(), {**HTML, "cf-mitigated": "challenge"}), "challenge", "403"),
        (answer(503, PAGE.format("x", "y").encode(), {**HTML, "cf-mitigated": "challenge"}), "challenge", "503"),
        (answer(403, PAGE.format("x", "y").encode(), HTML), "status_403", "403"),
        (answer(200, PAGE.format("Çerez tercihleri", "").encode(), HTML), "consent", "asks for consent"),
        (answer(200, PAGE.format("x", '<form action="/Consent/save">').encode(), HTML), "consent", "asks for consent"),
        (answer(200, b"plain words"), "not_a_feed", "is not a feed"),
        (answer(200, b'{"error": "no"}'), "not_a_feed", "is not a feed"),
        (answer(200, b"/etc/passwd"), "not_a_feed", "is not a feed"),
        (answer(200, rss("<item " + " ".join(f'a{i}=""' for i in range(99)) + "/>")), "unsafe_feed", "99 attributes"),
        (chunked(rss(item("1")), ends=False), "protocol", "broken answer"),
    ],
)
async def test_what_is_not_a_feed_is_a_failure_with_a_reason_of_its_own(behaviour: Any, reason: str, says: str) -> None:
    async with running(HttpServer({"/feed": behaviour})) as server:
        with pytest.raises(SourceError, match=says) as caught:
            await texts(server)
    assert caught.value.reason == reason


async def test_a_host_made_for_consent_is_told_by_its_name() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with (
        running(HttpServer({"/": answer(200, PAGE.format("G", "").encode())})) as server,
        net(look_up=look_up) as edge,
    ):
        server.behaviours["/feed"] = redirect(server.url.replace("127.0.0.1", "consent.portal.example") + "/")
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert caught.value.reason == "consent"


async def test_a_feed_too_costly_to_read_fails_alone_and_the_others_are_heard_meanwhile() -> None:
    names = (f"<item><guid>{i}</guid><author>{'a' * 999}</author></item>" for i in range(4_900))
    behaviours = {"/feed": answer(200, rss(*names)), "/other": answer(200, rss(item("1", "Ne radi")))}
    assert _confined.CPU == 5
    async with running(HttpServer(behaviours)) as server, net() as edge:
        costly = asyncio.create_task(one_poll(kind.posts(options(server), None, edge)))
        await asyncio.sleep(0)
        for _ in range(3):
            raws, _ = await one_poll(kind.posts(kind.Options(url=f"{server.url}/other"), None, edge))
            assert [read(raw).text for raw in raws] == ["Ne radi"]
        assert not costly.done()
        with pytest.raises(SourceError, match="more than 5 s of work") as caught:
            await costly
    assert caught.value.reason == "feed_too_costly"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("windows-1250", "Pošta šalje da ne može, čekamo đaka, ćutimo"),
        ("windows-1251", "Инстаграм не работи от сутринта, при вас как е"),
        ("windows-1253", "Έπεσε το δίκτυο και δεν φορτώνει τίποτα"),
        ("windows-1254", "Instagram çöktü, şaka gibi, hiçbir şey açılmıyor, ığ"),
    ],
)
@pytest.mark.parametrize("is_told", [True, False])
async def test_a_feed_that_declares_no_code_page_is_read_in_its_own(encoding: str, text: str, is_told: bool) -> None:
    document = rss(item("1", text)).decode().replace(' encoding="UTF-8"', "").encode(encoding)
    async with running(HttpServer({"/feed": answer(200, document, {"Content-Type": "text/xml"})})) as server:
        found, _ = await texts(server, fallback_encoding=encoding if is_told else "")
    assert found == [text]


async def test_a_date_in_local_names_and_local_time_is_an_instant() -> None:
    document = rss(item("1", date="Cuma, 20 Kasım 2026 - 16:02"))
    months = (*((),) * 10, ("kasım",), ())
    async with running(HttpServer({"/feed": answer(200, document)})) as server, net() as edge:
        source = kind.posts(options(server, zone="Europe/Istanbul", months=months), None, edge)
        raws, _ = await one_poll(source)
    assert read(raws[0]).created_at == NOW - timedelta(minutes=8)


def test_a_date_is_theirs_unless_it_is_missing_or_far_in_the_future() -> None:
    assert read(a_raw(dates=("2019-11-01T00:00:00Z",))).created_at == datetime(2019, 11, 1, tzinfo=UTC)
    assert read(a_raw(dates=("someday", "2026-11-20T13:00:00Z"))).created_at == NOW - timedelta(minutes=10)
    assert read(a_raw(dates=())).created_at == NOW
    assert read(a_raw(dates=("2026-11-20T13:15:00Z",))).created_at == NOW + timedelta(minutes=5)
    assert read(a_raw(dates=("2026-11-20T13:30:00Z",))).created_at == NOW
    assert read(a_raw(dates=("2026-11-20T13:30:00Z",))).event_at == NOW


async def test_an_edit_of_an_item_without_a_date_does_not_make_it_newer() -> None:
    time, later = Time(), NOW + timedelta(hours=6)
    behave = in_turn(*(answer(200, rss(item("1", title))) for title in ("Ne radi", "Opet radi")))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now = later
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (read(raws[0], later).text, read(raws[0], later).created_at) == ("Opet radi", NOW)


def test_a_title_repeated_in_the_summary_is_said_once_and_a_text_is_bounded() -> None:
    assert read(a_raw(title="Ne radi", summary="<p>Ne radi nam</p>")).text == "Ne radi nam"
    assert read(a_raw(title="Ne radi", summary="<p>Opet</p>")).text == "Ne radi\nOpet"
    assert len(read(a_raw(title="x" * 300, summary="y" * 90_000)).text) < 2_500


def test_the_link_of_a_post_leads_to_the_page_however_it_was_shared() -> None:
    assert read(a_raw(link="https://Portal.example/a/?utm_medium=x#y")).url == "https://portal.example/a"
    assert read(a_raw(link="javascript:alert(1)")).url == ""


@pytest.mark.parametrize(("tier", "wanted"), [("", Tier.PRESS), ("person", Tier.PERSON), ("official", Tier.OFFICIAL)])
async def test_who_writes_there_is_the_press_unless_the_operator_says_otherwise(tier: str, wanted: Tier) -> None:
    async with running(HttpServer({"/feed": answer(200, rss(item("1")))})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server, **({"tier": tier} if tier else {})), None, edge))
    assert read(raws[0]).tier == wanted


@pytest.mark.parametrize("tier", ["measured", "Press", ""])
def test_another_word_for_who_writes_there_is_refused(tier: str) -> None:
    with pytest.raises(ConfigError, match="tier must be person, press, official"):
        kinds.convert({"tier": tier}, kind.Options, "source 'x'")


async def test_another_address_begins_anew() -> None:
    known = json.dumps({"address": {"url": "https://old.example/"}, "validators": {"etag": '"1"'}, "ttl": "60"})
    async with running(HttpServer({"/feed": answer(200, rss(item("1", "Ne radi")))})) as server:
        found, _ = await texts(server, known)
    assert found == ["Ne radi"]
    assert "if-none-match" not in server.requests[0].headers


def test_a_memo_is_no_post() -> None:
    assert kind.parse(Memo(), NOW) is None


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 12), max_size=8), news=st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], news: list[int]) -> None:
    """The portal shows its last 60 items and publishes between polls; the daemon is killed after any item."""

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
