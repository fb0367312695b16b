"""Stack Exchange is asked as often as its quota allows, waits when told to, and says in its own words what is wrong."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import Gap, MalformedError
from listener.sources import stackexchange as kind
from listener.types import Post
from tests.servers.driving import NOW, Daemon, Time, net, one_poll, take
from tests.servers.feeds import answer, running
from tests.servers.stackexchange import Exchange, error, question

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)
TO_MIDNIGHT = (10 * 60 + 50) * 60


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, *sites: str, **changes: Any) -> kind.Options:
    return kind.Options(server=server.url, sites=sites or ("webapps",), **changes)


def numbers(raws: list[Any]) -> list[int]:
    return [raw.question["question_id"] for raw in raws]


async def failure(server: Exchange, **changes: Any) -> SourceError:
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            await one_poll(kind.posts(options(server, **changes), None, edge))
    return caught.value


async def test_questions_are_read_out_of_gzip_page_by_page() -> None:
    asked = [question(i, NOW - 50 * MINUTE + i * timedelta(seconds=10)) for i in range(250)]
    async with running(Exchange(questions={"webapps": asked})) as server, net() as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert sorted(numbers(raws)) == list(range(250))
    assert len(server.requests) == 3


async def test_a_question_indexed_late_is_heard_an_edited_one_again_and_the_others_once() -> None:
    time, server = Time(), Exchange(questions={"webapps": [question(1, NOW - 40 * MINUTE), question(2, NOW - MINUTE)]})
    async with running(server), net(time) as edge:
        first, cursor = await one_poll(kind.posts(options(server), None, edge))
        edited = question(2, NOW - MINUTE, title="Solved: it was the network", last_edit_date=int(NOW.timestamp()))
        server.questions["webapps"] = [question(1, NOW - 40 * MINUTE), edited, question(3, NOW - 20 * MINUTE)]
        time.now += 5 * MINUTE
        second, cursor = await one_poll(kind.posts(options(server), cursor, edge))
        third, _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert (sorted(numbers(first)), sorted(numbers(second)), third) == ([1, 2], [2, 3], [])


async def test_the_same_number_on_two_sites_is_two_questions() -> None:
    server = Exchange(questions={"webapps": [question(1, NOW)], "android": [question(1, NOW)]})
    async with running(server), net() as edge:
        taken = await take(kind.posts(options(server, "webapps", "android"), None, edge), 4)
    made = [kind.parse(raw, NOW) for raw, _ in taken if raw is not None]
    assert [post.id for post in made if isinstance(post, Post)] == [
        "stackexchange:webapps:1",
        "stackexchange:android:1",
    ]


async def test_a_backoff_is_waited_for() -> None:
    time, server = Time(), Exchange(backoff=1200)
    async with running(server), net(time) as edge:
        await take(kind.posts(options(server, every=MINUTE), None, edge), 2)
    assert sum(time.slept) >= 1200


async def test_a_backoff_is_waited_for_between_pages() -> None:
    time = Time()
    server = Exchange(
        questions={"webapps": [question(i, NOW - i * timedelta(seconds=5)) for i in range(150)]}, backoff=30
    )
    async with running(server), net(time) as edge:
        raws, _ = await one_poll(kind.posts(options(server), None, edge))
    assert (len(raws), time.slept) == (150, [30])


async def test_a_backoff_outlives_the_process() -> None:
    time, server = Time(), Exchange(backoff=1200)
    async with running(server):
        async with net(time) as edge:
            _, cursor = await one_poll(kind.posts(options(server), None, edge))
        time.now += timedelta(seconds=200)
        async with net(time) as after_restart:
            await one_poll(kind.posts(options(server), cursor, after_restart))
    assert time.slept == [1000]


async def test_what_is_left_of_the_day_is_made_to_last() -> None:
    time, server = Time(), Exchange(remaining=11)
    async with running(server), net(time) as edge:
        await take(kind.posts(options(server, every=MINUTE), None, edge), 2)
    assert time.slept == [TO_MIDNIGHT / 10]


async def test_a_used_up_day_is_over_at_midnight() -> None:
    time, server = Time(), Exchange(questions={"webapps": [question(1, NOW)]}, remaining=1)
    async with running(server), net(time) as edge:
        source = kind.posts(options(server), None, edge)
        assert numbers([(await anext(source))[0]]) == [1]
        assert (await anext(source))[1] is not None
        with pytest.raises(SourceError) as caught:
            await anext(source)
        assert (caught.value.reason, caught.value.retry_after) == ("quota", TO_MIDNIGHT)
        with pytest.raises(SourceError) as other:
            await one_poll(kind.posts(options(server, "android"), None, edge))
    assert other.value.reason == "cooling_down"


async def test_throttling_is_waited_for_as_long_as_it_says() -> None:
    message = "too many requests from this IP, more requests available in 46472 seconds"
    caught = await failure(Exchange(fails=error(502, "throttle_violation", message)))
    assert (caught.reason, caught.retry_after, caught.permanent) == ("throttled", 46472, False)


@pytest.mark.parametrize(
    ("id", "name", "is_permanent"),
    [(400, "bad_parameter", True), (403, "access_denied", True), (500, "internal_error", False),
     (503, "temporarily_unavailable", False)],
)  # fmt: skip
async def test_an_error_object_says_what_is_wrong(id: int, name: str, is_permanent: bool) -> None:
    caught = await failure(Exchange(fails=error(id, name, "no"), status=id))
    assert (caught.reason, caught.permanent) == (name, is_permanent)
    assert f"{name}: no" in str(caught)


async def test_the_key_is_sent_and_never_shown() -> None:
    server = Exchange()
    server.behaviours["/2.3/search/advanced"] = answer(429, b"", {"Retry-After": "60"})
    caught = await failure(server, key=Secret("k3y-of-app"))
    assert server.requests[0].query["key"] == ["k3y-of-app"]
    assert "k3y" not in str(caught)
    assert (caught.reason, caught.retry_after) == ("status_429", 60)


@pytest.mark.parametrize(("status", "reason"), [(200, "not_stackexchange"), (403, "status_403"), (502, "status_502")])
async def test_a_page_of_somebody_else_is_a_failure(status: int, reason: str) -> None:
    server = Exchange()
    server.behaviours["/2.3/search/advanced"] = answer(status, b"<html>Just a moment...</html>")
    assert (await failure(server)).reason == reason


async def test_after_days_of_absence_the_last_day_is_read_and_the_rest_is_a_gap() -> None:
    cursor = json.dumps({"polled": {"webapps": int((NOW - timedelta(hours=48)).timestamp())}})
    server = Exchange(
        questions={"webapps": [question(1, NOW - timedelta(hours=30)), question(2, NOW - timedelta(hours=20))]}
    )
    async with running(server), net() as edge:
        (gap, *raws), _ = await one_poll(kind.posts(options(server), cursor, edge))
    assert gap == Gap(NOW - timedelta(hours=48), NOW - timedelta(hours=24))
    assert kind.parse(gap, NOW) is None
    assert numbers(raws) == [2]


def test_a_title_may_speak_of_tags_and_a_question_without_one_is_malformed() -> None:
    made = kind.parse(kind.Raw(question(1, NOW, "Where is &lt;b&gt;bold&lt;/b&gt; &amp; co?"), "webapps"), NOW)
    assert isinstance(made, Post)
    assert made.text == "Where is <b>bold</b> & co?\nSince noon."
    with pytest.raises(MalformedError):
        kind.parse(kind.Raw({"question_id": 1}, "webapps"), NOW)


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 20), max_size=6),
    delays=st.lists(st.integers(0, 40), min_size=25, max_size=25),
)
def test_nothing_is_lost_whenever_the_daemon_dies(crashes: list[int], delays: list[int]) -> None:
    """A question is asked every minute and indexed up to 40 minutes later, behind those already read."""

    async def life() -> None:
        time, daemon = Time(), Daemon(kind)
        written = [(question(i, NOW + i * MINUTE), NOW + (i + delay) * MINUTE) for i, delay in enumerate(delays)]
        server = Exchange(questions={"webapps": []}, remaining=9999)

        def publish() -> None:
            server.questions["webapps"] = [item for item, indexed_at in written if indexed_at <= time.now]

        time.on_sleep = publish
        everything = {f"stackexchange:webapps:{item['question_id']}" for item, _ in written}
        async with running(server), net(time) as edge:
            await daemon.run_through(options(server, every=10 * MINUTE), edge, crashes, everything)
        assert daemon.stored.keys() == everything

    asyncio.run(life())
