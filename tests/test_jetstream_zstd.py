"""The Bluesky stream comes compressed where both sides can, and otherwise as it is: never worse than uncompressed."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard

from listener.errors import SourceError
from listener.sources import MalformedError, _jetstream_zstd
from listener.sources import jetstream as kind
from listener.sources._jetstream_zstd import Dictionary, decompressed
from tests.servers.driving import NOW, Daemon, Time, net, take
from tests.servers.jetstream import (
    DICTIONARY,
    V1_DICTIONARY,
    Event,
    Jetstream,
    an_hour_of,
    as_v2,
    compressed,
    dictionary,
    following,
    ids,
    post_event,
    running,
)

pytestmark = pytest.mark.anyio

NUMBER, NEXT = 20_260_811, 20_270_811
MIB = 2**20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def heard(daemon: Daemon, choice: kind.Options, edge: Any, lives: int = 1) -> set[str]:
    for _ in range(lives):
        await daemon.run(choice, edge)
    return set(daemon.stored)


def dictionary_requests(server: Jetstream) -> int:
    return sum(path == DICTIONARY for path, _ in server.asked)


def numbers_asked(server: Jetstream) -> list[str]:
    """The dictionary named in each subscription; empty when uncompressed events were asked for."""
    return [query.get("zstdDictionary", [""])[0] for _, query in server.subscriptions]


async def test_events_come_compressed_with_a_dictionary_that_is_fetched_once() -> None:
    log = an_hour_of(9)
    async with running(Jetstream(log, dictionaries=[NUMBER], close_after=3)) as server, net() as edge:
        assert await heard(Daemon(kind, cursor=server.beginning()), following(server), edge, lives=4) == ids(log)
    assert numbers_asked(server) == [str(NUMBER)] * 4
    assert dictionary_requests(server) == 1


async def test_the_next_host_is_offered_the_dictionary_we_have() -> None:
    async with (
        running(Jetstream(an_hour_of(3), dictionaries=[NUMBER], live_from=0)) as first,
        running(Jetstream(an_hour_of(3), dictionaries=[NUMBER], live_from=0)) as second,
        net() as edge,
    ):
        await heard(Daemon(kind), following(first, second), edge, lives=2)
    assert numbers_asked(second) == [str(NUMBER)]
    assert dictionary_requests(second) == 0


async def test_whoever_wants_no_compression_gets_none() -> None:
    log = an_hour_of(3)
    async with running(Jetstream(log, dictionaries=[NUMBER], live_from=0)) as server, net() as edge:
        assert await heard(Daemon(kind), following(server, compress=False), edge) == ids(log)
    assert (numbers_asked(server), dictionary_requests(server)) == ([""], 0)


async def test_a_host_without_a_dictionary_is_heard_uncompressed_and_asked_again_after_an_hour() -> None:
    log = an_hour_of(3)
    async with running(Jetstream(log, live_from=0)) as server, net(time := Time()) as edge:
        for _ in range(3):
            assert await heard(Daemon(kind), following(server), edge) == ids(log)
            time.now += timedelta(minutes=5)
        assert dictionary_requests(server) == 1
        server.dictionaries = [NUMBER]
        time.now += timedelta(hours=1)
        await heard(Daemon(kind), following(server), edge)
    assert numbers_asked(server) == ["", "", "", str(NUMBER)]


async def test_a_dictionary_that_was_replaced_is_fetched_anew() -> None:
    log = an_hour_of(6)
    async with running(Jetstream(log, dictionaries=[NUMBER], close_after=3)) as server, net() as edge:
        daemon = Daemon(kind, cursor=server.beginning())
        await heard(daemon, following(server), edge)
        server.dictionaries, server.close_after = [NEXT], None
        assert await heard(daemon, following(server), edge) == ids(log)
    assert numbers_asked(server) == [str(number) for number in (NUMBER, NUMBER, NEXT)]


@pytest.mark.parametrize(
    ("gives", "why"),
    [
        (dictionary(NEXT), "one it does not know itself"),
        (b"", "nothing"),
        (b"<!doctype html>" * 20, "a page"),
        (b"\x37\xa4\x30\xec\x01\x00\x00\x00" + b"\xff" * 500, "a broken one"),
        (dictionary(NUMBER) + bytes(MIB), "a huge one"),
    ],
)
async def test_a_host_that_gives_a_useless_dictionary_is_heard_uncompressed(gives: bytes, why: str) -> None:
    log = an_hour_of(3)
    async with running(Jetstream(log, dictionaries=[NUMBER], gives=gives, live_from=0)) as server, net() as edge:
        assert await heard(Daemon(kind), following(server), edge) == ids(log), why
    assert numbers_asked(server)[-1] == ""


async def test_a_host_that_lets_us_wait_for_its_dictionary_is_heard_uncompressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_jetstream_zstd, "IN_TIME", 0.1)
    log = an_hour_of(3)
    async with running(Jetstream(log, dictionaries=[NUMBER], live_from=0)) as server, net(time := Time()) as edge:
        server.withholds_dictionary = True
        async with asyncio.timeout(5):
            assert await heard(Daemon(kind), following(server), edge) == ids(log)
        server.withholds_dictionary = False
        time.now += timedelta(minutes=2)
        await heard(Daemon(kind), following(server), edge)
    assert numbers_asked(server) == ["", str(NUMBER)], "it may have been busy"


async def test_a_host_that_packs_with_another_dictionary_is_asked_for_uncompressed_events() -> None:
    log = an_hour_of(30)
    async with running(Jetstream(log, dictionaries=[NUMBER], packs_with=NEXT)) as server, net() as edge:
        daemon = Daemon(kind, cursor=server.beginning())
        assert await heard(daemon, following(server), edge) == set()
        assert (daemon.reasons, daemon.malformed) == (["undecodable"], 0)
        assert await heard(daemon, following(server), edge) == ids(log)
    assert numbers_asked(server) == [str(NUMBER), ""]


async def test_a_broken_or_exploding_frame_is_counted_and_the_stream_goes_on() -> None:
    good, small = an_hour_of(2), json.dumps(as_v2(post_event(5, NOW), 5)).encode()
    bomb = b'{"a":"' + b" " * 64 * MIB
    bad: list[Event] = [
        compressed(small, NUMBER)[:-4],
        compressed(small, NEXT),
        compressed(small, NUMBER) + b"more",
        compressed(bomb, NUMBER),
        zstandard.compress(bomb),
        zstandard.compress(b"{"),
        b"\x28\xb5\x2f\xfd",
    ]
    async with (
        running(Jetstream([good[0], *bad, good[1]], live_from=0, dictionaries=[NUMBER])) as server,
        net() as edge,
    ):
        daemon = Daemon(kind)
        assert await heard(daemon, following(server), edge) == ids(good)
        assert daemon.malformed == len(bad)


def test_no_frame_becomes_larger_than_a_mebibyte() -> None:
    content = zstandard.ZstdCompressionDict(dictionary(NUMBER))
    known = Dictionary(dictionary(NUMBER))
    for says_size in (True, False):
        packer = zstandard.ZstdCompressor(dict_data=content, write_content_size=says_size)
        assert decompressed(packer.compress(b" " * MIB), known) == b" " * MIB
        with pytest.raises(MalformedError):
            decompressed(packer.compress(b" " * (MIB + 1)), known)


async def test_version_1_is_compressed_when_a_file_has_its_dictionary(tmp_path: Path) -> None:
    log, file = an_hour_of(3), tmp_path / "dictionary"
    file.write_bytes(dictionary(V1_DICTIONARY))
    async with running(Jetstream(log, dictionaries=[V1_DICTIONARY], live_from=0)) as server, net() as edge:
        assert await heard(Daemon(kind), following(legacy=(server,)), edge) == ids(log)
        assert await heard(Daemon(kind), following(legacy=(server,), zstd_dictionary=str(file)), edge) == ids(log)
        server.dictionaries = []
        assert await heard(Daemon(kind), following(legacy=(server,), zstd_dictionary=str(file)), edge) == ids(log)
    assert ["compress" in query for _, query in server.subscriptions] == [False, True, True, False]


@pytest.mark.parametrize("content", [None, b"", dictionary(NUMBER)])
async def test_a_file_with_another_dictionary_is_refused_before_anything_is_asked(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "dictionary"
    if content is not None:
        file.write_bytes(content)
    async with running() as server, net() as edge:
        with pytest.raises(SourceError) as caught:
            await take(kind.posts(following(legacy=(server,), zstd_dictionary=str(file)), None, edge), 1)
    assert (caught.value.reason, server.asked) == ("dictionary", [])
