"""Bodies are read in parts, compressed or not, with a cap on what comes in and on what is made of it."""

from __future__ import annotations

import gzip
import os
from typing import Any

import brotli  # type: ignore[import-untyped]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources._body import bounded
from listener.sources._net import Limits
from tests.servers.driving import net
from tests.servers.feeds import (
    HttpServer,
    answer,
    chunked,
    cut,
    drip,
    flood,
    packed,
    running,
    slow_head,
    squeezed,
)

pytestmark = pytest.mark.anyio

MIB = 2**20
GZIP, BROTLI = {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def got(behaviour: Any, **limits: Any) -> bytes:
    async with running(HttpServer({"/": behaviour})) as server, net(limits=Limits(gap=0, **limits)) as edge:
        return (await edge.get(f"{server.url}/")).body


async def failure(behaviour: Any, **limits: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        await got(behaviour, **limits)
    return caught.value


TEXT = "Instagram çöktü mü? ".encode() * 5_000


@pytest.mark.parametrize(
    "behaviour",
    [
        answer(200, TEXT),
        answer(200, TEXT, {"Content-Encoding": "identity"}),
        chunked(TEXT[:7], TEXT[7:]),
        packed(TEXT),
        answer(200, gzip.compress(TEXT), {"Content-Encoding": "X-GZIP"}),
        squeezed(TEXT),
        chunked(*(brotli.compress(TEXT)[i : i + 7] for i in range(0, len(brotli.compress(TEXT)), 7)), headers=BROTLI),
        chunked(*(gzip.compress(TEXT)[i : i + 7] for i in range(0, len(gzip.compress(TEXT)), 7)), headers=GZIP),
    ],
)
async def test_a_body_is_the_same_however_it_is_sent(behaviour: Any) -> None:
    assert await got(behaviour) == TEXT


async def test_gzip_is_read_also_in_several_members() -> None:
    body = gzip.compress(b"one ") + gzip.compress(b"two") + b"rubbish"
    assert await got(answer(200, body, GZIP)) == b"one two"


NOISE = os.urandom(6 * MIB)  # can't be made smaller


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (packed(bytes(40 * MIB)), "too_large"),  # a bomb: 40 kB on the wire
        (squeezed(bytes(40 * MIB)), "too_large"),  # 30 bytes
        (flood(6 * MIB), "too_large"),
        (flood(), "too_large"),
        (answer(200, brotli.compress(NOISE, quality=0), BROTLI), "too_large"),
        (answer(200, gzip.compress(NOISE, 0), GZIP), "too_large"),
        (answer(200, gzip.compress(b"".join(bytes([i]) * 80 for i in NOISE[:150_000])), GZIP), "too_large"),
        (
            answer(200, brotli.compress(b"".join(bytes([i]) * 80 for i in NOISE[:150_000]), quality=3), BROTLI),
            "too_large",
        ),
        (packed(b"nested", times=2), "encoding"),
        (answer(200, brotli.compress(gzip.compress(b"x")), {"Content-Encoding": "gzip, br"}), "encoding"),
        (answer(200, b"x", {"Content-Encoding": "zstd"}), "encoding"),
        (answer(200, b"x", {"Content-Encoding": "deflate"}), "encoding"),
        (answer(200, b"not gzip at all", GZIP), "encoding"),
        (answer(200, b"not brotli at all", BROTLI), "encoding"),
        (answer(200, brotli.compress(TEXT) + b"rubbish", BROTLI), "encoding"),
        (answer(200, gzip.compress(TEXT)[:-9], GZIP), "protocol"),
        (squeezed(TEXT, keep=-3), "protocol"),
        (cut(b"half of", claims=100), "protocol"),
        (chunked(b"half of", ends=False), "protocol"),
        (answer(200, b"", {"X-Long": "y" * 200_000}), "protocol"),
        (drip(b"x" * 1000, 0.01), "timeout"),
        (slow_head(0.01), "timeout"),
    ],
)
async def test_a_bad_answer_is_cut_off_with_a_reason(behaviour: Any, reason: str) -> None:
    slow = reason == "timeout"
    assert (await failure(behaviour, **({"read": 0.3, "total": 0.5} if slow else {}))).reason == reason


@pytest.mark.parametrize("encoding", ["gzip", "br"])
async def test_a_body_may_shrink_a_hundredfold_but_not_more_once_past_a_mebibyte(encoding: str) -> None:
    def sent(size: int) -> Any:
        return packed(bytes(size)) if encoding == "gzip" else squeezed(bytes(size))

    assert len(await got(sent(MIB))) == MIB
    assert (await failure(sent(2 * MIB))).reason == "too_large"


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(body=st.binary(max_size=3_000), cuts=st.integers(1, 50), encoding=st.sampled_from(["gzip", "br"]))
def test_compressed_bytes_may_come_in_any_pieces(body: bytes, cuts: int, encoding: str) -> None:
    import asyncio
    from collections.abc import AsyncIterator

    data = gzip.compress(body) if encoding == "gzip" else brotli.compress(body)

    async def pieces() -> AsyncIterator[bytes]:
        for i in range(0, len(data), cuts):
            yield data[i : i + cuts]

    assert asyncio.run(bounded(pieces(), encoding, wire=MIB, decoded=MIB, ratio=100)) == body
