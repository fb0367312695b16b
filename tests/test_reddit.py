"""Reddit is asked at its own pace and left alone when it says so, restarts included; neither way of reading loses a post."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import Gap, MalformedError, Memo
from listener.sources import reddit as kind
from listener.sources._feed import Item
from listener.types import Delete, Post, PostKind
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.reddit import APP, Reddit, thing

pytestmark = pytest.mark.anyio

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
NEW = "/r/serbia/new"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, **changes: Any) -> kind.Options:
    own: dict[str, Any] = {"api": server.url, "subreddits": ("serbia",), "accept_terms": True}
    return kind.Options(server=server.url, **own | changes)


def with_app(server: Any, **changes: Any) -> kind.Options:
    own: dict[str, Any] = {"client_id": Secret(APP[0]), "client_secret": Secret(APP[1])}
    return options(server, **own | changes)


def names(raws: list[Any]) -> list[str]:
    found = [raw for raw in raws if isinstance(raw, kind.Raw)]
    return [raw.entry.id if raw.entry else str((raw.thing or {})["name"]) for raw in found]


def state(cursor: str | None) -> kind.Cursor:
    return msgspec.json.decode(cursor or "{}", type=kind.Cursor)


async def failure(choice: kind.Options, edge: Any, cursor: str | None = None) -> tuple[SourceError, str | None]:
    """The error a source ends in, and the last cursor before."""
    try:
        async for _, given in kind.posts(choice, cursor, edge):
            cursor = given or cursor
    except SourceError as error:
        return error, cursor
    raise AssertionError


# --- pace and parking -----------------------------------------------------------------------------------------------


async def test_two_sources_share_the_one_request_a_minute_that_an_address_has() -> None:
    time = Time()
    server = Reddit(listings={NEW: [thing(1, NOW)], "/r/bih/new": [thing(2, NOW)]}, clock=time.read)
    async with running(server), net(time) as edge:
        first, _ = await one_poll(kind.posts(options(server), None, edge))
        second, _ = await one_poll(kind.posts(options(server, subreddits=("bih",)), None, edge))
    assert (names(first), names(second)) == (["t3_1"], ["t3_2"])
    assert sum(time.slept) == pytest.approx(65, abs=1)


async def test_posts_and_comments_are_two_requests_a_minute_apart() -> None:
    time = Time()
    listings = {NEW: [thing(1, NOW)], "/r/serbia/comments": [thing(2, NOW, body="i meni")]}
    server = Reddit(listings=listings, clock=time.read)
    async with running(server), net(time) as edge:
        taken = await take(kind.posts(options(server, comments=True), None, edge), 4)
    assert names([raw for raw, _ in taken]) == ["t3_1", "t1_2"]
    assert sum(time.slept) == pytest.approx(65, abs=1)


async def test_a_request_of_the_process_before_counts_as_well() -> None:
    time = Time()
    server = Reddit(listings={NEW: [thing(1, NOW)]}, clock=time.read)
    async with running(server):
        async with net(time) as edge:
            _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now += 20 * SECOND
        async with net(time) as after_restart:
            await one_poll(kind.posts(options(server), cursor, after_restart))
    assert time.slept == [45]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"x-ratelimit-reset": "30"}, 120),
        ({"x-ratelimit-reset": "200"}, 200),
        ({"Retry-After": "150", "x-ratelimit-reset": "300"}, 300),
        ({"Retry-After": "400", "x-ratelimit-reset": "300"}, 400),
        ({}, 120),
    ],
)
async def test_a_429_waits_for_the_longest_time_there_is_a_reason_for(headers: dict[str, str], wait: float) -> None:
    server = Reddit(status=429, headers=headers)
    async with running(server), net() as edge:
        error, cursor = await failure(options(server), edge)
        assert edge.cooling(server.url) == wait
    assert (error.reason, error.retry_after) == ("limited", wait)
    assert state(cursor).standing.parked_until == NOW.timestamp() + wait


async def test_a_403_parks_for_an_hour_doubling_to_a_day_and_forgotten_when_it_opens() -> None:
    time, cursor, waits = Time(), None, []
    server = Reddit(status=403)
    async with running(server), net(time) as edge:
        for _ in range(6):
            error, cursor = await failure(options(server), edge, cursor)
            waits.append((error.retry_after or 0) / 60)
            time.now += timedelta(seconds=error.retry_after or 0)
        server.status = 200
        _, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        server.status = 403
        time.now += HOUR
        error, _ = await failure(options(server), edge, cursor)
    assert waits == [61, 122, 244, 488, 976, 1440]
    assert (error.reason, error.retry_after) == ("blocked", 61 * 60)


async def test_a_restart_does_not_knock_at_a_shut_door() -> None:
    time, server = Time(), Reddit(status=403)
    async with running(server):
        async with net(time) as edge:
            _, cursor = await failure(options(server), edge)
        time.now += 10 * MINUTE
        async with net(time) as after_restart:
            error, cursor = await failure(options(server), after_restart, cursor)
            other, _ = await failure(options(server, subreddits=("bih",)), after_restart)
    assert (error.reason, error.retry_after, len(server.requests)) == ("parked", 51 * 60, 1)
    assert other.reason == "cooling_down"


async def test_being_sent_away_is_no_sign_of_life() -> None:
    server = Reddit(status=403)
    async with running(server), net() as edge:
        source = kind.posts(options(server), None, edge)
        assert isinstance((await anext(source))[0], Memo)
        with pytest.raises(SourceError):
            await anext(source)
    assert kind.parse(Memo(), NOW) is None


async def test_the_user_agent_is_of_the_form_reddit_asks_for() -> None:
    async with running(Reddit()) as server, net() as edge:
        await one_poll(kind.posts(options(server, user="mira"), None, edge))
    assert server.requests[0].headers["user-agent"] == "python:listener:test (by /u/mira)"


# --- feeds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"subreddits": ("serbia", "bulgaria")}, "/r/serbia+bulgaria/new/.rss"),
        ({"query": "instagram down"}, "/r/serbia/search.rss"),
        ({"query": "instagram down", "subreddits": ()}, "/search.rss"),
    ],
)
async def test_all_that_is_wanted_is_in_one_request(changes: dict[str, Any], target: str) -> None:
    async with running(Reddit()) as server, net() as edge:
        await one_poll(kind.posts(options(server, **changes), None, edge))
    (request,) = server.requests
    assert (request.path, request.query["limit"]) == (target, ["100"])
    assert request.query.get("q", [None])[0] == changes.get("query")
    assert ("restrict_sr" in request.query) == (target == "/r/serbia/search.rss")


async def test_entries_come_oldest_first_an_edited_one_again_and_none_twice() -> None:
    time = Time()
    server = Reddit(listings={NEW: [thing(1, NOW - 2 * MINUTE), thing(2, NOW - MINUTE)]}, clock=time.read)
    async with running(server), net(time) as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.listings[NEW][0] = thing(1, NOW - 2 * MINUTE, "Instagram radi opet")
        second, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        third, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (names(first), names(second), third) == (["t3_1", "t3_2"], ["t3_1"], [])


async def test_a_feed_in_which_everything_is_new_may_have_had_more() -> None:
    time = Time()
    server = Reddit(listings={NEW: [thing(1, NOW)]}, clock=time.read)
    async with running(server), net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now += 5 * MINUTE
        server.listings[NEW] = [thing(i, NOW + 2 * MINUTE + i * SECOND) for i in range(10, 150)]
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    (gap,) = [raw for raw in raws if isinstance(raw, Gap)]
    assert (gap.since, gap.until) == (NOW, NOW + 2 * MINUTE + 50 * SECOND)
    assert len(names(raws)) == 100
    assert kind.parse(gap, NOW) is None


async def test_a_page_that_is_no_feed_is_a_failure() -> None:
    server = Reddit()
    server.behaviours["*"] = answer(200, b"<html>whoa there, pardner!</html>")
    async with running(server), net() as edge:
        error, _ = await failure(options(server), edge)
    assert error.reason == "not_a_feed"


async def parsed(post: dict[str, Any]) -> Post | Delete | None:
    """What becomes of a post that comes in a feed."""
    async with running(Reddit(listings={NEW: [post]})) as server, net() as edge:
        (raw,), _ = await one_poll(kind.posts(options(server), None, edge))
    return kind.parse(raw, NOW)


async def test_who_submitted_it_is_cut_off_but_not_what_the_writer_says_of_submitting() -> None:
    made = await parsed(thing(1, NOW, selftext="My form was submitted by mistake & now <b>nothing</b> loads"))
    assert isinstance(made, Post)
    assert made.text == "Instagram ne radi?\nMy form was submitted by mistake & now <b>nothing</b> loads"
    assert (made.id, made.author, made.kind) == ("reddit:t3_1", "user1", PostKind.POST)


@pytest.mark.parametrize("author", ["", "[deleted]"])
async def test_a_post_whose_author_is_gone_has_none(author: str) -> None:
    made = await parsed(thing(1, NOW, author=author))
    assert isinstance(made, Post)
    assert made.author == ""


@pytest.mark.parametrize("text", ["[deleted]", "[removed]"])
async def test_a_post_that_was_erased_is_erased_here_too(text: str) -> None:
    assert await parsed(thing(1, NOW, selftext=text)) == Delete(source="reddit", at=NOW, post_id="reddit:t3_1")


async def test_a_comment_is_a_reply_without_the_title_of_what_it_replies_to() -> None:
    made = await parsed(thing(1, NOW, body="kod mene radi"))
    assert isinstance(made, Post)
    assert (made.id, made.text, made.kind) == ("reddit:t1_1", "kod mene radi", PostKind.REPLY)


def test_a_link_has_no_text_but_its_title_and_a_subreddit_is_no_post() -> None:
    summary = '<table><a href="x">[img]</a> &#32; submitted by &#32; <a href="x">/u/x</a> [link]</table>'
    item = Item("t3_1", "https://x.example", "Pad mreže", summary, "/u/x", (), is_html=True)
    made = kind.parse(kind.Raw(item), NOW)
    assert isinstance(made, Post)
    assert made.text == "Pad mreže\n[img]"
    assert kind.parse(kind.Raw(replace(item, id="t5_2qh")), NOW) is None


# --- the API --------------------------------------------------------------------------------------------------------


async def test_the_api_is_read_forward_from_what_is_known_page_by_page_without_a_pause() -> None:
    time = Time()
    server = Reddit(listings={NEW: [thing(i, NOW + i * SECOND) for i in range(1, 4)]})
    async with running(server), net(time) as edge:
        _, cursor = await one_poll(kind.posts(with_app(server), None, edge))
        server.listings[NEW] += [thing(i, NOW + i * SECOND) for i in range(10, 240)]
        daemon = Daemon(kind, cursor=cursor)
        await daemon.run(with_app(server), edge, until={f"reddit:t3_{239:x}"})
    assert time.slept == []
    assert list(daemon.stored) == [f"reddit:t3_{i:x}" for i in range(10, 240)]


async def test_when_the_newest_post_is_deleted_an_older_one_leads_on() -> None:
    server = Reddit(listings={NEW: [thing(i, NOW + i * SECOND) for i in range(1, 9)]})
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(with_app(server), None, edge))
        server.deleted = {"t3_8", "t3_7"}
        server.listings[NEW].append(thing(9, NOW + 9 * SECOND))
        raws, cursor = await one_poll(kind.posts(with_app(server), cursor, edge))
    assert names(raws) == ["t3_9"]
    assert [r.query["before"][0] for r in server.requests if "before" in r.query] == ["t3_8", "t3_7", "t3_6"]
    assert state(cursor).anchors["new"][:3] == ["t3_9", "t3_6", "t3_5"]


async def test_when_all_we_know_is_deleted_the_newest_page_is_read_again() -> None:
    server = Reddit(listings={NEW: [thing(i, NOW + i * SECOND) for i in range(1, 9)]})
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(with_app(server), None, edge))
        server.deleted = {f"t3_{i}" for i in range(4, 9)}
        server.listings[NEW].append(thing(9, NOW + 9 * SECOND))
        raws, _ = await one_poll(kind.posts(with_app(server), cursor, edge))
    assert names(raws) == ["t3_9"]


async def test_a_token_is_asked_for_once_and_again_before_it_ends() -> None:
    time, server = Time(), Reddit(lasts=3600)
    async with running(server), net(time) as edge:
        await take(kind.posts(with_app(server, every=MINUTE), None, edge), 20)
        assert server.tokens == 1
        await take(kind.posts(with_app(server, every=50 * MINUTE), None, edge), 5)
    assert server.tokens == 1 + 3  # an hour is enough for two of them


async def test_a_token_that_no_longer_works_is_a_passing_failure() -> None:
    server = Reddit()
    server.behaviours["/r/serbia/new"] = answer(401, b"{}")
    async with running(server), net() as edge:
        error, _ = await failure(with_app(server), edge)
    assert (error.reason, error.permanent) == ("unauthorized", False)


async def test_a_wrong_secret_is_told_and_shown_nowhere() -> None:
    async with running(Reddit()) as server, net() as edge:
        error, _ = await failure(with_app(server, client_secret=Secret("gu3ss")), edge)
    assert (error.reason, error.permanent) == ("bad_secret", True)
    assert "gu3ss" not in str(error)


async def test_used_up_requests_are_waited_for() -> None:
    time, server = Time(), Reddit(remaining=0)
    async with running(server), net(time) as edge:
        await take(kind.posts(with_app(server, every=MINUTE), None, edge), 2)
    assert time.slept == [340]


async def test_a_tokens_door_may_be_shut_as_well() -> None:
    server = Reddit()
    server.behaviours["/api/v1/access_token"] = answer(403, b"<html>")
    async with running(server), net() as edge:
        error, cursor = await failure(with_app(server), edge)
    assert (error.reason, state(cursor).standing.blocked) == ("blocked", 1)


@pytest.mark.parametrize("answered", [b"<html>", b'{"data": {}}', b"[]"])
async def test_an_answer_that_is_not_reddits_is_a_failure(answered: bytes) -> None:
    server = Reddit()
    server.behaviours[NEW] = answer(200, answered)
    async with running(server), net() as edge:
        error, _ = await failure(with_app(server), edge)
    assert error.reason == "not_reddit"


def test_a_thing_of_the_api_reads_like_an_entry_of_a_feed() -> None:
    def made(**changes: Any) -> Post | Delete | None:
        return kind.parse(kind.Raw(thing=thing(1, NOW, **changes)), NOW)

    post, comment, crosspost = made(), made(body="i meni"), made(crosspost_parent="t3_0")
    assert isinstance(post, Post)
    assert isinstance(comment, Post)
    assert isinstance(crosspost, Post)
    assert (post.id, post.text, post.author) == ("reddit:t3_1", "Instagram ne radi?\nDa li vam radi?", "user1")
    assert post.url == "https://www.reddit.com/r/serbia/comments/1/x/"
    assert (comment.id, comment.text, comment.kind) == ("reddit:t1_1", "i meni", PostKind.REPLY)
    assert crosspost.kind is PostKind.REPOST
    assert made(over_18=True) is None
    gone = Delete(source="reddit", at=NOW, post_id="reddit:t3_1")
    assert made(removed_by_category="moderator") == made(selftext="[deleted]") == gone
    with pytest.raises(MalformedError):
        kind.parse(kind.Raw(thing={"name": "t3_1"}), NOW)


async def test_without_a_subreddit_or_a_query_nothing_is_asked() -> None:
    async with running(Reddit()) as server, net() as edge:
        error, _ = await failure(options(server, subreddits=()), edge)
    assert (error.reason, error.permanent, server.requests) == ("no_query", True, [])


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(
    is_api=st.booleans(),
    crashes=st.lists(st.integers(0, 20), max_size=6),
    deleted=st.sets(st.integers(0, 29), max_size=10),
)
def test_nothing_is_lost_whenever_the_daemon_dies(is_api: bool, crashes: list[int], deleted: set[int]) -> None:
    """A post is written every minute; some are deleted ten minutes later, and may have been where we had got to."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind)
        written = [thing(i, NOW + i * MINUTE) for i in range(30)]
        server = Reddit(listings={NEW: []}, clock=time.read)

        def publish() -> None:
            server.listings[NEW] = [p for p in written if p["created_utc"] <= time.now.timestamp()]
            server.deleted = {f"t3_{i:x}" for i in deleted if time.now >= NOW + (i + 10) * MINUTE}

        time.on_sleep = publish
        everything = {f"reddit:{post['name']}" for post in written}
        async with running(server), net(time) as edge:
            choice = with_app(server, every=2 * MINUTE) if is_api else options(server, every=2 * MINUTE)
            await daemon.run_through(choice, edge, crashes, everything)
        assert daemon.stored.keys() == everything
        assert "limited" not in daemon.reasons

    asyncio.run(life())
