"""What Meta says of itself is told when it changes; what can't be understood is neither trouble nor all clear."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from listener.errors import SourceError
from listener.sources import MalformedError
from listener.sources import metastatus as kind
from listener.types import Post, Tier
from tests.servers.driving import NOW, Daemon, Time, net, one_poll
from tests.servers.feeds import answer, item, running
from tests.servers.metastatus import FRAME, MetaStatus, product

pytestmark = pytest.mark.anyio

FINE = "No known issues"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def whatsapp(status: str, **changes: Any) -> dict[str, Any]:
    return product("whatsapp-business-api", ("Cloud API", status), **changes)


def read(raw: Any) -> Post:
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    return made


async def statuses(*said: str) -> list[list[Post]]:
    """What is told at each poll of a page on which one service stands so, one after the other."""
    server = MetaStatus()
    changes = [lambda status=status: setattr(server, "products", [whatsapp(status)]) for status in said]
    return await polls(server, *changes)


async def polls(server: MetaStatus, *changes: Callable[[], None]) -> list[list[Post]]:
    time, brought = Time(), []
    cursor = None
    async with running(server), net(time) as edge:
        for change in changes:
            change()
            raws, cursor = await one_poll(kind.posts(kind.Options(server=server.url), cursor, edge))
            brought.append([read(raw) for raw in raws])
            time.now += timedelta(minutes=5)
    return brought


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((FINE, "fine"), ("no known issue", "fine"), ("Resolved", "over")),
        *(("Low disruptions", "trouble"), ("Some disruption", "trouble"), ("High  disruptions", "trouble")),
        *(("Major outage", "trouble"), ("Degraded performance", "trouble"), ("Known issues", "trouble")),
        *(("Unresolved", "unknown"), ("No data", "unknown"), ("No disruption data", "unknown"), ("", "unknown")),
        *(("Looking good", "unknown"), ("OK", "unknown"), ("not resolved", "unknown"), ("Issues resolved?", "unknown")),
    ],
)
def test_only_words_that_are_known_mean_anything(status: str, meaning: str) -> None:
    assert kind.meaning(status) == meaning


async def test_trouble_is_told_when_it_begins_changes_and_ends() -> None:
    fine, some, same, major, over, after = await statuses(
        FINE, "Some disruption", "Some disruption", "Major outage", "Resolved", FINE
    )
    assert [fine, same, after] == [[], [], []]
    assert [(post.text, post.stated) for post in some + major + over] == [
        ("Meta: Whatsapp Business Api: Cloud API: Some disruption", "relay"),
        ("Meta: Whatsapp Business Api: Cloud API: Major outage", "relay"),
        ("Meta: Whatsapp Business Api: Cloud API: Resolved", "recovered"),
    ]
    assert {(post.tier, post.services, post.author) for post in some + major + over} == {
        (Tier.OFFICIAL, ("whatsapp",), "metastatus.com")
    }


async def test_trouble_that_is_there_when_we_begin_is_told_and_quiet_is_not() -> None:
    (begun,) = await statuses("Major outage")
    assert [post.stated for post in begun] == ["relay"]


async def test_trouble_that_ends_without_a_word_has_ended() -> None:
    _, ended = await statuses("Some disruption", FINE)
    assert [post.stated for post in ended] == ["recovered"]


async def test_a_word_nobody_knows_is_never_all_clear() -> None:
    unknown, fine = await statuses("Everything is wonderful", FINE)
    assert [post.stated for post in unknown] == [""]
    assert [post.stated for post in fine] == ["works"]


async def test_trouble_that_comes_again_is_another_post() -> None:
    first, _, second = await statuses("Some disruption", FINE, "Some disruption")
    assert first[0].id != second[0].id


async def test_products_nobody_asked_for_are_passed_over() -> None:
    server = MetaStatus(products=[whatsapp(FINE), product("workplace", ("Chat", "Major outage"))])
    assert await polls(server, lambda: None) == [[]]


async def test_an_open_event_is_told_in_its_own_words_once_and_only_of_products_in_trouble() -> None:
    events = [item("e1", "Messages are delayed", "Fri, 20 Nov 2026 13:00:00 GMT", "<description>Some.</description>")]
    server = MetaStatus(events={"whatsapp-business-api": events, "messenger": [item("e2")]})
    server.products = [whatsapp("Some disruption"), product("messenger", ("Platform", FINE))]
    told, again = await polls(server, lambda: None, lambda: None)
    assert [(post.id, post.text, post.stated) for post in told[1:]] == [
        ("metastatus:event:e1", "Meta: Whatsapp Business Api: Messages are delayed\nSome.", "relay")
    ]
    assert told[1].created_at == NOW - timedelta(minutes=10)
    assert again == []
    assert not any("messenger" in request.path for request in server.requests)


async def test_a_feed_that_is_only_the_frame_takes_nothing_from_what_is_known() -> None:
    server = MetaStatus(products=[whatsapp("Some disruption", rss_file_paths=None)])
    (told,) = await polls(server, lambda: None)
    assert [post.stated for post in told] == ["relay"]
    assert server.requests[-1].path == "/outage-events-feed-whatsapp-business-api.rss"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FRAME, "web_page"),
        (b"", "not_metastatus"),
        (b'{"orgs": []}', "not_metastatus"),
        (b"[]", "not_metastatus"),
        (b'[{"id": "messenger"}]', "not_metastatus"),
        (b'[{"id": "workplace", "services": []}]', "not_metastatus"),
    ],
)
async def test_an_answer_that_is_not_as_it_was_is_could_not_check(body: bytes, reason: str) -> None:
    server = MetaStatus()
    server.behaviours["*"] = answer(200, body)
    async with running(server), net() as edge:
        with pytest.raises(SourceError, match="could not check") as caught:
            await one_poll(kind.posts(kind.Options(server=server.url), None, edge))
    assert (caught.value.reason, caught.value.permanent) == (reason, False)


@pytest.mark.parametrize("service", [{}, "?", {"name": "API"}, {"name": "API", "status": ""}, {"id": 1, "status": 3}])
async def test_a_service_of_another_shape_is_counted_as_malformed(service: Any) -> None:
    server = MetaStatus(products=[whatsapp(FINE, services=[service])])
    async with running(server), net() as edge:
        (raw,), cursor = await one_poll(kind.posts(kind.Options(server=server.url), None, edge))
        with pytest.raises(MalformedError):
            kind.parse(raw, NOW)
        assert (await one_poll(kind.posts(kind.Options(server=server.url), cursor, edge)))[0] == []


async def test_an_unchanged_page_is_asked_for_with_its_validators() -> None:
    server = MetaStatus(products=[whatsapp(FINE)])
    await polls(server, lambda: None, lambda: None)
    assert "if-none-match" in server.requests[1].headers


async def test_nothing_is_lost_or_told_twice_whenever_the_daemon_dies() -> None:
    said = [FINE, "Some disruption", "Major outage", "Resolved", FINE, "Some disruption", FINE]
    for crash in range(6):
        time, daemon, server, left = Time(), Daemon(kind), MetaStatus(products=[whatsapp(FINE)]), list(said)

        def goes_on(server: MetaStatus = server, left: list[str] = left) -> None:
            server.products = [whatsapp(left.pop(0))] if left else server.products

        time.on_sleep = goes_on
        async with running(server), net(time) as edge:
            await daemon.run(kind.Options(server=server.url), edge, crash_after=crash)
            await daemon.run(kind.Options(server=server.url), edge)
        stated = [post.stated for post in daemon.stored.values() if isinstance(post, Post)]
        assert stated == ["relay", "relay", "recovered", "relay", "recovered"]
