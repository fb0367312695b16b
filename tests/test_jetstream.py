"""The Bluesky stream is followed from where it was left, over crashes and gaps, without losing a post."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.sources import Gap
from listener.sources import jetstream as kind
from listener.sources._net import Net
from listener.types import Post
from tests.servers.driving import NOW, Daemon, net, take
from tests.servers.jetstream import (
    Event,
    Jetstream,
    an_hour_of,
    following,
    ids,
    microseconds,
    post_event,
    running,
)

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def run(daemon: Daemon, edge: Net, choice: kind.Options) -> str:
    await daemon.run(choice, edge)
    return daemon.reasons[-1]


async def test_version_2_is_asked_for_posts_and_accounts_only() -> None:
    async with running(Jetstream(an_hour_of(1))) as server, net() as edge:
        assert await run(Daemon(kind), edge, following(server)) == "silent"
    (path, query) = server.subscriptions[0]
    assert path == "/xrpc/network.bsky.jetstream.subscribeEvents"
    assert (query["kinds"], query["collections"], "cursor" in query) == (
        ["commit", "account"],
        ["app.bsky.feed.post"],
        False,
    )


async def test_the_same_host_goes_on_at_the_next_event_and_repeats_none() -> None:
    async with running(Jetstream(an_hour_of(6), close_after=3)) as server, net() as edge:
        daemon = Daemon(kind, cursor=server.beginning())
        assert await run(daemon, edge, following(server)) == "disconnected"
        assert daemon.stored.keys() == ids(server.events[:3])
        server.close_after = None
        daemon.stored.clear()
        await run(daemon, edge, following(server))
        assert daemon.stored.keys() == ids(server.events[3:])
    assert [query["cursor"] for _, query in server.subscriptions] == [["100"], ["103"]]


async def test_times_out_of_order_leave_the_cursor_at_the_newest() -> None:
    begin = NOW - timedelta(minutes=5)
    log: list[Event] = [post_event(i, begin + seconds * SECOND) for i, seconds in enumerate((10, 9, 14, 12, 11))]
    log.append({**post_event(9, NOW), "time_us": 4_400_000_000_000_000})  # some time in 2109
    async with running(Jetstream(log, live_from=0)) as server, net() as edge:
        source = kind.posts(following(legacy=(server,)), None, edge)
        cursors = [json.loads(cursor)["max_time_us"] for _, cursor in await take(source, 6)]
    newest = [begin + seconds * SECOND for seconds in (10, 10, 14, 14, 14)]
    assert cursors == [microseconds(at) for at in (*newest, NOW)]


async def gaps(server: Jetstream, choice: kind.Options, cursor: str) -> list[Gap]:
    """What a restart finds to be missing."""
    found: list[Gap] = []
    async with net() as edge, asyncio.timeout(10):
        source = kind.posts(choice, cursor, edge)
        async for raw, _ in source:
            if isinstance(raw, Gap):
                found.append(raw)
                assert kind.parse(raw, NOW) is None
            else:
                break
        await source.aclose()
    return found


async def test_a_number_that_is_too_old_is_given_up_for_its_time_and_the_gap_recorded() -> None:
    log = an_hour_of(120)
    async with running(Jetstream(log, oldest=100, live_from=110)) as server:
        cursor = json.loads(server.beginning()) | {"seq": 5}
        (gap,) = await gaps(server, following(server), json.dumps(cursor))
    assert [len(query["cursor"][0]) for _, query in server.subscriptions] == [1, 16]
    assert (microseconds(gap.since), gap.until) == (cursor["max_time_us"], NOW - timedelta(minutes=1) - 20 * SECOND)


async def test_a_time_that_is_too_old_as_well_is_given_up_for_now_and_the_gap_recorded() -> None:
    log = an_hour_of(120)
    async with running(Jetstream(log, oldest=100, live_from=110, refuses_old_times=True)) as server:
        cursor = json.loads(server.beginning()) | {"seq": 5}
        (gap,) = await gaps(server, following(server), json.dumps(cursor))
    assert (len(server.subscriptions), "cursor" in server.subscriptions[-1][1]) == (3, False)
    assert (microseconds(gap.since), gap.until) == (cursor["max_time_us"], NOW - timedelta(minutes=1) - 10 * SECOND)


async def test_version_1_clamps_silently_and_the_gap_is_still_found() -> None:
    async with running(Jetstream(an_hour_of(120), oldest=100)) as server:
        (gap,) = await gaps(server, following(legacy=(server,)), server.beginning("v1"))
        assert gap.until - gap.since > 90 * SECOND
        server.oldest = 0
        assert await gaps(server, following(legacy=(server,)), server.beginning("v1")) == []


async def test_after_days_of_absence_the_stream_is_taken_up_live() -> None:
    async with running(Jetstream(an_hour_of(3), live_from=0)) as server:
        cursor = {"host": server.url, "protocol": "v2", "seq": 1, "max_time_us": microseconds(NOW - timedelta(days=3))}
        (gap,) = await gaps(server, following(server), json.dumps(cursor))
    assert "cursor" not in server.subscriptions[0][1]
    assert gap.since == NOW - timedelta(days=3)


@pytest.mark.parametrize("first_seq", [1, 50, 94, 95, 96])
async def test_a_host_that_numbers_its_events_anew_is_asked_by_time_and_nothing_is_lost(first_seq: int) -> None:
    """After a crash it may be behind our number, or have given it and those before to events we don't know."""
    log = an_hour_of(20)
    async with running(Jetstream(log, first_seq=90, close_after=10)) as server, net() as edge:
        daemon = Daemon(kind, cursor=server.beginning())
        await run(daemon, edge, following(server))
        assert daemon.stored.keys() == ids(log[:10])
        server.first_seq, server.close_after = first_seq, None
        await daemon.run_through(following(server), edge, [], ids(log))
    assert daemon.reasons[1] == "renumbered"
    assert daemon.stored.keys() == ids(log)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 15), max_size=6),
    protocol=st.sampled_from(["v1", "v2"]),
    repeats=st.booleans(),
    close_after=st.sampled_from([None, 7, 13]),
    cuts_frames=st.booleans(),
    dictionaries=st.sampled_from([[], [20_260_811]]),
)
def test_nothing_is_lost_whenever_the_daemon_or_the_server_dies(
    crashes: list[int], protocol: str, close_after: int | None, **ways: Any
) -> None:
    async def life() -> None:
        log = an_hour_of(40, jitter=900)
        async with running(Jetstream(log, close_after=close_after, **ways)) as server, net() as edge:
            choice = following(server) if protocol == "v2" else following(legacy=(server,))
            daemon = Daemon(kind, cursor=server.beginning(protocol))
            await daemon.run_through(choice, edge, crashes, ids(log))
        assert daemon.stored.keys() == ids(log)
        assert all(isinstance(post, Post) for post in daemon.stored.values())

    asyncio.run(life())
