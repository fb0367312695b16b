"""A feed that has moved for good is asked for where it lives, and one that is gone is given up, neither too soon."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.servers.driving import Time, net
from tests.servers.feeds import HttpServer, answer, feed, in_turn, item, redirect, rss, running
from tests.servers.poller import Poller

pytestmark = pytest.mark.anyio

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TWO_DAYS = timedelta(days=2, minutes=1)
ONE = rss(item("1", "Jedan"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def moved_server(status: int = 301) -> HttpServer:
    """`/feed` redirects to `/new`, where the feed is."""
    return HttpServer({"/feed": redirect("/new", status), "/new": feed(ONE, {"ETag": '"1"'})})


async def poll_through(poller: Poller, time: Time, times: int, over: timedelta) -> None:
    """So many polls, the last of them so long after the first."""
    for i in range(times):
        await poller.poll()
        if i < times - 1:
            time.now += over / (times - 1)


@pytest.mark.parametrize("status", [301, 308])
async def test_a_move_for_good_that_holds_two_days_and_twenty_answers_is_learnt(status: int) -> None:
    time = Time()
    async with running(moved_server(status)) as server, net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 20, TWO_DAYS)
        server.requests.clear()
        assert await poller.poll() == []
        assert poller.paths == ["/new"]
        server.behaviours["/new"] = answer(200, rss(item("2", "Dva")))
        assert await poller.poll() == ["Dva"]


@pytest.mark.parametrize(("times", "over"), [(19, 3 * DAY), (60, 2 * DAY - HOUR)])
async def test_a_move_is_not_believed_too_soon_nor_for_too_few_answers(times: int, over: timedelta) -> None:
    time = Time()
    async with running(moved_server()) as server, net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, times, over)
        server.requests.clear()
        await poller.poll()
    assert poller.paths == ["/feed", "/new"]


@pytest.mark.parametrize("statuses", [(302, 301), (301, 302), (303, 301), (307, 301), (301, 307)])
async def test_one_hop_that_may_change_makes_the_whole_way_one_that_may(statuses: tuple[int, int]) -> None:
    time, server = Time(), moved_server(statuses[0])
    server.behaviours |= {"/new": redirect("/newer", statuses[1]), "/newer": feed(ONE, {"ETag": '"1"'})}
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 25, 3 * DAY)
        server.requests.clear()
        await poller.poll()
    assert poller.paths == ["/feed", "/new", "/newer"]


async def test_a_move_elsewhere_in_between_begins_the_count_anew() -> None:
    time, server = Time(), moved_server()
    server.behaviours["/portal"] = answer(200, rss(item("9", "Hotel")))
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 15, 2 * DAY)
        server.behaviours["/feed"] = in_turn(redirect("/portal", 301), redirect("/new", 301))
        await poll_through(poller, time, 15, 2 * DAY - HOUR)
        server.requests.clear()
        await poller.poll()
    assert poller.paths == ["/feed", "/new"]


async def test_a_place_that_is_no_feed_is_not_moved_to() -> None:
    time, page = Time(), answer(200, b"<!doctype html><p>Welcome to the hotel")
    server = moved_server()
    server.behaviours["/new"] = page
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        for _ in range(25):
            await poller.failure()
            time.now += 3 * HOUR
        server.behaviours["/feed"] = answer(200, ONE)
        server.requests.clear()
        assert await poller.poll() == ["Jedan"]
    assert poller.paths == ["/feed"]


async def test_a_home_may_move_on() -> None:
    time, server = Time(), moved_server()
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 20, TWO_DAYS)
        server.behaviours |= {"/new": redirect("/newer", 308), "/newer": feed(ONE, {"ETag": '"1"'})}
        await poll_through(poller, time, 20, TWO_DAYS)
        server.requests.clear()
        await poller.poll()
    assert poller.paths == ["/newer"]


async def test_a_home_is_forgotten_when_the_operator_names_another_address() -> None:
    time, server = Time(), moved_server()
    server.behaviours["/other"] = answer(200, rss(item("7", "Drugi")))
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 20, TWO_DAYS)
        poller.path = "/other"
        server.requests.clear()
        assert await poller.poll() == ["Drugi"]
    assert poller.paths == ["/other"]


@pytest.mark.parametrize("lost", [answer(404), answer(410), answer(200, b"<html>for sale</html>")])
async def test_a_home_that_is_lost_is_looked_for_at_the_old_address(lost: Any) -> None:
    time, server = Time(), moved_server()
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 20, TWO_DAYS)
        server.behaviours |= {"/feed": answer(200, rss(item("3", "Vratio se"))), "/new": lost}
        await poller.failure()
        assert await poller.poll() == ["Vratio se"]
        server.requests.clear()
        await poller.poll()
    assert poller.paths == ["/feed"]


async def test_when_the_old_address_is_no_better_the_home_is_tried_again() -> None:
    time, server = Time(), moved_server()
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 20, TWO_DAYS)
        server.behaviours |= {"/feed": answer(500), "/new": answer(404)}
        await poller.failure()
        await poller.failure()
        server.behaviours["/new"] = answer(200, rss(item("3", "Vratio se")))
        server.requests.clear()
        assert await poller.poll() == ["Vratio se"]
    assert poller.paths == ["/new"]


async def test_a_home_that_is_only_down_is_kept() -> None:
    time, server = Time(), moved_server()
    async with running(server), net(time) as edge:
        poller = Poller(server, edge)
        await poll_through(poller, time, 20, TWO_DAYS)
        server.behaviours["/new"] = answer(500)
        server.requests.clear()
        for _ in range(3):
            await poller.failure()
    assert poller.paths == ["/new"] * 3


async def test_a_410_is_asked_about_again_after_an_hour_and_then_believed() -> None:
    time = Time()
    async with running(HttpServer({"/feed": answer(410)})) as server, net(time) as edge:
        poller = Poller(server, edge)
        first = await poller.failure()
        assert (first.reason, first.retry_after, first.permanent) == ("status_410", 3600, False)
        time.now += HOUR / 2
        early = await poller.failure()  # the daemon was restarted
        assert (early.reason, early.retry_after, early.permanent) == ("status_410", 1800, False)
        time.now += HOUR / 2
        second = await poller.failure()
        assert (second.reason, second.permanent) == ("gone", True)


async def test_a_feed_that_comes_back_within_the_hour_is_heard_and_its_410_forgotten() -> None:
    time, behave = Time(), in_turn(answer(410), answer(200, ONE), answer(410))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge)
        await poller.failure()
        time.now += HOUR
        assert await poller.poll() == ["Jedan"]
        time.now += HOUR
        assert not (await poller.failure()).permanent


async def test_a_404_is_believed_after_five_of_them_over_a_day() -> None:
    time = Time()
    async with running(HttpServer({"/feed": answer(404)})) as server, net(time) as edge:
        poller = Poller(server, edge)
        for _ in range(8):
            error = await poller.failure()
            assert (error.reason, error.permanent) == ("status_404", False)
            time.now += 3 * HOUR
        error = await poller.failure()
        assert (error.reason, error.permanent) == ("dead", True)
        assert "9 times since 2026-11-20" in str(error)


async def test_a_few_404_are_not_believed_however_long_it_takes() -> None:
    time = Time()
    async with running(HttpServer({"/feed": answer(404)})) as server, net(time) as edge:
        poller = Poller(server, edge)
        for _ in range(4):
            assert not (await poller.failure()).permanent
            time.now += 2 * DAY
        assert (await poller.failure()).permanent


async def test_other_failures_in_between_do_not_make_a_feed_less_dead_and_an_answer_does() -> None:
    time = Time()
    behave = in_turn(*[answer(404)] * 4, answer(500), answer(404), answer(200, ONE), answer(404))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge)
        permanent = []
        for _ in range(6):
            permanent.append((await poller.failure()).permanent)
            time.now += 6 * HOUR
        assert permanent == [False] * 5 + [True]
        assert await poller.poll() == ["Jedan"]
        assert not (await poller.failure()).permanent


async def test_a_feed_of_youtube_is_never_dead() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    time = Time()
    async with running(HttpServer({"/feed": answer(404)})) as server, net(time, look_up=look_up) as edge:
        server.url = server.url.replace("127.0.0.1", "www.youtube.com")
        poller = Poller(server, edge)
        for _ in range(10):
            assert not (await poller.failure()).permanent
            time.now += DAY


async def test_a_failure_loses_nothing_of_what_is_known() -> None:
    time, behave = Time(), in_turn(feed(ONE, {"ETag": '"1"'}), answer(404), feed(ONE, {"ETag": '"1"'}))
    async with running(HttpServer({"/feed": behave})) as server, net(time) as edge:
        poller = Poller(server, edge)
        await poller.poll()
        await poller.failure()
        assert await poller.poll() == []
    assert poller.asked["if-none-match"] == '"1"'
