"""Threads is searched within its quota whatever kills the daemon, and its errors are told apart."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import Gap, MalformedError, Memo
from listener.sources import threads as kind
from listener.types import Post, PostKind
from tests.servers.driving import NOW, Daemon, Time, net, one_poll
from tests.servers.feeds import answer, running
from tests.servers.threads import TOKEN, KeywordSearch, error, media

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, *queries: str, **changes: Any) -> kind.Options:
    own: dict[str, Any] = {"token": Secret(TOKEN), "queries": queries or ("instagram",), "accept_terms": True}
    return kind.Options(server=server.url, **own | changes)


def numbers(raws: list[Any]) -> list[int]:
    return [int(raw["id"]) - 17_900_000_000_000_000 for raw in raws if not isinstance(raw, Memo | Gap)]


def spent(cursor: str | None) -> int:
    return msgspec.json.decode(cursor or "", type=kind.Cursor).spent.used


async def failure(server: KeywordSearch, cursor: str | None = None, **changes: Any) -> SourceError:
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server, **changes), cursor, edge))
    return caught.value


async def test_a_query_is_counted_before_it_is_sent() -> None:
    async with running(KeywordSearch()) as server, net() as edge:
        source = kind.posts(options(server), None, edge)
        raw, cursor = await anext(source)
        await source.aclose()
    assert (raw, spent(cursor), server.requests) == (Memo(), 1, [])
    assert kind.parse(Memo(), NOW) is None


async def test_a_query_that_brings_nothing_is_free() -> None:
    server = KeywordSearch(posts={"whatsapp": [media(1, NOW)]})
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server, "instagram"), None, edge))
        assert spent(cursor) == 0
        _, cursor = await one_poll(kind.posts(options(server, "whatsapp"), cursor, edge))
    assert spent(cursor) == 1


async def test_a_used_up_quota_is_waited_for_also_after_a_restart() -> None:
    time, server = Time(), KeywordSearch(posts={"instagram": [media(1, NOW)]})
    async with running(server), net(time) as edge:
        daemon = Daemon(kind)
        await daemon.run(options(server, quota=3, overlap=timedelta(hours=1)), edge)
        assert (daemon.reasons, server.counted, len(server.requests)) == (["quota"], 3, 3)
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server, quota=3), daemon.cursor, edge))
        assert (caught.value.reason, caught.value.permanent, len(server.requests)) == ("quota", False, 3)
        assert caught.value.retry_after is not None
        time.now += timedelta(seconds=caught.value.retry_after)
        await one_poll(kind.posts(options(server, quota=3), daemon.cursor, edge))
    assert len(server.requests) == 4


async def test_all_that_is_found_is_read_however_many_pages_it_fills() -> None:
    found = [media(i, NOW - i * timedelta(seconds=2)) for i in range(250)]
    async with running(KeywordSearch(posts={"instagram": found})) as server, net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
    assert sorted(numbers(raws)) == list(range(250))
    assert spent(cursor) == len(server.requests) == 3


async def test_a_second_in_which_a_page_ends_is_read_whole() -> None:
    found = [media(i, NOW - timedelta(seconds=10 if i < 95 else 20)) for i in range(110)]
    async with running(KeywordSearch(posts={"instagram": found})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert sorted(numbers(raws)) == list(range(110))


async def test_a_post_that_is_found_late_is_heard_and_none_twice() -> None:
    time, server = Time(), KeywordSearch(posts={"instagram": [media(1, NOW - MINUTE)]})
    async with running(server), net(time) as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.posts["instagram"].append(media(2, NOW - 4 * MINUTE))
        time.now += 5 * MINUTE
        second, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        third, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (numbers(first), numbers(second), numbers(third)) == ([1], [2], [])


@pytest.mark.parametrize(
    ("status", "code", "reason", "is_permanent"),
    [
        (400, 190, "token_expired", True),
        (500, 10, "not_allowed", True),
        (403, 200, "not_allowed", True),
        (400, 100, "error_100", True),
        (400, 4, "limited", False),
        (429, 80002, "limited", False),
        (500, 2, "error_2", False),
    ],
)
async def test_an_error_says_what_is_wrong(status: int, code: int, reason: str, is_permanent: bool) -> None:
    async with running(KeywordSearch(fails=(status, error(code)))) as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
        assert (edge.cooling(server.url) == 3600) == (reason == "limited")
    assert (caught.value.reason, caught.value.permanent) == (reason, is_permanent)
    assert (caught.value.retry_after == 3600) == (reason == "limited")


async def test_a_wrong_token_is_told_and_stands_in_no_message_or_address() -> None:
    server = KeywordSearch()
    caught = await failure(server, token=Secret("THAA-wrong"))
    assert (caught.reason, caught.permanent) == ("token_expired", True)
    assert "wrong" not in str(caught)
    assert "access_token" not in server.requests[0].query


@pytest.mark.parametrize(("status", "reason"), [(200, "not_threads"), (500, "status_500"), (502, "status_502")])
async def test_a_page_of_somebody_else_is_a_failure(status: int, reason: str) -> None:
    server = KeywordSearch()
    server.behaviours["/v1.0/keyword_search"] = answer(status, b"<html>sorry</html>")
    assert (await failure(server)).reason == reason


@pytest.mark.parametrize(("changes", "reason"), [({"token": Secret("")}, "no_token"), ({"queries": ()}, "no_query")])
async def test_without_a_token_or_a_query_nothing_is_asked(changes: dict[str, Any], reason: str) -> None:
    server = KeywordSearch()
    assert (await failure(server, **changes)).reason == reason
    assert server.requests == []


async def test_after_days_of_absence_the_last_day_is_read_and_the_rest_is_a_gap() -> None:
    cursor = json.dumps({"polled": {"instagram": int((NOW - timedelta(hours=48)).timestamp())}})
    server = KeywordSearch(
        posts={"instagram": [media(1, NOW - timedelta(hours=30)), media(2, NOW - timedelta(hours=20))]}
    )
    async with running(server), net() as edge:
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert gap == Gap(NOW - timedelta(hours=48), NOW - timedelta(hours=24))
    assert numbers(raws) == [2]


async def test_tags_are_searched_as_tags() -> None:
    async with running(KeywordSearch()) as server, net() as edge:
        await one_poll(kind.posts(options(server, mode="tag"), None, edge))
    assert server.requests[0].query["search_mode"] == ["TAG"]


def test_replies_and_quotes_are_told_apart_and_what_has_no_words_is_none() -> None:
    def kind_of(**changes: Any) -> PostKind:
        made = kind.parse(media(1, NOW, **changes), NOW)
        assert isinstance(made, Post)
        return made.kind

    assert kind_of(is_reply=True) is PostKind.REPLY
    assert kind_of(is_quote_post=True) is PostKind.QUOTE
    assert kind.parse({"id": "1", "timestamp": "2026-11-20T13:00:00+0000", "media_type": "IMAGE"}, NOW) is None
    assert kind.parse(media(1, NOW, media_type="REPOST_FACADE"), NOW) is None
    with pytest.raises(MalformedError):
        kind.parse({"text": "x"}, NOW)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 20), max_size=8),
    delays=st.lists(st.integers(0, 9), min_size=30, max_size=30),
)
def test_nothing_is_lost_and_no_query_uncounted_whenever_the_daemon_dies(crashes: list[int], delays: list[int]) -> None:
    """A post is written every minute and found up to nine minutes later, behind those already read."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind)
        written = [(media(i, NOW + i * MINUTE), NOW + (i + delay) * MINUTE) for i, delay in enumerate(delays)]
        server = KeywordSearch(posts={"instagram": []})

        def publish() -> None:
            server.posts["instagram"] = [post for post, found_at in written if found_at <= time.now]

        time.on_sleep = publish
        everything = {f"threads:{post['id']}" for post, _ in written}
        async with running(server), net(time) as edge:
            for crash in [*crashes, None]:
                await daemon.run(options(server), edge, crash_after=crash, until=everything)
                assert server.counted <= (spent(daemon.cursor) if daemon.cursor else 0)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
