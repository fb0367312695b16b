"""Servers that mean harm cost us little: neither memory, nor time, nor a way to what is not for everyone."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from listener.errors import SourceError
from listener.sources import _gate
from listener.sources._net import Limits, Net
from tests.servers.driving import net
from tests.servers.feeds import (
    HttpServer,
    answer,
    drip,
    flood,
    item,
    packed,
    redirect,
    rss,
    running,
    slow_head,
    squeezed,
)

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parent.parent
OPEN = "127.0.0.3"  # stands for the open internet; the rest of loopback is the inside


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


GIB = 2**30
ARTICLE = "<description>{}{}</description>"
BIG = rss(
    *(
        item(str(i), "Инстаграм не ради", extra=ARTICLE.format("не ради " * 100, os.urandom(90).hex()))
        for i in range(4_800)
    )
)
ABUSE: dict[str, tuple[Any, str]] = {
    "/gigabyte": (flood(GIB), "too_large"),
    "/endless": (flood(), "too_large"),
    "/gzip-bomb": (answer(200, gzip.compress(bytes(GIB // 64)) * 64, {"Content-Encoding": "gzip"}), "too_large"),
    "/double-gzip": (packed(bytes(2**20), times=2), "encoding"),
    "/brotli-bomb": (squeezed(bytes(GIB // 4)), "too_large"),
    "/slow-head": (slow_head(0.05), "timeout"),
    "/slow-body": (drip(rss(item("1")), 0.05), "timeout"),
    "/cut": (answer(200, b"", {"Content-Length": "10"}), "protocol"),
    "/long-header": (answer(200, b"", {"X": "y" * 2**20}), "protocol"),
    "/headers": (answer(200, b"", {f"X-{n}": "" for n in range(200_000)}), "protocol"),
    "/attributes": (answer(200, rss("<item " + " ".join(f'a{i}=""' for i in range(50_000)) + "/>")), "unsafe_feed"),
    "/laughs": (answer(200, b'<!DOCTYPE r [<!ENTITY a "' + b"ha" * 99 + b'">]><rss>&a;</rss>'), "unsafe_feed"),
    "/big": (squeezed(BIG), ""),
}


async def test_every_kind_of_abuse_is_cut_short_with_a_reason_and_little_memory() -> None:
    good = HttpServer({"/": answer(200, rss(item("1", "Инстаграм не ради")))})
    async with (
        running(HttpServer({path: behave for path, (behave, _) in ABUSE.items()})) as server,
        running(good, host=OPEN) as other,
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.servers.fetching", f"{other.url}/", *(server.url + path for path in ABUSE)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        lines = [json.loads(line) for line in (await process.communicate())[0].splitlines()]
    *told, (before, ours, others, lags) = lines

    assert {path: line["reason"] for path, line in zip(ABUSE, told, strict=True)} == {
        p: r for p, (_, r) in ABUSE.items()
    }
    assert told[-1]["items"] == 4_800
    assert [path for path, line in zip(ABUSE, told, strict=True) if path != "/big" and line["seconds"] > 5] == []
    assert 7 * 2**20 < len(BIG) < 10 * 2**20
    assert ours - before < 64, "MiB more than after the first feed that means well"
    assert others < 512
    assert len(lags) > 10
    assert sorted(lags)[len(lags) * 19 // 20] < 2, "a source that means well is heard meanwhile"
    print(
        f"\n{ours - before:.0f} MiB more; the other source answered {len(lags)} times, the slowest in {max(lags):.2f} s"
    )


INSIDE = (
    *("127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "127.000.000.001", "127.255.255.254", "0.0.0.0", "0", "localhost"),
    *("LOCALHOST", "localhost.", "localhost.localdomain", "2130706433", "017700000001", "0177.0.0.1", "0177.1", "0x7f.1"),
    *("0x7f000001", "0x7f.0.0.1", "0X7F000001", "127.0.0.1.", "127%2e0%2e0%2e1", "%31%32%37.0.0.1", "127。0。0。1"),
    *("127．0．0．1", "①②⑦.⓪.⓪.①", "１２７.０.０.１", "ｌｏｃａｌｈｏｓｔ", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "[::1]", "[::]", "[::127.0.0.1]"),
    *("[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]"),
    *("[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]"),
    *("[2002:7f00:1::]", "[2001:0:7f00:1::1]", "[fe80::1]", "[fe80::1%25lo]", "[::1%25lo]", "[fd00::1]", "[fec0::1]"),
    *("10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "169.254.170.2", "100.100.100.200"),
    *("192.0.0.192", "[fd00:ec2::254]", "metadata.example", "inside.example", "two-faced.example", "six.example"),
    *("public.example@127.0.0.1", "127.0.0.1#@public.example", "public.example:80@127.0.0.1", "127.0.0.1\\@public.example"),
    *("public.example\t@127.0.0.1", "127.0.0.1%00.public.example", "127.0.0.1%0d%0aHost:x", "127.0.0.1&@public.example"),
)  # fmt: skip
NAMED = {
    "metadata.example": [["169.254.169.254"]],
    "inside.example": [["127.0.0.1"]],
    "two-faced.example": [[OPEN, "127.0.0.1"]],
    "six.example": [["::1"]],
}


async def test_no_way_of_writing_an_inside_address_leads_there_asked_for_or_redirected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(set(INSIDE)) == len(INSIDE) >= 60
    async with running() as trap, outside(monkeypatch, NAMED) as (edge, server):
        port = trap.url.rpartition(":")[2]
        async with running(host="::1", port=int(port)) as trap6:
            reasons = set()
            for where in INSIDE:
                for target in (f"http://{where}:{port}/", f"http://{where}/"):
                    server.behaviours["/"] = redirect(target.encode("utf-8").decode("latin-1"))
                    for url in (target, f"{server.url}/"):
                        with pytest.raises(SourceError) as refused:
                            await edge.get(url)
                        reasons.add(refused.value.reason)
            assert (trap.connections, trap6.connections) == (0, 0)
    assert reasons <= {"forbidden_address", "unreachable", "bad_url", "redirects", "protocol"}, reasons


@asynccontextmanager
async def outside(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, list[list[str]]]
) -> AsyncIterator[tuple[Net, HttpServer]]:
    """A server on the open internet, and an edge that may go there only. `names` have an answer for each time they are asked."""

    async def look_up(host: str, _port: int) -> list[str]:
        known = names.get(host, [])
        return known.pop(0) if len(known) > 1 else known[0] if known else await _gate.resolve(host, _port)

    judged = _gate.is_public
    monkeypatch.setattr(_gate, "is_public", lambda address: address == OPEN or judged(address))
    limits = Limits(gap=0, connect=1, read=1, total=2)
    async with running(host=OPEN) as server, net(allow_private=False, look_up=look_up, limits=limits) as edge:
        yield edge, server


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://localhost:{trap}/",
        "http://127.0.0.1:{trap}/",
        "http://127.1:{trap}/",
        "http://2130706433:{trap}/",
        "http://0x7f000001:{trap}/",
        "http://0:{trap}/",
        "http://[::ffff:127.0.0.1]:{trap}/",
        "http://[::1]:{trap}/",
        "http://[64:ff9b::7f00:1]:{trap}/",
        "http://inside.example:{trap}/",
        "http://two-faced.example:{trap}/",
        "//127.0.0.1:{trap}/",
        "http://public.example@127.0.0.1:{trap}/",
    ],
)
async def test_a_redirect_to_the_inside_is_not_followed(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    names = {"inside.example": [["127.0.0.1"]], "two-faced.example": [[OPEN, "127.0.0.1"]]}
    async with running() as trap, outside(monkeypatch, names) as (edge, server):
        server.behaviours["/"] = redirect(target.format(trap=trap.url.rpartition(":")[2]))
        with pytest.raises(SourceError) as caught:
            await edge.get(f"{server.url}/")
    assert caught.value.reason == "forbidden_address"
    assert (len(server.requests), trap.connections) == (1, 0)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:6379/_x"])
async def test_a_redirect_to_another_protocol_is_not_followed(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    async with outside(monkeypatch, {}) as (edge, server):
        server.behaviours["/"] = redirect(target)
        with pytest.raises(SourceError) as caught:
            await edge.get(f"{server.url}/")
    assert caught.value.reason == "redirects"


async def test_a_name_that_turns_inward_is_refused_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"turncoat.example": [[OPEN], ["127.0.0.1"]]}
    async with outside(monkeypatch, names) as (edge, server):
        port = server.url.rpartition(":")[2]
        async with running(port=int(port)) as trap:
            server.behaviours["/"] = answer(200, b"public")
            assert (await edge.get(f"http://turncoat.example:{port}/")).body == b"public"
            with pytest.raises(SourceError, match="not a public address") as caught:
                await edge.get(f"http://turncoat.example:{port}/")
    assert caught.value.reason == "forbidden_address"
    assert trap.connections == 0


async def test_what_was_vetted_is_what_is_connected_to_whatever_the_name_says_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"turncoat.example": [[OPEN], ["127.0.0.1"], ["127.0.0.1"]]}
    async with outside(monkeypatch, names) as (edge, server):
        server.behaviours["/"] = answer(200, b"public")
        assert (await edge.get(server.url.replace(OPEN, "turncoat.example") + "/")).body == b"public"
    assert names["turncoat.example"] == [["127.0.0.1"], ["127.0.0.1"]]
