"""Clocks jump and are put right, nights have 23 or 25 hours, years have leap days: nothing is told that did not happen.

Upstream's clock is always right here; ours is what is wrong. Instants are kept in UTC, whatever the zone of the machine.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from listener import telemetry
from listener.catalog import Catalog
from listener.channels import Message
from listener.cli import wiring
from listener.config import Config
from listener.errors import SourceError
from listener.outbox import Outbox
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.roster import Roster, Source
from listener.signals import bins
from listener.sources import rss
from listener.store import Store, open_store
from listener.types import Hearing, IncidentState, Point, Post, SeriesKey, Transition
from tests.builders import MINUTE, post
from tests.test_telling import change

BELGRADE = ZoneInfo("Europe/Belgrade")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TEXTS = (Path(__file__).parent / "first_day" / "outage.txt").read_text(encoding="utf-8").splitlines()
EVENING = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
USUAL, OUTAGE = 0.08, 5.0  # complaints a minute


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(open_store("sqlite:///:memory:")) as store:
        yield store


@dataclass
class World:
    """People, and a daemon whose clock may be off."""

    pipeline: Pipeline
    store: Store
    now: datetime  # in truth
    off: timedelta = timedelta(0)
    told: list[Transition] = field(default_factory=list)

    def __post_init__(self) -> None:
        everywhere = dict.fromkeys(self.pipeline.catalog.regions, 1.0)
        self.recorder = Recorder(self.pipeline, self.store, {"bluesky": everywhere})
        self._rng = np.random.default_rng(3)
        self._count = 0

    def lives(self, length: timedelta, loudness: float | Callable[[datetime], float] = USUAL) -> list[Transition]:
        """So long, with so many complaints a minute; give back what was told of it."""
        before = len(self.told)
        for _ in range(length // MINUTE):
            mean = loudness(self.now) if callable(loudness) else loudness
            shown = bins.floor(self.now + self.off)
            posts = [self._complaint() for _ in range(self._rng.poisson(mean))]
            self.recorder.take(Batch(items=[*posts], hearing=[Hearing("bluesky", shown, 5, up=True)]))
            self.told += self.recorder.tick(shown + MINUTE)
            self.now += MINUTE
        return self.told[before:]

    def _complaint(self) -> Post:
        self._count += 1
        when = self.now + timedelta(seconds=self._rng.uniform(0, 59))
        return post(
            f"{TEXTS[self._count % len(TEXTS)]} {self._count}",
            id=f"bluesky:{self._count}",
            created_at=when,
            received_at=when + self.off,
            languages=("tr",),
        )

    def remembers(self, days: int, loudness: Callable[[datetime], float]) -> None:
        """What these days were like, as if they had been lived."""
        minutes = [self.now - n * MINUTE for n in range(days * 1440, 0, -1)]
        counts = self._rng.poisson([loudness(at) for at in minutes])
        key = SeriesKey("instagram", "TR")
        with self.store.transaction() as tx:
            tx.add_hearing([Hearing("bluesky", at, 5, up=True) for at in minutes])
            tx.put_points([Point(key, at, 0.9 * n, int(n), int(n)) for at, n in zip(minutes, counts, strict=True) if n])

    def no_length_is_negative(self) -> bool:
        found = self.store.incidents(limit=1000)
        return all(i.started_at <= i.updated_at and i.started_at <= (i.resolved_at or i.updated_at) for i in found)


def states(told: list[Transition]) -> list[str]:
    return [str(t.to_state) for t in told if t.incident.service == "instagram"]


JUMPS = [DAY, -DAY, -HOUR, timedelta(seconds=40)]


@pytest.mark.parametrize("off", JUMPS, ids=str)
def test_a_clock_that_jumps_and_is_put_right_raises_nothing_and_the_next_outage_is_noticed(
    pipeline: Pipeline, store: Store, off: timedelta
) -> None:
    world = World(pipeline, store, EVENING)
    assert world.lives(30 * MINUTE) == []
    world.off = off
    assert world.lives(20 * MINUTE) == []
    world.off = timedelta(0)
    assert world.lives(20 * MINUTE) == []
    told = world.lives(15 * MINUTE, OUTAGE)
    assert "firing" in states(told)
    assert told[0].at - (world.now - 15 * MINUTE) <= timedelta(minutes=6)
    assert states(world.lives(50 * MINUTE))[-1] == "resolved"
    assert world.no_length_is_negative()


@pytest.mark.parametrize(("off", "goes_on"), [(DAY, False), (-DAY, True), (-HOUR, False)], ids=str)
def test_an_incident_during_which_the_clock_jumps_ends_when_the_outage_ends(
    pipeline: Pipeline, store: Store, off: timedelta, *, goes_on: bool
) -> None:
    world = World(pipeline, store, EVENING)
    world.lives(30 * MINUTE)
    assert "firing" in states(world.lives(15 * MINUTE, OUTAGE))
    world.off = off
    world.lives(5 * MINUTE, OUTAGE)
    world.lives(35 * MINUTE, 2.0 if goes_on else 0.0)
    assert world.no_length_is_negative()
    world.off = timedelta(0)
    world.lives(5 * MINUTE, 2.0 if goes_on else 0.0)
    world.lives(50 * MINUTE, 0.0)
    ongoing = store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING))
    assert [incident.id for incident in ongoing] == []
    assert world.no_length_is_negative()
    assert len({t.id for t in world.told}) == len(world.told)


def course(at: datetime) -> float:
    """How loud people are by the clock on their wall: hardly at four in the morning, most at nine in the evening."""
    local = at.astimezone(BELGRADE)
    hour = local.hour + local.minute / 60
    return 0.15 * (1 + math.cos((hour - 21) * math.pi / 12)) + 0.01


NIGHTS = {
    "of 25 hours": datetime(2026, 10, 25, 0, 0, tzinfo=UTC),  # the clocks change in the middle of what is lived
    "of 23 hours": datetime(2026, 3, 29, 0, 0, tzinfo=UTC),
    "before the leap day": datetime(2028, 2, 28, 23, 0, tzinfo=UTC),
    "after the leap day": datetime(2028, 2, 29, 23, 0, tzinfo=UTC),
}


@pytest.mark.parametrize("began", NIGHTS.values(), ids=NIGHTS)
def test_a_night_of_another_length_and_a_leap_day_are_nights_like_any_other(
    pipeline: Pipeline, store: Store, began: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Belgrade")
    time.tzset()
    try:
        world = World(pipeline, store, began)
        world.remembers(14, course)
        assert world.lives(2 * HOUR, course) == []
        assert "firing" in states(world.lives(15 * MINUTE, OUTAGE))
        fired = next(t for t in world.told if t.to_state is IncidentState.FIRING)
        assert f"{began + 2 * HOUR:%Y%m%d}" in fired.incident.id
        heard = [one.at for one in store.hearing(began, world.now)]
        assert heard == [began + n * MINUTE for n in range((world.now - began) // MINUTE)], (
            "no minute twice, none left out"
        )
        assert all(point.at.tzinfo is UTC for point in store.points(since=began))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_zone_of_the_machine_changes_nothing(pipeline: Pipeline) -> None:
    told = []
    for zone in ("UTC", "Europe/Belgrade", "Pacific/Kiritimati"):
        was = os.environ.get("TZ")
        os.environ["TZ"] = zone
        time.tzset()
        try:
            with closing(open_store("sqlite:///:memory:")) as store:
                world = World(pipeline, store, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
                world.lives(30 * MINUTE)
                world.lives(20 * MINUTE, OUTAGE)
                told.append((world.told, store.points(), store.hearing(world.now - DAY, world.now)))
        finally:
            os.environ.pop("TZ") if was is None else os.environ.update(TZ=was)
            time.tzset()
    assert told[0][0]
    assert told[0] == told[1] == told[2]


def test_a_source_that_fell_silent_is_not_heard_for_as_long_as_the_clock_was_ahead() -> None:
    source = Source("feed", "rss", rss, rss.Options(), every=MINUTE)
    roster = Roster([source], random.Random(1))
    roster.heard("feed", EVENING + DAY)  # by a clock that is a day ahead
    assert roster.is_up("feed", EVENING + DAY + MINUTE)
    assert not roster.is_up("feed", EVENING + HOUR), "the clock was put right, and nothing came since"
    roster.heard("feed", EVENING + HOUR + timedelta(seconds=4))
    assert roster.is_up("feed", EVENING + HOUR), "heard in the seconds after the minute"


class Ear(ModuleType):
    """A channel's module whose receiver is away at first."""

    is_away = True

    def __init__(self) -> None:
        super().__init__("ear")
        self.heard: list[str] = []

    async def send(self, message: Message, options: Any) -> None:
        if self.is_away:
            raise SourceError("nobody there", reason="unreachable")
        self.heard.append(message.id)


def test_what_failed_while_the_clock_was_ahead_is_told_at_once_when_it_is_put_right(
    store: Store, catalog: Catalog
) -> None:
    now, ear = [EVENING + DAY], Ear()
    channel = replace(wiring.channels(Config(), catalog)[0], module=ear)

    async def write(work: Callable[[], None]) -> None:
        work()

    box = Outbox(
        store,
        [channel],
        write=write,
        clock=lambda: now[0],
        metrics=telemetry.Metrics("test"),
        random=random.Random(1),
        told_from=datetime(2000, 1, 1, tzinfo=UTC),
    )
    happened = change("firing", moment=EVENING)
    with store.transaction() as tx:
        tx.put_transitions([happened])
    asyncio.run(box.tell(channel))
    assert [told.outcome for told in store.notifications()] == ["failed"]
    ear.is_away = False
    asyncio.run(box.tell(channel))
    assert ear.heard == [], "it is not tried again at once"
    now[0] = EVENING
    asyncio.run(box.tell(channel))
    assert ear.heard == [happened.id]
