"""New videos are heard once each, and a feed that has a bad hour is neither dead nor in the way of the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources import youtube as kind
from listener.types import Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, feed, running
from tests.servers.youtube import YouTube, document, video

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, *channels: str, **changes: Any) -> kind.Options:
    return kind.Options(**{"server": server.url, "channels": channels or ("UCa",), **changes})


def a_raw(**changes: str) -> kind.Raw:
    own = {"id": "v1", "title": "Instagram çöktü", "description": "", "published": "2026-11-20T13:00:00+00:00"}
    return kind.Raw(**{**own, "channel": "UCa", "link": "https://www.youtube.com/watch?v=v1", **changes})


def read(raw: Any) -> Post:
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    return made


def test_a_video_is_press_with_its_title_and_the_beginning_of_its_description() -> None:
    made = read(a_raw(description="Son durum ne?\n" + "kelime " * 100 + "https://kanal.example"))
    assert (made.id, made.tier, made.author) == ("youtube:v1", Tier.PRESS, "UCa")
    assert made.text.startswith("Instagram çöktü\nSon durum ne?\nkelime")
    assert made.text.endswith("kelime")
    assert len(made.text) < 330
    assert made.created_at == NOW - timedelta(minutes=10)


@pytest.mark.parametrize("raw", [a_raw(id=""), a_raw(title="")])
def test_a_video_without_id_or_title_is_malformed(raw: kind.Raw) -> None:
    with pytest.raises(MalformedError):
        kind.parse(raw, NOW)


def test_a_date_that_cannot_be_read_or_lies_ahead_is_now() -> None:
    assert read(a_raw(published="")).created_at == NOW
    assert read(a_raw(published="2026-11-20T19:00:00+00:00")).created_at == NOW


async def test_videos_are_heard_once_oldest_first_and_again_with_another_title() -> None:
    server = YouTube(videos={"UCa": [video("b"), video("a")]})
    async with running(server), net() as edge:
        raws, cursor = await one_poll(kind.posts(options(server), None, edge))
        again, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        server.videos["UCa"] = [video("c"), video("b", "Instagram düzeldi"), video("a")]
        more, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert [raw.id for raw in raws] == ["a", "b"]
    assert again == []
    assert [(raw.id, raw.title) for raw in more] == [("b", "Instagram düzeldi"), ("c", "Instagram çöktü")]


async def test_channels_and_playlists_are_asked_for_by_their_ids() -> None:
    server = YouTube(videos={"PLx": [video("p")], "UCa": [video("c")]})
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "UCa", playlists=("PLx",)), None, edge), 4)
    assert [raw.id for raw, _ in taken if raw] == ["c", "p"]
    assert [request.query for request in server.requests] == [{"channel_id": ["UCa"]}, {"playlist_id": ["PLx"]}]


@pytest.mark.parametrize("status", [404, 500])
async def test_a_feed_with_a_bad_hour_does_not_keep_the_others_from_being_heard(status: int) -> None:
    server = YouTube(videos={"UCa": [video("a")], "UCb": [video("b")]}, statuses={"UCa": status})
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "UCa", "UCb"), None, edge), 3)
        assert [raw.id for raw, _ in taken if raw] == ["b"]
        server.statuses.clear()
        raws, _ = await one_poll(kind.posts(options(server, "UCa", "UCb"), taken[1][1], edge))
    assert [raw.id for raw in raws] == ["a"]


@pytest.mark.parametrize("status", [404, 500])
async def test_when_no_feed_can_be_read_the_source_has_failed_and_is_tried_again(status: int) -> None:
    server = YouTube(statuses={"UCa": status, "UCb": status})
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server, "UCa", "UCb"), None, edge))
    assert (caught.value.reason, caught.value.permanent) == (f"status_{status}", False)
    assert len(server.requests) == 2


async def test_a_limit_stops_all_feeds_at_once() -> None:
    server = YouTube(statuses={"UCa": 429})
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server, "UCa", "UCb"), None, edge))
    assert caught.value.reason == "status_429"
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html/>", b"", b"<rss/>"])
async def test_what_is_not_a_feed_is_a_failure(body: bytes) -> None:
    server = YouTube()
    server.behaviours["/feeds/videos.xml"] = answer(200, body)
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server), None, edge))
    assert caught.value.reason == "not_a_feed"


async def test_an_unchanged_feed_is_asked_for_with_its_validators() -> None:
    server = YouTube()
    server.behaviours["/feeds/videos.xml"] = feed(document(video("a")), {"ETag": '"1"'})
    async with running(server), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert raws == []
    assert server.requests[1].headers["if-none-match"] == '"1"'


async def test_a_source_without_channels_is_a_mistake_of_the_config() -> None:
    async with net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(kind.Options(), None, edge))
    assert caught.value.permanent


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(crashes=st.lists(st.integers(0, 10), max_size=6), news=st.lists(st.integers(0, 4), min_size=6, max_size=6))
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], news: list[int]) -> None:
    """Two channels publish between polls, and one of them has a bad hour every third time."""

    async def life() -> None:
        time, daemon, left = Time(), Daemon(kind), list(news)
        server = YouTube(videos={"UCa": [video("a0")], "UCb": [video("b0")]})
        polls = 0

        def publish() -> None:
            nonlocal polls
            polls += 1
            server.statuses = {"UCa": 404} if polls % 3 == 0 else {}
            for _ in range(left.pop(0) if left else 0):
                for name, shown in server.videos.items():
                    shown.insert(0, video(f"{name[-1]}{len(shown)}"))

        time.on_sleep = publish
        everything = {f"youtube:{name}{i}" for name in "ab" for i in range(1 + sum(news))}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server, "UCa", "UCb"), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
