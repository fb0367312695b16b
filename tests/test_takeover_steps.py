"""Look after look at the folder of a model: what is taken over, what is refused, what is said of it, and by whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from listener import telemetry
from listener.classify.classifier import Classifier
from listener.classify.folder import digest_at
from listener.store import Store, open_store
from listener.takeover import MODEL, Takeover
from listener.text.language import Identifier
from tests.builders import at
from tests.small_model import small_model


class Judge:
    """As much of a recorder as judges."""

    def __init__(self, folder: Path) -> None:
        self.adopt(Classifier.load(folder), Identifier.load(folder))

    def adopt(self, classifier: Classifier, identifier: Identifier) -> None:
        self.pipeline = SimpleNamespace(classifier=classifier, identifier=identifier)


@dataclass
class Daemon:
    """A recorder, its store and the folder its model came from, looked at by hand."""

    folder: Path
    store: Store
    recorder: Judge
    now: datetime = field(default_factory=lambda: at(0))
    writes: list[str] = field(default_factory=list)
    metrics: telemetry.Metrics = field(default_factory=lambda: telemetry.Metrics("test"))

    def __post_init__(self) -> None:
        self.takeover = self.watching()

    def watching(self, **changes: Any) -> Takeover:
        return Takeover(
            self.folder,
            self.recorder,  # type: ignore[arg-type] # a fake
            self.store,
            write=self.writer("own"),
            clock=lambda: self.now,
            metrics=self.metrics,
            **changes,
        )

    def writer(self, name: str) -> Callable[[Callable[[], None]], Any]:
        async def write(work: Callable[[], None]) -> None:
            self.writes.append(name)
            work()

        return write

    def look(self, takeover: Takeover | None = None) -> None:
        asyncio.run((takeover or self.takeover).look())

    @property
    def said(self) -> dict[str, Any]:
        mark = self.store.mark(MODEL)
        made: dict[str, Any] = json.loads(mark) if mark else {}
        return made

    @property
    def in_force(self) -> str:
        return str(self.recorder.pipeline.classifier.digest)

    def metric(self, name: str) -> list[str]:
        return [line for line in self.metrics.render().decode().splitlines() if line.startswith(name)]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    folder = small_model(tmp_path / "current", 0)
    with closing(open_store("sqlite:///:memory:")) as store:
        yield Daemon(folder, store, Judge(folder))


def replaced(folder: Path, seed: int, scores: dict[str, Any] | None = None) -> str:
    """Another model in the same folder; gives back its digest."""
    for old in folder.iterdir():
        old.unlink()
    folder.rmdir()
    small_model(folder, seed, scores)
    return digest_at(folder)


def spoiled(folder: Path) -> None:
    (folder / "arrays.npz").write_bytes(b"no model at all")


def test_the_first_look_says_what_is_in_force_and_since_when(daemon: Daemon) -> None:
    daemon.look()
    assert daemon.said["digest"] == daemon.in_force == digest_at(daemon.folder)
    assert daemon.said["since"] == at(0).isoformat(timespec="seconds")
    assert daemon.said["refused"] == ""
    assert {"f1", "ap", "ece"} <= daemon.said["figures"].keys()
    assert all(isinstance(value, float) for value in daemon.said["figures"].values())


def test_another_model_is_taken_over_at_the_next_look(daemon: Daemon) -> None:
    daemon.look()
    second = replaced(daemon.folder, 1, {"all": {"f1": 0.5, "unknown": 0.1}})
    daemon.now = at(5)
    daemon.look()
    assert daemon.in_force == daemon.said["digest"] == second
    assert daemon.said["since"] == at(5).isoformat(timespec="seconds")
    assert daemon.said["figures"] == {"f1": 0.5}
    assert daemon.metric("listener_model_info") == [f'listener_model_info{{digest="{second}"}} 1.0']
    assert daemon.metric("listener_model_refused ") == ["listener_model_refused 0.0"]


def test_since_stays_while_the_same_model_is_in_force_also_over_a_restart(daemon: Daemon) -> None:
    daemon.look()
    daemon.now = at(60)
    daemon.look(daemon.watching())
    assert daemon.said["since"] == at(0).isoformat(timespec="seconds")


def test_a_folder_that_did_not_change_is_not_read_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.look()
    many = len(daemon.writes)
    monkeypatch.setattr(Takeover, "_loaded", lambda self: pytest.fail("it was read"))
    daemon.look()
    daemon.look()
    assert len(daemon.writes) == many


def test_a_broken_model_is_refused_at_the_second_look_and_the_old_one_goes_on(daemon: Daemon) -> None:
    """At the first look it may only have been caught half-way."""
    daemon.look()
    before = daemon.in_force
    spoiled(daemon.folder)
    daemon.look()
    assert daemon.said["refused"] == ""
    with capture_logs() as lines:
        daemon.look()
        daemon.look()
    assert [line["event"] for line in lines] == ["model_refused"], "said once"
    assert "arrays.npz" in daemon.said["refused"]
    assert daemon.said["digest"] == daemon.in_force == before
    assert daemon.metric("listener_model_refused ") == ["listener_model_refused 1.0"]


def test_a_whole_model_after_a_broken_one_is_taken_over_and_no_longer_refused(daemon: Daemon) -> None:
    daemon.look()
    spoiled(daemon.folder)
    daemon.look()
    daemon.look()
    second = replaced(daemon.folder, 2)
    daemon.look()
    assert (daemon.in_force, daemon.said["refused"]) == (second, "")


def test_the_model_in_force_put_back_after_a_broken_one_is_no_longer_refused(daemon: Daemon) -> None:
    daemon.look()
    first = daemon.in_force
    spoiled(daemon.folder)
    daemon.look()
    daemon.look()
    assert replaced(daemon.folder, 0) == first
    daemon.look()
    assert (daemon.in_force, daemon.said["digest"], daemon.said["refused"]) == (first, first, "")


def test_a_folder_that_is_gone_is_said_once_and_changes_nothing(daemon: Daemon) -> None:
    daemon.look()
    before = daemon.in_force
    for file in daemon.folder.iterdir():
        file.unlink()
    with capture_logs() as lines:
        for _ in range(4):
            daemon.look()
    assert daemon.in_force == before
    assert "no model here" in daemon.said["refused"]
    assert [line["event"] for line in lines] == ["model_refused"]


def test_a_model_that_changes_while_it_is_read_waits_for_the_next_look(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.look()
    before = daemon.in_force
    replaced(daemon.folder, 1)
    load = Takeover._loaded

    def while_it_is_replaced(self: Takeover) -> Any:
        found = load(self)
        replaced(daemon.folder, 2)
        return found

    monkeypatch.setattr(Takeover, "_loaded", while_it_is_replaced)
    daemon.look()
    assert daemon.in_force == before
    monkeypatch.setattr(Takeover, "_loaded", load)
    daemon.look()
    assert daemon.in_force == digest_at(daemon.folder)


def test_others_are_given_the_model_on_their_own_threads_before_it_is_said(daemon: Daemon) -> None:
    other = Judge(daemon.folder)
    takeover = daemon.watching(others=[(other, daemon.writer("other"))])
    daemon.look(takeover)
    second = replaced(daemon.folder, 1)
    daemon.writes.clear()
    daemon.look(takeover)
    assert other.pipeline.classifier.digest == daemon.in_force == second
    assert daemon.writes == ["other", "own"]


def test_who_does_not_speak_for_all_takes_over_and_says_nothing_until_it_falls_to_it(daemon: Daemon) -> None:
    speaks = False
    takeover = daemon.watching(speaks=lambda: speaks)
    daemon.look(takeover)
    second = replaced(daemon.folder, 1)
    daemon.look(takeover)
    assert daemon.in_force == second
    assert daemon.said == {}
    speaks = True
    daemon.look(takeover)
    assert daemon.said["digest"] == second


def test_nothing_is_written_when_there_is_nothing_new_to_say(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.look()
    monkeypatch.setattr(daemon.store, "transaction", lambda: pytest.fail("it was written again"))
    daemon.look(daemon.watching())


def test_it_looks_again_and_again(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.takeover.LOOK_EVERY", 0.01)

    async def scenario() -> None:
        running = asyncio.create_task(daemon.takeover.run())
        async with asyncio.timeout(30):
            while not daemon.said:
                await asyncio.sleep(0.01)
            second = replaced(daemon.folder, 1)
            while daemon.in_force != second:
                await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(scenario())
