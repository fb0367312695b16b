"""While something big fails, points cost no more with every batch; and they are the same as if all were read each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import pytest

from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder, Understood
from listener.roles import turns
from listener.roles.lane import Lane, put_lane
from listener.roles.turns import Beside, OutOfTurnError, Turns
from listener.signals import lookback
from listener.signals.lookback import Lookbacks
from listener.store import Writer, open_store
from listener.types import Delete, Mention, Point, PostKind
from tests.builders import at, mention

SERVICES = ("instagram", "whatsapp", "youtube")


def said(rng: random.Random, minute: float, n: int) -> Mention:
    """One of a crowd in which people repeat themselves and others, reply, quote and come late."""
    made = mention(
        id=f"t:{n}",
        author=f"a{rng.randrange(60)}",
        minutes=minute - (rng.choice((0.5, 2, 4, 9)) if rng.random() < 0.15 else 0),
        service=rng.choice(SERVICES),
        region=rng.choice(("TR", "BG", "RS")),
        weight=rng.choice((1.0, 0.7)),
        chatter=rng.choice((0.1, 0.6, 0.97)),
        cluster=f"band{rng.randrange(8)} band{rng.randrange(200)}",
        kind=rng.choice((PostKind.POST, PostKind.POST, PostKind.REPLY, PostKind.REPOST)),
    )
    both = made.services if rng.random() < 0.8 else SERVICES[:2]
    return replace(made, services=both, post=replace(made.post, received_at=at(minute)))


def batches(seed: int) -> Iterator[Understood]:
    """An hour and a quarter; some posts are edited or taken back, some batches bring nothing new."""
    rng, n = random.Random(seed), 0
    known: list[Mention] = []
    for minute in range(75):
        for part in range(4):
            mentions = [said(rng, minute + part / 4, n + i) for i in range(rng.randrange(5))]
            n += len(mentions)
            if known and rng.random() < 0.05:
                mentions.append(replace(rng.choice(known[-40:]), services=(rng.choice(SERVICES),)))
            known += mentions
            posts = [m.post for m in mentions]
            gone = [rng.choice(known[-200:]).post for _ in range(rng.random() < 0.05)]
            deletes = [Delete(post.source, at(minute), post_id=post.id) for post in gone]
            yield Understood(Batch(items=[*posts, *deletes]), posts, list(mentions), {})


class RefusedError(Exception):
    pass


class Refusal:
    """The turn of a batch that is somebody else's after all."""

    def begin(self, _: Writer) -> dict[str, datetime]:
        return {}

    def end(self, *_: object) -> None:
        raise RefusedError


def points(pipeline: Pipeline, seed: int, *, refusing: bool = False) -> list[Point]:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        for number, batch in enumerate(batches(seed)):
            if refusing and number % 7 == 3:
                with pytest.raises(RefusedError):
                    recorder.keep(batch, Refusal())
            recorder.keep(batch)
        return store.points()


def test_points_are_the_same_whether_the_hour_before_is_kept_or_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = points(pipeline, 1)
    assert len(read) > 200
    monkeypatch.setattr(lookback, "BUSY", 20)
    assert points(pipeline, 1) == read
    assert points(pipeline, 1, refusing=True) == read


def by(author: str, minute: float, n: int = 0) -> Mention:
    return mention(id=f"t:{author}-{n}", author=author, minutes=minute, weight=1.0)


def saying(*mentions: Mention, gone: str = "") -> Understood:
    posts = [m.post for m in mentions]
    deletes = [Delete("t", at(31), post_id=gone)] if gone else []
    return Understood(Batch(items=[*posts, *deletes]), posts, list(mentions), {})


@pytest.mark.parametrize("how", ["by another worker", "long ago", "beside", "refused", "in another epoch"])
def test_a_worker_knows_what_others_stored_since_its_last_turn(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(lookback, "BUSY", 10)
    monkeypatch.setattr(turns, "REMEMBERED", 3)
    late, number = saying(by("late", 27)), 31
    with closing(open_store("sqlite:///:memory:")) as store:
        with store.transaction() as tx:
            put_lane(tx, Lane(epoch=1))
        recorder, mine = Recorder(pipeline, store), Turns()
        other, theirs = Recorder(pipeline, store), Turns()
        for n in range(30):
            recorder.keep(saying(by(f"a{n}", n)), mine.turn(1, n + 1, None))
        recorder.keep(saying(by("somebody", 30.5)), mine.turn(1, number, None))
        assert recorder._lookbacks._busy, "else there is nothing to be wrong about"
        if how == "beside":
            other.keep(late, Beside())
        else:
            number += 1
            other.keep(late, theirs.turn(1, number, None))
        if how == "refused":
            with pytest.raises(OutOfTurnError):
                recorder.keep(saying(by("another", 30.6)), mine.turn(1, number, None))
        for n in range(5 if how == "long ago" else 0):
            number += 1
            other.keep(saying(by(f"b{n}", 30.6)), theirs.turn(1, number, None))
        epoch = 1
        if how == "in another epoch":
            with store.transaction() as tx:
                put_lane(tx, Lane(epoch=2))
            epoch, number = 2, 0
        recorder.keep(saying(by("late", 31.5, 1)), mine.turn(epoch, number + 1, None))
        assert [dict(point.excluded) for point in store.points(since=at(31))] == [{"same_author": 1}]


def test_what_others_left_as_it_was_is_not_read_again(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookback, "BUSY", 10)
    with closing(open_store("sqlite:///:memory:")) as store:
        with store.transaction() as tx:
            put_lane(tx, Lane(epoch=1))
        crew = [(Recorder(pipeline, store), Turns()) for _ in range(2)]
        for n in range(60):
            recorder, worker = crew[n % 2]
            recorder.keep(saying(by(f"a{n}", n / 2)), worker.turn(1, n + 1, None))
        kept = [dict(recorder._lookbacks._busy["instagram"]) for recorder, _ in crew]
        for n in range(60, 64):
            recorder, worker = crew[n % 2]
            recorder.keep(saying(by(f"a{n}", 30 + n / 60)), worker.turn(1, n + 1, None))
        for was, (recorder, _) in zip(kept, crew, strict=True):
            now = recorder._lookbacks._busy["instagram"]
            assert all(now[block] is tally for block, tally in was.items() if block in now)
            assert was.keys() & now.keys()


@pytest.mark.parametrize("is_refused", [False, True])
def test_who_took_a_post_back_is_heard_anew_unless_the_batch_that_says_so_is_refused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    monkeypatch.setattr(lookback, "BUSY", 10)

    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        for n in range(30):
            recorder.keep(saying(by(f"a{n}", n)))
        recorder.keep(saying(by("somebody", 31)))
        if is_refused:
            with pytest.raises(RefusedError):
                recorder.keep(saying(by("another", 31), gone="t:a5-0"), Refusal())
            recorder.keep(saying(by("another", 31)))
        else:
            recorder.keep(saying(by("another", 31), gone="t:a5-0"))
        recorder.keep(saying(by("a5", 31.5, 1)))
        (last,) = store.points(since=at(31))
        assert (last.authors, dict(last.excluded).get("same_author", 0)) == ((2, 1) if is_refused else (3, 0))


def test_of_a_service_many_write_about_the_hour_before_is_read_once_in_two_minutes(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookback, "BUSY", 100)
    stored: list[Mention] = []
    reads: list[int] = []

    def read(services: Sequence[str], since: datetime, until: datetime) -> list[Mention]:
        found = [m for m in stored if since <= m.at < until and set(services) & set(m.services)]
        reads.append(len(found))
        return found

    lookbacks = Lookbacks(pipeline)
    for minute in range(90):
        for second in range(10):
            new = [mention(id=f"t:{minute}-{second}-{n}", minutes=minute + second / 10) for n in range(2)]
            stored += new
            lookbacks.touched(lookback.earliest(new))
            lookbacks.measured(new, read)
    hour_before, two_minutes = 60 * 20, 2 * 20
    assert sum(reads) <= 90 / 2 * hour_before + 90 * 10 * two_minutes, "90 x 10 batches"
