"""What every store promises, each promise a sentence; a new store joins by one line in `ON_DISK`."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from listener.errors import StoreError
from listener.store import Store, open_store
from listener.types import (
    Delete,
    Expected,
    Hearing,
    Incident,
    IncidentState,
    Language,
    Mention,
    Notification,
    Point,
    Post,
    PostKind,
    RegionPart,
    RegionWeight,
    Score,
    SeriesKey,
    SourceHealth,
    State,
    Tier,
    Transition,
)
from tests.builders import MINUTE, NOON, at, hearing, mention, point
from tests.servers import postgres

Made = Callable[[Path], AbstractContextManager[str]]

# Name -> the URL of an empty store. Those on disk outlive their process and let readers go on while one writes.
ON_DISK: dict[str, Made] = {
    "sqlite": lambda folder: nullcontext(f"sqlite:///{folder / 'listener.db'}"),
    "postgresql": lambda _: postgres.empty_store(),
}
STORES: dict[str, Made] = {**ON_DISK, "sqlite-memory": lambda _: nullcontext("sqlite:///:memory:")}

MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with request.param(tmp_path) as url:
        store = open_store(url)
        yield store
        assert store.verify() == []
        store.close()


@pytest.fixture(params=list(ON_DISK.values()), ids=list(ON_DISK))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with request.param(tmp_path) as url:
        yield url


def deliver(store: Store, *mentions: Mention) -> list[str]:
    """Store them and say which ids counted as new or changed."""
    with store.transaction() as writer:
        return [m.post.id for m in writer.add_mentions(mentions)]


def delete(store: Store, *, post_id: str = "", author: str = "", source: str = "test") -> list[Mention]:
    with store.transaction() as writer:
        return writer.erase(Delete(source, at(60), post_id, author))


def ids(mentions: list[Mention]) -> list[str]:
    return [m.post.id for m in mentions]


def without_text(m: Mention) -> Mention:
    return replace(m, post=replace(m.post, text="", author="", url="", place=""), matches=())


def incident(
    id: str = "i1", state: IncidentState = IncidentState.FIRING, minutes: float = 0, **changes: object
) -> Incident:
    made = Incident(id, "instagram", state, (), at(minutes), at(minutes))
    return replace(made, **changes)  # type: ignore[arg-type]


def transition(id: str, of: Incident, minutes: float = 0) -> Transition:
    return Transition(id, at(minutes), of, None, of.state)


def full_mention() -> Mention:
    """Every field filled with something that a careless store would bend."""
    return Mention(
        post=Post(
            id="feed:'); DROP TABLE mentions; --",
            source="feed",
            text="Инстаграм не ради 😤\n«τι έγινε;» ığüşöç \x00 \u200d 'quoted' \"twice\"",
            created_at=NOON - 3 * MINUTE + MICROSECOND,
            received_at=NOON + 999_999 * MICROSECOND,
            author="3f9a",
            kind=PostKind.QUOTE,
            languages=("sr-Latn", "tr"),
            place="Нови Сад",
            region="RS",
            url="https://example.org/@p/1?a=b&c=%20",
            tier=Tier.OFFICIAL,
            services=("threads",),
            stated="relay",
        ),
        services=("instagram", "facebook"),
        score=Score((0.1 + 0.2, 1e-17, 1 / 3, 0.0, 1e-300, 0.0, 0.25, 0.0, 0.1), "login", "sha256:00ff"),
        language=Language("sr", 0.7000000000000001, "Cyrl", (("sr", 0.7), ("mk", 0.3))),
        regions=(RegionWeight("RS", 2 / 3, ("script", "place:Нови Сад")), RegionWeight("ZZ", 1 / 3)),
        matches=("instagram", "ne radi"),
        cluster="c1",
    )


def full_incident() -> Incident:
    part = RegionPart("RS", State.PROBLEMS, at(1), at(0), at(2) + MICROSECOND, 12.1, 0.3, 1e9)
    return Incident(
        id="i-full",
        service="instagram",
        state=IncidentState.RESOLVED,
        parts=(part, replace(part, region="BG", state=State.RECOVERING)),
        started_at=at(0) + MICROSECOND,
        updated_at=at(7),
        resolved_at=at(6),
        quiet_since_at=at(5),
        cause={"outage": 0.1 + 0.2, "block": 0.7},
        cause_evidence=("blocked: 3 posts", "постови"),
        observed=1 / 3,
        expected=0.1,
        authors=5,
        posts=7,
    )


# Mentions


def test_a_mention_comes_back_exactly(store: Store) -> None:
    given = full_mention()
    deliver(store, given)
    assert store.mentions() == [given]
    assert store.mentions()[0].post.created_at.tzinfo is not None


def test_a_post_delivered_again_changes_nothing_and_is_not_given_back(store: Store) -> None:
    first = mention(id="test:1")
    assert deliver(store, first) == ["test:1"]
    assert deliver(store, replace(first, cluster="other"), mention(id="test:2")) == ["test:2"]
    assert store.mentions(until=at(1))[-1] == first


def test_an_edited_post_is_replaced_and_found_only_where_it_now_belongs(store: Store) -> None:
    deliver(store, mention("instagram çöktü", id="test:1", service="instagram", region="TR"))
    edited = mention("γιατί δεν ανοίγει το viber", id="test:1", minutes=3, service="viber", region="GR")
    with store.transaction() as writer:
        assert ids(writer.mentions_of(["test:1", "test:unheard"])) == ["test:1"]
        assert writer.add_mentions([edited]) == [edited]
    assert store.mentions() == store.mentions(service="viber") == store.mentions(region="GR") == [edited]
    assert store.mentions(service="instagram") == store.mentions(region="TR") == []


def test_of_one_post_twice_in_a_batch_the_last_counts(store: Store) -> None:
    last = mention("pao instagram, evo opet", id="test:1")
    with store.transaction() as writer:
        given_back = writer.add_mentions([mention("pao instagram", id="test:1"), mention(id="test:2"), last, last])
    assert sorted(ids(given_back)) == ["test:1", "test:2"]
    assert last in given_back
    assert last in store.mentions()


def test_mentions_are_listed_newest_first_and_narrowed_by_service_region_time_and_limit(store: Store) -> None:
    deliver(
        store,
        mention(id="test:a", minutes=1),
        mention(id="test:c", minutes=2, region="BG"),
        mention(id="test:b", minutes=2),
        mention(id="test:d", minutes=3, service="viber", region="BG"),
        mention(id="test:e", minutes=4, service=""),
    )
    assert ids(store.mentions()) == ["test:e", "test:d", "test:c", "test:b", "test:a"]
    assert ids(store.mentions(limit=2)) == ["test:e", "test:d"]
    assert ids(store.mentions(service="instagram")) == ["test:c", "test:b", "test:a"]
    assert ids(store.mentions(service="instagram", limit=1)) == ["test:c"]
    assert ids(store.mentions(region="BG")) == ["test:d", "test:c"]
    assert ids(store.mentions(service="instagram", region="BG")) == ["test:c"]
    assert ids(store.mentions(since=at(2), until=at(3))) == ["test:c", "test:b"]
    assert ids(store.mentions(region="TR", since=at(1) + MICROSECOND)) == ["test:e", "test:b"]


def test_a_writer_reads_what_it_wrote_by_service_and_time_in_order(store: Store) -> None:
    both = replace(mention(id="test:c", minutes=1), services=("instagram", "viber"))
    with store.transaction() as writer:
        writer.add_mentions(
            [
                mention(id="test:d", minutes=2),
                both,
                mention(id="test:b", minutes=1, service="viber"),
                mention(id="test:a", minutes=0, service="steam"),
            ]
        )
        assert ids(writer.mentions_between(["instagram", "viber"], at(0), at(3))) == ["test:b", "test:c", "test:d"]
        assert ids(writer.mentions_between(["instagram"], at(1), at(2))) == ["test:c"]
        assert writer.mentions_between([], at(0), at(3)) == []


# Erasing


def test_a_deleted_post_loses_its_words_and_keeps_what_counts(store: Store) -> None:
    given = full_mention()
    deliver(store, given, mention(id="test:2"))
    with store.transaction() as writer:
        writer.put_points([point(0, 2)])
    assert delete(store, post_id=given.post.id) == [given]
    assert store.mentions(service="facebook") == [without_text(given)]
    assert store.points() == [point(0, 2)]


def test_a_deleted_author_is_erased_in_that_source_or_everywhere(store: Store) -> None:
    deliver(
        store,
        mention(id="test:1", author="ana"),
        mention(id="test:2", author="ana", minutes=1),
        mention(id="test:3", author="boris"),
        mention(id="other:1", author="ana"),
        mention(id="test:4", author=""),
    )
    assert ids(delete(store, author="ana", source="test")) == ["test:1", "test:2"]
    assert ids(delete(store, author="ana", source="")) == ["other:1"]
    assert delete(store, author="", source="test") == []
    assert sorted(m.post.author for m in store.mentions()) == ["", "", "", "", "boris"]


def test_what_was_erased_does_not_come_back_when_it_is_delivered_or_edited_again(store: Store) -> None:
    given = mention(id="test:1")
    deliver(store, given)
    delete(store, post_id="test:1")
    assert delete(store, post_id="test:1") == []
    assert deliver(store, given, mention("drugi tekst", id="test:1")) == []
    assert store.mentions() == [without_text(given)]


def test_forgetting_erases_what_was_received_before_a_moment(store: Store) -> None:
    early, late = mention(id="test:1", minutes=0), mention(id="test:2", minutes=10)
    deliver(store, early, late)
    assert store.forget(at(99), at(10)) == 1
    assert store.forget(at(99), at(10)) == 0
    assert store.mentions() == [late, without_text(early)]


def test_forgetting_has_no_end_of_a_batch(store: Store) -> None:
    deliver(store, *(mention(id=f"test:{n}") for n in range(4_100)))
    assert store.forget(at(99), at(1)) == 4_100


# Points and what was heard


def test_a_point_comes_back_exactly(store: Store) -> None:
    given = Point(
        SeriesKey("instagram", "TR"),
        at(1),
        observed=0.1 + 0.2,
        posts=7,
        authors=5,
        recovered=1 / 3,
        labels=(("report", float(np.float64(2) / 3)), ("symptom:login", 1e-9)),
        excluded=(("copypasta", 3),),
    )
    with store.transaction() as writer:
        writer.put_points([given, point(2, np.float64(0.1))])
    assert store.points() == [given, point(2, 0.1)]


def test_points_replace_each_other_and_vanish_when_nothing_is_left_in_them(store: Store) -> None:
    with store.transaction() as writer:
        writer.put_points([point(0, 1), point(1, 1), point(2, 1), point(2, 5)])
    with store.transaction() as writer:
        writer.put_points([point(0, 3), replace(point(1, 0), posts=0)])
    assert store.points() == [point(0, 3), point(2, 5)]


def test_points_are_added_up_in_longer_bins_by_series(store: Store) -> None:
    with store.transaction() as writer:
        writer.put_points([point(0, 1.5), point(4, 2.0), point(5, 4.0), point(1, 8.0, region="RS")])
    five = timedelta(minutes=5)
    found = [(p.key.region, p.at, p.observed, p.posts, p.authors) for p in store.binned(five)]
    assert found == [("RS", at(0), 8.0, 8, 8), ("TR", at(0), 3.5, 4, 4), ("TR", at(5), 4.0, 4, 4)]
    assert [p.observed for p in store.binned(five, region="TR", since=at(1), until=at(5))] == [2.0]
    assert [p.at for p in store.binned(timedelta(days=1), service="instagram")] == [at(-720), at(-720)]
    assert store.binned(five, service="whatsapp") == []


def test_points_are_listed_by_series_then_time_and_narrowed(store: Store) -> None:
    viber, greek = point(1, service="viber"), point(1, region="GR")
    with store.transaction() as writer:
        writer.put_points([viber, point(2), point(1), greek, point(0)])
    assert store.points() == [greek, point(0), point(1), point(2), viber]
    assert store.points(service="instagram", region="TR", since=at(1), until=at(2)) == [point(1)]
    assert store.points(service="instagram") == [greek, point(0), point(1), point(2)]
    assert store.points(region="TR", since=at(1)) == [point(1), point(2), viber]
    assert store.keys() == [SeriesKey("instagram", "GR"), SeriesKey("instagram", "TR"), SeriesKey("viber", "TR")]
    assert store.keys(since=at(2)) == [SeriesKey("instagram", "TR")]


def test_an_empty_store_has_nothing_and_says_so_without_error(store: Store) -> None:
    assert (store.mentions(), store.points(), store.keys(), store.hearing(at(0), at(9)), store.dropped()) == (
        [], [], [], [], {},
    )  # fmt: skip
    assert (store.incidents(), store.transitions(), store.untold("log"), store.notifications()) == ([], [], [], [])
    assert (store.health(), store.cursor("test"), store.mark("tick")) == ([], None, None)


def test_hearing_adds_up_and_a_source_that_was_up_stays_up(store: Store) -> None:
    with store.transaction() as writer:
        writer.add_hearing([hearing(0, 3, up=False), hearing(0, 4), hearing(1, 0, up=False), hearing(9)])
    with store.transaction() as writer:
        writer.add_hearing([hearing(0, 1, up=False), hearing(1, 0, up=False), hearing(0, 2, source="another")])
    assert store.hearing(at(0), at(9)) == [
        Hearing("another", at(0), 2, up=True),
        Hearing("test", at(0), 8, up=True),
        Hearing("test", at(1), 0, up=False),
    ]


def test_dropped_posts_are_counted_by_source_reason_and_day(store: Store) -> None:
    with store.transaction() as writer:
        writer.add_dropped("test", "2026-03-01", {"no_match": 5})
        writer.add_dropped("test", "2026-03-02", {"no_match": 2, "no_text": 1})
        writer.add_dropped("test", "2026-03-02", {"no_match": 1})
    assert store.dropped() == {("test", "no_match"): 8, ("test", "no_text"): 1}
    assert store.dropped(since=NOON) == {("test", "no_match"): 3, ("test", "no_text"): 1}


# Incidents and those who are told


def test_a_transition_and_its_incident_come_back_exactly(store: Store) -> None:
    given = Transition("t1", at(6) + MICROSECOND, full_incident(), IncidentState.FIRING, IncidentState.RESOLVED)
    with store.transaction() as writer:
        writer.put_transitions([given])
    assert store.transitions() == [given]
    assert store.incidents() == [given.incident]


def test_a_transition_keeps_the_incident_as_it_was_while_the_incident_moves_on(store: Store) -> None:
    before, after = incident(posts=3), incident(posts=9, updated_at=at(5))
    with store.transaction() as writer:
        writer.put_transitions([transition("t1", before)])
        writer.put_incidents([after])
        writer.put_transitions([transition("t1", incident(posts=1))])  # seen before: left alone
    assert store.incidents() == [after]
    assert store.transitions() == [transition("t1", before)]


def test_transitions_are_listed_in_the_order_they_were_stored(store: Store) -> None:
    with store.transaction() as writer:
        writer.put_transitions([transition("t9", incident("i1"), 9), transition("t1", incident("i2"), 1)])
        writer.put_transitions([transition("t5", incident("i1"), 5)])
    assert [t.id for t in store.transitions()] == ["t9", "t1", "t5"]
    assert [t.id for t in store.transitions(after="t9", limit=1)] == ["t1"]
    assert [t.id for t in store.transitions(incident="i1", after="t9")] == ["t5"]
    assert [t.id for t in store.transitions(after="nobody-knows-it")] == ["t9", "t1", "t5"]


def test_incidents_are_listed_newest_start_first_and_narrowed(store: Store) -> None:
    old = incident("old", IncidentState.RESOLVED, 0, updated_at=at(9))
    new, other = incident("new", minutes=5), incident("other", IncidentState.PENDING, 3, service="viber")
    with store.transaction() as writer:
        writer.put_transitions([transition(f"t-{i.id}", i) for i in (old, new, other)])
    assert store.incidents() == [new, other, old]
    assert store.incidents(limit=1) == [new]
    assert store.incidents(states=[IncidentState.PENDING, IncidentState.RESOLVED]) == [other, old]
    assert store.incidents(service="viber") == [other]
    assert store.incidents(since=at(5)) == [new, old]


def test_a_transition_stays_untold_until_the_channel_has_sent_it(store: Store) -> None:
    failed = Notification("t1", "log", at(1) + MICROSECOND, "failed", "timeout")
    sent = Notification("t1", "log", at(2), "sent", attempts=2)
    with store.transaction() as writer:
        writer.put_transitions([transition("t1", incident()), transition("t2", incident())])
        writer.add_notification(failed)
    assert [t.id for t in store.untold("log")] == ["t1", "t2"]
    with store.transaction() as writer:
        writer.add_notification(sent)
    assert [t.id for t in store.untold("log")] == ["t2"]
    assert [t.id for t in store.untold("webhook")] == ["t1", "t2"]
    assert store.notifications(transition="t1") == store.notifications() == [failed, sent]
    assert store.notifications(transition="t2") == []


# Small things


def test_cursors_marks_and_health_hold_their_last_value(store: Store) -> None:
    never = SourceHealth("b-feed", "rss")
    well = SourceHealth("a-feed", "rss", "TR", at(1) + MICROSECOND, at(0), 3, "timeout", at(9), 7, 90 * MICROSECOND)
    with store.transaction() as writer:
        writer.set_cursor("a-feed", "1")
        writer.set_mark("tick", "one")
        writer.put_health([never, replace(well, posts=1)])
    with store.transaction() as writer:
        writer.set_cursor("a-feed", "2")
        assert (writer.mark("tick"), writer.mark("tock")) == ("one", None)
        writer.set_mark("tick", "two")
        assert writer.mark("tick") == "two", "it sees its own writes"
        writer.put_health([well])
    assert (store.cursor("a-feed"), store.mark("tick"), store.health()) == ("2", "two", [well, never])


# All or nothing


def test_an_exception_undoes_the_whole_transaction(store: Store) -> None:
    deliver(store, mention(id="test:1"))

    def breaks_off() -> None:
        with store.transaction() as writer:
            writer.add_mentions([mention(id="test:2")])
            writer.erase(Delete("test", at(1), "test:1"))
            writer.put_points([point(0)])
            writer.put_transitions([transition("t1", incident())])
            writer.set_cursor("test", "2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks_off()
    assert store.mentions() == [mention(id="test:1")]
    assert (store.points(), store.transitions(), store.incidents(), store.cursor("test")) == ([], [], [], None)


@pytest.mark.parametrize("made", list(STORES.values()), ids=list(STORES))
def test_a_closed_store_says_so(made: Made, tmp_path: Path) -> None:
    with made(tmp_path) as url:
        store = open_store(url)
        store.close()
        store.close()
        with pytest.raises(StoreError, match="closed"):
            store.mentions()
        with pytest.raises(StoreError, match="closed"), store.transaction():
            pass


def test_everything_is_there_after_closing_and_opening_again(url: str) -> None:
    store = open_store(url)
    deliver(store, full_mention())
    with store.transaction() as writer:
        writer.set_cursor("test", "7")
    store.close()
    again = open_store(url)
    assert (again.mentions(), again.cursor("test")) == ([full_mention()], "7")
    again.close()


def test_readers_see_nothing_of_a_transaction_before_it_is_committed(url: str) -> None:
    store = open_store(url)
    with store.transaction() as writer:
        writer.add_mentions([mention(id="test:1")])
        writer.set_cursor("test", "1")
        assert (store.mentions(), store.cursor("test")) == ([], None)
    assert (len(store.mentions()), store.cursor("test")) == (1, "1")
    store.close()


def test_many_threads_read_and_write_at_once(url: str) -> None:
    store = open_store(url)
    written = threading.Event()

    def write(author: int) -> None:
        for n in range(10):
            deliver(store, *(mention(id=f"test:{author}-{n}-{i}") for i in range(3)))

    def read() -> bool:
        whole = True
        while not written.is_set():
            whole = whole and len(store.mentions()) % 3 == 0
        return whole

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for writer in [pool.submit(write, author) for author in range(3)]:
            writer.result()
        written.set()
        assert all(reader.result() for reader in readers)
    assert len(store.mentions()) == 90
    store.close()


def test_a_writer_killed_at_any_moment_leaves_whole_transactions(url: str) -> None:
    """Whatever was acknowledged is there, and cursor, mentions and points tell the same story."""
    moments = random.Random(7)
    command = [sys.executable, "-m", "tests.servers.store_writer", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None
        acknowledged = 0
        for _ in range(15):
            forker.stdin.write("next\n")
            writer = int(forker.stdout.readline())
            for _ in range(moments.randint(0, 8)):
                acknowledged = int(forker.stdout.readline())
            time.sleep(moments.uniform(0, 0.01))
            os.kill(writer, signal.SIGKILL)
            while (line := forker.stdout.readline().strip()) != "died":
                acknowledged = int(line)

            store = open_store(url)
            count = int(store.cursor("test") or 0)
            assert count >= acknowledged
            assert len(store.mentions(limit=100_000)) == count
            assert sum(p.posts for p in store.points()) == count
            assert store.verify() == []
            store.close()
        forker.stdin.close()
    assert acknowledged > 0


def test_what_was_usual_comes_back_by_series_and_hour(store: Store) -> None:
    key, other = SeriesKey("instagram", "TR"), SeriesKey("viber", "RS")
    kept = [
        Expected(key, NOON, 1.5, 4.25),
        Expected(key, NOON + 60 * MINUTE, 2.5, 5.0),
        Expected(other, NOON, 0.0, 1e-9),
    ]
    with store.transaction() as writer:
        writer.put_expected([replace(kept[0], mean=9.0), *kept[1:]])
        writer.put_expected([kept[0]])
    assert store.expected() == kept
    assert store.expected(service="instagram", since=NOON + 60 * MINUTE) == [kept[1]]
    assert store.expected(region="RS", until=NOON + 60 * MINUTE) == [kept[2]]


def test_an_author_is_remembered_with_where_it_seemed_from_until_erased(store: Store) -> None:
    said = [mention(id=f"test:{n}", minutes=n, author="a" if n else "b") for n in range(3)]
    deliver(store, *said)
    until = NOON + 60 * MINUTE
    assert store.told_of(["a", "nobody"], NOON, until) == {"a": [(m.at, m.regions) for m in said[1:]]}
    assert store.told_of(["a"], NOON, at(2)) == {"a": [(said[1].at, said[1].regions)]}
    with store.transaction() as writer:
        writer.erase(Delete(source="test", at=until, author="a"))
    assert store.told_of(["a"], NOON, until) == {}
