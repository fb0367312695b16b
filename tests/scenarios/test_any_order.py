"""The same posts give the same incidents, however they are cut into batches and in whatever order a minute brings them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.signals.bins import floor
from listener.store import open_store
from listener.types import IncidentState, Point, Post, Transition
from tests.builders import MINUTE, at, post

FOLDER = Path(__file__).parent / "first_day"
LATE = timedelta(minutes=9)
LENGTH, AFTER = 60, 30  # minutes of the archive, and watched after it


def archive(seed: int) -> list[Post]:
    """An outage at minute 15 amid everyday talk; a third of the posts arrive late, a few authors say it again."""
    rng = random.Random(seed)
    made = []
    for name, first, length in (("evening.txt", 0, LENGTH), ("outage.txt", 15, 12)):
        for n, text in enumerate((FOLDER / name).read_text(encoding="utf-8").splitlines()):
            minutes = first + rng.random() * length
            one = post(text, id=f"bluesky:{name}{n}", minutes=minutes, languages=("tr",))
            late = rng.random() * LATE if rng.random() < 1 / 3 else timedelta()
            author = f"author{rng.randrange(45)}" if name == "outage.txt" else one.author
            made.append(replace(one, received_at=one.created_at + late, author=author))
    return made


def lived(
    pipeline: Pipeline, minutes: Mapping[datetime, Sequence[Sequence[Post]]]
) -> tuple[list[Transition], list[Point]]:
    """Take each minute's batches, then watch it."""
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        told: list[Transition] = []
        for minute in range(LENGTH + AFTER):
            for batch in minutes.get(at(minute), ()):
                recorder.take(Batch(items=list(batch)))
            told += recorder.tick(at(minute) + MINUTE)
        return told, store.points()


def by_arrival(posts: list[Post]) -> dict[datetime, list[Post]]:
    made: dict[datetime, list[Post]] = {}
    for one in posts:
        made.setdefault(floor(one.received_at), []).append(one)
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_any_batches_and_any_order_within_a_minute_give_the_same_incidents(pipeline: Pipeline, seed: int) -> None:
    minutes = by_arrival(archive(seed))
    whole = lived(pipeline, {minute: [posts] for minute, posts in minutes.items()})
    assert [t.incident.service for t in whole[0]].count("instagram") >= 2
    rng = random.Random(100 + seed)
    for most in (1, 3):
        cut = {}
        for minute, posts in minutes.items():
            shuffled = rng.sample(posts, len(posts))
            size = rng.randint(1, most)
            cut[minute] = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
        assert lived(pipeline, cut) == whole


@pytest.mark.parametrize("seed", [4])
def test_however_late_posts_come_within_what_is_allowed_the_signal_is_the_same_in_the_end(
    pipeline: Pipeline, seed: int
) -> None:
    assert pipeline.config.signal.lateness >= LATE
    posts = archive(seed)
    rng = random.Random(seed)
    at_once = [replace(one, received_at=one.created_at) for one in posts]
    otherwise = [replace(one, received_at=one.created_at + rng.random() * LATE) for one in posts]
    signals, ends = [], []
    for version in (posts, at_once, otherwise):
        told, points = lived(pipeline, {minute: [batch] for minute, batch in by_arrival(version).items()})
        signals.append(points)
        ends.append((told[-1].incident.service, told[-1].incident.regions, told[-1].to_state))
        assert abs(told[-1].incident.started_at - at(15)) <= 3 * MINUTE
    assert signals[0] == signals[1] == signals[2]
    assert set(ends) == {("instagram", ("TR",), IncidentState.RESOLVED)}


def test_a_post_is_understood_the_same_alone_and_among_others(pipeline: Pipeline) -> None:
    posts = archive(6)
    together = pipeline.understand(posts)
    assert [pipeline.understand([one])[0] for one in posts] == together


@pytest.mark.parametrize("text", ["x", "?", "👍", "ig", "@user", ""])
def test_the_shortest_posts_are_understood_alone_too(pipeline: Pipeline, text: str) -> None:
    (answer,) = pipeline.understand([post(text, services=("instagram",))])
    assert answer == pipeline.understand([post(text, services=("instagram",)), post("uzun bir yazı", id="test:2")])[0]
