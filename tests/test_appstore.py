"""Reviews are read page by page until what is known, from whichever address has them; an empty store is not a quiet one."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import Gap
from listener.sources import appstore as kind
from listener.sources._net import Limits
from listener.types import Post, Tier
from tests.servers.appstore import AppStore, document, review
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import HttpServer, answer, running

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
INSTAGRAM, WHATSAPP = 389801252, 310633997


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: HttpServer, **changes: Any) -> kind.Options:
    fields: dict[str, Any] = {"storefront": "tr", "apps": {"instagram": INSTAGRAM}}
    return kind.Options(server=server.url, **fields | changes)


def store(*reviews: dict[str, Any], **changes: Any) -> AppStore:
    """A store in which Instagram has reviews in Turkey."""
    return AppStore(reviews={("tr", INSTAGRAM): list(reviews)}, **changes)


def many(count: int, first: int = 0) -> list[dict[str, Any]]:
    """The newest first, a minute apart."""
    return [review(first + i, NOW - timedelta(hours=20) + i * MINUTE) for i in reversed(range(count))]


def read(raw: Any) -> Post:
    made = kind.parse(raw, NOW)
    assert isinstance(made, Post)
    return made


def numbers(raws: list[Any]) -> list[int]:
    return [int(read(raw).id.removeprefix("appstore:")) for raw in raws if not isinstance(raw, Gap)]


async def failure(options: kind.Options, cursor: str | None = None) -> SourceError:
    async with net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options, cursor, edge))
    return caught.value


async def test_a_review_says_which_app_it_is_about_and_is_a_persons_word() -> None:
    async with running(server := store(review(7, NOW - MINUTE))), net() as edge:
        (raw,), _ = await one_poll(kind.posts(options(server), None, edge))
    assert read(raw) == Post(
        id="appstore:7",
        source="appstore",
        text="Açılmıyor\nSabahtan beri girmiyor",
        created_at=NOW - MINUTE,
        received_at=NOW,
        author="https://itunes.apple.com/tr/reviews/id7",
        url="https://itunes.apple.com/tr/review?id=389801252",
        tier=Tier.PERSON,
        services=("instagram",),
    )


def test_a_very_long_review_is_cut() -> None:
    made = read(kind.Raw(review(1, NOW, "açılmıyor " * 1_000), "instagram"))
    assert 1_900 < len(made.text) < 2_100


async def test_who_begins_to_listen_reads_the_first_page_only_oldest_first() -> None:
    async with running(server := store(*many(120))), net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert numbers(raws) == list(range(70, 120))
    assert [page for _, _, page in server.asked] == [1]


async def test_later_pages_are_read_until_one_holds_a_known_review() -> None:
    async with running(server := store(*many(60))), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.reviews["tr", INSTAGRAM] = many(190)
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert numbers(raws) == list(range(60, 190))
    assert [page for _, _, page in server.asked[1:]] == [1, 2, 3]


async def test_page_eleven_is_never_asked_for_and_what_is_beyond_it_is_a_gap() -> None:
    async with running(server := store(*many(1))), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.reviews["tr", INSTAGRAM] = many(700)
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert numbers(raws) == list(range(200, 700))
    assert max(page for _, _, page in server.asked) == 10
    assert gap == Gap(NOW - timedelta(hours=20), NOW - timedelta(hours=20) + 200 * MINUTE)
    assert kind.parse(gap, NOW) is None


async def test_an_edited_review_comes_again_under_its_id_and_nothing_is_missed_behind_it() -> None:
    async with running(server := store(review(1, NOW - 90 * MINUTE))), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.reviews["tr", INSTAGRAM] = [
            review(1, NOW - MINUTE, "Düzeldi, teşekkürler"),
            *(review(100 + i, NOW - 2 * MINUTE) for i in range(55)),
        ]
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    edited = read(raws[-1])
    assert (edited.id, edited.text, edited.created_at) == (
        "appstore:1",
        "Açılmıyor\nDüzeldi, teşekkürler",
        NOW - MINUTE,
    )
    assert sorted(numbers(raws)) == [1, *range(100, 155)]


async def test_what_has_been_told_is_not_told_twice() -> None:
    async with running(server := store(*many(60))), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert raws == []


@pytest.mark.parametrize("empty", [{"sortBy"}, {"sortBy", "sortby"}])
async def test_reviews_are_found_at_another_form_of_the_address_on_every_page(empty: set[str]) -> None:
    async with running(server := store(*many(1), empty_forms=empty)), net() as edge:
        _, cursor = await one_poll(kind.posts(options(server), None, edge))
        server.reviews["tr", INSTAGRAM] = many(80)
        raws, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert numbers(raws) == list(range(1, 80))


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        (review(1, NOW), [1]),
        ([{"im:name": {"label": "Instagram"}, "id": {"label": "9"}}, review(2, NOW), review(1, NOW)], [1, 2]),
        ([review(2, NOW), review(1, NOW)], [1, 2]),
    ],
    ids=["one object", "the app itself first", "a list"],
)
async def test_a_feed_may_hold_an_object_a_list_or_the_app_itself(entries: Any, found: list[int]) -> None:
    async with running(HttpServer({"*": answer(200, document(entries))})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert numbers(raws) == found


@pytest.mark.parametrize("entries", [None, [], {"im:name": {"label": "Instagram"}}], ids=["absent", "none", "the app"])
async def test_a_store_without_reviews_at_any_address_is_unknown_not_quiet(entries: Any) -> None:
    async with running(HttpServer({"*": answer(200, document(entries))})) as server:
        error = await failure(options(server))
    assert (error.reason, error.permanent) == ("empty", False)
    assert len({request.path for request in server.requests}) == 3


async def test_an_app_that_lost_its_reviews_is_unknown_after_the_others_have_been_read() -> None:
    both = {"instagram": INSTAGRAM, "whatsapp": WHATSAPP}
    daemon, server = Daemon(kind), store(review(1, NOW))
    server.reviews["tr", WHATSAPP] = [review(2, NOW)]
    async with running(server), net() as edge:
        await daemon.run(options(server, apps=both), edge, until={"appstore:1", "appstore:2"})
        server.reviews |= {("tr", INSTAGRAM): [], ("tr", WHATSAPP): [review(3, NOW), review(2, NOW)]}
        await daemon.run(options(server, apps=both), edge)
    assert daemon.reasons == ["empty"]
    assert daemon.stored.keys() == {"appstore:1", "appstore:2", "appstore:3"}


async def test_an_app_nobody_has_reviewed_yet_is_no_fault() -> None:
    server = store(review(1, NOW))
    server.reviews["tr", WHATSAPP] = []
    async with running(server), net() as edge:
        both = {"instagram": INSTAGRAM, "whatsapp": WHATSAPP}
        raws, cursor = await one_poll(kind.posts(options(server, apps=both), None, edge))
    assert (numbers(raws), cursor is None) == ([1], False)


async def test_a_storefront_that_is_not_there_is_left_alone_until_the_next_day() -> None:
    async with running(AppStore()) as server:
        error = await failure(options(server, storefront="me"))
    assert (error.reason, error.permanent) == ("no_storefront", True)


async def test_an_app_a_storefront_does_not_have_is_asked_for_again_the_next_day() -> None:
    time, both = Time(), {"threads": 6446901002, "instagram": INSTAGRAM}
    async with running(server := store(review(1, NOW))), net(time) as edge:
        _, cursor = await one_poll(kind.posts(options(server, apps=both), None, edge))
        time.now += timedelta(hours=23)
        raws, cursor = await one_poll(kind.posts(options(server, apps=both), cursor, edge))
        assert raws == []
        server.reviews["tr", 6446901002] = [review(2, NOW)]
        time.now += timedelta(hours=2)
        raws, cursor = await one_poll(kind.posts(options(server, apps=both), cursor, edge))
        assert numbers(raws) == [2]
    assert [app for _, app, _ in server.asked] == [
        *3 * ["6446901002"],
        *2 * [str(INSTAGRAM)],
        "6446901002",
        "389801252",
    ]
    assert "absent" not in json.loads(cursor)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (answer(502), "status_502"),
        (answer(503, b"", {"Retry-After": "120"}), "status_503"),
        (answer(200, b"<html><body>Your request produced an error.</body></html>"), "not_reviews"),
        (answer(200, b""), "not_reviews"),
        (answer(200, b'{"feed": "none"}'), "not_reviews"),
        (answer(200, b"[]"), "not_reviews"),
    ],
)
async def test_an_answer_that_is_no_feed_of_reviews_is_a_failure(behaviour: Any, reason: str) -> None:
    async with running(HttpServer({"*": behaviour})) as server:
        assert (await failure(options(server))).reason == reason


async def test_no_more_than_a_request_in_two_seconds() -> None:
    time = Time()
    server = store(*many(1))
    server.reviews["tr", WHATSAPP] = many(1, first=500)
    async with running(server), net(time, limits=Limits()) as edge:
        await one_poll(kind.posts(options(server, apps={"instagram": INSTAGRAM, "whatsapp": WHATSAPP}), None, edge))
    assert time.slept == [2]


async def test_a_storefront_is_asked_every_quarter_of_an_hour_or_a_little_later() -> None:
    time = Time()
    async with running(server := store(*many(1))), net(time) as edge:
        await take(kind.posts(options(server), None, edge), 3)
    assert 15 * 60 <= sum(time.slept) <= 17.25 * 60


async def test_without_an_app_there_is_nothing_to_ask() -> None:
    error = await failure(kind.Options(apps={}))
    assert (error.reason, error.permanent) == ("no_apps", True)


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 40), max_size=6),
    sizes=st.lists(st.integers(0, 120), min_size=4, max_size=8),
)
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], sizes: list[int]) -> None:
    """Reviews come in batches of all sizes between the polls, at the top of the feed; the last ones stay on the first page."""

    async def life() -> None:
        time, daemon, server = Time(), Daemon(kind), store(*many(20))
        left, everything = [*sizes, 1], {f"appstore:{number}" for number in range(20)}

        def publish() -> None:
            if left and time.now - NOW > 10 * MINUTE:
                count = left.pop(0)
                first = len(server.reviews["tr", INSTAGRAM])
                server.reviews["tr", INSTAGRAM][:0] = many(count, first=first)
                everything.update(f"appstore:{number}" for number in range(first, first + count))

        time.on_sleep = publish
        async with running(server), net(time) as edge:
            await daemon.run(options(server), edge, until=set(everything))
            await daemon.run_through(options(server), edge, crashes, {f"appstore:{20 + sum(sizes)}"})
        assert daemon.stored.keys() == everything

    asyncio.run(life())
