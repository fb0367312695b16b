"""What is particular to the PostgreSQL store: its URL, its locks, workers beside each other, and a server that goes away."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import psycopg
import pytest
from hatchling.builders.wheel import WheelBuilder

from listener.errors import ConfigError, StoreAway, StoreError
from listener.store import Store, open_store, postgres_connections, postgres_server, postgres_writer
from tests.builders import MINUTE, NOON, at, hearing, mention, point
from tests.conftest import ROOT, Command
from tests.servers import postgres
from tests.servers.process import Process, fetch, free_port
from tests.servers.relay import Relay

SECRET = "gizli-parola"


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.empty_store() as made:
        yield made


@pytest.fixture(scope="module")
def own() -> Iterator[postgres.Own]:
    """A server that may be killed."""
    postgres.skip_without()
    server = postgres.Own()
    yield server
    server.remove()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = open_store(url)
    yield store
    assert store.verify() == []
    store.close()


def sql(url: str, query: str, *values: object) -> list[tuple[object, ...]]:
    """Ask the database itself, in the store's schema."""
    address, _, schema = url.partition("?schema=")
    with psycopg.connect(address, options=f"-c search_path={schema}", autocommit=True) as db:
        found = db.execute(query.encode(), values or None)
        return found.fetchall() if found.description else []


def lose_connections(url: str) -> None:
    """The server hangs up on everybody who has this store's tables open or holds its locks."""
    schema = url.partition("?schema=")[2]
    lock = postgres_server.server_of(url).lock("daemon")
    sql(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        " AND (classid::bigint << 32) | objid::bigint = %s",
        lock,
    )
    assert schema


def deliver(store: Store, *ids: str) -> list[str]:
    with store.transaction() as writer:
        return [m.post.id for m in writer.add_mentions([mention(id=id) for id in ids])]


# Where it is, and who may come in


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ana:{SECRET}/x@127.0.0.1:5432/test",  # a slash that should be %2F
        f"postgresql://ana:{SECRET}@127.0.0.1:port/test",
        f"postgresql://ana:{SECRET}@127.0.0.1:1/test",  # nobody listens
        f"postgresql://ana:{SECRET}@127.0.0.1/test?schema=No-Schema",
        f"postgresql://ana:{SECRET}@127.0.0.1/test?colour=red",
        f"postgres-sql://ana:{SECRET}@127.0.0.1/test",
    ],
)
def test_no_error_shows_the_password_of_the_url(url: str, listener: Command) -> None:
    with pytest.raises((ConfigError, StoreError)) as caught:
        open_store(url)
    shown = [str(caught.value), repr(caught.value)]
    if ":1/" in url:
        done = listener("incidents", "--store", url)
        assert done.returncode == 1
        assert "refused" in done.stderr
        shown += [done.stdout, done.stderr]
    assert all(SECRET not in text and "\n" not in text.strip() for text in shown)


def test_a_password_comes_from_the_environment_or_a_file(
    own: postgres.Own, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with psycopg.connect(own.url, autocommit=True) as db:
        db.execute(f"CREATE ROLE ana LOGIN PASSWORD '{SECRET}'".encode())
        db.execute("CREATE SCHEMA ana AUTHORIZATION ana")  # she may make tables there and nothing else
    rules = own.folder / "data" / "pg_hba.conf"
    rules.write_text("host all ana 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    own.process.send_signal(signal.SIGHUP)
    address = f"postgresql://ana@127.0.0.1:{own.port}/postgres?schema=ana"
    deadline = time.monotonic() + 10
    while postgres.answers(address.partition("?")[0]) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(StoreError, match="password"):
        open_store(address)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    open_store(address).close()
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{own.port}:postgres:ana:{SECRET}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    store = open_store(address)
    assert deliver(store, "test:1") == ["test:1"]
    store.close()
    monkeypatch.setenv("PGPASSFILE", "/nowhere")
    with pytest.raises(StoreError) as caught:
        open_store(f"postgresql://ana:{SECRET}x@127.0.0.1:{own.port}/postgres?schema=ana")
    assert "authentication failed" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_second_daemon_is_kept_out_and_told_by_whom(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_server, "WAIT_FOR_HOLDER", 0.2)
    store = open_store(url)
    for exclusive in (True, False):
        with pytest.raises(StoreError, match=r"another listener is writing to it \(listener .* pid \d+ at "):
            open_store(url, exclusive=exclusive)
    reader = open_store(url, read_only=True)
    assert reader.mentions() == []
    reader.close()
    store.close()
    workers = [open_store(url, exclusive=False) for _ in range(3)]
    with pytest.raises(StoreError, match="another listener"):
        open_store(url)
    for worker in workers:
        worker.close()
    open_store(url).close()


def test_workers_need_a_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="postgresql://"):
        open_store(f"sqlite:///{tmp_path / 'x.db'}", exclusive=False)


def test_a_store_opened_read_only_refuses_to_write_and_is_not_made(url: str) -> None:
    with pytest.raises(StoreError, match="listener run"):
        open_store(url, read_only=True)
    open_store(url).close()
    reader = open_store(url, read_only=True)
    with pytest.raises(StoreError, match="read-only"), reader.transaction():
        pass
    reader.close()


def test_another_programs_schema_and_a_newer_one_are_refused_and_left_alone(url: str) -> None:
    open_store(url).close()
    sql(url, "INSERT INTO migrations VALUES (999)")
    with pytest.raises(StoreError, match="schema 999"):
        open_store(url)
    sql(url, "DROP TABLE migrations")
    before = sql(url, "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace")
    with pytest.raises(StoreError, match="another program's"):
        open_store(url)
    assert sql(url, "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace") == before


def test_an_older_schema_is_only_read_after_a_writer_has_migrated_it(url: str) -> None:
    open_store(url).close()
    sql(url, "DELETE FROM migrations WHERE number > 1")
    with pytest.raises(StoreError, match="listener run"):
        open_store(url, read_only=True)


def test_many_open_a_new_store_at_once_and_it_is_made_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(url, exclusive=False), range(4)))
    assert [number for (number,) in sql(url, "SELECT number FROM migrations ORDER BY number")] == [
        number for number, _ in postgres_server.migrations()
    ]
    for store in stores:
        store.close()


def test_the_migrations_are_numbered_without_a_gap_and_are_in_the_wheel() -> None:
    numbers = [number for number, _ in postgres_server.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    shipped = {included.distribution_path for included in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "listener/store/migrations/postgres/0001_first.sql" in shipped


# What is stored


def test_any_text_survives_a_database_that_knows_no_nul() -> None:
    rng = random.Random(7)
    for length in range(300):
        text = "".join(rng.choice("\0\x10@=aж") for _ in range(length % 12))
        dumped = postgres_server.dumped(text)
        assert b"\0" not in dumped
        assert postgres_server.loaded(dumped.decode()) == text


def test_ids_authors_and_addresses_may_be_of_any_length(store: Store) -> None:
    ids = [f"test:{'ж' * 20_000}{n}" for n in range(2)]
    author = "".join(f"{n:x}" for n in range(9_000))
    with store.transaction() as writer:
        writer.add_mentions([mention(id=id, author=author, url="https://example.org/" + "x" * 9_000) for id in ids])
    assert sorted(m.post.id for m in store.mentions()) == ids
    assert len(store.told_of([author], at(0), at(1))[author]) == 2
    assert deliver(store, *ids) == []


def test_a_number_that_json_cannot_hold_is_refused_when_it_is_written(store: Store) -> None:
    with pytest.raises(ValueError, match="float"), store.transaction() as writer:
        writer.add_mentions([mention(weight=float("nan"))])
    with pytest.raises(psycopg.errors.CheckViolation), store.transaction() as writer:
        writer.put_points([point(0, 1), replace(point(1), observed=float("nan"))])
    assert (store.mentions(), store.points()) == ([], [])


def test_texts_past_the_retention_go_with_their_partition_and_counts_stay(store: Store, url: str) -> None:
    week = timedelta(weeks=1)
    said = [mention(id=f"test:{n}", received_at=NOON - n * week, created_at=NOON - n * week) for n in range(4)]
    with store.transaction() as writer:
        writer.add_mentions(said)
        writer.put_points([point(0, 4)])
    partitions = (
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE 'texts_2%%' ORDER BY 1"
    )
    made = [name for (name,) in sql(url, partitions)]
    assert made == ["texts_20260209", "texts_20260216", "texts_20260223", "texts_20260302"]
    assert store.forget(at(0), NOON - week + MINUTE) == 3
    assert [name for (name,) in sql(url, partitions)] == made[2:], "the week that has not passed keeps its table"
    assert [m.post.text for m in store.mentions()] == [said[0].post.text, "", "", ""]
    assert store.points() == [point(0, 4)]
    assert deliver(store, *(m.post.id for m in said)) == [], "what was forgotten does not come back"
    assert store.forget(at(0), NOON - week + MINUTE) == 0


def test_a_partition_that_somebody_reads_for_long_is_emptied_instead(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "DROP_WAIT", "50ms")
    deliver(store, "test:1")
    address, _, schema = url.partition("?schema=")
    with psycopg.connect(address) as reader:
        reader.execute(f"SELECT count(*) FROM {schema}.texts".encode())
        later = NOON + timedelta(weeks=9)
        assert store.forget(later, later) == 1
    assert store.mentions()[0].post.text == ""
    assert store.forget(later, later) == 0


def test_an_archive_of_odd_instants_makes_no_thousands_of_tables(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "MOST_WEEKS", 3)
    ages = [datetime(year, 5, 5, tzinfo=UTC) for year in (1, 900, 1969, 1970, 2026, 9999)]
    said = [mention(id=f"test:{n}", received_at=age, created_at=age) for n, age in enumerate(ages)]
    with store.transaction() as writer:
        writer.add_mentions(said)
    assert [m.post.text for m in store.mentions()] == [m.post.text for m in reversed(said)]
    assert sql(url, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'texts'::regclass") == [(3,)]
    assert store.forget(NOON, NOON + timedelta(days=365)) == 5


def test_verify_finds_rows_that_contradict_each_other(url: str) -> None:
    store = open_store(url)
    deliver(store, "test:1", "test:2")
    sql(url, "DELETE FROM mentions WHERE id = 'test:1'")
    sql(url, "UPDATE mentions SET body = '[]' WHERE id = 'test:2'")
    findings = "\n".join(store.verify())
    assert "1 service entries without their mention" in findings
    assert "1 texts without their mention" in findings
    assert "can't be read" in findings
    store.close()


# Workers beside each other


def test_workers_that_meet_the_same_posts_store_each_once_and_lose_no_count(url: str) -> None:
    workers = [open_store(url, exclusive=False) for _ in range(4)]
    start = threading.Barrier(4)

    def work(store: Store) -> list[str]:
        given_back = []
        start.wait()
        for batch in range(8):
            with store.transaction() as writer:
                said = [mention(id=f"test:{batch}-{n}", author=f"a{n}") for n in range(10)]
                given_back += [m.post.id for m in writer.add_mentions(said)]
                counted = len(writer.mentions_between(["instagram"], at(0), at(1)))
                writer.put_points([point(0, counted)])
                writer.add_hearing([hearing(0, 1), hearing(1, 2, source="another")])
                writer.add_dropped("test", "2026-03-02", {"no_match": 3})
        return given_back

    with ThreadPoolExecutor(4) as pool:
        given_back = [id for found in pool.map(work, workers) for id in found]
    assert len(given_back) == len(set(given_back)) == 80
    store = workers[0]
    assert [p.posts for p in store.points()] == [80], "a point is worked out from all of its mentions"
    assert {h.source: h.posts for h in store.hearing(at(0), at(9))} == {"test": 32, "another": 64}
    assert store.dropped() == {("test", "no_match"): 96}
    assert store.verify() == []
    for worker in workers:
        worker.close()


def test_one_leads_and_the_next_takes_over_when_it_closes_or_its_connection_is_lost(url: str) -> None:
    first, second, third = (open_store(url, exclusive=False) for _ in range(3))
    assert [s.lead("watch") for s in (first, second, first)] == [True, False, True]
    assert second.lead("ingest"), "each role has its own"
    first.close()
    assert second.lead("watch")
    lose_connections(url)
    assert third.lead("watch")
    assert third.lead("watch")
    with pytest.raises(StoreAway, match="lead"):
        deliver(second, "test:1")
    assert not second.lead("watch")
    assert deliver(second, "test:1") == ["test:1"]
    second.close()
    third.close()


# A server that goes away


def test_a_lost_connection_between_transactions_is_not_noticed(store: Store, url: str) -> None:
    deliver(store, "test:1")
    store.mentions()
    sql(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE %s",
        "%mentions%",
    )
    lose_connections(url)
    assert deliver(store, "test:2") == ["test:2"]
    assert len(store.mentions()) == 2


def test_a_connection_lost_within_a_transaction_undoes_it_and_says_that_it_may_be_tried_again(
    store: Store, url: str
) -> None:
    def loses() -> None:
        with store.transaction() as writer:
            writer.add_mentions([mention(id="test:1")])
            lose_connections(url)
            writer.set_cursor("test", "1")

    with pytest.raises(StoreAway, match="away"):
        loses()
    assert (store.mentions(), store.cursor("test")) == ([], None)
    assert deliver(store, "test:1") == ["test:1"]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_whose_answer_is_lost_is_neither_done_twice_nor_taken_for_done(url: str, arrives: bool) -> None:
    address, _, schema = url.partition("?schema=")
    with Relay(psycopg.conninfo.conninfo_to_dict(address)["port"] or 5432) as relay:
        store = open_store(f"postgresql://postgres@127.0.0.1:{relay.port}/{address.rpartition('/')[2]}?schema={schema}")

        def count_posts() -> None:
            with store.transaction() as writer:
                writer.add_hearing([hearing(0, 5)])
                relay.hang_up_at(b"COMMIT", passing_it_on=arrives)

        if arrives:
            count_posts()
        else:
            with pytest.raises(StoreAway):
                count_posts()
            count_posts_again = [hearing(0, 5)]
            with store.transaction() as writer:
                writer.add_hearing(count_posts_again)
        assert [h.posts for h in store.hearing(at(0), at(1))] == [5]
        store.close()


def test_when_nobody_can_tell_what_became_of_a_commit_it_is_not_tried_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "DOUBT", [0.01])
    address, _, schema = url.partition("?schema=")
    relay = Relay(psycopg.conninfo.conninfo_to_dict(address)["port"] or 5432)
    with relay:
        store = open_store(f"postgresql://postgres@127.0.0.1:{relay.port}/{address.rpartition('/')[2]}?schema={schema}")

        def count_posts() -> None:
            with store.transaction() as writer:
                writer.add_hearing([hearing(0, 5)])
                relay.hang_up_at(b"COMMIT", passing_it_on=True, for_good=True)

        with pytest.raises(StoreError, match="start again") as caught:
            count_posts()
        assert not isinstance(caught.value, StoreAway)
    store.close()


def until_stored(work: Callable[[], None]) -> int:
    """Try until the server is back; how often it was away."""
    for tries in count():
        with contextlib.suppress(StoreAway):
            work()
            return tries
        time.sleep(0.02)
    raise AssertionError


def test_a_server_killed_and_restarted_at_any_moment_loses_and_doubles_nothing(own: postgres.Own) -> None:
    with postgres.empty_store(own.url) as url:
        stores = [open_store(url, exclusive=False) for _ in range(2)]
        over = threading.Event()

        def work(number: int) -> tuple[int, int]:
            store, batches, away = stores[number], 0, 0
            while not over.is_set():

                def batch(n: int = batches) -> None:
                    with store.transaction() as writer:
                        writer.add_mentions([mention(id=f"test:{n}-{i}", minutes=n) for i in range(3)])
                        writer.add_hearing([hearing(0, 1)])
                        writer.set_cursor(f"source-{number}", str(n))

                away += until_stored(batch)
                batches += 1
            return batches, away

        with ThreadPoolExecutor(2) as pool:
            working = [pool.submit(work, number) for number in range(2)]
            for _ in range(3):
                before = stores[0].cursor("source-0")
                while stores[0].cursor("source-0") == before and not working[0].done():
                    time.sleep(0.01)
                own.kill()
                time.sleep(0.1)
                own.start()
            over.set()
            done = [w.result() for w in working]
        batches = [b for b, _ in done]
        store = stores[0]
        assert sum(away for _, away in done) > 0, "somebody met a server that was away"
        assert sum(h.posts for h in store.hearing(at(0), at(1))) == sum(batches)
        assert [store.cursor(f"source-{n}") for n in range(2)] == [str(b - 1) for b in batches]
        assert len(store.mentions(limit=1_000_000)) == 3 * max(batches)
        assert store.verify() == []
        for one in stores:
            one.close()


# As a user meets it

DAY = """\
{"id":"a:1","source":"a","text":"instagram çöktü mü","author":"u1","created_at":"2026-03-02T12:00:10Z","region":"TR","lang":"tr"}
{"id":"a:2","source":"a","text":"instagram'a giremiyorum açılmıyor","author":"u2","created_at":"2026-03-02T12:00:40Z","lang":"tr"}
{"id":"a:3","source":"a","text":"güzel bir gün","author":"u3","created_at":"2026-03-02T12:02:00Z","lang":"tr"}
"""


def test_an_archive_is_replayed_into_a_shared_store_and_looked_at(url: str, listener: Command, tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").write_text(DAY)
    done = listener("replay", "day.jsonl", "--store", url, "--until", "2026-03-02T12:10:00Z")
    assert done.returncode == 0, done.stderr
    asked = ("--service", "instagram", "--region", "TR", "--since", "2026-03-02T12:00:00Z", "--format", "jsonl")
    shown = listener("signal", *asked, env={"LISTENER_PATHS_STORE": url})
    assert shown.returncode == 0, shown.stderr
    assert sum(line["posts"] for line in map(json.loads, shown.stdout.splitlines())) == 2


def test_the_daemon_outlives_its_database_and_counts_every_post_once(
    own: postgres.Own, tmp_path: Path, environ: dict[str, str]
) -> None:
    port, file, log = free_port(), tmp_path / "posts.jsonl", tmp_path / "daemon.log"
    file.touch()
    (tmp_path / "listener.toml").write_text(
        f"default_sources = false\n[web]\nport = {port}\n"
        f'[[source]]\nkind = "jsonl"\nname = "a"\npath = "{file}"\nfollow = true\nevery = "50ms"\n'
    )

    def write(first: int) -> None:
        with file.open("a") as handle:
            for n in range(first, first + 5):
                handle.write(json.dumps({"id": n, "text": f"instagram çöktü mü {n}"}) + "\n")

    def until(what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not what():
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)

    def stored(url: str) -> int:
        with contextlib.suppress(StoreError), contextlib.closing(open_store(url, read_only=True)) as store:
            return len(store.mentions())
        return -1

    with postgres.empty_store(own.url) as url, contextlib.ExitStack() as stack:
        life = Process(tmp_path, environ, url)
        stack.callback(life.end, signal.SIGKILL)
        write(0)
        until(lambda: stored(url) == 5)
        own.kill()
        write(5)
        until(lambda: "store_away" in log.read_text())
        assert fetch(f"http://127.0.0.1:{port}/healthz") == "ok\n"
        own.start()
        until(lambda: stored(url) == 10)
        own.restart()
        write(10)
        until(lambda: stored(url) == 15)
        own.kill()
        said = log.read_text().count("store_away")
        write(15)
        until(lambda: log.read_text().count("store_away") > said)
        assert life.end(signal.SIGTERM) == 1
        assert "the server is away" in log.read_text().strip().splitlines()[-1]
        own.start()
        again = Process(tmp_path, environ, url)
        stack.callback(again.end, signal.SIGKILL)
        until(lambda: stored(url) == 20)
        assert again.end(signal.SIGTERM) == 0
        with contextlib.closing(open_store(url)) as store:
            heard = store.hearing(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
            assert sum(h.posts for h in heard) == 20
            assert store.verify() == []
    assert "Traceback" not in log.read_text()
