"""Hashtag timelines are read whole, late posts included, at the server's pace; a closed server is not taken for a quiet one."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import Gap
from listener.sources import mastodon as kind
from listener.types import Post
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.mastodon import MastodonServer, status

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, *tags: str, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, tags=tags or ("outage",), **changes)


def numbers(raws: list[Any]) -> list[int]:
    return [int(raw.status["uri"].rpartition("/")[2]) for raw in raws]


def cursor_at(minutes_ago: float, tag: str = "outage") -> str:
    ms = int((NOW - minutes_ago * MINUTE).timestamp() * 1000)
    return json.dumps({"polled_ms": {tag: ms}, "open_at": NOW.isoformat()})


async def test_a_timeline_is_read_page_by_page_oldest_first() -> None:
    posts = [status(i, NOW - 5 * MINUTE + i * timedelta(milliseconds=10)) for i in range(95)]
    async with running(MastodonServer(timelines={"outage": posts})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert numbers(raws) == list(range(95))


async def test_posts_are_passed_on_before_any_pause() -> None:
    time = Time()
    async with running(MastodonServer(timelines={"outage": [status(1, NOW - MINUTE)]})) as server, net(time) as edge:
        await take(kind.posts(options(server), None, edge), 1)
    assert time.slept == []


async def test_a_post_that_arrives_late_is_heard_and_none_twice() -> None:
    time = Time()
    server = MastodonServer(timelines={"outage": [status(1, NOW - 2 * MINUTE), status(2, NOW - MINUTE)]})
    async with running(server), net(time) as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.timelines["outage"].append(status(3, NOW - 10 * MINUTE))  # federated only now
        time.now += 2 * MINUTE
        second, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        third, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (numbers(first), numbers(second), third) == ([1, 2], [3], [])


async def test_an_edit_comes_again_with_its_new_text() -> None:
    server = MastodonServer(timelines={"outage": [status(1, NOW - MINUTE)]})
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.timelines["outage"] = [
            status(1, NOW - MINUTE, "<p>opet radi</p>", edited_at="2026-11-20T13:09:50.000Z"),
        ]
        (raw,), _ = await one_poll(kind.posts(options(server), cursor, edge))
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    assert (made.id, made.text) == ("mastodon:https://m.example/users/a/statuses/1", "opet radi")


async def test_a_post_under_two_tags_is_heard_once() -> None:
    post = status(1, NOW - MINUTE)
    server = MastodonServer(timelines={"outage": [post], "instagramdown": [post]})
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "outage", "instagramdown"), None, edge), 3)
    assert [raw is None for raw, _ in taken] == [False, True, True]


async def test_an_unknown_tag_is_empty_and_letters_of_any_script_may_stand_in_a_tag() -> None:
    async with running(MastodonServer()) as server, net() as edge:
        assert (await one_poll(kind.posts(options(server, "çöktü"), None, edge)))[0] == []
    assert server.requests[1].path == "/api/v1/timelines/tag/%C3%A7%C3%B6kt%C3%BC"


@pytest.mark.parametrize(
    "access", [{"local": "disabled", "remote": "disabled"}, {"local": "authenticated", "remote": "disabled"}]
)
async def test_a_server_that_shows_hashtags_to_nobody_is_closed_not_quiet(access: dict[str, str]) -> None:
    async with running(MastodonServer(access=access)) as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("closed", True)


@pytest.mark.parametrize("refuse", [401, 422])
async def test_a_timeline_for_users_only_is_closed(refuse: int) -> None:
    async with running(MastodonServer(refuse=refuse)) as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("closed", True)


async def test_a_server_that_cannot_say_what_is_open_is_read() -> None:
    server = MastodonServer(timelines={"outage": [status(1, NOW)]})
    server.behaviours["/api/v2/instance"] = answer(404)
    async with running(server), net() as edge:
        assert numbers((await one_poll(kind.posts(options(server), None, edge)))[0]) == [1]


async def test_what_is_open_is_asked_once_a_day() -> None:
    time = Time()
    async with running(MastodonServer()) as server, net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now += timedelta(hours=23)
        _, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        time.now += timedelta(hours=2)
        await one_poll(kind.posts(options(server), cursor, edge))
    assert [request.path for request in server.requests].count("/api/v2/instance") == 2


async def test_a_429_waits_until_the_time_the_server_names() -> None:
    async with running(MastodonServer(refuse=429, reset_at=NOW + 4 * MINUTE)) as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.retry_after) == ("status_429", 240)


@pytest.mark.parametrize(("remaining", "pause"), [(200, 10), (0, 300)])
async def test_a_used_up_allowance_is_waited_for(remaining: int, pause: float) -> None:
    time = Time()
    async with running(MastodonServer(remaining=remaining)) as server, net(time) as edge:
        await take(kind.posts(options(server, every=MINUTE / 60), None, edge), 2)
    assert time.slept == [pause]


async def test_tags_share_the_interval_and_requests_keep_their_distance() -> None:
    time = Time()
    async with running(MastodonServer()) as server, net(time) as edge:
        await take(kind.posts(options(server, "a", "b", every=2 * MINUTE), None, edge), 3)
    assert 120 <= sum(time.slept) <= 140


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b'{"error":"x"}', b'[{"id":"9hKAbc"}]', b"[1]"])
async def test_an_answer_that_is_not_mastodons_is_a_failure(body: bytes) -> None:
    server = MastodonServer()
    server.behaviours["*"] = answer(200, body)
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert caught.value.reason == "not_mastodon"


async def test_after_days_of_absence_the_last_day_is_read_and_the_rest_is_a_gap() -> None:
    posts = [status(1, NOW - timedelta(hours=30)), status(2, NOW - timedelta(hours=20))]
    async with running(MastodonServer(timelines={"outage": posts})) as server, net() as edge:
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor_at(48 * 60), edge))
    assert gap == Gap(NOW - timedelta(hours=48), NOW - timedelta(hours=24))
    assert kind.parse(gap, NOW) is None
    assert numbers(raws) == [2]


async def test_a_flood_is_read_over_several_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "PAGES", 2)
    time = Time()
    posts = [status(i, NOW - timedelta(hours=3) + i * MINUTE) for i in range(175)]
    daemon = Daemon(kind, cursor=cursor_at(180))
    async with running(MastodonServer(timelines={"outage": posts})) as server, net(time) as edge:
        await daemon.run_through(options(server), edge, [], {f"mastodon:{post['uri']}" for post in posts})


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 20), max_size=6),
    delays=st.lists(st.integers(0, 14), min_size=30, max_size=30),
)
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], delays: list[int]) -> None:
    """A post is written every minute and becomes visible up to 14 minutes later, behind those already read."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind)
        written = [(status(i, NOW + i * MINUTE), NOW + (i + delay) * MINUTE) for i, delay in enumerate(delays)]
        server = MastodonServer(timelines={"outage": []})

        def publish() -> None:
            server.timelines["outage"] = [post for post, visible_at in written if visible_at <= time.now]

        time.on_sleep = publish
        everything = {f"mastodon:{post['uri']}" for post, _ in written}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
