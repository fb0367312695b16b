"""Many processes give the same incidents as one, byte for byte, whoever is killed on the way.

An archive is fed to roles on a real nats-server and a real PostgreSQL while workers, the leader of the watch, the ingest,
nats-server and PostgreSQL are killed (SIGKILL) and started again. The long form kills each of them ten times:

    LISTENER_TEST_KILLS=10 python -m pytest -s -p no:xdist tests/scenarios/test_roles.py
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from listener import config as configs
from listener import minutes
from listener.bus import Bus
from listener.bus.inprocess import InProcessBus
from listener.config import Bus as Settings
from listener.intake import Intake
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.replay import Archive, replay
from listener.roles import ingest
from listener.roles.archive import Paced
from listener.roles.crew import Crew
from listener.roles.ingest import MOST_UNCONFIRMED
from listener.roles.lane import Lane, lane_of, opened, packed, put_lane
from listener.roles.understand import MOST_TRIES
from listener.roster import Source
from listener.sources import jsonl
from listener.store import Store, open_store
from listener.telemetry import Metrics
from listener.types import Delete, Dropped, Mention, Point, Post, SourceHealth, Transition
from tests.builders import hearing, post
from tests.conftest import ROOT, Command
from tests.servers import nats, postgres
from tests.servers.driving import net
from tests.servers.roles import Theatre

pytestmark = pytest.mark.anyio

KILLS = int(os.environ.get("LISTENER_TEST_KILLS", "1"))  # of each
SEED = int(os.environ.get("LISTENER_TEST_SEED", "5"))
IS_LONG = KILLS > 3
DAY = ROOT / "data" / "samples" / "day.jsonl"
SPAN = ("2026-03-12T12:30", "2026-03-12T16:00") if IS_LONG else ("2026-03-12T13:55", "2026-03-12T14:18")
END = datetime(2026, 3, 12, *((16, 30) if IS_LONG else (14, 21)), tzinfo=UTC)
PATIENCE = 120.0 + 120.0 * KILLS  # seconds
WORKERS = ("one", "two")  # each understands and may watch


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Outcome:
    """What is in a store in the end."""

    transitions: list[Transition]
    mentions: list[Mention]
    points: list[Point]
    dropped: dict[tuple[str, str], int]


def outcome(store: Store) -> Outcome:
    return Outcome(store.transitions(limit=100_000), store.mentions(limit=1_000_000), store.points(), store.dropped())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Part of the synthetic day: some quiet, and an outage in several countries."""
    path = tmp_path_factory.mktemp("archive") / "part.jsonl"
    lines = DAY.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if SPAN[0] <= json.loads(line)["created_at"] < SPAN[1]]
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def deciding(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """With the digest of a config that was read, as every process has it."""
    empty = tmp_path_factory.mktemp("config") / "listener.toml"
    empty.write_text("default_sources = false\n")
    return replace(pipeline, config=configs.load(empty, {}))


@pytest.fixture(scope="module")
def alone(path: Path, deciding: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Outcome]:
    """The URL of what one process made of the archive, and what it is."""
    url = f"sqlite:///{tmp_path_factory.mktemp('alone') / 'listener.db'}"
    with contextlib.closing(open_store(url)) as store:
        assert list(replay(Archive([path], pytest.fail), Recorder(deciding, store), store, until=END))
        return url, outcome(store)


def crew(roles: Sequence[str], store: Store, bus: Bus, pipeline: Pipeline, path: Path | None = None) -> Crew:
    return Crew(
        dict.fromkeys(roles, store),
        bus,
        metrics=Metrics("test"),
        clock=lambda: datetime.now(UTC),
        redeliver_after=timedelta(seconds=2),
        pipeline=pipeline,
        archive=Paced(Archive([path], pytest.fail), END) if path else None,
    )


@asynccontextmanager
async def playing(*crews: Crew) -> AsyncIterator[None]:
    """They play until this is left."""
    tasks = [asyncio.create_task(one.run()) for one in crews]
    try:
        yield
    finally:
        for one in crews:
            one.stop()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_any_number_of_workers_gives_what_one_process_gives(
    workers: int, path: Path, deciding: Pipeline, alone: tuple[str, Outcome], tmp_path: Path
) -> None:
    bus = InProcessBus(Settings(url="local:"))
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        others = [crew(["understand"], store, bus, deciding) for _ in range(workers)]
        async with playing(crew(["watch"], store, bus, deciding), *others):
            await crew(["ingest"], store, bus, deciding, path).run()
        assert outcome(store) == alone[1]


async def test_posts_that_break_our_code_are_buried_with_the_reason_and_stop_nobody(
    path: Path, deciding: Pipeline, tmp_path: Path
) -> None:
    class Breaking(Pipeline):
        def understand(self, posts: Sequence[Post], habits: object = None) -> list[Mention | Dropped]:
            if any(post.id.endswith("7") for post in posts):
                raise RuntimeError("sevens are too much for me")
            return super().understand(posts)

    broken = Breaking(**{name: getattr(deciding, name) for name in deciding.__dataclass_fields__})
    bus = InProcessBus(Settings(url="local:"))
    ids = [post.id for post in Archive([path], pytest.fail).posts() if post.received_at < END]
    sevens = [id for id in ids if id.endswith("7")]
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        await bus.publish("not a batch", b"?")
        await crew(["ingest", "understand", "watch"], store, bus, broken, path).run()
        kept, dropped = {mention.post.id for mention in store.mentions(limit=10_000)}, store.dropped()
    reasons = Counter(letter.reason for letter in await bus.dead_letters())
    assert reasons == {"RuntimeError: sevens are too much for me": len(sevens), "not a batch of ours": 1}
    assert sum(count for (_, reason), count in dropped.items() if reason == "poison") == len(sevens)
    assert sum(dropped.values()) + len(kept) == len(ids)
    assert not kept & set(sevens)


async def test_a_batch_nobody_can_read_or_survive_is_buried_and_the_next_one_stored(
    deciding: Pipeline, tmp_path: Path
) -> None:
    bus = InProcessBus(Settings(url="local:"))
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        with store.transaction() as tx:
            put_lane(tx, Lane(epoch=7))
        await bus.publish("6-1-0", b"of an ingest that is no more")
        await bus.publish("7-1-0", b"\xc1 no batch at all")
        (deadly,) = packed(Batch([post(id="test:1")], {"test": "after 1"}), None, bus.largest)
        await bus.publish("7-2-0", deadly)
        for _ in range(MOST_TRIES):
            held = [await bus.fetch(1) for _ in range(3)]  # then their worker dies
            for delivery in held:
                assert delivery is not None
                await delivery.give_back()
        (fine,) = packed(Batch([post(id="test:2")], {"test": "after 2"}), None, bus.largest)
        await bus.publish("7-3-0", fine)
        async with playing(crew(["understand"], store, bus, deciding)), asyncio.timeout(20):
            while lane_of(store).done < 3:
                await bus.rung(bus.rings, 0.1)
        assert [m.post.id for m in store.mentions()] == ["test:2"]
        assert store.cursor("test") == "after 2"
    letters = await bus.dead_letters()
    assert letters[1].body == deadly
    assert [(letter.id, letter.reason.partition(":")[0]) for letter in letters] == [
        ("7-1-0", "unreadable"),
        ("7-2-0", "given out 13 times, never stored"),
    ]


class Losing(InProcessBus):
    """Forgets every fifth batch it took the first time."""

    async def publish(self, id: str, body: bytes) -> None:
        _, number, copy = id.split("-")
        if int(number) % 5 or int(copy):
            await super().publish(id, body)


async def test_what_the_bus_loses_is_published_again(
    path: Path, deciding: Pipeline, alone: tuple[str, Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "LOST_AFTER", 0.3)
    bus = Losing(Settings(url="local:"))
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        async with playing(crew(["understand", "watch"], store, bus, deciding)):
            await crew(["ingest"], store, bus, deciding, path).run()
        assert outcome(store) == alone[1]


async def test_an_ingest_that_stands_by_goes_on_from_the_cursor(
    path: Path, deciding: Pipeline, alone: tuple[str, Outcome]
) -> None:
    with postgres.empty_store() as url:
        bus = InProcessBus(Settings(url="local:"))
        stores = [open_store(url, exclusive=False) for _ in range(3)]
        first, second = (crew(["ingest"], store, bus, deciding, path) for store in stores[:2])
        try:
            async with playing(crew(["understand", "watch"], stores[2], bus, deciding)):
                leading, standing_by = asyncio.create_task(first.run()), asyncio.create_task(second.run())
                while (await asyncio.to_thread(lane_of, stores[2])).done < 5:
                    await bus.rung(bus.rings, 1)
                assert not standing_by.done()
                first.stop()
                await leading
                stores[0].close()  # as when its process ends
                await standing_by
            assert outcome(stores[2]) == alone[1]
        finally:
            for store in stores:
                store.close()


class Endless:
    """More batches than may be on their way."""

    name = "endless"

    def __init__(self, count: int) -> None:
        self.count, self.given = count, 0

    def batches(self, cursor: str | None) -> Iterator[tuple[Batch, datetime | None]]:
        while self.given < self.count:
            self.given += 1
            yield Batch(), None


async def test_without_workers_ingest_waits_with_what_it_may_have_on_its_way(
    deciding: Pipeline, tmp_path: Path
) -> None:
    bus, endless = InProcessBus(Settings(url="local:")), Endless(MOST_UNCONFIRMED + 20)
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        feeding = crew(["ingest"], store, bus, deciding)
        feeding.archive = endless
        task = asyncio.create_task(feeding.run())
        await asyncio.wait([task], timeout=0.7)
        assert endless.given == MOST_UNCONFIRMED + 1
        async with playing(crew(["understand"], store, bus, deciding)):
            await asyncio.wait_for(task, 20)
        assert lane_of(store).done == endless.count


def test_what_an_author_wrote_meanwhile_counts_as_if_it_had_been_known(deciding: Pipeline) -> None:
    earlier = Batch([post("pao je instagram ovde u Nišu, ne učitava ništa", id="t:1", author="a")])
    later = Batch([post("instagram opet ne radi", id="t:2", author="a", minutes=1440), post(id="t:3", minutes=1440)])
    kept = []
    for is_early in (False, True):
        with contextlib.closing(open_store("sqlite:///:memory:")) as store:
            recorder = Recorder(deciding, store)
            understood = recorder.understood(later)
            recorder.take(earlier)
            recorder.keep(recorder.brought_up(understood if is_early else recorder.understood(later)))
            kept.append(store.mentions())
    assert kept[0] == kept[1]
    assert any("author" in region.evidence for region in kept[0][0].regions + kept[0][1].regions)


def test_a_batch_arrives_as_it_was_sent() -> None:
    batch = Batch(
        [post(id="test:1", languages=("tr",)), Delete("test", post().created_at, author="x")],
        {"test": "cursor"},
        [hearing()],
        [SourceHealth("test", "jsonl", last_success_at=post().created_at, lag=timedelta(seconds=1.5))],
        [("test", "malformed")],
        Counter({("test", "no_match"): 7}),
    )
    assert all(getattr(batch, field.name) for field in fields(batch))
    (body,) = packed(batch, None, 10_000)
    assert opened(body).batch() == batch


def test_a_batch_larger_than_the_bus_takes_travels_in_parts_and_a_post_that_is_too_large_is_counted() -> None:
    posts = [post("a" * (30_000 if n == 3 else 300), id=f"test:{n}") for n in range(20)]
    until = posts[0].received_at
    bodies = list(packed(Batch(list(posts), {"test": "end"}), until, 4_000))
    parcels = [opened(body) for body in bodies]
    assert max(map(len, bodies)) <= 4_000
    assert [p.id for parcel in parcels for p in parcel.posts] == [p.id for p in posts if p.id != "test:3"]
    assert [lost for parcel in parcels for lost in parcel.dropped] == [("test", "too_large")]
    assert [parcel.cursors for parcel in parcels] == [{}] * (len(parcels) - 1) + [{"test": "end"}]
    assert [parcel.until for parcel in parcels] == [None] * (len(parcels) - 1) + [until]


async def test_in_real_time_posts_minutes_and_cursors_are_stored_and_what_is_heard_last_too(
    deciding: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minutes, "GRACE", timedelta(seconds=0.2))
    began, noon = time.monotonic(), datetime(2026, 3, 2, 11, 59, 58, tzinfo=UTC)

    def clock() -> datetime:
        return noon + timedelta(seconds=time.monotonic() - began)

    feed = tmp_path / "feed.jsonl"
    feed.write_text('{"id": "1", "text": "instagram çöktü mü", "author": "ana"}\n', encoding="utf-8")
    source = Source("feed", "jsonl", jsonl, jsonl.Options(str(feed), follow=True, every=timedelta(seconds=0.1)))
    bus, metrics = InProcessBus(Settings(url="local:")), Metrics("test")
    edge = net(clock=clock, sleep=asyncio.sleep)
    intake = Intake([source], edge, author_key=b"k", metrics=metrics, clock=clock)
    with contextlib.closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}")) as store:
        together = Crew(
            dict.fromkeys(["ingest", "understand", "watch"], store),
            bus,
            metrics=metrics,
            clock=clock,
            redeliver_after=timedelta(seconds=2),
            pipeline=deciding,
            intake=intake,
        )
        async with playing(together), asyncio.timeout(20):
            while not store.mentions():
                await bus.rung(bus.rings, 0.1)
            with feed.open("a", encoding="utf-8") as more:
                more.write('{"id": "2", "text": "instagram yine gitti", "author": "ana"}\n')
            while (watched := lane_of(store).watched) is None or watched < noon + timedelta(seconds=2):
                await bus.rung(bus.rings, 0.1)
        assert [m.post.id for m in store.mentions()] == ["jsonl:2", "jsonl:1"]
        (author,) = {m.post.author for m in store.mentions()}
        assert author not in ("", "ana")
        assert store.cursor("feed") is not None
        assert any(h.up for h in store.hearing(noon - timedelta(minutes=1), noon + timedelta(minutes=1)))


# --- processes, and what happens to them --------------------------------------------------------------------------


@pytest.fixture
def servers() -> Iterator[tuple[nats.Own, postgres.Own]]:
    nats.skip_without()
    postgres.skip_without()
    broker, database = nats.Own(), postgres.Own()
    broker.start()
    broker.wait()
    yield broker, database
    broker.remove()
    database.remove()


def begin(theatre: Theatre, path: Path, workers: Sequence[str]) -> None:
    for name in workers:
        theatre.plays(name, "--roles", "understand,watch")
    theatre.plays("ingest", "--roles", "ingest", "--archive", str(path), "--until", f"{END:%Y-%m-%dT%H:%M:%SZ}")


async def mishaps(theatre: Theatre, planned: Sequence[tuple[float, str, Callable[[], None]]], first: datetime) -> None:
    """Each when so much of the archive's time has been watched."""
    for share, name, strike in planned:
        moment = first + share * (END - first)
        while (watched := (await asyncio.to_thread(theatre.lane)).watched) is None or watched < moment:
            assert theatre.look() is None, f"the archive was fed before all was killed\n{theatre.said()}"
            await asyncio.sleep(0.01)
        print(f"{time.strftime('%X')} {watched:%H:%M} SIGKILL {name}")
        await asyncio.to_thread(strike)


def differences(made: Outcome, wanted: Outcome) -> list[str]:
    """The first few, in words."""
    said = []
    for field in fields(Outcome):
        ours, theirs = getattr(made, field.name), getattr(wanted, field.name)
        if ours != theirs:
            ours, theirs = (list(x.items()) if isinstance(x, dict) else x for x in (ours, theirs))
            said.append(f"{field.name}: {len(ours)}, and {len(theirs)} alone")
            said += [f"  only alone: {one}" for one in theirs if one not in ours][:5]
            said += [f"  only here: {one}" for one in ours if one not in theirs][:5]
    return said


def is_the_same(theatre: Theatre, alone: tuple[str, Outcome], listener: Command) -> None:
    """Every row and, as people get them, every byte."""
    with contextlib.closing(open_store(theatre.store, read_only=True)) as store:
        made = outcome(store)
        assert store.verify() == []
    assert len({m.post.id for m in made.mentions}) == len(made.mentions)
    assert differences(made, alone[1]) == []
    asked = ("incidents", "--since", "2026-03-01T00:00:00Z", "--format", "jsonl", "--store")
    theirs, ours = listener(*asked, alone[0]), listener(*asked, theatre.store)
    assert theirs.stdout.count("\n") >= 1
    assert ours.stdout == theirs.stdout
    print(
        f"{len(made.mentions)} mentions, {len(made.points)} points, {len(made.transitions)} transitions: the same; "
        f"lives { ({name: player.lives for name, player in theatre.players.items()}) }, "
        f"{sum(theatre.log(n).count('batches_published_again') for n in theatre.players)} times published again, "
        f"{sum(theatre.log(n).count('ingest_begins_anew') for n in theatre.players)} times begun anew"
    )


@pytest.mark.timeout(300 + 400 * KILLS)
async def test_workers_leader_ingest_nats_and_postgres_are_killed_and_nothing_is_lost_or_doubled(
    servers: tuple[nats.Own, postgres.Own],
    path: Path,
    alone: tuple[str, Outcome],
    tmp_path: Path,
    environ: dict[str, str],
    listener: Command,
) -> None:
    broker, database = servers
    rng = Random(SEED)
    theatre = Theatre(tmp_path, environ, broker.url, "test", f"{database.url}?schema=roles")

    def worker() -> None:
        theatre.kill(rng.choice(WORKERS))

    def leader() -> None:
        theatre.kill(theatre.leader(WORKERS))

    def feeding() -> None:
        theatre.kill("ingest")

    kinds = {
        "worker": worker,
        "leader": leader,
        "ingest": feeding,
        "nats-server": broker.restart,
        "postgres": lambda: kill(database),
    }
    victims = [name for name in kinds for _ in range(KILLS)]
    rng.shuffle(victims)
    planned = [(0.05 + 0.8 * i / len(victims), name, kinds[name]) for i, name in enumerate(victims)]
    first = next(Archive([path], pytest.fail).posts()).received_at
    try:
        began = time.monotonic()
        begin(theatre, path, WORKERS)
        await mishaps(theatre, planned, first)
        await theatre.until_fed(PATIENCE)
        print(f"{Counter(victims)} in {time.monotonic() - began:.0f} s")
    finally:
        theatre.end()
    is_the_same(theatre, alone, listener)


def kill(database: postgres.Own) -> None:
    database.kill()
    database.start()


@pytest.mark.timeout(300 + 400 * KILLS)
async def test_a_cluster_of_three_loses_its_leader_in_the_middle(
    path: Path, alone: tuple[str, Outcome], tmp_path: Path, environ: dict[str, str], listener: Command
) -> None:
    nats.skip_without()
    cluster = nats.Cluster()
    async with AsyncExitStack() as stack:
        stack.callback(cluster.remove)
        cluster.start()
        url = stack.enter_context(postgres.empty_store())
        theatre = Theatre(tmp_path, environ, cluster.url, "test", url, replicas=3)
        stack.callback(theatre.end)
        begin(theatre, path, WORKERS[: 1 + IS_LONG])
        killed = Counter[str]()

        def strike() -> None:
            leader = cluster.leader_of("test") or cluster.servers[0]
            killed[leader.name] += 1
            leader.restart()

        first = next(Archive([path], pytest.fail).posts()).received_at
        await mishaps(theatre, [(0.1 + 0.7 * n / KILLS, "leader", strike) for n in range(KILLS)], first)
        await theatre.until_fed(PATIENCE)
        theatre.end()
        print(f"killed: {dict(killed)}")
        is_the_same(theatre, alone, listener)
