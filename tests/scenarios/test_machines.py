"""Like machines, each playing every role over a real nats-server and a real PostgreSQL, as an operator runs them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError, URLError

import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from listener import minutes
from listener.bus import open_bus
from listener.classify.folder import digest_at
from listener.config import Bus as Settings
from listener.drifting import DRIFT
from listener.pipeline import Pipeline
from listener.promotion import promote
from listener.recorder import Batch, Recorder
from listener.roles.crew import Crew
from listener.roles.lane import Lane, lane_of, put_lane
from listener.roles.turns import OutOfTurnError, Turns
from listener.store import Store, open_store
from listener.takeover import MODEL, Takeover
from listener.telemetry import Metrics
from listener.types import Tally
from tests.builders import post
from tests.conftest import ROOT
from tests.servers import nats, postgres
from tests.servers.process import fetch, free_port
from tests.servers.roles import Theatre
from tests.small_model import small_model
from tests.test_takeover import AT, Feed

pytestmark = pytest.mark.anyio

KEY = "a key of the tests"
MACHINES = ("one", "two")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_model(tmp_path / "seed-1", 1)
    small_model(tmp_path / "models" / "current", 0)
    (tmp_path / "said.jsonl").touch()
    return tmp_path


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


def models_of(url: str) -> dict[str, str]:
    """The model each mention was judged by, by post id; fails when a post is there twice."""
    server, _, schema = url.partition("?schema=")
    with psycopg.connect(server) as db:
        try:
            rows = db.execute(sql.SQL("SELECT id, model FROM {}").format(sql.Identifier(schema, "mentions"))).fetchall()
        except psycopg.errors.UndefinedTable:
            return {}  # not made yet
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def asked(url: str) -> str:
    """What a page says, nothing while its process begins."""
    try:
        return fetch(url)
    except HTTPError as refused:
        return refused.read().decode()
    except URLError:
        return ""


def until(true: Callable[[], object], theatre: Theatre) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline, theatre.said()
        theatre.look()
        time.sleep(0.2)


def test_machines_take_a_promoted_model_over_while_one_is_killed_and_no_post_is_lost_or_doubled(
    folder: Path, environ: dict[str, str], place: tuple[str, str], url: str
) -> None:
    current = folder / "models" / "current"
    also = (
        f'[paths]\nmodel = "{current}"\n'
        f'[[source]]\nkind = "jsonl"\nname = "said"\npath = "{folder}/said.jsonl"\nfollow = true\nevery = "100ms"\n'
    )
    first, second = digest_at(current), digest_at(folder / "seed-1")
    with contextlib.ExitStack() as stack:
        theatre = Theatre(folder, {**environ, "LISTENER_PRIVACY_AUTHOR_KEY": KEY}, *place, url, also=also)
        stack.callback(theatre.end)
        bases = []
        for name in MACHINES:
            port = free_port()
            bases.append(f"http://127.0.0.1:{port}")
            settings = {"LISTENER_WEB_ENABLED": "true", "LISTENER_WEB_PORT": str(port)}
            theatre.plays(name, "--roles", "ingest,understand,watch,web", **settings)
        feed = stack.enter_context(Feed(folder / "said.jsonl"))
        until(lambda: len(models_of(url)) > 20, theatre)
        until(lambda: all(first in asked(f"{base}/metrics") for base in bases), theatre)

        promote(folder / "seed-1", current, floors=ROOT / "models" / "floors.json", at=AT, who="x")
        theatre.kill(theatre.leader(MACHINES))
        until(lambda: all(f'model_info{{digest="{second}"}} 1' in asked(f"{base}/metrics") for base in bases), theatre)
        until(lambda: all(second[:19] in asked(f"{base}/sources") for base in bases), theatre)
        many = feed.written
        until(lambda: models_of(url).get(f"jsonl:{many + 1:06}") == second, theatre)
        feed.end()
        until(lambda: len(models_of(url)) == feed.written, theatre)

        assert [asked(f"{base}/readyz") for base in bases] == ["ready\n", "ready\n"]
        posts = [asked(f"{base}/api/v1/posts?service=instagram") for base in bases]
        assert posts[0] == posts[1]
        assert '"source":"said"' in posts[0]
        told = Counter(line for base in bases for line in asked(f"{base}/metrics").splitlines() if "leads{" in line)
        assert told == {
            f'listener_leads{{role="{role}"}} {n}': 1 for role in ("ingest", "watch") for n in ("0.0", "1.0")
        }
        theatre.end()
        models = models_of(url)
    assert sorted(models) == [f"jsonl:{n + 1:06}" for n in range(feed.written)], "each once"
    assert set(models.values()) == {first, second}


def strange(digest: str) -> Iterator[Tally]:
    """Weeks of a source until a Monday, in whose last days half of the words were unknown."""
    for before in range(77, 0, -1):
        unknown = 900 if before <= 3 else 300 + before % 7 * 10
        counts = {("score", "0"): 300, ("language", "tr"): 300, ("words", "unknown"): unknown}
        for key, count in (counts | {("words", "known"): 2_000 - unknown}).items():
            yield Tally((date(2026, 3, 2) - timedelta(before)).isoformat(), "forum", digest, *key, count)


async def test_who_leads_the_watch_looks_for_drift_and_who_takes_over_does_not_tell_it_again(
    pipeline: Pipeline, place: tuple[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minutes, "GRACE", timedelta(0))
    now = datetime(2026, 3, 2, 11, 59, 58, tzinfo=UTC)
    async with AsyncExitStack() as stack:
        stores = [stack.enter_context(closing(open_store(url, exclusive=False))) for _ in range(2)]
        with stores[0].transaction() as tx:
            tx.add_tallies(list(strange(pipeline.classifier.digest)))
            put_lane(tx, Lane(epoch=1, until=now, watched=now.replace(second=0)))
        bus = await open_bus(Settings(url=place[0], stream=place[1]))
        stack.push_async_callback(bus.close)

        async def leads(store: Store, minute: datetime) -> tuple[list[str], str]:
            """What a watch logs, and its metrics, when it was alone at the end of a minute."""
            metrics = Metrics("test")
            crew = Crew(
                {"watch": store},
                bus,
                metrics=metrics,
                clock=lambda: minute + timedelta(minutes=2),
                redeliver_after=timedelta(seconds=2),
                pipeline=pipeline,
            )
            with capture_logs() as lines:
                playing = asyncio.create_task(crew.run())
                async with asyncio.timeout(30):
                    while (lane_of(store).watched or now) < minute:
                        await bus.rung(bus.rings, 0.05)
                crew.stop()
                await playing
            return [line["event"] for line in lines if "drift" in line["event"] or "labels" in line["event"]], (
                metrics.render().decode()
            )

        told, exposed = await leads(stores[0], now.replace(minute=0, hour=12, second=0))
        assert told == ["labels_wanted"]
        assert "listener_labels_wanted_sources 1.0" in exposed
        assert 'listener_drift_ratio{measure="words",source="forum"}' in exposed
        assert '"forum"' in (stores[1].mark(DRIFT) or "")
        stores[0].close()  # as when its process ends
        told, exposed = await leads(stores[1], now.replace(minute=3, hour=12, second=0))
        assert told == []
        assert "listener_labels_wanted_sources 1.0" in exposed


async def test_of_many_processes_only_the_one_that_watches_says_which_model_is_in_force(
    pipeline: Pipeline, folder: Path
) -> None:
    leads, current = False, folder / "models" / "current"

    async def write(work: Callable[[], None]) -> None:
        work()

    with closing(open_store("sqlite:///:memory:")) as store:
        first, second = Recorder(pipeline, store), Recorder(pipeline, store)
        takeover = Takeover(
            current,
            first,
            store,
            write=write,
            clock=lambda: AT,
            metrics=Metrics("test"),
            others=[(second, write)],
            speaks=lambda: leads,
        )
        await takeover.look()
        assert first.pipeline.classifier.digest == digest_at(current)
        assert first.pipeline.classifier is second.pipeline.classifier, "loaded once"
        assert store.mark(MODEL) is None
        leads = True
        await takeover.look()
        assert digest_at(current) in (store.mark(MODEL) or "")


def test_who_listens_no_more_says_nothing_of_the_sources() -> None:
    metrics = Metrics("test")
    metrics.source_success.labels("press").set(1)
    metrics.source_lag.labels("press").set(1)
    metrics.listens_no_more()
    assert "press" not in metrics.render().decode()


def test_a_batch_that_somebody_else_stored_is_not_counted_for_drift(pipeline: Pipeline) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        understood = recorder.understood(Batch([post(id=f"t:{n}") for n in range(9)]))
        with pytest.raises(OutOfTurnError):  # there is no such epoch
            recorder.keep(understood, Turns().turn(1, 1, None))
        recorder.keep(understood)
        assert sum(tally.count for tally in store.tallies("") if tally.measure == "score") == 9
