"""A search of Hacker News is read whole, late and edited items included, and no item twice."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import Gap, MalformedError
from listener.sources import hackernews as kind
from listener.types import Post, PostKind
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.hackernews import Search, comment, story

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, *queries: str, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, queries=queries or ("instagram",), **changes)


def numbers(raws: list[Any]) -> list[int]:
    return [int(raw["objectID"]) for raw in raws]


async def test_all_that_is_found_is_read_however_many_pages_it_fills() -> None:
    items = [story(i, NOW - 60 * MINUTE + i * timedelta(seconds=10)) for i in range(250)]
    async with running(Search(items={"instagram": items})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert sorted(numbers(raws)) == list(range(250))
    assert len(server.requests) == 3


async def test_a_second_in_which_a_page_ends_is_read_whole() -> None:
    items = [story(i, NOW - (10 if i < 95 else 20) * MINUTE) for i in range(110)]
    async with running(Search(items={"instagram": items})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert sorted(numbers(raws)) == list(range(110))


async def test_an_item_indexed_late_is_heard_an_edited_one_again_and_the_others_once() -> None:
    time = Time()
    server = Search(items={"instagram": [story(1, NOW - 50 * MINUTE), story(2, NOW - MINUTE)]})
    async with running(server), net(time) as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        edited = story(2, NOW - MINUTE, title="Instagram is back")
        server.items["instagram"] = [story(1, NOW - 50 * MINUTE), edited, story(3, NOW - 30 * MINUTE)]
        time.now += 5 * MINUTE
        second, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        third, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (sorted(numbers(first)), sorted(numbers(second)), third) == ([1, 2], [2, 3], [])


async def test_an_item_that_two_queries_find_is_heard_once() -> None:
    item = story(1, NOW - MINUTE)
    server = Search(items={"instagram": [item], "outage": [item]})
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "instagram", "outage"), None, edge), 3)
    assert [raw is None for raw, _ in taken] == [False, True, True]


async def test_comments_are_left_out_when_only_stories_are_wanted() -> None:
    server = Search(items={"instagram": [story(1, NOW - MINUTE), comment(2, NOW - MINUTE)]})
    async with running(server), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server, comments=False), None, edge))
    assert numbers(raws) == [1]


def test_a_comment_is_a_reply_in_plain_text() -> None:
    made = kind.parse(comment(7, NOW, "Same in <i>Izmir</i>.<p>DNS looks fine &#x2F; no ads blocked"), NOW)
    assert isinstance(made, Post)
    assert made.kind is PostKind.REPLY
    assert made.text == "Same in Izmir.\nDNS looks fine / no ads blocked"
    assert (made.id, made.url) == ("hackernews:7", "https://news.ycombinator.com/item?id=7")


def test_an_item_without_words_is_none_and_one_without_an_id_is_malformed() -> None:
    assert kind.parse(story(1, NOW, title=None), NOW) is None  # type: ignore[arg-type]
    with pytest.raises(MalformedError):
        kind.parse({"created_at_i": 5}, NOW)


async def test_after_days_of_absence_the_last_day_is_read_and_the_rest_is_a_gap() -> None:
    cursor = json.dumps({"polled": {"instagram": int((NOW - timedelta(hours=48)).timestamp())}})
    server = Search(items={"instagram": [story(1, NOW - timedelta(hours=30)), story(2, NOW - timedelta(hours=20))]})
    async with running(server), net() as edge:
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert gap == Gap(NOW - timedelta(hours=48), NOW - timedelta(hours=24))
    assert kind.parse(gap, NOW) is None
    assert numbers(raws) == [2]


async def test_what_a_poll_could_not_reach_is_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "PAGES", 2)
    items = [story(i, NOW - i * timedelta(seconds=20)) for i in range(250)]
    async with running(Search(items={"instagram": items})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    (gap,) = [raw for raw in raws if isinstance(raw, Gap)]
    assert (gap.since, gap.until) == (NOW - timedelta(hours=2), NOW - 198 * timedelta(seconds=20))


async def test_an_answer_that_is_not_algolias_is_a_failure() -> None:
    server = Search()
    server.behaviours["*"] = answer(200, b"<html>maintenance</html>")
    server.behaviours.pop("/api/v1/search_by_date")
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert caught.value.reason == "not_algolia"


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 20), max_size=6),
    delays=st.lists(st.integers(0, 60), min_size=30, max_size=30),
)
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], delays: list[int]) -> None:
    """An item is written every minute and indexed up to an hour later, behind those already read."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind)
        written = [(story(i, NOW + i * MINUTE), NOW + (i + delay) * MINUTE) for i, delay in enumerate(delays)]
        server = Search(items={"instagram": []})

        def publish() -> None:
            server.items["instagram"] = [item for item, indexed_at in written if indexed_at <= time.now]

        time.on_sleep = publish
        everything = {f"hackernews:{item['objectID']}" for item, _ in written}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
