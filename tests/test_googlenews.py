"""Headlines of one edition of Google News are heard once each; another edition's are never taken for them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources import googlenews as kind
from listener.types import Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.googlenews import GoogleNews, document, headline

pytestmark = pytest.mark.anyio

DATE = "Fri, 20 Nov 2026 13:05:00 GMT"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, **changes: Any) -> kind.Options:
    return kind.Options(**{"server": server.url, "queries": ("instagram",), **changes})


def a_raw(title: str, publisher: str = "", **changes: str) -> kind.Raw:
    own = {"guid": "CBMi1", "date": DATE, "link": "https://news.google.com/rss/articles/CBMi1", "language": "tr"}
    return kind.Raw(title=title, publisher=publisher, **{**own, **changes})


def read(raw: Any) -> Post:
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    return made


def guids(raws: list[Any]) -> list[str]:
    return [raw.guid for raw in raws]


def test_the_terms_are_shown_and_nothing_is_accepted_by_default() -> None:
    assert "personal, non-commercial" in kind.TERMS
    assert kind.Options().accept_terms is False


@pytest.mark.parametrize(
    ("title", "publisher", "text"),
    [
        ("Instagram çöktü mü? - Kıyı Haber", "Kıyı Haber", "Instagram çöktü mü?"),
        ("Instagram çöktü mü? - Kıyı Haber", "Başka Haber", "Instagram çöktü mü? - Kıyı Haber"),
        ("Instagram çöktü - Meta - son durum", "", "Instagram çöktü - Meta - son durum"),
        ("X - X - X", "X", "X - X"),
    ],
)
def test_only_the_name_of_the_source_itself_is_taken_off_a_headline(title: str, publisher: str, text: str) -> None:
    assert read(a_raw(title, publisher)).text == text


def test_a_headline_is_press_and_known_by_its_guid() -> None:
    made = read(a_raw("Instagram çöktü mü? - Kıyı Haber", "Kıyı Haber"))
    assert (made.id, made.tier, made.author) == ("googlenews:CBMi1", Tier.PRESS, "Kıyı Haber")
    assert (made.languages, made.created_at) == (("tr",), NOW - timedelta(minutes=5))
    assert len(read(a_raw("x", guid="C" * 5_000)).id) < 250


@pytest.mark.parametrize("raw", [a_raw(""), a_raw(" - Kıyı Haber", "Kıyı Haber"), a_raw("x", guid="")])
def test_a_headline_without_words_or_guid_is_malformed(raw: kind.Raw) -> None:
    with pytest.raises(MalformedError):
        kind.parse(raw, NOW)


async def test_headlines_are_sorted_by_their_time_and_heard_once() -> None:
    server = GoogleNews(headlines={"instagram": [headline("b", minutes=5), headline("c", minutes=1), headline("a")]})
    server.headlines["instagram"].append(headline("z", minutes=50))
    async with running(server), net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
        again, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        server.headlines["instagram"].insert(2, headline("d", minutes=0))
        more, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert guids(raws) == ["z", "b", "a", "c"]
    assert (again, guids(more)) == ([], ["d"])


async def test_a_reworded_headline_comes_again() -> None:
    server = GoogleNews(headlines={"instagram": [headline("a")]})
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.headlines["instagram"] = [headline("a", "Instagram düzeldi")]
        (raw,), _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (read(raw).id, read(raw).text) == ("googlenews:a", "Instagram düzeldi")


async def test_an_edition_is_asked_for_and_a_search_goes_as_it_is_written() -> None:
    server = GoogleNews()
    async with running(server), net() as edge:
        chosen = options(server, queries=('"ne radi" when:1h',), language="sr", country="RS")
        await one_poll(kind.posts(chosen, None, edge))
    asked = {key: value[0] for key, value in server.requests[0].query.items()}
    assert asked == {"q": '"ne radi" when:1h', "hl": "sr", "gl": "RS", "ceid": "RS:sr"}


async def test_an_answer_of_another_edition_is_refused_and_none_of_it_heard() -> None:
    server = GoogleNews(headlines={"instagram": [headline("a")]})
    async with running(server), net() as edge:
        with pytest.raises(SourceError, match=r"HR:hr.*US:en") as caught:
            await one_poll(kind.posts(options(server, language="hr", country="HR"), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("other_edition", True)


@pytest.mark.parametrize(
    ("link", "language", "is_ours"),
    [
        ("https://news.google.com/search?q=x&amp;hl=tr&amp;gl=TR&amp;ceid=TR:tr", "", True),
        ("https://news.google.com/search?q=x", "tr-TR", True),
        ("https://news.google.com/search?q=x&amp;gl=TR", "tr", True),
        ("https://news.google.com/search?q=x&amp;ceid=TR:tr", "en-US", True),
        ("https://news.google.com/search?q=x&amp;gl=CY&amp;ceid=CY:tr", "tr", False),
        ("https://news.google.com/search?q=x", "en-US", False),
        ("https://news.google.com/", "", False),
    ],
)
async def test_an_edition_is_known_by_its_link_else_by_its_language(link: str, language: str, is_ours: bool) -> None:
    body = f"<rss><channel><link>{link}</link><language>{language}</language></channel></rss>".encode()
    server = GoogleNews()
    server.behaviours["/rss/search"] = answer(200, body)
    async with running(server), net() as edge:
        if is_ours:
            assert (await one_poll(kind.posts(options(server), None, edge)))[0] == []
        else:
            with pytest.raises(SourceError):
                await one_poll(kind.posts(options(server), None, edge))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><html><title>Before you continue</title></html>", "not_a_feed"),
        (b"", "not_a_feed"),
        (b"<feed/>", "not_a_feed"),
        (document(headline("a")).replace(b"<rss", b'<!DOCTYPE rss [<!ENTITY a "ha">]><rss'), "not_a_feed"),
        (b"<rss>" + b"<a/>" * 600_000 + b"</rss>", "too_large"),
    ],
)
async def test_what_is_not_a_feed_is_a_failure(body: bytes, reason: str) -> None:
    server = GoogleNews()
    server.behaviours["/rss/search"] = answer(200, body)
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert caught.value.reason == reason


async def test_a_limit_is_waited_for() -> None:
    server = GoogleNews()
    server.behaviours["/rss/search"] = answer(429, b"", {"Retry-After": "1800"})
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert (caught.value.reason, caught.value.retry_after) == ("status_429", 1800)


async def test_searches_share_the_interval_and_a_headline_found_by_two_is_heard_once() -> None:
    time, server = Time(), GoogleNews(headlines={"a": [headline("x")], "b": [headline("x")]})
    async with running(server), net(time) as edge:
        chosen = options(server, queries=("a", "b"), every=timedelta(minutes=20))
        taken = await take(kind.posts(chosen, None, edge), 4)
    assert [raw is None for raw, _ in taken] == [False, True, True, True]
    assert 1200 <= sum(time.slept) <= 1380


async def test_no_search_is_a_mistake_of_the_config() -> None:
    async with net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(kind.Options(queries=()), None, edge))
    assert caught.value.permanent


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 10), max_size=6), news=st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], news: list[int]) -> None:
    async def life() -> None:
        time, daemon, left = Time(), Daemon(kind), list(news)
        shown = [headline(str(i), minutes=i) for i in range(3)]
        server = GoogleNews(headlines={"instagram": shown})

        def publish() -> None:
            for _ in range(left.pop(0) if left else 0):
                shown.insert(len(shown) // 2, headline(str(len(shown)), minutes=-len(shown)))

        time.on_sleep = publish
        everything = {f"googlenews:{i}" for i in range(3 + sum(news))}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())


def test_the_server_writes_what_google_writes() -> None:
    assert b"NFE/5.0" in document(headline("a"))
