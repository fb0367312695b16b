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
from listener.signals import lookback
from listener.signals.lookback import Lookbacks
from listener.store import open_store
from listener.types import Delete, Mention, Point, PostKind
from tests.builders import at, mention

SERVICES = ("instagram", "whatsapp", "youtube")


def said(rng: random.Random, minute: float, n: int) -> Mention:
    """One of a crowd in which people repeat themselves and others, reply, quote and come late."""
    made = mention(
        id=f"t:{n}",
        author=f"a{rng.randrange(60)}",
        minutes=minute - (rng.choice((0.5, 2, 9)) if rng.random() < 0.03 else 0),
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


def points(pipeline: Pipeline, seed: int, *, refusing: bool = False) -> list[Point]:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)

        def refuse(*_: object) -> None:
            raise RefusedError

        for number, batch in enumerate(batches(seed)):
            if refusing and number % 7 == 3:
                with pytest.raises(RefusedError):
                    recorder.keep(batch, refuse)
            recorder.keep(batch)
        return store.points()


@pytest.mark.parametrize("seed", [1])
def test_points_are_the_same_whether_the_hour_before_is_kept_or_read(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    read = points(pipeline, seed)
    assert len(read) > 200
    monkeypatch.setattr(lookback, "BUSY", 20)
    assert points(pipeline, seed) == read
    assert points(pipeline, seed, refusing=True) == read


@pytest.mark.parametrize("is_refused", [False, True])
def test_who_took_a_post_back_is_heard_anew_unless_the_batch_that_says_so_is_refused(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    monkeypatch.setattr(lookback, "BUSY", 10)

    def understood(*mentions: Mention, gone: str = "") -> Understood:
        posts = [m.post for m in mentions]
        deletes = [Delete("t", at(31), post_id=gone)] if gone else []
        return Understood(Batch(items=[*posts, *deletes]), posts, list(mentions), {})

    def refuse(*_: object) -> None:
        raise RefusedError

    def by(author: str, minute: float, n: int = 0) -> Mention:
        return mention(id=f"t:{author}-{n}", author=author, minutes=minute, weight=1.0)

    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        for n in range(30):
            recorder.keep(understood(by(f"a{n}", n)))
        recorder.keep(understood(by("somebody", 31)))
        if is_refused:
            with pytest.raises(RefusedError):
                recorder.keep(understood(by("another", 31), gone="t:a5-0"), refuse)
            recorder.keep(understood(by("another", 31)))
        else:
            recorder.keep(understood(by("another", 31), gone="t:a5-0"))
        recorder.keep(understood(by("a5", 31.5, 1)))
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
            lookbacks.touched(new)
            lookbacks.measured(new, read)
    hour_before, two_minutes = 60 * 20, 2 * 20
    assert sum(reads) <= 90 / 2 * hour_before + 90 * 10 * two_minutes, "90 x 10 batches"
