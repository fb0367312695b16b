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
from listener.kinds import Secret
from listener.sources import Gap, MalformedError
from listener.sources import _mastodon_timelines as timelines
from listener.sources import mastodon as kind
from listener.types import Delete, Post, PostKind, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, redirect
from tests.servers.mastodon import MastodonServer, feed_item, post_id, running, status

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
    return json.dumps({"polled_ms": {tag: ms}, "instance": {"asked_at": NOW.isoformat()}})


async def test_a_timeline_is_read_page_by_page_oldest_first() -> None:
    posts = [status(i, NOW - 5 * MINUTE + i * timedelta(milliseconds=10)) for i in range(95)]
    async with running(MastodonServer(timelines={"outage": posts})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert numbers(raws) == list(range(95))


async def test_posts_are_passed_on_before_any_pause() -> None:
    time = Time()
    async with running(MastodonServer(timelines={"outage": [status(1, NOW - MINUTE)]})) as server, net(time) as edge:
        await take(kind.posts(options(server), cursor_at(2), edge), 1)
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


async def test_several_tags_are_asked_for_at_once() -> None:
    names = ["a", "b", "c", "d", "e"]
    posts = {name: [status(i, NOW - MINUTE)] for i, name in enumerate(names)}
    server = MastodonServer(timelines=posts)
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, *names), None, edge), 7)
    assert sorted(numbers([raw for raw, _ in taken if raw is not None])) == [0, 1, 2, 3, 4]
    asked = [request.query.get("any[]") for request in server.requests if "min_id" in request.query]
    assert asked == [["b", "c", "d"], ["b", "c", "d"], ["e"], ["e"]]


async def test_tags_are_joined_to_one_that_the_server_knows() -> None:
    """About the others it is silent when it has never seen the first: they would be quiet for ever."""
    server = MastodonServer(timelines={"known": [status(1, NOW - timedelta(days=60))], "late": []})
    async with running(server), net() as edge:
        source = kind.posts(options(server, "never", "known", "late"), None, edge)
        _, cursor = await one_poll(source)
        server.timelines["late"] = [status(2, NOW)]
        raws, _ = await one_poll(kind.posts(options(server, "never", "known", "late"), cursor, edge))
    assert numbers(raws) == [2]
    assert server.paths()[-1] == "/api/v1/timelines/tag/known"


@pytest.mark.parametrize("version", ["2.8.4 (compatible; Pleroma 2.9.1)", "4.2.0 (compatible; Akkoma 3.13)", "0.17.0"])
async def test_a_program_that_may_not_know_how_to_join_tags_is_asked_for_each(version: str) -> None:
    server = MastodonServer(version=version, timelines={"a": [status(1, NOW)], "b": [status(2, NOW)]})
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "a", "b"), None, edge), 4)
    assert numbers([raw for raw, _ in taken if raw is not None]) == [1, 2]
    assert not any("any[]" in request.query for request in server.requests)


async def test_a_tag_may_be_written_with_its_hash_sign() -> None:
    server = MastodonServer(timelines={"outage": [status(1, NOW)]})
    async with running(server), net() as edge:
        assert numbers((await one_poll(kind.posts(options(server, "#outage", "outage"), None, edge)))[0]) == [1]


async def test_without_any_tag_there_is_nothing_to_hear() -> None:
    async with net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(kind.Options(tags=("#",)), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("no_tags", True)


@pytest.mark.parametrize("which", ["local", "remote", "all"])
async def test_the_whole_public_timeline_of_a_small_server_can_be_heard(which: Any) -> None:
    server = MastodonServer(timelines={which: [status(1, NOW)]})
    async with running(server), net() as edge:
        source = kind.posts(kind.Options(server=server.url, tags=(), public=which), None, edge)
        assert numbers((await one_poll(source))[0]) == [1]


async def test_a_closed_public_timeline_is_not_a_quiet_one() -> None:
    server = MastodonServer(live_access={"local": "disabled", "remote": "disabled"}, timelines={"local": []})
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(kind.Options(server=server.url, public="local"), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("closed", True)


async def test_ids_are_numbers_and_not_words() -> None:
    """As words, an id of 17 digits is greater than one of 18."""
    early = status(1, NOW, id="99999999999999999", uri="https://m.example/early")
    late = status(2, NOW, id="100000000000000000", uri="https://m.example/late")
    server = MastodonServer(timelines={"outage": [late, early]}, ignores_min_id=True)
    async with running(server), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert [raw.status["uri"].rpartition("/")[2] for raw in raws] == ["early", "late"]


async def test_a_server_that_always_gives_the_same_page_is_not_asked_for_ever() -> None:
    server = MastodonServer()
    page = json.dumps([status(1, NOW - MINUTE)]).encode()
    server.behaviours["/api/v1/timelines/tag/outage"] = answer(200, page)
    async with running(server), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert numbers(raws) == [1]
    assert len(server.requests) == 3


async def test_an_unknown_tag_is_empty_and_letters_of_any_script_may_stand_in_a_tag() -> None:
    async with running(MastodonServer()) as server, net() as edge:
        assert (await one_poll(kind.posts(options(server, "çöktü"), None, edge)))[0] == []
    assert server.requests[1].path == "/api/v1/timelines/tag/%C3%A7%C3%B6kt%C3%BC"


@pytest.mark.parametrize(
    "access", [{"local": "disabled", "remote": "disabled"}, {"local": "authenticated", "remote": "disabled"}]
)
async def test_a_server_that_shows_hashtags_to_nobody_is_closed_not_quiet(access: dict[str, str]) -> None:
    server = MastodonServer(access=access, feeds={"outage": []})
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("closed", True)
    assert not any("timelines" in path for path in server.paths()), "an empty list would prove nothing"


@pytest.mark.parametrize("refuse", [401, 403, 422])
async def test_a_timeline_for_users_only_is_closed(refuse: int) -> None:
    async with running(MastodonServer(refuse=refuse)) as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("closed", True)


@pytest.mark.parametrize(
    ("access", "asked"),
    [
        ({"local": "public", "remote": "authenticated"}, ["local"]),
        ({"local": "public", "remote": "disabled"}, ["local"]),
        ({"local": "authenticated", "remote": "public"}, ["remote"]),
        ({"local": "public", "remote": "public"}, []),
    ],
)
async def test_of_a_server_that_shows_half_of_it_that_half_is_asked_for(
    access: dict[str, str], asked: list[str]
) -> None:
    server = MastodonServer(access=access, timelines={"outage": [status(1, NOW)]})
    async with running(server), net() as edge:
        assert numbers((await one_poll(kind.posts(options(server), None, edge)))[0]) == [1]
    assert [side for side in ("local", "remote") if side in server.requests[-1].query] == asked


async def test_a_server_that_cannot_say_what_is_open_is_read() -> None:
    server = MastodonServer(timelines={"outage": [status(1, NOW)]})
    server.behaviours["/api/v2/instance"] = answer(404)
    async with running(server), net() as edge:
        assert numbers((await one_poll(kind.posts(options(server), None, edge)))[0]) == [1]


@pytest.mark.parametrize("tags", [["outage"], ["outage", "instagram"]])
async def test_with_a_token_that_is_not_accepted_the_source_says_so(tags: list[str]) -> None:
    server = MastodonServer(token="right", timelines={"outage": []})
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server, *tags, token=Secret("wrong")), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("token_refused", True)
    assert "wrong" not in str(caught.value)


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


@pytest.mark.parametrize(("remaining", "pause"), [(200, 10), (1, 300), (0, 300)])
async def test_a_used_up_allowance_is_waited_for(remaining: int, pause: float) -> None:
    time = Time()
    async with running(MastodonServer(remaining=remaining)) as server, net(time) as edge:
        await take(kind.posts(options(server, every=MINUTE / 60), cursor_at(1), edge), 2)
    assert sum(time.slept) == pytest.approx(pause, abs=1)


async def test_an_allowance_is_never_waited_for_longer_than_a_quarter_of_an_hour() -> None:
    time = Time()
    server = MastodonServer(remaining=0, reset_at=NOW + timedelta(days=9))
    async with running(server), net(time) as edge:
        await take(kind.posts(options(server), cursor_at(1), edge), 2)
    assert sum(time.slept) == pytest.approx(900)


async def test_tags_share_the_interval_and_requests_keep_their_distance() -> None:
    time = Time()
    cursor = json.dumps({"instance": {"asked_at": NOW.isoformat()}})
    async with running(MastodonServer()) as server, net(time) as edge:
        await take(kind.posts(options(server, "a", "b", every=2 * MINUTE), cursor, edge), 3)
    assert 120 <= sum(time.slept) <= 140


async def test_requests_to_a_server_are_ten_seconds_apart() -> None:
    time, asked_at = Time(), list[float]()
    server = MastodonServer(timelines={"outage": [status(i, NOW - MINUTE) for i in range(90)]})
    timeline = server.behaviours["*"]

    async def noted(request: Any, writer: Any) -> None:
        asked_at.append((time.now - NOW).total_seconds())
        await timeline(request, writer)

    server.behaviours["*"] = noted
    async with running(server), net(time) as edge:
        await one_poll(kind.posts(options(server), None, edge))
    assert asked_at == [10, 20, 30, 40]


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
    monkeypatch.setattr(timelines, "PAGES", 2)
    time = Time()
    posts = [status(i, NOW - timedelta(hours=3) + i * MINUTE) for i in range(175)]
    daemon = Daemon(kind, cursor=cursor_at(180))
    async with running(MastodonServer(timelines={"outage": posts})) as server, net(time) as edge:
        await daemon.run_through(options(server), edge, [], {post_id(post) for post in posts})


def fed_server(*items: str, **changes: Any) -> MastodonServer:
    closed = {"local": "authenticated", "remote": "authenticated"}
    return MastodonServer(access=closed, feeds={"outage": list(items)}, **changes)


async def test_where_json_is_for_users_only_the_feed_of_a_tag_is_read() -> None:
    server = fed_server(feed_item(2, NOW - MINUTE, "Radi li vama?"), feed_item(1, NOW - 2 * MINUTE))
    async with running(server), net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
        again, _ = await one_poll(kind.posts(options(server), cursor, edge))
    made = [kind.parse(raw, NOW) for raw in raws]
    assert [(m.id, m.text, m.author) for m in made if isinstance(m, Post)] == [
        ("mastodon:https://m.example/@a/1", "Instagram ne radi?", "a@m.example"),
        ("mastodon:https://m.example/@a/2", "Radi li vama?", "a@m.example"),
    ]
    assert again == []


async def test_a_server_that_says_it_is_open_and_refuses_is_read_by_its_feeds() -> None:
    server = MastodonServer(refuse=401, version="4.2.1", feeds={"outage": [feed_item(1, NOW)]})
    async with running(server), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert len(raws) == 1


async def test_a_feed_with_news_beside_an_empty_one_is_open() -> None:
    server = fed_server(feed_item(1, NOW))
    server.feeds["quiet"] = []
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "quiet", "unknown", "outage"), None, edge), 2)
    assert [raw is None for raw, _ in taken] == [False, True], "nothing is heard before it is known to be open"


@pytest.mark.parametrize("behaviour", [answer(401), answer(403), answer(200, b"<html>log in</html>"), redirect("/in")])
async def test_where_feeds_are_for_users_only_too_the_source_is_closed(behaviour: Any) -> None:
    server = fed_server(feed_item(1, NOW))
    server.behaviours |= {"/tags/outage.rss": behaviour, "/in": answer(200, b"<html>log in</html>")}
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("closed", True)


async def test_what_was_pushed_out_of_a_feed_between_two_polls_is_a_gap() -> None:
    time = Time()
    server = fed_server(feed_item(1, NOW - MINUTE))
    async with running(server), net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now += timedelta(hours=2)
        server.feeds["outage"] = [feed_item(i, NOW + timedelta(hours=1) + i * MINUTE) for i in range(40, 20, -1)]
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert isinstance(gap, Gap)
    assert gap.until == NOW + timedelta(hours=1, minutes=21)
    assert len(raws) == 20


def parsed(**changes: Any) -> Post | Delete | None:
    return kind.parse(timelines.Raw(status(1, NOW, **changes), "m.example", frozenset({"nsfw"})), NOW)


def test_what_a_bot_posts_is_press() -> None:
    bot, person = parsed(account={"acct": "b", "bot": True}), parsed(account={"acct": "b", "bot": False})
    assert isinstance(bot, Post)
    assert isinstance(person, Post)
    assert (bot.tier, person.tier) == (Tier.PRESS, Tier.PERSON)


def test_who_asks_not_to_be_indexed_is_left_out() -> None:
    assert parsed(account={"acct": "b", "noindex": True}) is None


def test_nothing_leads_back_to_who_does_not_want_to_be_found() -> None:
    shy, open_one = parsed(account={"acct": "b", "indexable": False}), parsed(account={"acct": "b", "indexable": True})
    assert isinstance(shy, Post)
    assert isinstance(open_one, Post)
    assert (shy.url, open_one.url) == ("", "https://m.example/@a/1")


@pytest.mark.parametrize(
    ("sensitive", "tags", "kept"),
    [
        (True, [{"name": "NSFW"}, {"name": "instagram"}], False),
        (True, [{"name": "instagram"}], True),
        (False, [{"name": "nsfw"}], True),
        (True, None, True),
    ],
)
def test_a_warning_alone_does_not_make_a_post_adult(sensitive: bool, tags: Any, kept: bool) -> None:
    assert (parsed(sensitive=sensitive, tags=tags, spoiler_text="opet") is not None) is kept


def test_a_text_has_its_warning_and_the_title_of_its_link_and_not_the_address_of_what_it_quotes() -> None:
    content = '<p class="quote-inline">RE: <a href="https://m.example/@b/2">m.example</a></p><p>i kod mene</p>'
    card = {"title": "Pao Instagram", "description": "x"}
    made = parsed(content=content, spoiler_text="mreže", card=card, quote={"state": "accepted"})
    assert isinstance(made, Post)
    assert (made.text, made.kind) == ("mreže\ni kod mene\nPao Instagram", PostKind.QUOTE)


@pytest.mark.parametrize("changes", [{"uri": 5}, {"account": None}, {"tags": [1]}, {"content": {}}])
def test_a_status_of_another_shape_is_malformed(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parsed(**changes)


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
        everything = {post_id(post) for post, _ in written}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
