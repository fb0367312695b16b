"""A feed is left alone when its site's robots.txt says so."""

from __future__ import annotations

import time

import pytest

from listener.errors import SourceError
from listener.sources import rss
from listener.sources._robots import LARGEST, rules_of
from tests.servers.driving import Time, net, one_poll
from tests.servers.feeds import HttpServer, answer, drip, feed, item, running

pytestmark = pytest.mark.anyio

FEED = feed(b'<rss version="2.0"><channel>' + item("1").encode() + b"</channel></rss>")
DAY = 86_400.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("text", "path", "is_let_in"),
    [
        ("", "/feed", True),
        ("User-agent: *\nDisallow: /", "/feed", False),
        ("User-agent: *\nDisallow:", "/feed", True),
        ("User-agent: *\nDisallow: /private", "/feed", True),
        ("User-agent: other\nDisallow: /", "/feed", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: listener\nAllow: /", "/feed", True),
        ("User-agent: *\nAllow: /\n\nUSER-AGENT: Listener # us\nDisallow: /feed", "/feed.xml", False),
        ("User-agent: a\nUser-agent: listener\nDisallow: /feed", "/feed", False),
        ("User-agent: listener\nAllow: /x\n\nUser-agent: listener\nDisallow: /feed", "/feed", False),
        ("User-agent: *\nDisallow: /\nAllow: /feed", "/feed", True),
        ("User-agent: *\nDisallow: /feed\nAllow: /feed", "/feed", True),
        ("User-agent: *\nDisallow: /*.xml$", "/a/b.xml", False),
        ("User-agent: *\nDisallow: /*.xml$", "/a/b.xml?x", True),
        ("User-agent: *\nDisallow: *format=rss", "/page?format=rss", False),
        ("User-agent: *\nDisallow: /a$", "/a/b", True),
        ("\ufeffUser-agent: *\r\nDisallow: /feed\r\nSitemap: https://x.example/", "/feed", False),
        ("Disallow: /", "/feed", True),
        ("<html>User-agent: *<br>Disallow: /</html>", "/feed", True),
    ],
)
def test_the_rules_for_us_are_those_that_name_us_else_those_for_all(text: str, path: str, is_let_in: bool) -> None:
    assert rules_of(text.removeprefix("\ufeff")).permit(path) is is_let_in


async def test_a_feed_that_is_shut_is_not_asked_for_and_is_said_so() -> None:
    shut = answer(200, b"User-agent: *\nDisallow: /feed")
    async with running(HttpServer({"/robots.txt": shut, "/feed": FEED})) as server, net() as edge:
        with pytest.raises(SourceError, match="set robots = false") as refused:
            await one_poll(rss.posts(rss.Options(url=f"{server.url}/feed"), None, edge))
        assert (refused.value.reason, refused.value.permanent) == ("robots", False)
        assert [request.path for request in server.requests] == ["/robots.txt"]
        items, _ = await one_poll(rss.posts(rss.Options(url=f"{server.url}/feed", robots=False), None, edge))
        assert len(items) == 1


async def test_a_site_is_asked_once_a_day_for_all_its_feeds() -> None:
    world = Time()
    async with running(HttpServer({"/robots.txt": answer(200, b""), "*": FEED})) as server, net(world) as edge:
        for n in range(3):
            await one_poll(rss.posts(rss.Options(url=f"{server.url}/{n}"), None, edge))
        await world.sleep(DAY)
        server.behaviours["/robots.txt"] = answer(200, b"User-agent: *\nDisallow: /")
        with pytest.raises(SourceError, match=r"robots\.txt"):
            await one_poll(rss.posts(rss.Options(url=f"{server.url}/0"), None, edge))
    assert [request.path for request in server.requests] == ["/robots.txt", "/0", "/1", "/2", "/robots.txt"]


async def test_without_one_all_is_open_and_while_it_cannot_be_had_nothing_is() -> None:
    async with running(HttpServer({"*": FEED})) as server, net() as edge:
        options = rss.Options(url=f"{server.url}/feed")
        for status in (404, 403, 410, 401):
            server.behaviours["/robots.txt"] = answer(status)
            async with net() as another:
                assert len((await one_poll(rss.posts(options, None, another)))[0]) == 1
        server.behaviours["/robots.txt"] = answer(500)
        with pytest.raises(SourceError) as refused:
            await one_poll(rss.posts(options, None, edge))
        assert refused.value.reason == "status_500"


async def test_what_was_known_yesterday_holds_while_it_cannot_be_had() -> None:
    world = Time()
    async with running(HttpServer({"*": FEED, "/robots.txt": answer(404)})) as server, net(world) as edge:
        options = rss.Options(url=f"{server.url}/feed")
        await one_poll(rss.posts(options, None, edge))
        server.behaviours["/robots.txt"] = answer(500)
        await world.sleep(DAY)
        assert len((await one_poll(rss.posts(options, None, edge)))[0]) == 1


def test_one_made_to_provoke_costs_nothing() -> None:
    began = time.process_time()
    rules = rules_of("User-agent: *\n" + f"Disallow: /{'*a' * 2_000}$\n" * (LARGEST // 4_020))
    assert rules.permit("/" + "a" * 1_990)
    assert rules_of("User-agent: *\n" * (LARGEST // 14)).permit("/")
    assert time.process_time() - began < 1


async def test_one_without_end_is_cut_off() -> None:
    from listener.sources._net import Limits

    slow = HttpServer({"/robots.txt": drip(b"x" * 1000, 0.05)})
    async with running(slow) as server, net(limits=Limits(gap=0, read=0.3, total=0.5)) as edge:
        with pytest.raises(SourceError) as refused:
            await one_poll(rss.posts(rss.Options(url=f"{server.url}/feed"), None, edge))
    assert refused.value.reason == "timeout"
