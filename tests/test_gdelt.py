"""GDELT is asked at its pace and understood in its moods: a limit told in plain words is a limit, no articles are no articles."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener import kinds
from listener.catalog import load
from listener.errors import ConfigError, SourceError
from listener.sources import Gap
from listener.sources import gdelt as kind
from listener.types import UNKNOWN_REGION, Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import HttpServer, answer, running
from tests.servers.gdelt import NOTICE, GdeltServer, article

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
DOC = "/api/v2/doc/doc"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: HttpServer, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, **changes)


def read(raw: Any) -> Post:
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    return made


def numbers(raws: list[Any]) -> list[int]:
    return [int(read(raw).url.rpartition("/")[2]) for raw in raws]


async def failure(options: kind.Options, edge: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await one_poll(kind.posts(options, None, edge))
    return caught.value


def said(behaviour: bytes) -> HttpServer:
    return HttpServer({DOC: answer(200, behaviour)})


async def test_an_article_is_the_press_speaking_of_what_may_be_anywhere() -> None:
    async with running(GdeltServer(articles=[article(1, NOW - 5 * MINUTE)])) as server, net() as edge:
        (raw,), _ = await one_poll(kind.posts(options(server), None, edge))
    assert read(raw) == Post(
        id="gdelt:https://haber.example/1",
        source="gdelt",
        text="Instagram çöktü mü?",
        created_at=NOW - 5 * MINUTE,
        received_at=NOW,
        author="haber.example",
        languages=("tr",),
        region="TR",
        url="https://haber.example/1",
        tier=Tier.PRESS,
    )


@pytest.mark.parametrize(
    ("country", "region"),
    [("Bosnia-Herzegovina", "BA"), ("Macedonia", "MK"), ("Kosovo", "XK"), ("Germany", ""), ("", ""), (None, "")],
)
async def test_a_paper_of_another_country_tells_no_region(country: str | None, region: str) -> None:
    made = read(kind.Raw(article(1, NOW, sourcecountry=country, language="Klingon")))
    assert (made.region, made.languages) == (region, ())


def test_every_language_and_region_of_ours_has_the_name_gdelt_gives_it() -> None:
    catalog = load()
    assert set(kind.LANGUAGES.values()) == set(catalog.languages)
    assert set(kind.COUNTRIES.values()) == set(catalog.regions) - {UNKNOWN_REGION}
    assert {r.english.casefold() for c, r in catalog.regions.items() if c != UNKNOWN_REGION} <= set(kind.COUNTRIES)


def test_an_article_with_a_very_long_address_has_a_short_id() -> None:
    long = "https://haber.example/" + "instagram-" * 50
    one, two = (read(kind.Raw(article(1, NOW, url=long + end))) for end in "12")
    assert (len(one.id) < 30, one.id != two.id, one.url) == (True, True, long + "1")


async def test_only_articles_in_the_language_asked_for_come_oldest_first_and_once() -> None:
    server = GdeltServer(
        articles=[
            article(1, NOW - 40 * MINUTE),
            article(3, NOW - 10 * MINUTE),
            article(2, NOW - 25 * MINUTE),
            article(4, NOW - 10 * MINUTE, language="Greek"),
        ]
    )
    time = Time()
    server.clock = time.read
    async with running(server), net(time) as edge:
        raws, cursor = await one_poll(kind.posts(options(server, language="tr"), None, edge))
        time.now += 15 * MINUTE
        server.articles.append(article(5, NOW + 5 * MINUTE))
        again, _ = await one_poll(kind.posts(options(server, language="tr"), cursor, edge))
    assert (numbers(raws), numbers(again)) == ([1, 2, 3], [5])
    asked = server.requests[0].query
    assert asked["query"][0].endswith(" sourcelang:turkish")
    assert [asked[name] for name in ("mode", "format", "sort", "timespan")] == [
        ["artlist"],
        ["json"],
        ["datedesc"],
        ["60min"],
    ]


@pytest.mark.parametrize("body", [b"{}", b'{"articles": []}'])
async def test_no_articles_are_no_articles(body: bytes) -> None:
    async with running(said(body)) as server, net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
    assert (raws, cursor is None) == ([], False)


@pytest.mark.parametrize("status", [200, 429])
async def test_a_limit_told_in_plain_words_quiets_all_searches_for_a_while(status: int) -> None:
    time = Time()
    server = HttpServer({DOC: answer(status, NOTICE)})
    async with running(server), net(time) as edge:
        error = await failure(options(server, language="tr"), edge)
        other = await failure(options(server, language="el"), edge)
        assert (error.reason, error.retry_after, error.permanent) == ("status_429", 600, False)
        assert (other.reason, other.retry_after) == ("cooling_down", 600)
        server.behaviours[DOC] = answer(200, b"{}")
        time.now += timedelta(seconds=601)
        assert (await one_poll(kind.posts(options(server), None, edge)))[0] == []
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"", b"<html>Error</html>", b"Something new"])
async def test_whatever_is_not_json_is_taken_for_the_limit(body: bytes) -> None:
    async with running(said(body)) as server, net() as edge:
        assert (await failure(options(server), edge)).reason == "status_429"


async def test_searches_keep_the_distance_gdelt_wants() -> None:
    time = Time()
    server = GdeltServer(articles=[article(1, NOW)], clock=time.read)
    async with running(server), net(time) as edge:
        for language in ("tr", "el", "sr"):
            await one_poll(kind.posts(options(server, language=language), None, edge))
    assert time.slept == [6.5, 6.5]


async def test_a_search_gdelt_cannot_read_is_not_taken_for_a_limit() -> None:
    async with running(GdeltServer()) as server, net() as edge:
        error = await failure(options(server, query='"X" outage'), edge)
        assert (error.reason, error.permanent) == ("bad_query", True)
        assert edge.cooling(server.url) == 0


@pytest.mark.parametrize(
    "complaint",
    [
        b"Queries containing OR'd terms must be surrounded by ().",
        b"Parentheses may only be used around OR'd statements.",
        b"Your query was too short or too long.",
        b"The specified phrase is too short.",
    ],
)
async def test_every_complaint_about_a_search_is_known(complaint: bytes) -> None:
    async with running(said(complaint)) as server, net() as edge:
        assert (await failure(options(server), edge)).reason == "bad_query"


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Instagram\x01 ne\x0b radi", "Instagram ne radi"),
        (r"Ce se \întâmplă", "Ce se întâmplă"),
        (r"\u0160ta je \"palo\"", 'Šta je "palo"'),
        (r"Pao \ud83d\ude2d Instagram \ud83d", "Pao 😭 Instagram ud83d"),
        ("Internet\r\n ne\tradi", "Internet\nne radi"),
    ],
)
async def test_stray_characters_do_not_hide_a_headline(title: str, text: str) -> None:
    body = f'{{"articles":[{{"url":"https://x.example/1","title":"{title}"}}]}}'.encode()
    async with running(said(body)) as server, net() as edge:
        (raw,), _ = await one_poll(kind.posts(options(server), None, edge))
    assert read(raw).text == text
    read(raw).text.encode()


@pytest.mark.parametrize("body", [b'{"articles": [{"url": "https://x', b'{"articles": {}}', b'{"a":' * 5_000])
async def test_json_that_is_not_gdelts_is_a_failure(body: bytes) -> None:
    async with running(said(body)) as server, net() as edge:
        error = await failure(options(server), edge)
    assert (error.reason, error.permanent) == ("not_gdelt", False)


async def test_what_was_filed_while_we_were_away_is_asked_for_up_to_a_day() -> None:
    time = Time()
    server = GdeltServer(articles=[article(1, NOW)], clock=time.read)
    async with running(server), net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.articles += [article(2, NOW + 30 * MINUTE), article(3, NOW + timedelta(hours=47))]
        time.now += timedelta(hours=2)
        raws, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        assert numbers(raws) == [2]
        time.now += timedelta(hours=46)
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor, edge))
        assert numbers(raws) == [3]
    assert gap == Gap(NOW + timedelta(hours=2), NOW + timedelta(hours=24))
    assert kind.parse(gap, NOW) is None
    assert [request.query["timespan"] for request in server.requests] == [["60min"], ["180min"], ["1500min"]]


async def test_gdelt_is_asked_every_quarter_of_an_hour_or_a_little_later() -> None:
    time = Time()
    async with running(said(b"{}")) as server, net(time) as edge:
        await take(kind.posts(options(server), None, edge), 2)
    assert 15 * 60 <= sum(time.slept) <= 17.25 * 60


async def test_without_a_search_there_is_nothing_to_ask() -> None:
    async with net() as edge:
        error = await failure(kind.Options(query=" "), edge)
    assert (error.reason, error.permanent) == ("no_query", True)


def test_a_language_gdelt_is_not_asked_for_is_an_error_of_the_config() -> None:
    with pytest.raises(ConfigError, match="source 'x': language 'de' is none of bg, bs"):
        kinds.convert({"language": "de"}, kind.Options, "source 'x'")


def test_a_search_is_short_enough_for_gdelt_in_every_language() -> None:
    assert max(len(kind.Options(language=code).search) for code in kind.LANGUAGES.values()) <= 250


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 20), max_size=6),
    delays=st.lists(st.integers(0, 55), min_size=30, max_size=30),
)
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], delays: list[int]) -> None:
    """An article is filed every five minutes and can be found up to an hour later."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind)
        filed = [(article(i, NOW + 5 * i * MINUTE), NOW + (5 * i + delay) * MINUTE) for i, delay in enumerate(delays)]
        server = GdeltServer(clock=time.read)

        def publish() -> None:
            server.articles = [one for one, found_at in filed if found_at <= time.now]

        time.on_sleep = publish
        publish()
        everything = {f"gdelt:{one['url']}" for one, _ in filed}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
