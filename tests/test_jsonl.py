"""JSON Lines from files that grow, rotate and hold nonsense, and from the standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import InputError, SourceError
from listener.sources import MalformedError
from listener.sources import jsonl as kind
from listener.types import PostKind
from tests.servers.driving import NOW, Daemon, Time, net, take

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def lines(*texts: str) -> str:
    return "".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts)


async def texts(options: kind.Options, cursor: str | None = None) -> list[str]:
    """What a run that ends gives."""
    async with net() as edge:
        return [
            kind.parse_line(raw.line, raw.number, NOW).text async for raw, _ in kind.posts(options, cursor, edge) if raw
        ]


async def test_a_file_is_read_to_its_end_also_without_a_last_newline(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text(lines("a", "b").rstrip())
    assert await texts(kind.Options(path=str(file))) == ["a", "b"]


async def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    (tmp_path / "2.jsonl").write_text(lines("c"))
    (tmp_path / "1.jsonl").write_text(lines("a", "b"))
    (tmp_path / "notes.txt").write_text("no")
    assert await texts(kind.Options(path=str(tmp_path))) == ["a", "b", "c"]


async def test_a_file_that_is_not_there_is_a_failure_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        await texts(kind.Options(path=str(tmp_path / "none.jsonl")))


async def follow(file: Path, *happenings: Any) -> list[str]:
    """What is heard of a followed file when one thing after another happens to it, and then nothing more."""
    left, heard = list(happenings), []
    time = Time(on_sleep=lambda: left.pop(0)() if left else None)
    async with net(time) as edge, aclosing(kind.posts(kind.Options(path=str(file), follow=True), None, edge)) as items:
        async for raw, _ in items:
            if raw is not None:
                heard.append(kind.parse_line(raw.line, raw.number, NOW).text)
            elif not left and len(time.slept) > len(happenings):
                break
    return heard


def append(file: Path, text: str) -> None:
    with file.open("a") as out:
        out.write(text)


async def test_a_followed_file_gives_a_line_only_when_it_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text('{"text":')
    assert await follow(file, lambda: append(file, '"a"}'), lambda: append(file, '\n{"text":"b"}\n')) == ["a", "b"]


async def test_a_rotated_file_is_finished_before_the_next_one(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text(lines("a"))

    def rotate() -> None:
        append(file, lines("b"))
        file.rename(tmp_path / "posts.jsonl.1")
        file.write_text(lines("c"))

    assert await follow(file, rotate) == ["a", "b", "c"]


async def test_a_file_that_was_emptied_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text(lines("a", "b"))
    assert await follow(file, lambda: os.truncate(file, 0), lambda: append(file, lines("c"))) == ["a", "b", "c"]


async def test_a_malformed_line_is_named_and_the_next_one_is_read(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_bytes(b"\xff\xfe\n" + b'{"text":"' + b"x" * 2**21 + b'"}\n' + lines("good").encode())
    async with net() as edge:
        raws = [raw async for raw, _ in kind.posts(kind.Options(path=str(file)), None, edge) if raw]
    for raw in raws[:2]:
        with pytest.raises(MalformedError, match=f"line {raw.number}: "):
            kind.parse(raw, NOW)
    assert len(raws[1].line) < 2**20 + 10
    post = kind.parse_line(raws[2].line, 3, NOW)
    assert (post.id, post.text) == ("jsonl:good", "good")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": 1}', "text"),
        ('{"text": null}', "text"),
        ('{"text": "a", "created_at": "yesterday"}', "created_at 'yesterday' is not a time"),
        ('{"text": "a", "author": 7}', "author"),
        ('["a"]', "object"),
        ("[" * 100_000, "line 4"),
        ("", "line 4"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(line: str, complaint: str) -> None:
    with pytest.raises(MalformedError, match=complaint) as caught:
        kind.parse_line(line.encode(), 4, NOW)
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, ValueError)


def test_a_line_names_its_own_source_and_times() -> None:
    line = (
        b'{"text":"a","id":"x:1","source":"x","created_at":"2026-11-20T10:00:00Z","received_at":"2026-11-20T10:00:09Z"}'
    )
    post = kind.parse_line(line, 1, NOW)
    assert (post.id, post.source) == ("x:1", "x")
    assert (post.received_at - post.created_at).seconds == 9


def test_two_lines_without_ids_are_two_posts_and_each_stays_itself() -> None:
    first, second = (kind.parse_line(b'{"text":"a"}', number, NOW, "f").id for number in (1, 2))
    assert first != second
    assert first == kind.parse_line(b'{"text":"a"}', 1, NOW, "f").id


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 9), max_size=6), sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_nothing_is_lost_or_read_twice_whenever_the_daemon_dies(
    tmp_path_factory: pytest.TempPathFactory, crashes: list[int], sizes: list[int]
) -> None:
    import asyncio

    folder = tmp_path_factory.mktemp("posts")
    everything = set()
    for i, size in enumerate(sizes):
        names = [f"{i}-{j}" for j in range(size)]
        (folder / f"{i}.jsonl").write_text(lines(*names))
        everything |= {f"jsonl:{name}" for name in names}

    async def life() -> None:
        daemon = Daemon(kind)
        async with net() as edge:
            await daemon.run_through(kind.Options(path=str(folder), follow=True), edge, crashes, everything)
            assert daemon.stored.keys() == everything
            if everything:
                assert await take(kind.posts(kind.Options(path=str(folder), follow=True), daemon.cursor, edge), 1) == [
                    (None, None)
                ]

    asyncio.run(life())


READER = """
import asyncio, sys
from tests.servers.driving import NOW, net
from listener.sources import jsonl
async def main():
    async with net() as edge:
        async for raw, cursor in jsonl.posts(jsonl.Options(), None, edge):
            print(raw.number, jsonl.parse(raw, NOW).text, cursor, flush=True)
asyncio.run(main())
"""


def test_the_standard_input_is_read_as_it_comes() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(lines("a"))
        run.stdin.flush()
        assert run.stdout.readline() == "1 a None\n"
        run.stdin.write('\n{"text":"b"}')
        run.stdin.close()
        assert run.stdout.readline() == "3 b None\n"
        assert run.wait(10) == 0


def test_a_kind_of_another_program_is_a_plain_post() -> None:
    said = {kind.parse_line(b'{"text": "a", "kind": "%s"}' % word, 1, NOW).kind for word in (b"background", b"post")}
    assert said == {PostKind.POST}
    assert kind.parse_line(b'{"text": "a", "kind": "repost"}', 1, NOW).kind is PostKind.REPOST
