"""Dead letters are shown, taken up again once what broke is mended, or removed; over a real nats-server and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.bus import DeadLetter, open_bus
from listener.bus.inprocess import InProcessBus
from listener.cli.dead import Listing, dead_letters
from listener.config import Bus as Settings
from listener.errors import InputError, ListenerError
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.roles.crew import Crew
from listener.roles.dead import BreaksError, take_up
from listener.roles.lane import Lane, lane_of, packed, packed_post, put_lane
from listener.store import open_store
from listener.telemetry import Metrics
from listener.types import IncidentState, Post
from tests.builders import at, post
from tests.servers import nats, postgres

REASON = "RuntimeError: too much for me"


@pytest.fixture
def place() -> Iterator[tuple[str, str]]:
    """A nats-server, and a stream that is not there yet."""
    with nats.stream() as place:
        yield place


@pytest.fixture
def url() -> Iterator[str]:
    """A store in PostgreSQL that is not made yet."""
    with postgres.empty_store() as url:
        yield url


def buried(place: tuple[str, str], letters: list[tuple[str, bytes, str]]) -> None:
    async def work() -> None:
        bus = await open_bus(Settings(url=place[0], stream=place[1]))
        for letter in letters:
            await bus.bury(*letter)
        await bus.close()

    asyncio.run(work())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder and an environment in which nothing is configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    return monkeypatch


def test_they_are_listed_taken_up_again_and_removed(
    place: tuple[str, str], url: str, own: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (batch,) = packed(Batch([post(id="t:2"), post("hava güzel", id="t:3")], {"t": "behind t:3"}), None, 10_000)
    letters = [
        ("7-1-0-t:1", packed_post(post(id="t:1", author="a")), REASON),
        ("7-2-0", batch, "given out 13 times, never stored"),
        ("7-3-0", b"\xc1", "unreadable"),
    ]
    buried(place, letters)
    for name, value in (("BUS_URL", place[0]), ("BUS_STREAM", place[1]), ("PATHS_STORE", url)):
        own.setenv(f"LISTENER_{name}", value)

    def said(**asked: Any) -> list[str]:
        dead_letters(**asked)
        return capsys.readouterr().out.splitlines()

    shown = said()
    for words in (REASON, "t:1", "2 posts", "1 bytes nobody can read"):
        assert words in "\n".join(shown)
    (row,) = map(json.loads, said(numbers=[1], format=Listing.jsonl))
    assert (row["number"], row["id"], row["reason"]) == (1, "7-1-0-t:1", REASON)
    assert row["posts"][0]["text"] == post().text

    with pytest.raises(ListenerError, match="1 dead letter left as it was"):
        said(replay=True, every=True)
    assert capsys.readouterr().out.splitlines() == [
        "1: 1 stored",
        "2: 1 stored, 1 dropped (no_match)",
        "3: still breaks: unreadable",
    ]
    with closing(open_store(url)) as store:
        assert {mention.post.id for mention in store.mentions()} == {"t:1", "t:2"}
        assert store.cursor("t") is None, "the source has gone on since"
        assert lane_of(store).changed == at(0)

    with pytest.raises(InputError, match="no dead letter 4"):
        said(remove=True, numbers=[4])
    assert said(remove=True, numbers=[3]) == ["1 dead letter removed"]
    assert said()[-1].strip() == "no dead letters"


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "dead letters lie on a bus"),
        ({"bus": "local:"}, "dead letters lie on a bus"),
        ({"bus": "nats://127.0.0.1:1", "replay": True, "remove": True}, "give one of"),
        ({"bus": "nats://127.0.0.1:1", "replay": True}, "say which: their numbers, or --all"),
        ({"bus": "nats://127.0.0.1:1", "remove": True, "numbers": [1], "every": True}, "say which"),
        ({"bus": "nats://127.0.0.1:1", "replay": True, "every": True}, "a SQLite store is one process's alone"),
    ],
)
def test_what_can_not_be_asked_is_refused(asked: dict[str, Any], why: str, own: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=why):
        dead_letters(**asked)


def test_a_post_that_still_breaks_our_code_changes_nothing(pipeline: Pipeline) -> None:
    class Breaking(Pipeline):
        def understand(self, *_: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("too much for me")

    broken = Breaking(**{name: getattr(pipeline, name) for name in pipeline.__dataclass_fields__})
    with closing(open_store("sqlite:///:memory:")) as store:
        with pytest.raises(BreaksError, match=REASON):
            take_up(DeadLetter(1, "7-1-0", packed_post(post()), REASON), Recorder(broken, store))
        assert store.mentions() == []
        assert lane_of(store) == Lane()


@pytest.mark.anyio
async def test_what_is_taken_up_again_counts_for_who_watches(pipeline: Pipeline, anyio_backend: str) -> None:
    now = at(1.5)

    def voices() -> list[Post]:
        return [post(f"instagram çöktü mü {n}", id=f"t:{n}", author=f"a{n}", minutes=1) for n in range(60)]

    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        recorder.take(Batch([post(id="t:x")]))
        with store.transaction() as tx:
            put_lane(tx, Lane(epoch=1, until=at(1)))
        bus, metrics = InProcessBus(Settings(url="local:")), Metrics("test")
        watch = Crew(
            {"watch": store},
            bus,
            metrics=metrics,
            clock=lambda: now,
            redeliver_after=timedelta(seconds=2),
            pipeline=pipeline,
        )
        playing = asyncio.create_task(watch.run())

        async def until(true: Callable[[], bool]) -> None:
            async with asyncio.timeout(20):
                while not true():
                    await bus.rung(bus.rings, 0.02)

        def watched() -> datetime | None:
            return lane_of(store).watched

        await until(lambda: watched() == at(1))
        (body,) = packed(Batch(list(voices())), None, 1 << 20)
        take_up(DeadLetter(1, "1-1-0", body, REASON), recorder)
        now = at(5)
        with store.transaction() as tx:
            put_lane(tx, Lane(epoch=1, until=at(4), watched=at(1), changed=lane_of(store).changed, beside=1))
        await until(lambda: watched() == at(4))
        told = metrics.render().decode()
        watch.stop()
        await playing
        assert store.incidents(states=(IncidentState.FIRING,), limit=10)
        assert 'listener_incidents_open{region="TR"} 1.0' in told
        assert 'listener_signal_ratio{region="TR",service="instagram"}' in told
