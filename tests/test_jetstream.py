"""The Bluesky stream is followed over failures, silence and changes of host without losing a post."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.sources import Gap
from listener.sources import jetstream as kind
from listener.sources._net import Net
from listener.types import Post
from tests.servers.driving import NOW, Daemon, Time, net
from tests.servers.jetstream import Jetstream, microseconds, post_event, post_id, running

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def an_hour_of(count: int, *, start: int = 0, jitter: int = 0) -> list[dict[str, Any] | bytes]:
    """Posts a second apart, ending a minute ago, with times out of order by up to so many milliseconds."""
    begin = NOW - timedelta(minutes=1) - count * SECOND
    return [
        post_event(i, begin + i * SECOND + timedelta(milliseconds=(i * 7919) % (jitter + 1)))
        for i in range(start, start + count)
    ]


def ids(events: list[Any]) -> set[str]:
    return {post_id(event) for event in events if isinstance(event, dict)}


def options(*hosts: Jetstream, legacy: tuple[Jetstream, ...] = (), **changes: Any) -> kind.Options:
    silence = timedelta(milliseconds=120)
    short = {"first_event": silence, "next_event": silence, "rewind": 2 * SECOND}
    return kind.Options(hosts=tuple(h.url for h in hosts), legacy_hosts=tuple(h.url for h in legacy), **short | changes)


def beginning(server: Jetstream, protocol: str = "v2") -> str:
    """The cursor of one who has heard nothing yet of the log, and was there just before it began."""
    first = server.events[0]
    assert isinstance(first, dict)
    seq = server.first_seq - 1 if protocol == "v2" else 0
    return json.dumps({"host": server.url, "protocol": protocol, "seq": seq, "max_time_us": first["time_us"] - 1})


async def run(daemon: Daemon, edge: Net, choice: kind.Options) -> str:
    await daemon.run(choice, edge)
    return daemon.reasons[-1]


async def test_version_2_is_asked_for_posts_and_accounts_only() -> None:
    async with running(Jetstream(an_hour_of(1))) as server, net() as edge:
        assert await run(Daemon(kind), edge, options(server)) == "silent"
    (path, query) = server.asked[0]
    assert path == "/xrpc/network.bsky.jetstream.subscribeEvents"
    assert (query["kinds"], query["collections"], "cursor" in query) == (
        ["commit", "account"],
        ["app.bsky.feed.post"],
        False,
    )


async def test_the_same_host_goes_on_at_the_next_event_and_repeats_none() -> None:
    async with running(Jetstream(an_hour_of(6), close_after=3)) as server, net() as edge:
        daemon = Daemon(kind, cursor=beginning(server))
        assert await run(daemon, edge, options(server)) == "disconnected"
        assert daemon.stored.keys() == ids(server.events[:3])
        server.close_after = None
        daemon.stored.clear()
        await run(daemon, edge, options(server))
        assert daemon.stored.keys() == ids(server.events[3:])
    assert [query["cursor"] for _, query in server.asked] == [["100"], ["103"]]


async def test_a_silent_host_is_left_for_the_next_which_takes_up_the_stream_by_time() -> None:
    log = an_hour_of(20)
    async with (
        running(Jetstream(log, close_after=11)) as first,
        running(Jetstream(log, first_seq=70_000)) as second,
        net(time := Time()) as edge,
    ):
        daemon, choice = Daemon(kind, cursor=beginning(first)), options(first, second)
        assert await run(daemon, edge, choice) == "disconnected"
        first.is_silent = True
        assert await run(daemon, edge, choice) == "silent"
        assert len(second.asked) == 0
        assert await run(daemon, edge, choice) == "silent"  # all of the second, then nothing new
        assert daemon.stored.keys() == ids(log)
        asked = int(second.asked[0][1]["cursor"][0])
        newest = log[10]
        assert isinstance(newest, dict)
        assert asked == newest["time_us"] - 2_000_000
        time.now += timedelta(minutes=2)
        first.is_silent, first.close_after = False, None
        await run(daemon, edge, choice)
        assert len(second.asked) == 2, "a host that works is kept"


async def test_the_next_host_is_heard_also_for_what_the_first_had_not_sent_yet() -> None:
    """Hosts don't agree on the order: a post of a moment ago may not have been there."""
    log = an_hour_of(10)
    async with (
        running(Jetstream([*log[:7], log[8]], first_seq=900_000)) as first,
        running(Jetstream(log, first_seq=1)) as second,
        net() as edge,
    ):
        daemon, choice = Daemon(kind, cursor=beginning(first)), options(first, second)
        await run(daemon, edge, choice)
        await run(daemon, edge, choice)
    assert daemon.stored.keys() == ids(log)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (HTTPStatus.SERVICE_UNAVAILABLE, "status_503"),
        (HTTPStatus.BAD_REQUEST, "status_400"),
        (HTTPStatus.FOUND, "status_302"),
        (HTTPStatus.TOO_MANY_REQUESTS, "status_429"),
    ],
)
async def test_a_refusing_host_is_left_for_version_1(trouble: HTTPStatus, reason: str) -> None:
    async with (
        running(Jetstream(an_hour_of(3), refuse=trouble)) as first,
        running(Jetstream(an_hour_of(3))) as old,
        net() as edge,
    ):
        daemon = Daemon(kind, cursor=beginning(first))
        choice = options(first, legacy=(old,))
        assert await run(daemon, edge, choice) == reason
        await run(daemon, edge, choice)
        assert daemon.stored.keys() == ids(old.events)
    assert old.asked[0][0] == "/subscribe"
    assert old.asked[0][1]["wantedCollections"] == ["app.bsky.feed.post"]


async def test_with_one_host_only_that_one_is_tried_again() -> None:
    async with running(Jetstream(an_hour_of(1), is_silent=True)) as server, net() as edge:
        daemon = Daemon(kind)
        assert [await run(daemon, edge, options(server)) for _ in range(3)] == ["silent"] * 3
    assert len(server.asked) == 3


async def test_a_host_that_is_not_there_is_unreachable() -> None:
    async with net() as edge:
        assert (
            await run(Daemon(kind), edge, kind.Options(hosts=("ws://127.0.0.1:1",), legacy_hosts=())) == "unreachable"
        )


async def test_bad_frames_are_counted_and_the_stream_goes_on() -> None:
    good = an_hour_of(2)
    large = json.dumps(post_event(7, NOW, "x" * 2**20)).encode()
    bad: list[dict[str, Any] | bytes] = [
        b"{",
        b"\xff\xff",
        b"[]",
        large,
        b'{"$type":"message","payload":{"seq":"x"}}',
        b"{}",
    ]
    async with running(Jetstream([good[0], *bad, good[1]], live_from=0)) as server, net() as edge:
        daemon = Daemon(kind)
        await run(daemon, edge, options(legacy=(server,)))
    assert daemon.stored.keys() == ids(good)
    assert daemon.malformed == 5  # `{}` is an event of no kind


async def test_a_slow_consumer_is_told_so_and_comes_back_to_the_same_host() -> None:
    async with running(Jetstream(an_hour_of(4), error="ConsumerTooSlow")) as server, running() as other, net() as edge:
        daemon = Daemon(kind, cursor=beginning(server))
        assert await run(daemon, edge, options(server, other)) == "consumer_too_slow"
        await run(daemon, edge, options(server, other))
    assert (len(server.asked), len(other.asked)) == (2, 0)


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


@pytest.mark.parametrize("says_outdated", [False, True])
async def test_a_cursor_that_is_too_old_becomes_a_recorded_gap(says_outdated: bool) -> None:
    log = an_hour_of(120)
    async with running(Jetstream(log, oldest=100, live_from=100, says_outdated=says_outdated)) as server:
        cursor = json.loads(beginning(server)) | {"seq": 5}
        (gap,) = await gaps(server, options(server), json.dumps(cursor))
    assert (microseconds(gap.since), gap.until) == (cursor["max_time_us"], NOW - timedelta(minutes=1) - 20 * SECOND)


async def test_version_1_clamps_silently_and_the_gap_is_still_found() -> None:
    async with running(Jetstream(an_hour_of(120), oldest=100)) as server:
        (gap,) = await gaps(server, options(legacy=(server,)), beginning(server, "v1"))
        assert gap.until - gap.since > 90 * SECOND
        server.oldest = 0
        assert await gaps(server, options(legacy=(server,)), beginning(server, "v1")) == []


async def test_after_days_of_absence_the_stream_is_taken_up_live() -> None:
    async with running(Jetstream(an_hour_of(3), live_from=0)) as server:
        cursor = {"host": server.url, "protocol": "v2", "seq": 1, "max_time_us": microseconds(NOW - timedelta(days=3))}
        (gap,) = await gaps(server, options(server), json.dumps(cursor))
    assert "cursor" not in server.asked[0][1]
    assert gap.since == NOW - timedelta(days=3)


async def test_sequence_numbers_that_start_anew_are_followed() -> None:
    """A server set up again counts from 1; its events are newer all the same."""
    old, new = an_hour_of(10)[:5], an_hour_of(10)[5:]
    async with running(Jetstream(new, first_seq=1, live_from=0)) as server, net() as edge:
        newest = old[-1]
        assert isinstance(newest, dict)
        cursor = {"host": server.url, "protocol": "v2", "seq": 9_000_000, "max_time_us": newest["time_us"]}
        daemon = Daemon(kind, cursor=json.dumps(cursor))
        await daemon.run(options(server), edge)
    assert daemon.stored.keys() == ids(new)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 15), max_size=6),
    protocol=st.sampled_from(["v1", "v2"]),
    repeats=st.booleans(),
    close_after=st.sampled_from([None, 7, 13]),
)
def test_nothing_is_lost_whenever_the_daemon_or_the_server_dies(
    crashes: list[int], protocol: str, repeats: bool, close_after: int | None
) -> None:
    async def life() -> None:
        log = an_hour_of(40, jitter=900)
        async with running(Jetstream(log, repeats=repeats, close_after=close_after)) as server, net() as edge:
            choice = options(server) if protocol == "v2" else options(legacy=(server,))
            daemon = Daemon(kind, cursor=beginning(server, protocol))
            await daemon.run_through(choice, edge, crashes, ids(log))
        assert daemon.stored.keys() == ids(log)
        assert all(isinstance(post, Post) for post in daemon.stored.values())

    asyncio.run(life())


@settings(max_examples=5, deadline=None, derandomize=True, database=None)
@given(deaths=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 15)), min_size=1, max_size=6))
def test_nothing_is_lost_when_hosts_die_in_any_order(deaths: list[tuple[int, int]]) -> None:
    """Three hosts number the same events differently; one after another goes silent in the middle."""

    async def life() -> None:
        log = an_hour_of(40, jitter=900)
        async with AsyncExitStack() as stack:
            hosts = [
                await stack.enter_async_context(running(Jetstream(log, first_seq=seq))) for seq in (100, 5_000, 900)
            ]
            edge = await stack.enter_async_context(net())
            choice = options(*hosts[:2], legacy=(hosts[2],))
            daemon = Daemon(kind, cursor=beginning(hosts[0]))
            for victim, crash_after in deaths:
                hosts[victim].is_silent = True
                await daemon.run(choice, edge, crash_after=crash_after, until=ids(log))
                hosts[victim].is_silent = False
            await daemon.run_through(choice, edge, [], ids(log))
        assert daemon.stored.keys() == ids(log)

    asyncio.run(life())
