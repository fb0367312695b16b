"""Lists of a Lemmy server are read back to where they were left, in both versions; a closed server is not a quiet one."""

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
from listener.sources import lemmy as kind
from listener.types import Post, PostKind
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.lemmy import LemmyServer, comment_view, post_view

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, *communities: str, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, communities=communities, **changes)


def cursor_at(minutes_ago: float, name: str = "post:") -> str:
    return json.dumps({"polled_ms": {name: int((NOW - minutes_ago * MINUTE).timestamp() * 1000)}})


def names(raws: list[Any]) -> list[str]:
    return [
        f"{part}{raw.view[part]['id']}" for raw in raws for part in ("comment" if "comment" in raw.view else "post",)
    ]


async def failure(server: LemmyServer, *communities: str) -> SourceError:
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await take(kind.posts(options(server, *communities), None, edge), 9)
    return caught.value


@pytest.mark.parametrize("version", ["v3", "v4"])
async def test_posts_are_read_page_by_page_and_passed_on_oldest_first(version: str) -> None:
    posts = [post_view(i, NOW - 10 * MINUTE + i * timedelta(seconds=1)) for i in range(120)]
    async with running(LemmyServer(posts=posts, version=version)) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert names(raws) == [f"post{i}" for i in range(120)]


async def test_a_server_that_numbers_its_pages_is_read_as_well() -> None:
    posts = [post_view(i, NOW - 10 * MINUTE + i * timedelta(seconds=1)) for i in range(120)]
    async with running(LemmyServer(posts=posts, has_cursors=False)) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert len(raws) == 120


async def test_what_is_older_than_the_last_poll_is_left_alone() -> None:
    posts = [post_view(i, NOW - timedelta(hours=i)) for i in range(200)]
    async with running(LemmyServer(posts=posts)) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), cursor_at(100), edge))
    assert names(raws) == ["post1", "post0"]
    assert len(server.requests) == 2, "one page reaches far enough back"


async def test_a_post_that_arrives_late_is_heard_and_none_twice() -> None:
    time = Time()
    server = LemmyServer(posts=[post_view(1, NOW - 2 * MINUTE), post_view(2, NOW - MINUTE)])
    async with running(server), net(time) as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.posts.append(post_view(3, NOW - 10 * MINUTE))  # federated only now
        time.now += 2 * MINUTE
        second, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        third, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (names(first), names(second), third) == (["post1", "post2"], ["post3"], [])


async def test_an_edit_comes_again_with_its_new_text() -> None:
    server = LemmyServer(posts=[post_view(1, NOW - MINUTE)])
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.posts = [post_view(1, NOW - MINUTE, "opet radi", updated="2026-11-20T13:09:50.000000Z")]
        (raw,), _ = await one_poll(kind.posts(options(server), cursor, edge))
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    assert (made.id, made.text, made.languages) == ("lemmy:https://l.example/post/1", "opet radi", ("hr",))


async def test_pinned_posts_do_not_hide_that_there_is_more() -> None:
    pinned = [post_view(900 + i, NOW - timedelta(days=300), featured_community=True) for i in range(50)]
    posts = [post_view(i, NOW - MINUTE) for i in range(3)]
    async with running(LemmyServer(posts=[*pinned, *posts])) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert sorted(names(raws)) == ["post0", "post1", "post2"]


async def test_comments_are_heard_when_wanted_as_replies() -> None:
    server = LemmyServer(
        posts=[post_view(1, NOW)], comments=[comment_view(5, NOW - MINUTE, "> radi li?\n\nni meni ne radi")]
    )
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, comments=True), None, edge), 4)
    assert names([raw for raw, _ in taken if raw]) == ["post1", "comment5"]
    made = kind.parse(taken[2][0], NOW)
    assert isinstance(made, Post)
    assert (made.id, made.text, made.kind) == (
        "lemmy:https://l.example/comment/5",
        "ni meni ne radi",
        PostKind.REPLY,
    )


async def test_many_comments_are_read_page_by_page() -> None:
    comments = [comment_view(i, NOW - 5 * MINUTE + i * timedelta(seconds=1)) for i in range(120)]
    async with running(LemmyServer(comments=comments)) as server, net() as edge:
        taken = await take(kind.posts(options(server, comments=True), None, edge), 121)
    assert sum(raw is not None for raw, _ in taken) == 120


@pytest.mark.parametrize("version", ["v3", "v4"])
async def test_a_community_the_server_does_not_know_is_empty_beside_others(version: str) -> None:
    server = LemmyServer(posts=[post_view(1, NOW)], version=version)
    async with running(server), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server, "nowhere", "croatia"), None, edge))
    assert names(raws) == ["post1"]


async def test_a_server_that_knows_none_of_the_communities_says_so() -> None:
    error = await failure(LemmyServer(), "nowhere", "neither")
    assert (error.reason, error.permanent) == ("no_community", True)


async def test_a_server_that_has_moved_to_the_next_version_is_asked_anew() -> None:
    server = LemmyServer(posts=[post_view(1, NOW)])
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.version, server.posts = "v4", [post_view(2, NOW)]
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert names(raws) == ["post2"]


@pytest.mark.parametrize(
    "server",
    [LemmyServer(private=True), LemmyServer(error="instance_is_private")],
    ids=["says so", "refuses"],
)
async def test_a_server_for_its_users_only_is_closed_not_quiet(server: LemmyServer) -> None:
    error = await failure(server)
    assert (error.reason, error.permanent) == ("closed", True)


async def test_too_often_is_understood_even_as_a_400() -> None:
    server = LemmyServer(error="rate_limit_error")
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
        assert (caught.value.reason, caught.value.retry_after) == ("status_429", 600)
        assert edge.cooling(server.url) > 0


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b'{"error":"x"}', b"[1]", b'{"site_view":1}'])
async def test_an_answer_that_is_not_lemmys_is_a_failure(body: bytes) -> None:
    server = LemmyServer()
    server.behaviours["*"] = answer(200, body)
    assert (await failure(server)).reason == "not_lemmy"


@pytest.mark.parametrize("body", [b"<html>maintenance</html>", b'{"posts":1}', b"{}", b'{"posts":[1]}'])
async def test_a_list_that_is_not_lemmys_is_a_failure(body: bytes) -> None:
    server = LemmyServer()
    server.behaviours["/api/v3/post/list"] = answer(200, body)
    assert (await failure(server)).reason == "not_lemmy"


async def test_what_a_server_says_of_itself_is_asked_once_a_day() -> None:
    time, server = Time(), LemmyServer()
    async with running(server), net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        for hours in (23, 25):
            time.now = NOW + timedelta(hours=hours)
            _, cursor = await one_poll(kind.posts(options(server), cursor, edge))
    assert [request.path for request in server.requests].count("/api/v3/site") == 2


async def test_requests_keep_their_distance_and_lists_share_the_interval() -> None:
    time = Time()
    server = LemmyServer(communities=("a", "b"))
    async with running(server), net(time) as edge:
        await take(kind.posts(options(server, "a", "b"), None, edge), 3)
    assert time.slept[0] == pytest.approx(10)
    assert 300 <= sum(time.slept) <= 345


async def test_after_days_of_absence_the_last_day_is_read_and_the_rest_is_a_gap() -> None:
    posts = [post_view(1, NOW - timedelta(hours=30)), post_view(2, NOW - timedelta(hours=20))]
    async with running(LemmyServer(posts=posts)) as server, net() as edge:
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor_at(48 * 60), edge))
    assert gap == Gap(NOW - timedelta(hours=48), NOW - timedelta(hours=24))
    assert kind.parse(gap, NOW) is None
    assert names(raws) == ["post2"]


async def test_what_a_poll_does_not_reach_back_to_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "PAGES", 2)
    posts = [post_view(i, NOW - i * MINUTE) for i in range(150)]
    async with running(LemmyServer(posts=posts)) as server, net() as edge:
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor_at(140), edge))
    assert gap == Gap(NOW - 140 * MINUTE, NOW - 99 * MINUTE)
    assert len(raws) == 100


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 15), max_size=5),
    delays=st.lists(st.integers(0, 14), min_size=24, max_size=24),
)
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], delays: list[int]) -> None:
    """A post is written every minute and becomes visible up to 14 minutes later, behind those already read."""

    async def life() -> None:
        time, daemon, server = Time(), Daemon(kind), LemmyServer()
        written = [(post_view(i, NOW + i * MINUTE), NOW + (i + delay) * MINUTE) for i, delay in enumerate(delays)]

        def publish() -> None:
            server.posts = [post for post, visible_at in written if visible_at <= time.now]

        time.on_sleep = publish
        everything = {f"lemmy:{post['post']['ap_id']}" for post, _ in written}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
