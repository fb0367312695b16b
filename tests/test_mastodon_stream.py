"""With a token posts are heard as they are written; what a broken connection kept from us is read from the timelines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import MalformedError
from listener.sources import _mastodon_timelines as timelines
from listener.sources import mastodon as kind
from listener.sources._mastodon_server import _streaming
from listener.types import Delete, Post
from tests.servers.driving import NOW, Daemon, Time, net, take
from tests.servers.feeds import answer, chunked
from tests.servers.mastodon import Line, MastodonServer, post_id, running, sockets, sse, status

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def streaming(**changes: Any) -> MastodonServer:
    return MastodonServer(**{"token": "t", "timelines": {"outage": []}, **changes})


def options(server: MastodonServer, *tags: str, **changes: Any) -> kind.Options:
    quick: dict[str, Any] = {"every": timedelta(milliseconds=20), "silence": timedelta(seconds=5)}
    return kind.Options(server=server.url, tags=tags or ("outage",), token=Secret("t"), **{**quick, **changes})


def telling(*parts: bytes) -> Any:
    """A stream that says these and then nothing."""

    async def tell(line: Line) -> None:
        for part in parts:
            await line.send(part)
        await line.over.wait()

    return tell


def cutting(*parts: bytes) -> Any:
    """A stream that says these and breaks off."""

    async def tell(line: Line) -> None:
        for part in parts:
            await line.send(part)

    return tell


async def heard(source: AsyncGenerator[Any, None], count: int) -> list[Any]:
    """The first so many things that are no heartbeats, as they are understood."""
    made: list[Any] = []
    async for raw, _ in source:
        if raw is not None:
            try:
                made.append(kind.parse(raw, NOW))
            except MalformedError:
                made.append("malformed")
        if len(made) == count:
            break
    await source.aclose()
    return made


def names(made: list[Any]) -> list[str]:
    return [post.id.rpartition("/")[2] if isinstance(post, Post) else str(post) for post in made]


async def ended(server: MastodonServer, *tags: str, **changes: Any) -> SourceError:
    """Why the source gave up."""
    async with running(server), net() as edge:
        source = kind.posts(options(server, *tags, **changes), None, edge)
        with pytest.raises(SourceError) as caught:
            async for _ in source:
                pass
    return caught.value


async def test_a_post_is_heard_when_it_is_written_between_signs_of_life() -> None:
    post = status(1, NOW)
    server = streaming(on_stream=telling(b":thump\n", sse("update", post), b":thump\n"))
    async with running(server), net() as edge:
        (made,) = await heard(kind.posts(options(server), None, edge), 1)
    assert isinstance(made, Post)
    assert (made.id, made.text) == (post_id(post), "Instagram ne radi?")
    assert server.requests[-1].headers["authorization"] == "Bearer t"


async def test_letters_may_be_torn_apart_between_two_chunks() -> None:
    data = sse("update", status(1, NOW, "<p>инстаграм çöktü 🔥 \u2028ne radi</p>"))
    server = streaming(on_stream=telling(*(data[i : i + 1] for i in range(len(data)))))
    async with running(server), net() as edge:
        (made,) = await heard(kind.posts(options(server), None, edge), 1)
    assert isinstance(made, Post)
    assert made.text == "инстаграм çöktü 🔥 ne radi"


async def test_events_of_other_kinds_are_passed_over() -> None:
    noise = [
        sse("filters_changed", "undefined"),
        b"event: filters_changed\n\n",
        sse("announcement", {"id": "1"}),
        sse("notification", {"id": "1", "type": "mention"}),
        sse("something.new", "[]"),
        b"data: {}\n\n",
        sse("delete", "117638400000000009"),
    ]
    server = streaming(on_stream=telling(*noise, sse("update", status(1, NOW))))
    async with running(server), net() as edge:
        assert names(await heard(kind.posts(options(server), None, edge), 1)) == ["1"]


async def test_data_over_several_lines_is_one_text() -> None:
    first, second = json.dumps(status(1, NOW)).split(", ", 1)
    server = streaming(on_stream=telling(f"event: update\ndata: {first},\ndata: {second}\n\n".encode()))
    async with running(server), net() as edge:
        assert names(await heard(kind.posts(options(server), None, edge), 1)) == ["1"]


async def test_a_deleted_post_is_forgotten_by_the_id_it_has_on_this_server() -> None:
    live, read = status(1, NOW), status(2, NOW - MINUTE)
    gone = [sse("delete", live["id"]), sse("delete", f'"{read["id"]}"')]
    server = streaming(timelines={"outage": [read]}, on_stream=telling(sse("update", live), *gone))
    async with running(server), net() as edge:
        made = await heard(kind.posts(options(server), None, edge), 4)
    assert names(made[:2]) == ["2", "1"]
    assert made[2:] == [
        Delete(source="mastodon", at=NOW, post_id=post_id(live)),
        Delete(source="mastodon", at=NOW, post_id=post_id(read)),
    ]


async def test_a_deletion_is_understood_after_a_restart() -> None:
    post = status(1, NOW)
    server, daemon = streaming(on_stream=cutting(sse("update", post))), Daemon(kind)
    async with running(server), net() as edge:
        await daemon.run(options(server), edge)
        assert isinstance(daemon.stored[post_id(post)], Post)
        server.on_stream = cutting(sse("delete", post["id"]))
        await daemon.run(options(server), edge)
    assert isinstance(daemon.stored[post_id(post)], Delete)


async def test_an_edit_brings_the_new_text_and_an_old_version_does_not_come_back() -> None:
    old, new = status(1, NOW), status(1, NOW, "<p>opet radi</p>", edited_at="2026-11-20T13:09:50.000Z")
    later = status(1, NOW, "<p>radi, radi</p>", edited_at="2026-11-20T13:09:55.000Z")
    told = [sse("update", old), sse("status.update", new), sse("status.update", later)]
    server = streaming(timelines={"outage": [new]}, on_stream=telling(*told))
    async with running(server), net() as edge:
        made = await heard(kind.posts(options(server), None, edge), 2)
    assert [post.text for post in made] == ["opet radi", "radi, radi"]


async def test_one_broken_event_is_counted_and_no_reason_to_hang_up() -> None:
    broken = [sse("update", "{"), sse("update", "[]"), sse("update", {"id": "x"}), sse("update", {"id": "5"})]
    server = streaming(on_stream=telling(*broken, sse("update", status(1, NOW))))
    async with running(server), net() as edge:
        made = await heard(kind.posts(options(server), None, edge), 5)
    assert names(made) == ["malformed"] * 4 + ["1"]


async def test_the_stream_is_open_before_what_was_missed_is_read() -> None:
    """A post written in between would be in neither."""
    server = streaming()
    timeline = server.behaviours["*"]

    async def meanwhile(request: Any, writer: Any) -> None:
        if "/timelines/" in request.path:
            assert server.lines, "the stream comes first"
            post = status(len(server.requests), NOW)
            await server.lines[0].send(sse("update", post))
        await timeline(request, writer)

    server.behaviours["*"] = meanwhile
    async with running(server), net() as edge:
        assert len(await heard(kind.posts(options(server), None, edge), 1)) == 1


async def test_timelines_are_read_again_now_and_then_while_the_stream_is_heard() -> None:
    """It may be alive and deaf."""
    time, server = Time(), streaming(on_stream=telling())
    async with running(server), net(time) as edge:
        source = kind.posts(options(server), None, edge)
        _, cursor = await anext(source)
        server.timelines["outage"].append(status(1, NOW))
        for minutes, expected in ((0, None), (10, None), (16, "1")):
            time.now = NOW + minutes * MINUTE
            raw, cursor = await anext(source)
            assert names([kind.parse(raw, NOW)] if raw else [None]) == [str(expected)]
            assert cursor or raw
        await source.aclose()


async def test_a_stream_is_opened_anew_once_a_day_to_ask_what_is_open() -> None:
    time, server = Time(), streaming(on_stream=telling())
    async with running(server), net(time) as edge:
        source = kind.posts(options(server), None, edge)
        await anext(source)
        time.now += timedelta(hours=25)
        await anext(source)
        await source.aclose()
    assert server.paths().count("/api/v2/instance") == 2
    assert server.paths().count("/api/v1/streaming/hashtag") == 2


async def test_a_quiet_stream_is_heard_all_the_same() -> None:
    server = streaming(on_stream=telling())
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server), None, edge), 4)
    assert [raw for raw, _ in taken] == [None] * 4
    assert all(cursor for _, cursor in taken)


async def test_a_stream_without_signs_of_life_is_left() -> None:
    server = streaming(on_stream=telling())
    error = await ended(server, silence=timedelta(milliseconds=100))
    assert error.reason == "silent"


async def test_signs_of_life_keep_a_stream() -> None:
    async def thumping(line: Line) -> None:
        for _ in range(8):
            await asyncio.sleep(0.05)
            await line.send(b":thump\n")
        await line.send(sse("update", status(1, NOW)))
        await line.over.wait()

    server = streaming(on_stream=thumping)
    async with running(server), net() as edge:
        source = kind.posts(options(server, silence=timedelta(milliseconds=200)), None, edge)
        assert names(await heard(source, 1)) == ["1"]


async def test_an_event_that_is_cut_off_is_found_in_the_timeline() -> None:
    post = status(1, NOW)
    server, daemon = streaming(on_stream=cutting(sse("update", post)[:-2])), Daemon(kind)
    async with running(server), net() as edge:
        await daemon.run(options(server), edge)
        assert (daemon.stored, daemon.reasons) == ({}, ["disconnected"])
        server.timelines["outage"].append(post)
        await daemon.run(options(server), edge, until={post_id(post)})
    assert post_id(post) in daemon.stored


@pytest.mark.parametrize(
    ("behaviour", "reason", "permanent"),
    [
        (answer(400, b'{"error":"Unknown channel requested"}'), "bad_stream", True),
        (answer(401, b'{"error":"Invalid access token"}'), "token_refused", True),
        (answer(404), "no_stream", True),
        (answer(503), "status_503", False),
        (answer(200, b"<html>welcome</html>", {"Content-Type": "text/html"}), "not_mastodon", False),
        (
            answer(200, b"plainly not", {"Content-Type": "text/event-stream", "Content-Encoding": "gzip"}),
            "not_mastodon",
            False,
        ),
    ],
)
async def test_a_refused_stream_says_why(behaviour: Any, reason: str, permanent: bool) -> None:
    server = streaming()
    server.behaviours["/api/v1/streaming/hashtag"] = behaviour
    error = await ended(server)
    assert (error.reason, error.permanent) == (reason, permanent)


async def test_a_server_that_takes_the_token_back_ends_the_stream() -> None:
    server = streaming()
    stream = {"Content-Type": "text/event-stream"}
    server.behaviours["/api/v1/streaming/hashtag"] = chunked(b":)\n", b":thump\n", headers=stream)
    assert (await ended(server)).reason == "disconnected"


async def test_a_stream_that_breaks_off_is_lost() -> None:
    assert (await ended(streaming(on_stream=cutting()))).reason == "disconnected"


async def test_what_is_for_users_only_is_open_to_a_token() -> None:
    closed = {"local": "authenticated", "remote": "authenticated"}
    server = streaming(access=closed, timelines={"outage": [status(1, NOW)]}, on_stream=telling())
    async with running(server), net() as edge:
        assert names(await heard(kind.posts(options(server), None, edge), 1)) == ["1"]


async def test_what_nobody_may_read_is_closed_to_a_token_as_well() -> None:
    error = await ended(streaming(access={"local": "disabled", "remote": "disabled"}))
    assert (error.reason, error.permanent) == ("closed", True)


async def test_closed_hashtags_are_not_passed_over_because_the_rest_is_open() -> None:
    server = streaming(access={"local": "disabled", "remote": "disabled"}, timelines={"local": []})
    error = await ended(server, public="local")
    assert (error.reason, error.permanent) == ("closed", True)


async def test_a_few_tags_have_a_connection_each() -> None:
    async def tell(line: Line) -> None:
        await line.send(sse("update", status(int(line.tag), NOW)))
        await line.over.wait()

    server = streaming(timelines={"1": []}, on_stream=tell)
    async with running(server), net() as edge:
        assert sorted(names(await heard(kind.posts(options(server, "1", "2", "3"), None, edge), 3))) == ["1", "2", "3"]
    assert server.paths().count("/api/v1/streaming/hashtag") == 3


async def test_one_broken_connection_of_several_is_noticed() -> None:
    async def tell(line: Line) -> None:
        if line.tag == "1":
            await line.over.wait()

    error = await ended(streaming(on_stream=tell), "1", "2")
    assert error.reason == "disconnected"


async def test_of_several_connections_none_is_left_open_when_one_is_refused() -> None:
    server = streaming(on_stream=telling())
    usual = server.behaviours["*"]

    async def second_refused(request: Any, writer: Any) -> None:
        await (answer(503) if request.query["tag"] == ["2"] else usual)(request, writer)

    server.behaviours["/api/v1/streaming/hashtag"] = second_refused
    async with running(server), net() as edge:
        source = kind.posts(options(server, "1", "2"), None, edge)
        with pytest.raises(SourceError) as caught:
            await anext(source)
        tasks = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    assert caught.value.reason == "status_503"
    assert not [name for name in tasks if "from_sse" in name]


async def test_many_tags_share_one_socket_on_the_host_the_server_names() -> None:
    async def tell(line: Line) -> None:
        await line.send(sse("update", status(int(line.tag), NOW)))
        await line.send(sse("filters_changed", "undefined"))
        await line.over.wait()

    tags = ["1", "2", "3", "4", "5"]
    server = streaming(timelines={"1": []}, on_stream=tell)
    async with sockets(server), running(server), net() as edge:
        assert sorted(names(await heard(kind.posts(options(server, *tags), None, edge), 5))) == tags
    assert [path for path in server.paths() if "streaming" in path] == ["/api/v1/streaming"]


async def test_posts_are_deleted_over_a_socket_too() -> None:
    post = status(1, NOW)
    server = streaming(on_stream=telling(sse("update", post), sse("delete", post["id"])))
    async with sockets(server), running(server), net() as edge:
        made = await heard(kind.posts(options(server, stream="websocket"), None, edge), 2)
    assert isinstance(made[1], Delete)


async def test_an_error_told_in_a_socket_ends_it() -> None:
    server = streaming(on_stream=telling(), refuses_channels=True)
    async with sockets(server):
        error = await ended(server, stream="websocket")
    assert error.reason == "stream_error"
    assert "Unknown stream type" in str(error)


async def test_a_broken_frame_is_counted_and_no_reason_to_hang_up() -> None:
    server = streaming(on_stream=telling(sse("update", status(1, NOW))), breaks_first_frame=True)
    async with sockets(server), running(server), net() as edge:
        made = await heard(kind.posts(options(server, stream="websocket"), None, edge), 2)
    assert names(made) == ["malformed", "1"]


async def test_a_socket_for_a_token_that_is_not_accepted_is_refused() -> None:
    server = streaming(access={"local": "public", "remote": "public"})
    async with sockets(server), running(server), net() as edge:
        chosen = options(server, stream="websocket")
        server.token = "another"
        with pytest.raises(SourceError) as caught:
            async for _ in kind.posts(chosen, None, edge):
                pass
    assert (caught.value.reason, caught.value.permanent) == ("token_refused", True)


async def test_the_whole_timeline_of_a_server_can_be_heard_live() -> None:
    server = streaming(timelines={"local": []}, on_stream=telling(sse("update", status(1, NOW))))
    async with running(server), net() as edge:
        chosen = kind.Options(server=server.url, tags=(), public="local", token=Secret("t"))
        assert names(await heard(kind.posts(chosen, None, edge), 1)) == ["1"]
    assert server.paths().count("/api/v1/streaming/public/local") == 1


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("wss://streaming.m.example", "https://streaming.m.example"),
        ("wss://streaming.m.example:4000/x", "https://streaming.m.example:4000"),
        ("ws://streaming.m.example", "https://m.example"),
        ("http://[", "https://m.example"),
        ("file:///etc", "https://m.example"),
        (None, "https://m.example"),
    ],
)
def test_a_token_is_never_sent_over_an_open_connection(told: Any, used: str) -> None:
    assert _streaming("https://m.example", told) == used


async def test_what_was_missed_is_read_whole_before_the_stream_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "PAGES", 2)
    posts = [status(i, NOW - 2 * MINUTE + i * timedelta(milliseconds=10)) for i in range(100)]
    cursor = json.dumps({"polled_ms": {"outage": int(NOW.timestamp() * 1000) - 600_000}})
    server = streaming(timelines={"outage": posts}, on_stream=telling(sse("update", status(200, NOW))))
    async with running(server), net() as edge:
        made = names(await heard(kind.posts(options(server), cursor, edge), 101))
    assert made == [*map(str, range(100)), "200"]


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 12), max_size=5),
    cuts=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    over_socket=st.booleans(),
)
def test_nothing_is_lost_however_often_the_stream_breaks(
    crashes: list[int], cuts: list[int], over_socket: bool
) -> None:
    """After so many posts the stream breaks off, and while nobody listens two more are written."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind, cursor=json.dumps({"polled_ms": {"outage": int(NOW.timestamp() * 1000)}}))
        written = [status(i, NOW + i * MINUTE) for i in range(24)]
        left, breaks = list(written), list(cuts)

        def write() -> dict[str, Any]:
            post = left.pop(0)
            time.now = max(time.now, NOW + (24 - len(left)) * MINUTE)
            server.timelines["outage"].append(post)
            return post

        async def tell(line: Line) -> None:
            for _ in range(min(2, len(left))):
                write()
            for _ in range(breaks.pop(0) if breaks else 24):
                if left:
                    await line.send(sse("update", write()))
            if breaks or left:
                return
            await line.over.wait()

        server = streaming(on_stream=tell)
        everything = {post_id(post) for post in written}
        chosen: dict[str, Any] = {"stream": "websocket" if over_socket else "sse"}
        async with sockets(server), running(server), net(time) as edge:
            if not over_socket:
                server.streaming = ""
            await daemon.run_through(options(server, **chosen), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
