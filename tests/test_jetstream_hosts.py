"""A Bluesky host in trouble is left for the next one, and left alone as long as it wants to be, without losing a post."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.catalog import Catalog
from listener.cli import wiring
from listener.config import Config
from listener.errors import SourceError
from listener.sources import jetstream as kind
from listener.sources._net import Net
from tests.servers.driving import Daemon, Time, net, take
from tests.servers.jetstream import (
    Event,
    Jetstream,
    an_hour_of,
    following,
    ids,
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


async def failure(choice: kind.Options, edge: Net, cursor: str | None = None) -> SourceError:
    """How a source ends that never gets to hear an event."""
    with pytest.raises(SourceError) as caught:
        await take(kind.posts(choice, cursor, edge), 1)
    return caught.value


async def test_a_silent_host_is_left_for_the_next_which_takes_up_the_stream_by_time() -> None:
    log = an_hour_of(20)
    async with (
        running(Jetstream(log, close_after=11)) as first,
        running(Jetstream(log, first_seq=70_000)) as second,
        net(time := Time()) as edge,
    ):
        daemon, choice = Daemon(kind, cursor=first.beginning()), following(first, second)
        assert await run(daemon, edge, choice) == "disconnected"
        first.is_silent = True
        assert await run(daemon, edge, choice) == "silent"
        assert len(second.subscriptions) == 0
        assert await run(daemon, edge, choice) == "silent"  # all of the second, then nothing new
        assert daemon.stored.keys() == ids(log)
        asked = int(second.subscriptions[0][1]["cursor"][0])
        newest = log[10]
        assert isinstance(newest, dict)
        assert asked == newest["time_us"] - 60_000_000
        time.now += timedelta(minutes=2)
        first.is_silent, first.close_after = False, None
        await run(daemon, edge, choice)
        assert len(second.subscriptions) == 2, "a host that works is kept"


async def test_the_next_host_is_heard_also_for_what_the_first_had_not_sent_yet() -> None:
    """Hosts don't agree on the order: a post of a moment ago may not have been there."""
    log = an_hour_of(10)
    async with (
        running(Jetstream([*log[:7], log[8]], first_seq=900_000)) as first,
        running(Jetstream(log, first_seq=1)) as second,
        net() as edge,
    ):
        daemon, choice = Daemon(kind, cursor=first.beginning()), following(first, second)
        await run(daemon, edge, choice)
        await run(daemon, edge, choice)
    assert daemon.stored.keys() == ids(log)


async def test_a_host_that_lagged_behind_is_left_without_losing_what_it_still_owed() -> None:
    """Each host stamps an event when it sees it: one that was cut off for half a minute stamps it half a minute later."""
    log = an_hour_of(60)
    late: list[Event] = [
        {**event, "time_us": event["time_us"] + 30_000_000} for event in log if isinstance(event, dict)
    ]
    async with (
        running(Jetstream(late, close_after=20)) as first,
        running(Jetstream(log, first_seq=70_000)) as second,
        net() as edge,
    ):
        daemon, choice = Daemon(kind, cursor=first.beginning()), following(first, second)
        assert await run(daemon, edge, choice) == "disconnected"
        first.is_silent = True
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
        daemon = Daemon(kind, cursor=first.beginning())
        choice = following(first, legacy=(old,))
        assert await run(daemon, edge, choice) == reason
        await run(daemon, edge, choice)
        assert daemon.stored.keys() == ids(old.events)
    assert old.asked[0][0] == "/subscribe"
    assert old.asked[0][1]["wantedCollections"] == ["app.bsky.feed.post"]


async def test_a_host_that_asks_for_an_hours_rest_gets_it_and_the_next_one_is_heard_at_once() -> None:
    rest = {"Retry-After": "3600"}
    async with (
        running(Jetstream(refuse=HTTPStatus.SERVICE_UNAVAILABLE, refuse_headers=rest)) as busy,
        running(Jetstream(an_hour_of(3), live_from=0)) as other,
        net(time := Time()) as edge,
    ):
        assert (await failure(following(busy, other), edge)).retry_after is None
        daemon = Daemon(kind)
        await run(daemon, edge, following(busy, other))
        assert daemon.stored.keys() == ids(other.events)
        time.now += timedelta(minutes=59)
        assert (await failure(following(busy), edge)).retry_after == 3600, "with nobody else to ask, we wait"


async def test_a_host_that_does_not_understand_us_is_not_asked_again_for_hours() -> None:
    async with (
        running(Jetstream(refuse=HTTPStatus.BAD_REQUEST, refuse_name="InvalidRequest")) as first,
        running(Jetstream(an_hour_of(3), live_from=0)) as other,
        net(time := Time()) as edge,
    ):
        error = await failure(following(first, other), edge)
        assert (error.reason, error.retry_after) == ("invalid_request", None)
        for _ in range(5):
            time.now += timedelta(hours=1)
            await run(Daemon(kind), edge, following(first, other))
        assert (len(first.subscriptions), len(other.subscriptions)) == (1, 5)
        time.now += timedelta(hours=2)
        error = await failure(following(first), edge)
        assert error.retry_after is not None
        assert error.retry_after > 3600


async def test_with_one_host_only_that_one_is_tried_again() -> None:
    async with running(Jetstream(an_hour_of(1), is_silent=True)) as server, net() as edge:
        daemon = Daemon(kind)
        assert [await run(daemon, edge, following(server)) for _ in range(3)] == ["silent"] * 3
    assert len(server.subscriptions) == 3


async def test_a_host_that_is_not_there_is_unreachable() -> None:
    async with net() as edge:
        nowhere = kind.Options(hosts=("ws://127.0.0.1:1",), legacy_hosts=())
        assert await run(Daemon(kind), edge, nowhere) == "unreachable"


async def test_the_hosts_of_the_shipped_source_are_addresses(catalog: Catalog) -> None:
    asked: set[tuple[str, int]] = set()

    async def nobody(host: str, port: int) -> list[str]:
        asked.add((host, port))
        return []

    (shipped,) = [source for source in wiring.sources(Config(), catalog) if source.kind == "jetstream"]
    async with net(look_up=nobody) as edge:
        for _ in (*shipped.options.hosts, *shipped.options.legacy_hosts):
            assert (await failure(shipped.options, edge)).reason == "unreachable"
    assert ("jetstream.us-east.bsky.network", 443) in asked
    assert len(asked) == len(shipped.options.hosts) + len(shipped.options.legacy_hosts)


async def test_a_slow_consumer_is_told_so_and_comes_back_to_the_same_host() -> None:
    async with running(Jetstream(an_hour_of(4), error="ConsumerTooSlow")) as server, running() as other, net() as edge:
        daemon = Daemon(kind, cursor=server.beginning())
        assert await run(daemon, edge, following(server, other)) == "consumer_too_slow"
        await run(daemon, edge, following(server, other))
    assert (len(server.subscriptions), len(other.subscriptions)) == (2, 0)


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
            choice = following(*hosts[:2], legacy=(hosts[2],))
            daemon = Daemon(kind, cursor=hosts[0].beginning())
            for victim, crash_after in deaths:
                hosts[victim].is_silent = True
                await daemon.run(choice, edge, crash_after=crash_after, until=ids(log))
                hosts[victim].is_silent = False
            await daemon.run_through(choice, edge, [], ids(log))
        assert daemon.stored.keys() == ids(log)

    asyncio.run(life())
