"""What people search for is read with all its headlines and told once; a country Google doesn't know is said to be one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import trends as kind
from listener.types import Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import HttpServer, answer, feed, running
from tests.servers.trends import NAMESPACE, TrendsServer, document, trend

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
OLD_NAMESPACE = "https://trends.google.com/trends/trendingsearches/daily"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: HttpServer, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, **changes)


def read(raw: Any) -> Post:
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    return made


def texts(raws: list[Any]) -> list[str]:
    return [read(raw).text for raw in raws]


async def failure(options: kind.Options, cursor: str | None = None) -> SourceError:
    async with net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options, cursor, edge))
    return caught.value


async def test_a_trend_is_measured_and_carries_every_headline() -> None:
    item = trend("instagram çöktü mü", "Instagram'a erişilemiyor", "Meta'dan açıklama yok", at=NOW - 30 * MINUTE)
    async with running(server := TrendsServer(trends={"TR": [item]})), net() as edge:
        (raw,), _ = await one_poll(kind.posts(options(server), None, edge))
    assert read(raw) == Post(
        id="trends:TR:instagram çöktü mü:2026-11-20T12:40:00+00:00",
        source="trends",
        text="instagram çöktü mü\nInstagram'a erişilemiyor\nMeta'dan açıklama yok",
        created_at=NOW - 30 * MINUTE,
        received_at=NOW,
        url="https://trends.google.com/trending/rss?geo=TR",
        tier=Tier.MEASURED,
    )


@pytest.mark.parametrize("namespace", [NAMESPACE, OLD_NAMESPACE])
async def test_headlines_are_found_whatever_the_namespace(namespace: str) -> None:
    body = document(trend("instagram", "Instagram je pao"), namespace=namespace)
    async with running(HttpServer({"*": answer(200, body)})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert texts(raws) == ["instagram\nInstagram je pao"]


async def test_a_trend_is_the_same_in_any_case_and_another_when_it_begins_again() -> None:
    server = TrendsServer(trends={"TR": [trend("Instagram Down", at=NOW - 30 * MINUTE)]})
    async with running(server), net() as edge:
        (first,), cursor = await one_poll(kind.posts(options(server), None, edge))
        server.trends["TR"] = [trend("instagram down", at=NOW), trend("INSTAGRAM  down", at=NOW - 30 * MINUTE)]
        later, _ = await one_poll(kind.posts(options(server), cursor, edge))
    again, same = (read(raw).id for raw in later)
    assert (same, again) == (read(first).id, "trends:TR:instagram down:2026-11-20T13:10:00+00:00")


async def test_a_feed_that_has_not_changed_is_only_heard() -> None:
    body = document(trend("instagram"))
    async with running(HttpServer({"*": feed(body, {"ETag": '"1"'})})) as server, net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
        again, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (len(raws), again) == (1, [])
    assert server.requests[1].headers["if-none-match"] == '"1"'


async def test_the_same_trend_in_two_countries_is_two() -> None:
    everywhere = [trend("whatsapp down")]
    async with running(server := TrendsServer(trends={"TR": everywhere, "GR": everywhere})), net() as edge:
        made = [(await one_poll(kind.posts(options(server, geo=geo), None, edge)))[0][0] for geo in ("TR", "GR")]
    assert len({read(raw).id for raw in made}) == 2


async def test_a_trend_comes_again_only_when_there_is_other_news_of_it() -> None:
    server = TrendsServer(trends={"RS": [trend("instagram", "Pao Instagram")]})
    async with running(server), net() as edge:
        (first,), cursor = await one_poll(kind.posts(options(server, geo="RS"), None, edge))
        server.trends["RS"] = [trend("instagram", "Pao Instagram", traffic="5000+")]
        raws, cursor = await one_poll(kind.posts(options(server, geo="RS"), cursor, edge))
        assert raws == []
        server.trends["RS"] = [trend("instagram", "Pao Instagram", "Instagram ponovo radi")]
        (second,), _ = await one_poll(kind.posts(options(server, geo="RS"), cursor, edge))
    assert read(second).id == read(first).id
    assert read(second).text.endswith("Instagram ponovo radi")


@pytest.mark.parametrize(
    ("text", "many"),
    [
        *(("2000+", 2_000), ("20,000+", 20_000), ("20.000+", 20_000), ("20 000+", 20_000), ("20\u00a0000+", 20_000)),
        *(("50K+", 50_000), ("2.5M+", 2_500_000), ("2,5 mln+", 2_500_000), ("1.000.000+", 1_000_000)),
        *(("200 B+", 200_000), ("50 bin+", 50_000), ("1 Mn+", 1_000_000), ("20 хил.+", 20_000), ("5 χιλ.+", 5_000)),
        *(("1.000 bin+", 1_000_000), ("2,5 mijë+", 2_500)),
        *(("", None), ("+", None), ("çok", None), ("2 quintillions", None)),
    ],
)
def test_numbers_of_searches_are_read_as_people_of_any_country_write_them(text: str, many: int | None) -> None:
    assert kind.traffic(text) == many


def test_a_very_long_search_has_a_short_id() -> None:
    one, two = (read(kind.Raw("TR", "neden " * 90 + end, "", "", "", ())) for end in ("instagram", "whatsapp"))
    assert (len(one.id) < 30, one.id != two.id) == (True, True)


async def test_what_few_search_for_may_be_left_out_but_not_what_has_no_number() -> None:
    items = [trend("a", traffic="200+"), trend("b", traffic="2 bin+"), trend("c", traffic="?")]
    async with running(server := TrendsServer(trends={"TR": items})), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server, least=1_000), None, edge))
    made = [kind.parse(raw, NOW) for raw in raws]
    assert [post.text if isinstance(post, Post) else None for post in made] == [None, "b", "c"]


@pytest.mark.parametrize("unknown", [400, 404, 200])
async def test_a_country_google_does_not_know_is_said_to_be_one(unknown: int) -> None:
    async with running(server := TrendsServer(unknown=unknown)):
        error = await failure(options(server, geo="XK"))
    assert (error.reason, error.permanent, "XK" in str(error)) == ("unsupported_geo", True, True)


async def test_a_known_country_without_trends_is_not_quiet_but_asked_again_soon() -> None:
    async with running(server := TrendsServer(trends={"TR": [trend("x")]})):
        async with net() as edge:
            _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.trends["TR"] = []
        error = await failure(options(server), cursor)
    assert (error.reason, error.permanent) == ("empty", False)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html><body>Before you continue</body></html>", "not_a_feed"),
        (b"<!doctype html><p>Before you continue<br>", "not_a_feed"),
        (b"", "not_a_feed"),
        (b'<!DOCTYPE rss [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><channel>&b;</channel></rss>', "not_a_feed"),
        (b'<?xml version="1.0" encoding="klingon"?><rss><channel/></rss>', "not_a_feed"),
    ],
)
async def test_what_is_no_feed_is_a_failure(body: bytes, reason: str) -> None:
    async with running(HttpServer({"*": answer(200, body)})) as server:
        assert (await failure(options(server))).reason == reason


async def test_a_refusal_for_other_reasons_is_not_taken_for_an_unknown_country() -> None:
    async with running(server := TrendsServer(unknown=429)):
        error = await failure(options(server))
    assert (error.reason, error.retry_after) == ("status_429", 600)


@pytest.mark.parametrize(("every", "least", "most"), [(5, 15, 17.25), (30, 30, 34.5)])
async def test_google_is_not_asked_more_often_than_every_quarter_of_an_hour(
    every: int, least: float, most: float
) -> None:
    time = Time()
    async with running(server := TrendsServer(trends={"TR": [trend("x")]})), net(time) as edge:
        await take(kind.posts(options(server, every=every * MINUTE), None, edge), 3)
    assert least * 60 <= sum(time.slept) <= most * 60


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 20), max_size=6))
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int]) -> None:
    """Every half hour a trend more; the feed shows the last ten."""

    async def life() -> None:
        time, daemon, server = Time(), Daemon(kind), TrendsServer(trends={"TR": [trend("0")]})
        everything = {f"trends:TR:{i}:{(NOW + 30 * i * MINUTE).isoformat()}" for i in range(25)}

        def publish() -> None:
            count = min(25, 1 + (time.now - NOW) // (30 * MINUTE))
            server.trends["TR"] = [trend(str(i), at=NOW + 30 * i * MINUTE) for i in reversed(range(count))][:10]

        time.on_sleep = publish
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
