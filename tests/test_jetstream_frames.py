"""What comes over the Bluesky stream, good or broken or unknown, is read, or counted and passed over."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.sources import MalformedError
from listener.sources import jetstream as kind
from listener.types import Delete, Post
from tests.servers.driving import NOW, Daemon, net, take
from tests.servers.jetstream import (
    Event,
    Jetstream,
    account_event,
    an_hour_of,
    as_v2,
    delete_event,
    edit_event,
    following,
    ids,
    post_event,
    running,
)

pytestmark = pytest.mark.anyio

MIB = 2**20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def heard(daemon: Daemon, choice: kind.Options, edge: Any, lives: int = 1) -> set[str]:
    for _ in range(lives):
        await daemon.run(choice, edge)
    return set(daemon.stored)


async def test_bad_frames_are_counted_and_the_stream_goes_on() -> None:
    good = an_hour_of(2)
    bad: list[Event] = [
        b"{",
        b"\xff\xff",
        b"[]",
        json.dumps(post_event(7, NOW, "x" * MIB)).encode(),
        b'{"$type":"message","payload":{"seq":"x"}}',
        b'{"time_us":99999999999999999999,"kind":"commit"}',
        b'{"time_us":-5,"kind":"commit"}',
        b"{}",
    ]
    async with running(Jetstream([good[0], *bad, good[1]], live_from=0)) as server, net() as edge:
        daemon = Daemon(kind)
        assert await heard(daemon, following(legacy=(server,)), edge) == ids(good)
    assert daemon.malformed == 7  # `{}` is an event of no kind


async def test_a_frame_too_large_to_read_ends_the_connection_and_the_next_host_is_heard() -> None:
    log = an_hour_of(4)
    huge: list[Event] = [*log[:2], b'"' + b"x" * 2**23 + b'"', *log[2:]]
    async with (
        running(Jetstream(huge)) as first,
        running(Jetstream(log, first_seq=9_000)) as second,
        net() as edge,
    ):
        daemon = Daemon(kind, cursor=first.beginning())
        assert await heard(daemon, following(first, second), edge, lives=3) == ids(log)
        assert daemon.reasons[0] == "disconnected"


async def test_a_connection_cut_in_the_middle_of_a_frame_is_taken_up_where_it_ended() -> None:
    log = an_hour_of(9)
    async with running(Jetstream(log, close_after=4, cuts_frames=True)) as server, net() as edge:
        daemon = Daemon(kind, cursor=server.beginning())
        assert await heard(daemon, following(server), edge, lives=3) == ids(log)
    assert (daemon.reasons[:2], daemon.malformed) == (["disconnected"] * 2, 0)


@pytest.mark.parametrize("chatter", [b"{}", b"{", b'{"$type":"message","payload":{"name":"Hello"}}'])
async def test_messages_that_are_no_events_do_not_hide_that_a_host_is_silent(chatter: bytes) -> None:
    async with (
        running(Jetstream(chatters=chatter)) as first,
        running(Jetstream(an_hour_of(3), live_from=0)) as second,
        net() as edge,
    ):
        daemon = Daemon(kind)
        assert await heard(daemon, following(first, second), edge) == set()
        assert daemon.reasons == ["silent"]
        assert await heard(daemon, following(first, second), edge) == ids(second.events)


COLLECTION = "app.bsky.feed.post"


UNKNOWN: list[dict[str, Any]] = [
    {"did": "did:plc:a", "time_us": 1, "kind": "label", "commit": 7, "account": "x"},
    {"did": "did:plc:a", "time_us": 1, "kind": "commit", "commit": {"operation": "merge", "collection": COLLECTION}},
    {"did": "did:plc:a", "time_us": 1, "kind": "commit", "commit": {"operation": "create", "collection": "app.bsky.feed"}},
    {"did": "did:plc:a", "time_us": 1, "kind": "account", "account": {"active": False, "status": "desynchronized"}},
    {"did": "did:plc:a", "time_us": 1, "kind": "account", "account": {"active": False}},
    {"did": "did:plc:a", "time_us": 1},
    {"$type": "message", "payload": {"$type": "x#label", "seq": 9, "time": "2026-11-20T13:09:31Z", "operation": 7}},
    {"$type": "message", "payload": {"$type": "x#sync", "seq": 9, "did": "did:plc:a", "sync": {}}},
    {"$type": "message"},
    {"$type": "notice", "payload": {}},
]  # fmt: skip


@pytest.mark.parametrize("event", UNKNOWN, ids=lambda event: json.dumps(event)[:60])
def test_an_event_of_an_unknown_kind_is_nothing(event: dict[str, Any]) -> None:
    assert kind.parse(json.dumps(event).encode(), NOW) is None


async def test_the_cursor_moves_on_over_events_of_an_unknown_kind() -> None:
    event = {**as_v2(post_event(1, NOW), 7)}
    event["payload"] = {**event["payload"], "$type": "network.bsky.jetstream.subscribeEvents#label"}
    async with running(Jetstream([json.dumps(event).encode()], live_from=0)) as server, net() as edge:
        ((_, cursor),) = await take(kind.posts(following(server), None, edge), 1)
    assert json.loads(cursor)["seq"] == 7


def test_what_an_author_takes_back_is_a_delete_and_what_he_changes_is_the_same_post() -> None:
    event = post_event(3, NOW - timedelta(seconds=9), "instagram ne radi")
    events = [event, edit_event(event, NOW, "instagram opet radi"), delete_event(event, NOW)]
    before, after, gone = [kind.parse(json.dumps(e).encode(), NOW) for e in events]
    assert [kind.parse(json.dumps(as_v2(e, 1)).encode(), NOW) for e in events] == [before, after, gone]
    assert isinstance(before, Post)
    assert isinstance(after, Post)
    assert (before.id, before.created_at, after.text) == (after.id, after.created_at, "instagram opet radi")
    assert gone == Delete(source="jetstream", at=NOW, post_id=before.id)


@pytest.mark.parametrize(
    ("status", "is_gone"),
    [
        ("deleted", True),
        ("takendown", True),
        ("suspended", True),
        ("deactivated", True),
        ("throttled", False),
        ("", False),
    ],
)
def test_an_account_that_is_gone_takes_its_posts_along_wherever_they_were_heard(status: str, is_gone: bool) -> None:
    event = account_event("did:plc:a", NOW, status)
    wanted = Delete(source="", at=NOW, author="did:plc:a") if is_gone else None
    assert kind.parse(json.dumps(event).encode(), NOW) == wanted
    assert kind.parse(json.dumps(as_v2(event, 1)).encode(), NOW) == wanted


def test_a_post_is_dated_by_when_its_server_saw_it_whatever_was_imported_later() -> None:
    event = as_v2(post_event(3, NOW), 1)
    event["payload"] |= {"time": "2019-01-01T00:00:00Z", "witnessedAt": "2026-11-20T13:09:58.000001Z"}
    post = kind.parse(json.dumps(event).encode(), NOW)
    assert isinstance(post, Post)
    assert f"{post.created_at:%Y-%m-%dT%H:%M:%S.%f}" == "2026-11-20T13:09:58.000001"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["val", "title", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
RECORD = st.dictionaries(
    st.sampled_from(["text", "createdAt", "langs", "labels", "embed", "reply", "tags"]), JSON, max_size=7
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(record=JSON | RECORD, outer=st.dictionaries(st.sampled_from(["did", "kind", "time_us", "commit"]), JSON))
def test_whatever_a_record_holds_it_is_a_post_or_counted(record: Any, outer: dict[str, Any]) -> None:
    event: dict[str, Any] = post_event(1, NOW)
    event["commit"]["record"] = record
    for made in (event | outer, event, as_v2(event, 1)):
        try:
            post = kind.parse(json.dumps(made).encode(), NOW)
        except MalformedError:
            continue
        assert post is None or isinstance(post, Post)
