"""Posts of X are paid for: none is read that the budget does not cover, whatever kills the daemon, and none is read twice."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.kinds import Secret
from listener.sources import Gap, MalformedError, Memo
from listener.sources import x as kind
from listener.types import Delete, Post, PostKind
from tests.conftest import ROOT
from tests.servers.driving import NOW, Daemon, Time, net
from tests.servers.feeds import answer, running
from tests.servers.x import TOKEN, XServer, problem, tweet, tweet_id

pytestmark = pytest.mark.anyio

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def options(server: Any, **changes: Any) -> kind.Options:
    own: dict[str, Any] = {
        "token": Secret(TOKEN),
        "query": "instagram -is:retweet",
        "budget": 5000,
        "accept_terms": True,
    }
    return kind.Options(server=server.url, **own | {"recheck": timedelta(0)} | changes)


def state(cursor: str | None) -> kind.Cursor:
    return msgspec.json.decode(cursor or "{}", type=kind.Cursor)


def used(cursor: str | None) -> int:
    return state(cursor).spent.used


def cursor_at(at: datetime, spent: int = 0, **changes: Any) -> str:
    month = {"month": f"{NOW:%Y-%m}", "used": spent}
    return json.dumps({"spent": month, "since": tweet_id(at), **changes})


def texts(raws: list[Any]) -> list[str]:
    return [raw.post["text"] for raw in raws if isinstance(raw, kind.Raw) and not raw.gone]


async def polled(
    server: XServer, cursor: str | None, time: Time | None = None, **changes: Any
) -> tuple[list[Any], Any]:
    """What one poll brings, and the cursor after it: the one before the pause."""
    time = time or Time()
    server.clock = time.read
    slept, made, last = len(time.slept), [], cursor
    async with net(time) as edge, aclosing(kind.posts(options(server, **changes), cursor, edge)) as items:
        async for raw, given in items:
            if len(time.slept) > slept:
                break
            made.append(raw)
            last = given or last
    return made, last


async def failure(server: Any, cursor: str | None = None, **changes: Any) -> tuple[SourceError, str | None]:
    """The error a source ends in, and the last cursor before."""
    async with net() as edge:
        try:
            async for _, given in kind.posts(options(server, **changes), cursor, edge):
                cursor = given or cursor
        except SourceError as error:
            return error, cursor
    raise AssertionError


# --- the budget ---------------------------------------------------------------------------------------------------


async def test_posts_are_counted_before_they_are_asked_for() -> None:
    async with running(XServer()) as server, net() as edge:
        source = kind.posts(options(server), cursor_at(NOW - HOUR, 7), edge)
        raw, cursor = await anext(source)
        await source.aclose()
    assert (raw, used(cursor), server.requests) == (Memo(), 107, [])
    assert kind.parse(Memo(), NOW) is None


async def test_what_was_not_delivered_is_given_back() -> None:
    server = XServer(tweets=[tweet(i, NOW - 5 * MINUTE) for i in range(3)])
    async with running(server):
        _, cursor = await polled(server, cursor_at(NOW - HOUR, 7))
    assert used(cursor) == 7 + server.billed == 10


async def test_no_more_is_asked_for_than_is_left_and_then_nothing_until_the_month_turns() -> None:
    server = XServer(tweets=[tweet(i, NOW - HOUR + i * SECOND) for i in range(500)])
    async with running(server):
        error, cursor = await failure(server, cursor_at(NOW - HOUR), budget=250)
    assert (error.reason, error.permanent) == ("budget", False)
    assert error.retry_after == (datetime(2026, 12, 1, tzinfo=UTC) - NOW).total_seconds()
    assert [r.query["max_results"] for r in server.requests] == [["100"], ["100"], ["50"]]
    assert server.billed == used(cursor) == 250


async def test_a_used_up_budget_outlives_the_process_and_ends_with_the_month() -> None:
    time, server = Time(), XServer(tweets=[tweet(1, datetime(2026, 12, 1, tzinfo=UTC))])
    spent = cursor_at(NOW - HOUR, 5000)
    async with running(server):
        error, _ = await failure(server, spent)
        assert (error.reason, server.requests) == ("budget", [])
        time.now += timedelta(seconds=error.retry_after or 0) + MINUTE
        raws, cursor = await polled(server, spent, time)
    assert len(texts(raws)) == 1
    assert (state(cursor).spent.month, used(cursor)) == ("2026-12", 1)


async def test_fewer_than_a_search_can_be_asked_for_are_not_spent() -> None:
    async with running(XServer()) as server:
        error, _ = await failure(server, cursor_at(NOW - HOUR, 4991))
    assert (error.reason, server.requests) == ("budget", [])


@pytest.mark.parametrize("changes", [{"budget": 0}, {"page": 5}, {"page": 500}])
async def test_without_a_budget_nothing_is_read(changes: dict[str, Any]) -> None:
    async with running(XServer()) as server:
        error, _ = await failure(server, **changes)
    assert (error.reason, error.permanent, server.requests) == ("no_budget", True, [])


@pytest.mark.parametrize(
    ("behaviour", "given_back"),
    [
        (answer(503, b""), True),  # X bills only what it delivered
        (answer(200, b"<html>"), False),
        (answer(200, b"{", {"Content-Length": "900"}), False),
    ],
)
async def test_a_failed_request_is_given_back_only_when_nothing_can_have_been_delivered(
    behaviour: Any, given_back: bool
) -> None:
    server = XServer()
    server.behaviours["/2/tweets/search/recent"] = behaviour
    async with running(server):
        _, cursor = await failure(server, cursor_at(NOW - HOUR))
    assert used(cursor) == (0 if given_back else 100)


class Lazy(Daemon):
    """A daemon whose store is slow: only beside a `Memo` is a cursor stored before the source goes on."""

    async def life(self, choice: kind.Options, edge: Any, crash_after: int, lag: int, bill: XServer) -> None:
        waiting: list[tuple[Any, str | None]] = []
        source: AsyncGenerator[Any, None] = kind.posts(choice, self.cursor, edge)
        async with aclosing(source) as items:
            try:
                async for raw, cursor in items:
                    waiting.append((raw, cursor))
                    if isinstance(raw, Memo) or len(waiting) > lag:
                        self.store(waiting, edge.now())
                    assert bill.billed <= used(self.cursor)
                    crash_after -= 1
                    if crash_after < 0:
                        return
            except SourceError as error:
                self.reasons.append(error.reason)
                self.store(waiting, edge.now())

    def store(self, waiting: list[tuple[Any, str | None]], now: datetime) -> None:
        covered = max((i for i, (_, cursor) in enumerate(waiting) if cursor is not None), default=-1)
        if covered >= 0:
            self._commit([raw for raw, _ in waiting[: covered + 1]], waiting[covered][1] or "", now)
            del waiting[: covered + 1]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    crashes=st.lists(st.integers(0, 160), min_size=1, max_size=10),
    lag=st.integers(0, 80),
    budget=st.integers(300, 3000),
    rates=st.lists(st.integers(0, 90), min_size=30, max_size=30),
)
def test_the_bill_never_exceeds_the_count_nor_the_budget_whenever_the_daemon_dies(
    crashes: list[int], lag: int, budget: int, rates: list[int]
) -> None:
    async def lives() -> None:
        time = Time()
        tweets = [tweet(j, NOW + i * MINUTE) for i, rate in enumerate(rates) for j in range(rate)]
        server = XServer(tweets=tweets, clock=time.read)
        daemon = Lazy(kind, cursor=cursor_at(NOW))
        async with running(server), net(time) as edge:
            for crash in [*crashes, 400]:
                await daemon.life(options(server, budget=budget, longest_absence=10 * HOUR), edge, crash, lag, server)
        assert server.billed <= used(daemon.cursor) <= budget

    asyncio.run(lives())


async def test_a_daemon_killed_at_any_moment_has_counted_all_that_was_billed(tmp_path: Path) -> None:
    """A real process and a real SIGKILL: what is on disk then is all that is known."""
    stored = tmp_path / "cursor"
    server = XServer(tweets=[tweet(i, NOW + i * SECOND) for i in range(9000)], clock=lambda: NOW + HOUR)
    async with running(server):
        table = {"server": server.url, "token": {"secret": TOKEN}, "query": "instagram", "budget": 3000}
        for life in range(4):
            before = len(server.requests)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.servers.spender", "x", json.dumps(table), str(stored), str(15 * life + 15),
                cwd=ROOT,
            )  # fmt: skip
            while len(server.requests) < before + 2 + life and process.returncode is None:
                await asyncio.sleep(0.002)
            if process.returncode is None:
                process.kill()
            await process.wait()
            assert server.billed <= used(stored.read_text()) <= 3000
    assert server.billed > 500


# --- the search -----------------------------------------------------------------------------------------------------


async def test_a_stretch_of_time_is_read_once_page_by_page() -> None:
    time = Time()
    server = XServer(tweets=[tweet(i, NOW - HOUR + i * SECOND) for i in range(230)])
    async with running(server):
        first, cursor = await polled(server, cursor_at(NOW - HOUR - MINUTE), time)
        time.now += 2 * MINUTE
        second, cursor = await polled(server, cursor, time)
    assert (len(texts(first)), len(texts(second)), server.billed) == (230, 0, 230)


async def test_what_is_too_fresh_to_be_found_whole_waits_for_the_next_search() -> None:
    time = Time()
    server = XServer(tweets=[tweet(1, NOW - 31 * SECOND, "before"), tweet(2, NOW - 10 * SECOND, "after")])
    async with running(server):
        first, cursor = await polled(server, cursor_at(NOW - HOUR), time)
        server.tweets.append(tweet(3, NOW - 29 * SECOND, "found late"))
        time.now += 2 * MINUTE
        second, _ = await polled(server, cursor, time)
    assert (texts(first), texts(second)) == (["before"], ["after", "found late"])


async def test_a_search_cut_off_goes_on_where_it_was_and_pays_for_no_page_twice() -> None:
    server = XServer(tweets=[tweet(i, NOW - HOUR + i * SECOND) for i in range(230)])
    async with running(server), net() as edge:
        cursor = cursor_at(NOW - HOUR - MINUTE)
        daemon = Daemon(kind, cursor=cursor)
        await daemon.run(options(server), edge, crash_after=103)  # a memo, a page, its cursor, a memo
        assert (len(daemon.stored), server.billed) == (100, 200)
        raws, cursor = await polled(server, daemon.cursor)
    assert (len(texts(raws)), server.billed) == (130, 330)
    assert used(cursor) == 330


async def test_after_a_long_absence_what_was_missed_is_a_gap_and_not_paid_for() -> None:
    server = XServer(tweets=[tweet(1, NOW - 20 * HOUR, "old"), tweet(2, NOW - 2 * HOUR, "recent")])
    async with running(server):
        (gap, *raws), _ = await polled(server, cursor_at(NOW - 30 * HOUR, until=tweet_id(NOW - 29 * HOUR)))
        (week, *_), _ = await polled(server, cursor_at(NOW - 300 * HOUR), longest_absence=400 * HOUR)
    assert gap == Gap(NOW - 30 * HOUR, NOW - 6 * HOUR)
    assert week == Gap(NOW - 300 * HOUR, NOW - 167 * HOUR)
    assert texts(raws) == ["recent"]


async def test_with_a_clock_that_was_set_back_nothing_is_asked_until_it_has_caught_up() -> None:
    time = Time()
    server = XServer(tweets=[tweet(1, NOW + 10 * MINUTE)])
    async with running(server):
        raws, cursor = await polled(server, cursor_at(NOW + 5 * MINUTE), time)
        assert (raws, server.requests) == ([], [])
        time.now += 20 * MINUTE
        raws, _ = await polled(server, cursor, time)
    assert len(texts(raws)) == 1


async def test_a_first_search_does_not_buy_the_past() -> None:
    server = XServer(tweets=[tweet(1, NOW - HOUR), tweet(2, NOW - MINUTE, "just now")])
    async with running(server):
        raws, _ = await polled(server, None)
    assert texts(raws) == ["just now"]


async def test_used_up_requests_are_waited_for() -> None:
    time, server = Time(), XServer(remaining=0, reset_at=NOW + 9 * MINUTE)
    async with running(server):
        await polled(server, cursor_at(NOW - HOUR), time)
    assert time.slept[0] == 540


async def test_a_429_waits_until_the_time_the_server_names() -> None:
    reset = int((NOW + 4 * MINUTE).timestamp())
    headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(reset)}
    server = XServer(fails=(429, problem("rate-limit-exceeded"), headers))
    async with running(server), net() as edge:
        with pytest.raises(SourceError) as caught:
            _ = [item async for item in kind.posts(options(server), None, edge)]
        assert (caught.value.reason, caught.value.retry_after) == ("status_429", 240)
        assert edge.cooling(server.url) == 240


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, problem("invalid-request", "the query is too long"), "bad_query"),
        (401, problem("about:blank"), "unauthorized"),
        (402, problem("credits", "no credits"), "no_credits"),
        (403, problem("client-forbidden"), "forbidden"),
        (403, b"<html>", "forbidden"),
        (429, problem("usage-capped", "Usage cap exceeded: Monthly product cap"), "usage_capped"),
    ],
)
async def test_an_error_says_what_is_wrong_and_shows_no_token(status: int, body: bytes, reason: str) -> None:
    async with running(XServer(fails=(status, body, {}))) as server:
        error, cursor = await failure(server)
    assert (error.reason, error.permanent, used(cursor)) == (reason, True, 0)
    assert TOKEN not in str(error)


@pytest.mark.parametrize(("changes", "reason"), [({"token": Secret("")}, "no_token"), ({"query": ""}, "no_query")])
async def test_without_a_token_or_a_query_nothing_is_asked(changes: dict[str, Any], reason: str) -> None:
    async with running(XServer()) as server:
        error, _ = await failure(server, **changes)
    assert (error.reason, server.requests) == (reason, [])


# --- edits and deletions --------------------------------------------------------------------------------------------


def test_an_edited_post_keeps_its_id_and_its_time() -> None:
    first = tweet(1, NOW - 9 * MINUTE)
    edited = tweet(2, NOW - MINUTE, "opet radi", edit_history_tweet_ids=[first["id"], str(tweet_id(NOW - MINUTE, 2))])
    before, after = kind.parse(kind.Raw(first), NOW), kind.parse(kind.Raw(edited), NOW)
    assert isinstance(before, Post)
    assert isinstance(after, Post)
    assert (after.id, after.created_at, after.text) == (before.id, NOW - 9 * MINUTE, "opet radi")


async def test_a_post_is_looked_up_once_more_and_erased_when_it_is_gone() -> None:
    time = Time()
    server = XServer(tweets=[tweet(1, NOW - 5 * MINUTE), tweet(2, NOW - 4 * MINUTE)])
    async with running(server):
        _, cursor = await polled(server, cursor_at(NOW - HOUR), time, recheck=12 * HOUR)
        server.gone = {server.tweets[0]["id"]}
        time.now += 12 * HOUR
        raws, cursor = await polled(server, cursor, time, recheck=12 * HOUR, longest_absence=24 * HOUR)
        (gone,) = [raw for raw in raws if isinstance(raw, kind.Raw) and raw.gone]
        assert (used(cursor), server.billed, state(cursor).held) == (3, 3, ())
        raws, _ = await polled(server, cursor, time, recheck=12 * HOUR, longest_absence=24 * HOUR)
    assert kind.parse(gone, NOW) == Delete(source="x", at=NOW, post_id=f"x:{server.tweets[0]['id']}")
    assert not [raw for raw in raws if isinstance(raw, kind.Raw)]


async def test_a_look_up_is_counted_before_it_is_asked_for_and_kept_within_the_budget() -> None:
    held = [tweet_id(NOW - 20 * HOUR, i) for i in range(30)]
    async with running(XServer()) as server, net() as edge:
        cursor = cursor_at(NOW - MINUTE, 4980, held=held)
        async with aclosing(kind.posts(options(server, recheck=12 * HOUR), cursor, edge)) as items:
            taken = [await anext(items) for _ in range(3)]
    assert [(type(raw), used(given)) for raw, given in taken] == [(Memo, 5000), (type(None), 4980), (Memo, 5000)]
    assert len(server.requests) == 1  # the search; the look-up is not yet asked for


# --- the stream -----------------------------------------------------------------------------------------------------


async def to_heartbeat(items: AsyncGenerator[Any, None]) -> tuple[list[str], str | None]:
    """The texts up to the next heartbeat, and its cursor."""
    made: list[Any] = []
    async for raw, cursor in items:
        if raw is None:
            return texts(made), cursor
        made.append(raw)
    raise AssertionError


async def test_a_stream_brings_posts_as_they_come_and_what_it_missed_is_searched_for() -> None:
    time = Time()
    server = XServer(tweets=[tweet(1, NOW - 5 * MINUTE, "missed")], clock=time.read)
    async with running(server), net(time) as edge:
        items = kind.posts(options(server, stream=True), cursor_at(NOW - HOUR), edge)
        server.say(tweet(2, NOW, "live"))
        server.say()
        told, cursor = await to_heartbeat(items)
        assert (told, state(cursor).since) == (["live"], tweet_id(NOW - HOUR))
        time.now += 40 * SECOND
        server.say()
        told, cursor = await to_heartbeat(items)
        assert (told, state(cursor).since) == (["missed"], tweet_id(NOW + 10 * SECOND) - 1)
        time.now += HOUR
        server.say(tweet(3, NOW + HOUR, "later"))
        server.say()
        assert await to_heartbeat(items) == ([], cursor)  # the sign of life that the search came with
        told, cursor = await to_heartbeat(items)
        assert (told, state(cursor).since) == (["later"], tweet_id(time.now - 30 * SECOND))
        await items.aclose()
        server.hang_up()


async def test_a_stream_is_counted_block_by_block_and_ends_a_page_before_the_budget() -> None:
    server = XServer()
    async with running(server):
        server.say(*(tweet(i, NOW) for i in range(60)))
        server.lines.put_nowait(None)
        error, cursor = await failure(server, stream=True, page=10, budget=50)
    assert (error.reason, used(cursor)) == ("budget", 40)


async def test_a_stream_is_counted_before_it_is_opened_and_given_back_at_its_end() -> None:
    server = XServer()
    async with running(server), net() as edge:
        server.say(*(tweet(i, NOW) for i in range(3)))
        server.lines.put_nowait(None)
        async with aclosing(kind.posts(options(server, stream=True), None, edge)) as items:
            raw, cursor = await anext(items)
            assert (raw, used(cursor), server.is_streaming.is_set()) == (Memo(), 100, False)
            rest = [await anext(items) for _ in range(4)]
            with pytest.raises(SourceError) as caught:
                await anext(items)
    assert (caught.value.reason, used(rest[-1][1])) == ("disconnected", server.billed)
    assert [type(raw) for raw, _ in rest] == [kind.Raw, kind.Raw, kind.Raw, Memo]


async def test_a_stream_that_was_never_opened_costs_nothing() -> None:
    server = XServer()
    server.behaviours["/2/tweets/search/stream"] = answer(503, b"")
    async with running(server):
        error, cursor = await failure(server, stream=True)
    assert (error.reason, used(cursor)) == ("status_503", 0)


async def test_when_a_search_beside_the_stream_is_refused_what_is_under_way_stays_counted() -> None:
    time, server = Time(), XServer()
    server.clock = time.read
    server.behaviours["/2/tweets/search/recent"] = answer(503, b"")
    async with running(server), net(time) as edge:
        items = kind.posts(options(server, stream=True), cursor_at(NOW - HOUR), edge)
        server.say()
        _, cursor = await to_heartbeat(items)
        time.now += 40 * SECOND
        server.say()
        rest = [await anext(items) for _ in range(2)]  # the search is counted, and given back
        with pytest.raises(SourceError) as caught:
            await anext(items)
        server.hang_up()
    assert (used(cursor), [used(given) for _, given in rest]) == (100, [200, 100])
    assert caught.value.reason == "status_503"


async def test_a_stream_that_falls_silent_may_have_cost_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.sources._x_api.KEEP_ALIVE", 0.1)
    server = XServer()
    async with running(server):
        error, cursor = await failure(server, stream=True)
        server.lines.put_nowait(None)
    assert (error.reason, used(cursor)) == ("silent", 100)


async def test_an_error_in_the_stream_says_what_it_is() -> None:
    server = XServer()
    line = {"errors": [{"title": "operational-disconnect", "detail": "for operational reasons",
                        "type": "https://api.x.com/2/problems/operational-disconnect"}]}  # fmt: skip
    async with running(server):
        server.lines.put_nowait(json.dumps(line).encode())
        server.lines.put_nowait(None)
        error, _ = await failure(server, stream=True)
    assert error.reason == "operational_disconnect"


async def test_any_character_may_stand_in_a_line_and_posts_of_other_rules_are_paid_for_but_not_taken() -> None:
    server = XServer(rules=[{"id": "7", "value": "cats", "tag": "somebody else"}])
    server.say(tweet(1, NOW, "prvi red\u2028drugi\x85treći"), rule="51")
    server.say(tweet(2, NOW, "miau"), rule="7")
    server.lines.put_nowait(b'{"data": [')
    server.lines.put_nowait(None)
    made: list[Any] = []
    async with running(server), net() as edge:
        source = kind.posts(options(server, stream=True), None, edge)
        made = [raw for raw in [(await anext(source))[0] for _ in range(3)] if not isinstance(raw, Memo)]
        await source.aclose()
    first = kind.parse(made[0], NOW)
    assert isinstance(first, Post)
    assert first.text == "prvi red drugitreći"
    with pytest.raises(MalformedError):
        kind.parse(made[1], NOW)
    assert (len(made), server.billed) == (2, 3)


async def test_a_rule_is_made_once_an_outdated_one_replaced_and_those_of_others_left_alone() -> None:
    other = {"id": "1", "value": "cats", "tag": "somebody else"}
    server = XServer(rules=[other, {"id": "2", "value": "facebook", "tag": "listener"}])
    async with running(server):
        for _ in range(2):
            server.lines.put_nowait(None)
            await failure(server, stream=True)
    assert server.rules == [other, {"id": "51", "value": "instagram -is:retweet", "tag": "listener"}]
    assert [r.path for r in server.requests].count("/2/tweets/search/stream/rules") == 4


async def test_a_refused_rule_is_told() -> None:
    async with running(XServer(refuses_rule=True)) as server:
        error, _ = await failure(server, stream=True)
    assert (error.reason, error.permanent) == ("bad_query", True)


async def test_a_stream_cut_off_anywhere_loses_nothing() -> None:
    """What came between two connections is found by the search, and what was cut off with the first comes again."""
    time, server = Time(), XServer()
    server.clock = time.read
    tweets = [tweet(i, NOW + i * 10 * SECOND) for i in range(40)]
    daemon = Daemon(kind, cursor=cursor_at(NOW - MINUTE))
    everything = {f"x:{made['id']}" for made in tweets}
    async with running(server), net(time) as edge:
        for life in range(6):
            live = tweets[life * 7 : life * 7 + 4]  # the other three come while nobody listens
            time.now = NOW + life * 70 * SECOND
            server.say(*live)
            server.tweets = [made for made in tweets if int(made["id"]) <= tweet_id(time.now)]
            await daemon.run(options(server, stream=True), edge, crash_after=1 + life % 4)
            server.hang_up()
        time.now = NOW + HOUR
        server.tweets = tweets
        run = asyncio.create_task(daemon.run(options(server, stream=True), edge, until=everything))
        server.is_streaming.clear()
        server.say()
        await server.is_streaming.wait()
        while not run.done():
            time.now += MINUTE
            server.say()
            await asyncio.sleep(0.02)
        server.hang_up()
    assert daemon.stored.keys() == everything


# --- posts ----------------------------------------------------------------------------------------------------------


def test_what_a_post_refers_to_tells_what_it_is() -> None:
    def kind_of(*types: str) -> PostKind:
        made = kind.parse(kind.Raw(tweet(1, NOW, referenced_tweets=[{"type": t, "id": "1"} for t in types])), NOW)
        assert isinstance(made, Post)
        return made.kind

    assert kind_of() is PostKind.POST
    assert kind_of("retweeted") is PostKind.REPOST
    assert kind_of("quoted", "replied_to") is PostKind.REPLY
    assert kind_of("quoted") is PostKind.QUOTE


@pytest.mark.parametrize(("lang", "languages"), [("tr", ("tr",)), ("und", ()), ("qme", ()), ("zxx", ()), ("", ())])
def test_a_language_is_a_hint_when_it_is_one(lang: str, languages: tuple[str, ...]) -> None:
    made = kind.parse(kind.Raw(tweet(1, NOW, lang=lang)), NOW)
    assert isinstance(made, Post)
    assert made.languages == languages


def test_a_long_post_is_read_whole_and_entities_are_characters() -> None:
    made = kind.parse(kind.Raw(tweet(1, NOW, "kısa…", note_tweet={"text": "uzun &amp; bütün"})), NOW)
    assert isinstance(made, Post)
    assert made.text == "uzun & bütün"
