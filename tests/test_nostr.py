"""Notes come from several relays and count once; a relay that lies, falls silent or closes its door does not stop the rest."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import Gap, MalformedError
from listener.sources import nostr as kind
from listener.types import Delete, Post, PostKind
from tests.servers.driving import NOW, Daemon, Time, net
from tests.servers.nostr import Relay, event, key, running

pytestmark = pytest.mark.anyio

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SOON = timedelta(milliseconds=250)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(*relays: Relay, **changes: Any) -> kind.Options:
    own: dict[str, Any] = {"hosts": tuple(relay.url for relay in relays), "tags": ("instagram",)}
    own |= {"pulse": SOON, "avoid": timedelta(seconds=1)}
    return kind.Options(**own | changes)


async def heard(source: Any, count: int) -> tuple[list[Any], str]:
    """So many things that are no heartbeats, and the next cursor, which covers them."""
    made: list[Any] = []
    async with aclosing(source) as items:
        async for raw, cursor in items:
            if raw is not None:
                made.append(raw)
            if len(made) >= count and cursor is not None:
                return made, cursor
    raise AssertionError


def texts(raws: list[Any]) -> list[str]:
    return [raw.event["content"] for raw in raws]


async def until_heartbeat(source: Any) -> tuple[list[Any], str]:
    """Everything up to the first heartbeat with a cursor: what is stored has been told."""
    made: list[Any] = []
    async with aclosing(source) as items:
        async for raw, cursor in items:
            if raw is None and cursor is not None:
                return made, cursor
            if raw is not None:
                made.append(raw)
    raise AssertionError


async def test_what_is_stored_comes_first_and_what_is_new_follows() -> None:
    async with running(Relay([event("eski", NOW - MINUTE)])) as (relay,), net() as edge:
        source = kind.posts(options(relay), None, edge)
        async with aclosing(source) as items:
            assert texts([(await anext(items))[0]]) == ["eski"]
            while (await anext(items))[1] is None:
                pass
            await relay.publish(event("yeni", NOW))
            raw, cursor = await anext(items)
            while raw is None:
                raw, cursor = await anext(items)
    assert texts([raw]) == ["yeni"]
    assert cursor is not None


async def test_what_two_relays_have_counts_once_and_what_one_lacks_the_other_has() -> None:
    both, first, second = event("both", NOW), event("first", NOW), event("second", NOW)
    async with running(Relay([both, first]), Relay([second, both])) as relays, net() as edge:
        raws, cursor = await heard(kind.posts(options(*relays), None, edge), 3)
        assert sorted(texts(raws)) == ["both", "first", "second"]
        assert set(json.loads(cursor)["watched"]) == {e["id"] for e in (both, first, second)}


async def test_a_store_larger_than_one_answer_is_read_whole() -> None:
    stored = [event(f"note {i}", NOW - timedelta(seconds=i % 90)) for i in range(120)]
    async with running(Relay(stored, most=40)) as (relay,), net() as edge:
        raws, _ = await until_heartbeat(kind.posts(options(relay), None, edge))
    assert len(raws) == len(set(texts(raws))) == 120
    assert ["CLOSE", "past"] in relay.asked


async def test_a_stream_is_taken_up_two_minutes_early() -> None:
    async with running(Relay([event("x", NOW - MINUTE)])) as (relay,), net() as edge:
        _, cursor = await until_heartbeat(kind.posts(options(relay), None, edge))
        relay.asked.clear()
        await until_heartbeat(kind.posts(options(relay), cursor, edge))
    assert relay.asked[0][2]["since"] == NOW.timestamp() - 120


async def test_a_relay_that_was_away_is_asked_for_what_was_missed_not_from_where_others_are() -> None:
    behind = int((NOW - 50 * MINUTE).timestamp())
    async with running(Relay(), Relay()) as (here, away), net() as edge:
        cursor = json.dumps({"last": {here.url: int(NOW.timestamp()), away.url: behind}})
        async with aclosing(kind.posts(options(here, away), cursor, edge)) as items:
            while not (here.asked and away.asked):
                await anext(items)
    assert [relay.asked[0][2]["since"] for relay in (here, away)] == [NOW.timestamp() - 120, behind - 120]


async def test_an_event_whose_id_is_not_its_hash_is_malformed_and_does_not_hide_the_true_one() -> None:
    true = event("instagram ne radi", NOW)
    forged = {**true, "content": "kupite coin"}
    liar, honest = Relay([forged]), Relay()
    async with running(liar, honest), net() as edge, aclosing(kind.posts(options(liar, honest), None, edge)) as items:
        made: dict[str, Any] = {}
        async for raw, _ in items:
            made |= {} if raw is None else {texts([raw])[0]: raw}
            if "kupite coin" in made and not honest.events:
                await honest.publish(true)
            if "instagram ne radi" in made:
                break
    with pytest.raises(MalformedError):
        kind.parse(made["kupite coin"], NOW)
    assert isinstance(kind.parse(made["instagram ne radi"], NOW), Post)


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("rate-limited: slow down", "rate_limited"),
        ("auth-required: sign in first", "auth_required"),
        ("restricted: members only", "restricted"),
        ("so long", "closed"),
    ],
)
async def test_a_closed_subscription_says_why(why: str, reason: str) -> None:
    async with running(Relay(closes={"live": why})) as (relay,), net() as edge:
        with pytest.raises(SourceError) as caught:
            await heard(kind.posts(options(relay), None, edge), 1)
    assert caught.value.reason == reason


async def test_a_relay_that_fails_is_left_for_a_while_and_the_others_go_on() -> None:
    time = Time()
    shut, relay = Relay(closes={"live": "rate-limited: slow down"}), Relay([event("still here", NOW)])
    async with running(shut, relay), net(time) as edge:
        source = kind.posts(options(shut, relay, avoid=timedelta(minutes=7)), None, edge)
        async with aclosing(source) as items:
            texts_heard = []
            async for raw, _ in items:
                texts_heard += [] if raw is None else texts([raw])
                if texts_heard and shut.connections > 1:
                    break
                shut.closes = {} if time.slept else shut.closes
    assert texts_heard == ["still here"]
    assert 420 <= time.slept[0] <= 483


async def test_only_when_all_relays_have_failed_does_the_source_give_up() -> None:
    async with running(Relay(closes={"live": "blocked: no"}), Relay(is_silent=True)) as relays, net() as edge:
        with pytest.raises(SourceError) as caught:
            await heard(kind.posts(options(*relays), None, edge), 1)
    assert caught.value.reason in ("silent", "blocked")


async def test_a_silent_relay_is_left_and_its_last_notice_told() -> None:
    async with running(Relay(is_silent=True, notices=["ERROR: too many filters"])) as (relay,), net() as edge:
        with pytest.raises(SourceError) as caught:
            await heard(kind.posts(options(relay), None, edge), 1)
    assert caught.value.reason == "silent"
    assert "too many filters" in str(caught.value)


async def test_a_quiet_relay_is_asked_for_a_sign_of_life() -> None:
    async with running() as (relay,), net() as edge, aclosing(kind.posts(options(relay), None, edge)) as items:
        assert [(await anext(items))[0] for _ in range(4)] == [None] * 4
    assert [message[1] for message in relay.asked if message[0] == "REQ"].count("gone") >= 2


async def test_notices_and_unknown_messages_are_no_failure_and_rubbish_is_counted() -> None:
    relay = Relay([event("ok", NOW)], notices=["hello"], noise=['["AUTH","challenge"]', "not json", "{}"])
    async with running(relay), net() as edge:
        raws, _ = await until_heartbeat(kind.posts(options(relay), None, edge))
    assert [raw.event.get("content") for raw in raws] == [None, None, "ok"]
    for raw in raws[:2]:
        with pytest.raises(MalformedError):
            kind.parse(raw, NOW)


async def test_an_author_may_delete_a_note_and_nobody_else() -> None:
    note = event("instagram down?", NOW - MINUTE, "ana")
    by_other = event("", NOW, "eve", ["e", note["id"]], kind=5)
    by_author = event("", NOW - MINUTE / 2, "ana", ["e", note["id"]], ["e", "f" * 64], kind=5)
    async with running(Relay([note])) as (relay,), net() as edge:
        _, cursor = await until_heartbeat(kind.posts(options(relay), None, edge))
        relay.events = [by_other, by_author]  # while we were away; the newer is told first
        (raw,), _ = await heard(kind.posts(options(relay), cursor, edge), 1)
    assert raw == kind.Raw(by_author, note["id"])
    assert kind.parse(raw, NOW) == Delete(source="nostr", at=NOW - MINUTE / 2, post_id=f"nostr:{note['id']}")


async def test_after_days_of_absence_the_last_day_is_read_and_the_rest_is_a_gap() -> None:
    async with running(Relay([event("old", NOW - timedelta(hours=30)), event("new", NOW)])) as (relay,), net() as edge:
        cursor = json.dumps({"last": {relay.url: int((NOW - timedelta(hours=48)).timestamp())}})
        (gap, *raws), _ = await until_heartbeat(kind.posts(options(relay), cursor, edge))
    assert gap == Gap(NOW - timedelta(hours=48), NOW - timedelta(hours=24))
    assert kind.parse(gap, NOW) is None
    assert texts(raws) == ["new"]


def test_a_note_from_the_future_is_of_now_and_tags_tell_what_it_is() -> None:
    def parsed(*tags: list[str]) -> Post:
        made = kind.parse(kind.Raw(event("pao instagram", NOW + timedelta(days=400), "ana", *tags)), NOW)
        assert isinstance(made, Post)
        return made

    assert (parsed().created_at, parsed().author, parsed().kind) == (NOW, key("ana"), PostKind.POST)
    assert parsed(["e", "1" * 64, "", "root"]).kind is PostKind.REPLY
    assert parsed(["e", "1" * 64, "", "mention"], ["q", "1" * 64]).kind is PostKind.QUOTE
    assert parsed(["l", "hr", "ISO-639-1"]).languages == ("hr",)


def test_other_kinds_are_none() -> None:
    assert kind.parse(kind.Raw(event("{}", NOW, kind=0)), NOW) is None


async def test_no_relay_or_no_tag_is_told_at_once() -> None:
    async with net() as edge:
        for wrong in (kind.Options(hosts=()), kind.Options(tags=())):
            with pytest.raises(SourceError) as caught:
                await heard(kind.posts(wrong, None, edge), 1)
            assert caught.value.permanent


async def test_a_relay_that_breaks_off_amid_its_store_is_read_whole_later() -> None:
    notes = [event(f"note {i}", NOW + i * MINUTE) for i in range(30)]
    broken, other = Relay(notes, drop_after=7), Relay()
    everything = {f"nostr:{note['id']}" for note in notes}
    async with running(broken, other), net(Time(NOW + HOUR)) as edge:
        daemon = Daemon(kind, cursor=json.dumps({"last": dict.fromkeys((broken.url, other.url), int(NOW.timestamp()))}))
        await daemon.run(options(broken, other), edge, crash_after=20)
        assert 7 <= len(daemon.stored) < 30
        broken.drop_after = None
        await daemon.run_through(options(broken, other), edge, [], everything)
    assert daemon.stored.keys() == everything


@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 25), max_size=5),
    places=st.lists(st.sampled_from([(0,), (1,), (0, 1)]), min_size=40, max_size=40),
    drops=st.sampled_from([None, 7, 23]),
)
def test_nothing_is_lost_whenever_the_daemon_dies_or_a_relay_cuts_it_off(
    crashes: list[int], places: list[tuple[int, ...]], drops: int | None
) -> None:
    """Notes are on one relay, on the other or on both; one of them gives little at once and may break off."""

    async def life() -> None:
        daemon = Daemon(kind)
        notes = [event(f"note {i}", NOW + i * MINUTE) for i in range(40)]
        relays = [Relay([n for n, where in zip(notes, places, strict=True) if i in where]) for i in range(2)]
        relays[0].most, relays[0].drop_after = 10, drops
        everything = {f"nostr:{note['id']}" for note in notes}
        async with running(*relays), net(Time(NOW + 45 * MINUTE)) as edge:
            daemon.cursor = json.dumps({"last": {relay.url: int(NOW.timestamp()) for relay in relays}})
            for crash in crashes:
                await daemon.run(options(*relays), edge, crash_after=crash, until=everything)
            relays[0].drop_after = None
            await daemon.run_through(options(*relays), edge, [], everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
