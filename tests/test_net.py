"""The network edge reaches public addresses only, reads bounded answers, and leaves a host alone when asked to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from listener.errors import SourceError
from listener.sources._gate import is_public
from listener.sources._net import Limits
from tests.servers.driving import NOW, Time, net
from tests.servers.feeds import HttpServer, answer, in_turn, redirect, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def failure(url: str, **changes: Any) -> SourceError:
    """How a GET fails."""
    async with net(**changes) as edge:
        with pytest.raises(SourceError) as caught:
            await edge.get(url)
    return caught.value


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
        ),
        *("224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *(
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ),
        "not an address",
    ],
)
def test_an_inside_address_is_not_public(address: str) -> None:
    assert not is_public(address)


def test_an_address_of_the_open_internet_is_public() -> None:
    assert is_public("9.9.9.9")
    assert is_public("2a00:1450:4001:81b::200e")
    assert is_public("::ffff:9.9.9.9")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
async def test_no_way_of_writing_loopback_gets_through(host: str) -> None:
    async with running() as server:
        port = server.url.rpartition(":")[2]
        error = await failure(f"http://{host}:{port}/", allow_private=False)
    assert error.reason in ("forbidden_address", "unreachable", "bad_url")
    assert not server.requests


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "file:///etc/passwd", "gopher://x/", "http://", "", "http://x:port/", "//x"]
)
async def test_what_is_not_http_is_refused_for_good(url: str) -> None:
    error = await failure(url)
    assert (error.reason, error.permanent) == ("bad_url", True)


async def test_one_inside_answer_of_a_name_refuses_the_name() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["9.9.9.9", "10.0.0.1"]

    assert (
        await failure("http://two-faced.example/", allow_private=False, look_up=look_up)
    ).reason == "forbidden_address"


async def test_a_name_is_looked_up_once_a_hop_and_stays_in_the_host_header() -> None:
    asked: list[str] = []

    async def look_up(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with running() as server, net(look_up=look_up) as edge:
        port = server.url.rpartition(":")[2]
        server.behaviours = {"/old": redirect(f"http://second.example:{port}/new", 301), "/new": answer(200, b"here")}
        response = await edge.get(f"http://first.example:{port}/old")
    assert (response.body, response.url) == (b"here", f"http://second.example:{port}/new")
    assert asked == ["first.example", "second.example"]
    assert [r.headers["host"] for r in server.requests] == [f"first.example:{port}", f"second.example:{port}"]
    assert {r.headers["user-agent"] for r in server.requests} == {"listener/test (+https://example.org)"}


async def test_the_next_address_is_tried_when_the_first_is_dead() -> None:
    async def look_up(_host: str, _port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with running(HttpServer({"/": answer(200, b"alive")})) as server, net(look_up=look_up) as edge:
        assert (await edge.get(f"http://x.example:{server.url.rpartition(':')[2]}/")).body == b"alive"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/loop", "redirects"),
        ("file:///etc/passwd", "redirects"),
        ("http://[bad", "redirects"),
        ("http://no.invalid/", "unreachable"),
    ],
)
async def test_a_redirect_is_judged_like_any_address(target: str, reason: str) -> None:
    async with running(HttpServer({"/loop": redirect(target)})) as server:
        assert (await failure(f"{server.url}/loop")).reason == reason


async def test_five_redirects_are_followed_and_a_sixth_is_not() -> None:
    async with running(HttpServer({"/5": answer(200, b"end")})) as server:
        server.behaviours |= {f"/{i}": redirect(f"/{i + 1}") for i in range(5)}
        async with net() as edge:
            assert (await edge.get(f"{server.url}/0")).body == b"end"
        server.behaviours |= {"/start": redirect("/0")}
        assert (await failure(f"{server.url}/start")).reason == "redirects"


async def test_nobody_there_is_unreachable() -> None:
    assert (await failure("http://127.0.0.1:1/")).reason == "unreachable"


DATE = {"Date": "Fri, 20 Nov 2026 10:00:00 GMT"}  # the server's clock is three hours behind


@pytest.mark.parametrize(
    ("status", "headers", "reason", "wait"),
    [
        (429, {"Retry-After": "120"}, "status_429", 120),
        (429, {"Retry-After": "1"}, "status_429", 60),
        (429, {"Retry-After": "Fri, 20 Nov 2026 10:05:00 GMT", **DATE}, "status_429", 300),
        (429, {"X-RateLimit-Reset": "2026-11-20T10:03:00Z", **DATE}, "status_429", 180),
        (429, {"X-RateLimit-Reset": "90"}, "status_429", 90),
        (429, {"Retry-After": "99999999"}, "status_429", 8 * 3600),
        (429, {}, "status_429", 600),
        (503, {"Retry-After": "300"}, "status_503", 300),
        (503, {}, "status_503", None),
        (500, {"Retry-After": "300"}, "status_500", None),
        (410, {}, "status_410", 3600),
        (429, {"Retry-After": "0"}, "status_429", 60),
        (429, {"Retry-After": "soon", "X-RateLimit-Reset": "90"}, "status_429", 90),
        (503, {"Retry-After": "Fri, 20 Nov 2026 09:00:00 GMT", **DATE}, "status_503", None),
        (403, {"cf-mitigated": "challenge"}, "challenge", None),
        (503, {"cf-mitigated": "challenge", "Retry-After": "300"}, "challenge", None),
        (400, {}, "status_400", None),
        (401, {}, "status_401", None),
        (403, {}, "status_403", None),
        (404, {}, "status_404", None),
        (302, {}, "status_302", None),
    ],
)
async def test_a_status_has_a_reason_and_the_wait_that_was_asked_for(
    status: int, headers: dict[str, str], reason: str, wait: float | None
) -> None:
    async with running(HttpServer({"/": answer(status, b"no", headers)})) as server:
        error = await failure(f"{server.url}/")
    assert (error.reason, error.retry_after) == (reason, wait)


async def test_after_a_429_the_whole_host_is_left_alone_until_then() -> None:
    time = Time()
    behaviours = {"/a": in_turn(answer(429, b"", {"Retry-After": "100"}), answer(200)), "/b": answer(200)}
    async with running(HttpServer(behaviours)) as server, net(time) as edge:
        with pytest.raises(SourceError):
            await edge.get(f"{server.url}/a")
        with pytest.raises(SourceError) as caught:
            await edge.get(f"{server.url}/b")
        assert (caught.value.reason, caught.value.retry_after, len(server.requests)) == ("cooling_down", 100, 1)
        time.now += timedelta(seconds=101)
        await edge.get(f"{server.url}/b")


async def test_two_requests_to_a_host_keep_their_distance_even_when_the_clock_is_set_back() -> None:
    time = Time()
    async with running(HttpServer({"/": answer(200)})) as server, net(time, limits=Limits(gap=2)) as edge:
        await edge.get(f"{server.url}/")
        assert time.slept == []
        await edge.get(f"{server.url}/")
        assert time.slept == [2]
        time.now = NOW - timedelta(hours=5)
        await edge.get(f"{server.url}/")
        assert time.slept == [2, 2]


async def test_cookies_are_not_kept() -> None:
    async with running(HttpServer({"/": answer(200, b"", {"Set-Cookie": "id=1"})})) as server, net() as edge:
        await edge.get(f"{server.url}/")
        await edge.get(f"{server.url}/")
    assert not any("cookie" in request.headers for request in server.requests)
