"""A probe says which step failed, how long the others took and what that may mean; without a network it says nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.errors import SourceError
from listener.sources import probe as kind
from listener.sources._net import Net
from listener.types import Post, Tier
from tests.servers.driving import NOW, Time, net, one_poll, take
from tests.servers.probe import HAS_OPENSSL, Host, Resolver, certificate, closed, cutting, deaf, running

pytestmark = pytest.mark.anyio

NAME = "ours.example"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not HAS_OPENSSL:
        pytest.skip("certificates are made by openssl, which is not installed")
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Path:
    return certificate(folder, NAME)


def options(port: int = 443, authorities: Path | str = "", **changes: Any) -> kind.Options:
    own = {"service": "instagram", "host": f"{NAME}:{port}", "control": "", "private": True}
    return kind.Options(**{**own, "authorities": str(authorities), "patience": timedelta(seconds=2), **changes})


def edge_of(answers: Any = None, time: Time | None = None) -> Net:
    return net(time, look_up=Resolver(answers or {NAME: ["127.0.0.1"]}))


async def told(chosen: kind.Options, edge: Net) -> Post:
    """The post of the first outcome."""
    (raw,), _ = await one_poll(kind.posts(chosen, None, edge))
    made = kind.parse(raw, edge.now())
    assert isinstance(made, Post)
    return made


def without_times(text: str) -> str:
    return text.partition(" (DNS ")[0].removeprefix(f"probe: {NAME}: ")


# The steps


async def test_a_host_that_answers_works_and_every_step_has_its_time(ours: Path) -> None:
    host = Host()
    async with running(host, ours), edge_of() as edge:
        post = await told(options(host.port, ours), edge)
        (raw,), _ = await one_poll(kind.posts(options(host.port, ours), None, edge))
    assert (without_times(post.text), post.stated) == ("answers 200", "works")
    assert (post.tier, post.services, post.id) == (Tier.MEASURED, ("instagram",), "probe:ours.example:20261120T131010Z")
    assert [(step.name, step.outcome) for step in raw.measurement.steps] == [
        *(("DNS", "ok"), ("TCP", "ok"), ("TLS", "ok"), ("HTTP", "ok")),
    ]
    assert all(step.seconds > 0 for step in raw.measurement.steps)
    assert post.text.count(" ms") == 4
    assert host.requests[0].startswith(b"GET / HTTP/1.1\r\nHost: ours.example\r\nUser-Agent: listener/test")


@pytest.mark.parametrize("status", [200, 204, 302, 403, 404, 429])
async def test_any_answer_below_500_shows_that_the_host_is_reached(status: int, ours: Path) -> None:
    host = Host([b"HTTP/1.1 %d Said So\r\n\r\n" % status])
    async with running(host, ours), edge_of() as edge:
        assert (await told(options(host.port, ours), edge)).stated == "works"


@pytest.mark.parametrize(
    ("said", "outcome", "stated"),
    [
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", "answers 503", "report"),
        (b"HTTP/1.1 451 No\r\n\r\n", "answers 451, unavailable for legal reasons", "blocked"),
        (b"", "the connection is closed without an answer", "report"),
        (b"SSH-2.0-x\r\n", "the answer is not HTTP", "report"),
        (b"x" * 100_000, "the answer is not HTTP", "report"),
        (None, "HTTP does not answer in time", "report"),
    ],
)
async def test_a_bad_answer_or_none_is_a_report(said: bytes | None, outcome: str, stated: str, ours: Path) -> None:
    host = Host([said])
    chosen = options(host.port, ours, patience=timedelta(seconds=0.5))
    async with running(host, ours), edge_of() as edge:
        post = await told(options(host.port, ours, patience=chosen.patience), edge)
    assert (without_times(post.text), post.stated) == (outcome, stated)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.10.34.35", "0.0.0.0", "::", "::1", "100.64.1.1", "169.254.1.1"])
async def test_a_forged_answer_is_a_finding_and_is_not_followed(address: str) -> None:
    host = Host()
    async with running(host), edge_of({NAME: ["1.1.1.1", address]}) as edge:
        post = await told(options(host.port, private=False), edge)
    assert (post.text, post.stated) == (f"probe: {NAME}: DNS answers {address} (not public)", "blocked")
    assert host.connections == 0


async def test_the_guard_against_private_addresses_does_not_hide_a_forged_answer() -> None:
    async with net(look_up=Resolver({NAME: ["127.0.0.1"]}), allow_private=False) as edge:
        post = await told(options(private=False), edge)
    assert "127.0.0.1 (not public)" in post.text


@pytest.mark.parametrize(
    ("failure", "outcome", "stated"),
    [
        (socket.gaierror(socket.EAI_NONAME, "x"), "DNS says that there is no such host", "blocked"),
        (socket.gaierror(socket.EAI_NODATA, "x"), "DNS says that there is no such host", "blocked"),
        ([], "DNS says that there is no such host", "blocked"),
        (socket.gaierror(socket.EAI_FAIL, "x"), "DNS refuses to answer", "blocked"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "DNS fails", "report"),
        (OSError("x"), "DNS fails", "report"),
        (TimeoutError(), "DNS does not answer in time", "report"),
    ],
)
async def test_a_name_that_is_denied_points_to_a_block_and_a_resolver_that_fails_does_not(
    failure: Any, outcome: str, stated: str
) -> None:
    async with edge_of({NAME: failure}) as edge:
        post = await told(options(), edge)
    assert (post.text, post.stated) == (f"probe: {NAME}: {outcome}", stated)


async def test_a_refused_connection_and_no_route_are_a_report() -> None:
    async with edge_of() as edge:
        refused = await told(options(closed()), edge)
    async with edge_of({NAME: ["255.255.255.255"]}) as edge:
        lost = await told(options(), edge)
    async with edge_of({NAME: ["255.255.255.255", "127.0.0.1"]}) as edge:
        both = await told(options(closed()), edge)
    said = [(without_times(post.text), post.stated) for post in (refused, lost, both)]
    assert said == [
        ("TCP connection is refused", "report"),
        ("there is no route to it", "report"),
        ("TCP connection is refused", "report"),
    ]
    assert refused.text.count(" ms") == 1


async def test_a_connection_that_nobody_takes_is_a_report() -> None:
    with deaf() as port:
        async with edge_of() as edge:
            post = await told(options(port, patience=timedelta(seconds=0.3)), edge)
    assert (without_times(post.text), post.stated) == ("TCP does not answer in time", "report")


async def test_another_address_is_tried_when_the_first_is_not_reached(ours: Path) -> None:
    host = Host()
    async with running(host, ours), edge_of({NAME: ["255.255.255.255", "127.0.0.1"]}) as edge:
        assert (await told(options(host.port, ours), edge)).stated == "works"


@pytest.mark.parametrize("resets", [True, False])
async def test_a_handshake_that_is_cut_after_our_hello_points_to_a_block(*, resets: bool) -> None:
    async with cutting(resets=resets) as host, edge_of() as edge:
        post = await told(options(host.port), edge)
    assert (without_times(post.text), post.stated) == ("TLS handshake is cut", "blocked")
    assert NAME.encode() in host.requests[0]  # what names the host is in the hello


async def test_a_handshake_without_an_answer_is_a_report() -> None:
    host = Host([None])
    async with running(host), edge_of() as edge:
        post = await told(options(host.port, patience=timedelta(seconds=0.3)), edge)
    assert (without_times(post.text), post.stated) == ("TLS does not answer in time", "report")


async def test_what_is_no_tls_at_all_is_a_report() -> None:
    async def chat(reader: Any, writer: Any) -> None:
        await reader.read(10)
        writer.write(b"220 hello, what do you want of this port?\r\n")
        await writer.drain()
        writer.close()

    host = Host()
    host.serve = chat  # type: ignore[method-assign]
    async with running(host), edge_of() as edge:
        post = await told(options(host.port), edge)
    assert without_times(post.text).startswith("TLS fails")
    assert post.stated == "report"


async def test_a_certificate_of_another_or_of_nobody_we_know_points_to_a_block(folder: Path, ours: Path) -> None:
    theirs = certificate(folder, "block.example")
    host = Host()
    async with running(host, theirs), edge_of() as edge:
        of_another = await told(options(host.port, theirs), edge)
        of_nobody = await told(options(host.port, ours), edge)
    for post in (of_another, of_nobody):
        assert post.stated == "blocked"
        assert "TLS certificate is not the host's" in post.text


async def test_a_certificate_that_has_run_out_is_the_hosts_own_fault(folder: Path) -> None:
    old = certificate(folder, NAME, days=-1)
    host = Host()
    async with running(host, old), edge_of() as edge:
        post = await told(options(host.port, old), edge)
    assert (without_times(post.text), post.stated) == ("TLS certificate is out of date", "report")


# What is told, and when


@asynccontextmanager
async def answering(ours: Path, *said: bytes) -> AsyncIterator[Host]:
    host = Host(list(said))
    async with running(host, ours):
        yield host


UP, DOWN = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 500 Oops\r\n\r\n"


async def test_only_a_change_is_told_and_every_attempt_is_a_heartbeat(ours: Path) -> None:
    time = Time()
    async with answering(ours, UP, UP, UP, DOWN, DOWN, DOWN, UP) as host, edge_of(time=time) as edge:
        taken = await take(kind.posts(options(host.port, ours), None, edge), 9)
    outcomes = [raw.measurement.outcome if raw else "-" for raw, _ in taken]
    assert outcomes == ["works", "-", "-", "http_error", "-", "-", "works", "-", "-"]
    assert sum(300 <= slept <= 345 for slept in time.slept) == 5


async def test_an_outcome_that_does_not_stay_is_not_told(ours: Path) -> None:
    time = Time()
    async with answering(ours, UP, UP, DOWN, UP, UP) as host, edge_of(time=time) as edge:
        taken = await take(kind.posts(options(host.port, ours), None, edge), 4)
    assert [raw is None for raw, _ in taken] == [False, True, True, True]
    assert time.slept.count(10) == 2


async def test_what_was_told_is_remembered_over_a_restart_but_not_for_another_host(ours: Path) -> None:
    async with answering(ours, UP) as host, edge_of() as edge:
        _, cursor = await one_poll(kind.posts(options(host.port, ours), None, edge))
        assert (await one_poll(kind.posts(options(host.port, ours), cursor, edge)))[0] == []
    async with answering(ours, UP) as other, edge_of() as edge:
        raws, _ = await one_poll(kind.posts(options(other.port, ours), cursor, edge))
    assert [raw.measurement.outcome for raw in raws] == ["works"]


async def test_a_post_and_its_cursor_come_together_so_that_nothing_is_told_twice(ours: Path) -> None:
    async with answering(ours, UP) as host, edge_of() as edge:
        ((raw, cursor),) = await take(kind.posts(options(host.port, ours), None, edge), 1)
        assert raw is not None
        assert (await one_poll(kind.posts(options(host.port, ours), cursor, edge)))[0] == []


async def test_when_the_control_fails_as_well_nothing_is_said_of_the_service() -> None:
    answers = {NAME: OSError("x"), "control.example": ["127.0.0.1"]}
    async with edge_of(answers) as edge:
        with pytest.raises(SourceError, match="could not check") as caught:
            await one_poll(kind.posts(options(control=f"control.example:{closed()}"), None, edge))
    assert (caught.value.reason, caught.value.permanent) == ("no_network", False)


async def test_when_the_control_works_the_finding_stands(ours: Path) -> None:
    host = Host()
    resolver = Resolver({NAME: ["127.0.0.1"], "blocked.example": socket.gaierror(socket.EAI_NONAME, "x")})
    async with running(host, ours), net(look_up=resolver) as edge:
        chosen = options(host.port, ours, host="blocked.example", control=f"{NAME}:{host.port}")
        (raw,), _ = await one_poll(kind.posts(chosen, None, edge))
    assert raw.measurement.outcome == "dns_denied"
    assert resolver.asked == ["blocked.example", NAME] * 2


async def test_the_control_is_left_alone_while_the_host_works(ours: Path) -> None:
    resolver = Resolver({NAME: ["127.0.0.1"]})
    async with answering(ours, UP) as host, net(look_up=resolver) as edge:
        await one_poll(kind.posts(options(host.port, ours, control="control.example"), None, edge))
    assert set(resolver.asked) == {NAME}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *(({"host": host}, "bad_host") for host in ("", "https://ours.example", "ours.example:https", ":443")),
        ({"authorities": "/nowhere/at/all.pem"}, "bad_authorities"),
    ],
)
async def test_a_mistake_in_the_config_is_said_at_once(changes: dict[str, Any], reason: str) -> None:
    async with edge_of() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(**changes), None, edge))
    assert (caught.value.reason, caught.value.permanent) == (reason, True)


def test_a_post_is_of_when_it_was_measured() -> None:
    measured = kind.Measurement((kind.Step("DNS", "denied", 0.01),), "DNS says that there is no such host")
    raw = kind.Raw(measured, "", "h.example", NOW)
    post = kind.parse(raw, NOW + timedelta(seconds=1))
    assert isinstance(post, Post)
    assert (post.created_at, post.services) == (NOW, ())
