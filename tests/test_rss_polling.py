"""Feeds are asked politely: no more than has changed, no more often than they ask, and where they live by now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from listener.sources import rss as kind
from tests.servers.driving import Time, net, take
from tests.servers.feeds import HttpServer, answer, feed, in_turn, item, rss, running
from tests.servers.poller import Poller

pytestmark = pytest.mark.anyio

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


VALIDATORS = {"ETag": 'W/"abc"', "Last-Modified": "Fri, 20 Nov 2026 13:00:00 GMT"}
ONE, TWO = rss(item("1", "Jedan")), rss(item("2", "Dva"), item("1", "Jedan"))


@pytest.mark.parametrize("names", [("ETag", "Last-Modified"), ("ETag",), ("Last-Modified",)])
async def test_a_feed_that_has_not_changed_is_asked_for_with_its_validators_and_only_heard(
    names: tuple[str, ...],
) -> None:
    headers = {name: VALIDATORS[name] for name in names}
    async with running(HttpServer({"/feed": feed(ONE, headers)})) as server, net() as edge:
        poller = Poller(server, edge)
        assert await poller.poll() == ["Jedan"]
        before = poller.cursor
        assert await poller.poll() == []
        assert poller.cursor == before
    assert poller.asked.get("if-none-match") == headers.get("ETag")
    assert poller.asked.get("if-modified-since") == headers.get("Last-Modified")
    assert poller.asked["accept"].startswith("application/atom+xml, application/rss+xml")
    assert poller.asked["accept-encoding"] == "gzip, br"


async def test_a_304_may_bring_new_validators() -> None:
    behave = in_turn(feed(ONE, {"ETag": '"1"'}), answer(304, b"", {"ETag": '"2"'}), answer(304))
    async with running(HttpServer({"/feed": behave})) as server, net() as edge:
        poller = Poller(server, edge)
        for _ in range(4):
            await poller.poll()
    assert [r.headers.get("if-none-match") for r in server.requests] == [None, '"1"', '"2"', '"2"']


async def test_the_same_body_without_validators_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(HttpServer({"/feed": answer(200, ONE)})) as server, net() as edge:
        poller = Poller(server, edge)
        await poller.poll()
        monkeypatch.setattr(kind, "feed_of", None)
        assert await poller.poll() == []


async def test_an_answer_with_the_validator_we_have_is_the_one_we_have() -> None:
    time, stamped = Time(), rss(item("1", "Jedan"), channel="<lastBuildDate>now</lastBuildDate>")
    behave = in_turn(answer(200, ONE, {"ETag": '"1"'}), answer(200, stamped, {"ETag": '"1"'}))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge)
        await poller.poll()
        before = poller.cursor
        assert await poller.poll() == []
        assert poller.cursor == before


async def test_a_server_whose_validator_never_changes_is_not_believed_for_ever() -> None:
    time = Time()
    behave = in_turn(*(answer(200, body, {"ETag": '"1"'}) for body in (ONE, TWO, TWO, TWO)))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge)
        assert await poller.poll() == ["Jedan"]
        time.now += 7 * DAY
        assert await poller.poll() == []
        time.now += DAY
        assert await poller.poll() == ["Dva"]


async def test_a_server_that_always_says_304_is_not_believed_for_ever() -> None:
    time = Time()
    behave = in_turn(feed(ONE, {"ETag": '"x"'}), answer(304))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge)
        await poller.poll()
        time.now += 7 * DAY
        assert await poller.poll() == []
        time.now += 2 * DAY
        assert (await poller.failure()).reason == "protocol"
        assert "if-none-match" not in poller.asked
        server.behaviours["/feed"] = answer(200, TWO)
        assert await poller.poll() == ["Dva"]


async def test_validators_of_an_answer_that_expires_at_once_are_not_used() -> None:
    async with (
        running(HttpServer({"/feed": answer(200, ONE, {**VALIDATORS, "Expires": "0"})})) as server,
        net() as edge,
    ):
        poller = Poller(server, edge)
        await poller.poll()
        await poller.poll()
    assert "if-none-match" not in poller.asked
    assert "if-modified-since" not in poller.asked


@pytest.mark.parametrize("bad", [b"<!DOCTYPE html><html><body>ok</body></html>", b"", ONE[:-60]])
async def test_validators_of_an_answer_that_can_not_be_read_are_not_used(bad: bytes) -> None:
    behave = in_turn(feed(ONE, {"ETag": '"good"'}), answer(200, bad, {"ETag": '"bad"'}), feed(ONE, {"ETag": '"good"'}))
    async with running(HttpServer({"/feed": behave})) as server, net() as edge:
        poller = Poller(server, edge)
        await poller.poll()
        if bad == ONE[:-60]:
            await poller.poll()
        else:
            await poller.failure()
        assert await poller.poll() == []
    assert poller.asked["if-none-match"] == '"good"'


DATED = {"Date": "Fri, 20 Nov 2026 13:00:00 GMT"}


@pytest.mark.parametrize(
    ("channel", "headers", "settings", "minutes"),
    [
        ("", {}, {}, 10),
        ("<ttl>30</ttl>", {}, {}, 30),
        ("<ttl>1440</ttl>", {}, {}, 60),
        ("<ttl>1440</ttl>", {}, {"longest": 24 * HOUR}, 1440),
        ("<ttl>2</ttl>", {}, {}, 10),
        ("<ttl>soon</ttl>", {}, {}, 10),
        ("", {"Cache-Control": "public, max-age=1200"}, {}, 20),
        ("", {"Cache-Control": "s-maxage=1200"}, {}, 10),
        ("", {"Cache-Control": "no-cache, max-age=1200"}, {}, 10),
        ("", {"Cache-Control": "max-age=1200", "Expires": "Fri, 20 Nov 2026 13:55:00 GMT", **DATED}, {}, 20),
        ("", {"Expires": "Fri, 20 Nov 2026 13:25:00 GMT", **DATED}, {}, 25),
        ("", {"Expires": "Fri, 20 Nov 2026 13:25:00 GMT"}, {}, 15),
        ("", {"Expires": "Thu, 19 Nov 2026 13:25:00 GMT"}, {}, 10),
        ("", {"Expires": "0"}, {}, 10),
        ("<ttl>30</ttl>", {}, {"every": 90 * timedelta(minutes=1)}, 90),
    ],
)
async def test_a_feed_may_ask_for_more_time_up_to_an_hour(
    channel: str, headers: dict[str, str], settings: dict[str, Any], minutes: int
) -> None:
    time = Time()
    behave = answer(200, rss(item("1"), channel=channel), headers)
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        await take(kind.posts(kind.Options(url=f"{server.url}/feed", **settings), None, edge), 3)  # one after the pause
    assert minutes * 60 <= time.slept[0] <= minutes * 60 * 1.15


async def test_a_304_may_ask_for_more_time_as_well() -> None:
    time = Time()
    behave = in_turn(feed(ONE, {"ETag": '"1"'}), answer(304, b"", {"Cache-Control": "max-age=1800"}))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        await take(kind.posts(kind.Options(url=f"{server.url}/feed"), None, edge), 4)
    assert time.slept[0] < 15 * 60 < 30 * 60 <= time.slept[1]


@pytest.mark.parametrize(
    ("ages", "later", "minutes"),
    [
        ([1, 2, 3], timedelta(0), 5),
        ([10, 30, 60, 80], timedelta(0), 20),
        ([10, 300, 600], timedelta(0), 60),
        ([10, 30, 60, 80], HOUR, 35),
        ([i for i in range(1, 300) for _ in (0, 1)], 8 * DAY, 60),
        ([20], timedelta(0), 10),
        ([], timedelta(0), 10),
        ([-600, 20, 40], timedelta(0), 20),
    ],
)
async def test_an_adaptive_feed_is_asked_as_often_as_it_has_entries(
    ages: list[int], later: timedelta, minutes: int
) -> None:
    """`ages` are minutes since each entry, when it is first read; the pause is that after a poll so much later."""
    time = Time()
    written = [(time.now - timedelta(minutes=age)).isoformat() for age in ages] or [""]
    document = rss(*(item(str(i), date=date) for i, date in enumerate(written)))
    async with running(HttpServer({"/feed": feed(document, {"ETag": '"1"'})})) as server, net(time) as edge:
        poller = Poller(server, edge, settings={"adaptive": True})
        await poller.poll()
        time.now += later
        options = kind.Options(url=f"{server.url}/feed", adaptive=True)
        await take(kind.posts(options, poller.cursor, edge), 2)
    assert minutes * 60 <= time.slept[0] <= minutes * 60 * 1.15


async def test_an_answer_with_only_what_is_new_says_nothing_about_the_rhythm() -> None:
    time = Time()
    whole, part = (
        [item(str(age), date=(time.now - timedelta(minutes=age)).isoformat()) for age in ages]
        for ages in ((20, 40), (1, 2))
    )
    behave = in_turn(answer(200, rss(*whole), {"ETag": '"1"'}), answer(226, rss(*part), {"IM": "feed"}))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge, settings={"adaptive": True})
        await poller.poll()
        await take(kind.posts(kind.Options(url=f"{server.url}/feed", adaptive=True), poller.cursor, edge), 4)
    assert 20 * 60 <= time.slept[0] <= 20 * 60 * 1.15


def test_a_portal_in_trouble_is_not_asked_every_minute() -> None:
    assert (timedelta(minutes=5), timedelta(hours=6)) == (kind.RETRY_FIRST, kind.RETRY_MOST)
