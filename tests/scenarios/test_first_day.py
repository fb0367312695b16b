"""The first day: no history, no source known for long. Every post is a text as people type it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import Store, open_store
from listener.types import Hearing, IncidentState, Post, Transition
from tests.builders import MINUTE, at, post

FOLDER = Path(__file__).parent / "first_day"
STEADY = (5, 5, 5, 5, 5, 5, 5, 5, 5, 5)
SWELLING = (1, 2, 3, 4, 5, 6, 6, 7, 8, 8)  # posts in each minute: it takes people a while


@dataclass
class Evening:
    """A store without a past, fed a minute at a time by one source."""

    recorder: Recorder

    def live(self, minute: int, posts: list[Post], heard: int = 5) -> list[Transition]:
        """The minute that starts at `minute` is heard and, once it is over, watched."""
        hearing = [Hearing("bluesky", at(minute), heard, up=True)]
        self.recorder.take(Batch(items=list(posts), hearing=hearing))
        return self.recorder.tick(at(minute) + MINUTE)


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store("sqlite:///:memory:")) as store:
        yield store


@pytest.fixture
def evening(pipeline: Pipeline, store: Store) -> Evening:
    return Evening(Recorder(pipeline, store, {"bluesky": dict.fromkeys(pipeline.catalog.regions, 1.0)}))


def texts(name: str) -> list[str]:
    return (FOLDER / name).read_text(encoding="utf-8").splitlines()


def written(text: str, n: int, minutes: float) -> Post:
    return post(text, id=f"bluesky:{n}", minutes=minutes, languages=("tr",))


def outage(start: int, by_minute: tuple[int, ...]) -> dict[int, list[Post]]:
    """Fifty authors, each with words of their own."""
    left = iter(enumerate(texts("outage.txt")))
    return {
        start + minute: [
            written(text, 1000 + n, start + minute + i / count)
            for i, (n, text) in zip(range(count), left, strict=False)
        ]
        for minute, count in enumerate(by_minute)
    }


@pytest.mark.parametrize("by_minute", [STEADY, SWELLING], ids=["steady", "swelling"])
@pytest.mark.parametrize("quiet_before", [45, 600], ids=["after 45 minutes", "after ten hours"])
def test_fifty_authors_in_ten_minutes_are_raised_within_five_minutes_of_the_first(
    evening: Evening, by_minute: tuple[int, ...], quiet_before: int
) -> None:
    assert sum(by_minute) == 50 == len(set(texts("outage.txt")))
    said = outage(quiet_before, by_minute)
    told = [t for minute in range(quiet_before + 10) for t in evening.live(minute, said.get(minute, []))]
    assert told
    first = told[0]
    assert first.incident.service == "instagram"
    assert first.at - at(quiet_before) <= timedelta(minutes=5)
    firing = next(t for t in told if t.to_state is IncidentState.FIRING)
    assert firing.at - at(quiet_before) <= timedelta(minutes=5)
    assert firing.incident.regions[0] == "TR"
    assert {t.incident.service for t in told} <= {"instagram", "unnamed"}


def test_started_in_the_middle_of_an_outage_it_waits_for_the_backlog_and_raises_it_within_half_an_hour(
    evening: Evening,
) -> None:
    said = outage(0, (2,) * 25)
    told = [t for minute in range(25) for t in evening.live(minute, said.get(minute, []))]
    assert {t.incident.service for t in told} <= {"instagram", "unnamed"}
    assert at(0) < told[0].at <= at(30)


def test_an_ordinary_busy_evening_of_a_source_that_is_heard_for_the_first_time_raises_nothing(evening: Evening) -> None:
    talk = texts("evening.txt")
    assert len(set(talk)) >= 60
    # The first look at the source brings two hours at once, then it is as lively as people are.
    before = [written(text, n, -120 + 5 * n) for n, text in enumerate(talk[:24])]
    said = {2 * n: [written(text, 24 + n, 2 * n)] for n, text in enumerate(talk[24:])}
    told = evening.live(0, [*before, *said[0]])
    for minute in range(1, 180):
        told += evening.live(minute, said.get(minute, []))
    assert told == []


def test_the_same_evening_with_an_outage_in_it_raises_that_outage_alone(evening: Evening) -> None:
    said = {2 * n: [written(text, n, 2 * n)] for n, text in enumerate(texts("evening.txt"))}
    for minute, posts in outage(60, SWELLING).items():
        said[minute] = [*said.get(minute, []), *posts]
    told = [t for minute in range(75) for t in evening.live(minute, said.get(minute, []))]
    assert {t.incident.service for t in told} <= {"instagram", "unnamed"}
    assert at(60) < told[0].at <= at(65)
    assert abs(told[-1].incident.started_at - at(60)) <= 3 * MINUTE
