"""What is particular to the SQLite store: its file, its lock, and what it says when the world is against it."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import ConfigError, StoreAway, StoreError
from listener.store import Store, codec, open_store, sqlite_file
from listener.types import Delete
from tests.builders import at, mention, point

ROOT = Path(__file__).parents[1]
INSTANTS = st.datetimes(timezones=st.just(UTC))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "listener.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def fill(store: Store, count: int, first: int = 0, text: str = "instagram çöktü mü") -> None:
    with store.transaction() as writer:
        writer.add_mentions([mention(text, id=f"test:{n}", minutes=n / 100) for n in range(first, first + count)])
        writer.set_cursor("test", str(first + count))


def refusal(path: Path, *, read_only: bool = False) -> str:
    """What opening says, checked to be one line that names the file."""
    with pytest.raises(StoreError) as caught:
        open_store(url_of(path), read_only=read_only)
    words = str(caught.value)
    assert str(path) in words
    assert "\n" not in words
    return words


# Where it is


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite://", "sqlite:///", "sqlite:/x.db", "sqlite://host/x.db", "mysql:///x"]
)
def test_a_url_that_is_not_understood_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///PATH"):
        open_store(url)


def test_missing_folders_and_the_file_are_made_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "listener.db"
    open_store(url_of(path)).close()
    assert [p.stat().st_mode & 0o777 for p in (path.parents[1], path.parent, path)] == [0o700, 0o700, 0o600]


def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "a b?c#d%20é" / "x&mode=memory.db"
    store = open_store(url_of(path))
    fill(store, 1)
    assert len(store.mentions()) == 1
    store.close()
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


def test_a_store_in_memory_cannot_be_opened_read_only() -> None:
    with pytest.raises(ConfigError, match="memory"):
        open_store("sqlite:///:memory:", read_only=True)


# One writer, many readers


def test_a_second_writer_is_kept_out_and_told_by_whom(path: Path, tmp_path: Path) -> None:
    store = open_store(url_of(path))
    assert f"pid {os.getpid()}" in refusal(path)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(StoreError, match="another listener"):
        open_store(url_of(link))
    store.close()
    open_store(url_of(path)).close()


def test_another_process_reads_along_while_one_writes_and_takes_over_when_it_is_killed(path: Path) -> None:
    command = [sys.executable, "-m", "tests.servers.store_writer", url_of(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None
        forker.stdin.write("next\n")
        writer = int(forker.stdout.readline())
        written = int(forker.stdout.readline())
        assert f"pid {writer}" in refusal(path)
        reader = open_store(url_of(path), read_only=True)
        assert int(reader.cursor("test") or 0) >= written
        os.kill(writer, signal.SIGKILL)
        forker.stdin.close()
        last = max(int(line) for line in [str(written), *forker.stdout] if line.strip() != "died")
    assert int(reader.cursor("test") or 0) >= last
    reader.close()
    open_store(url_of(path)).close()


def test_a_store_opened_read_only_refuses_to_write(path: Path) -> None:
    open_store(url_of(path)).close()
    reader = open_store(url_of(path), read_only=True)
    with pytest.raises(StoreError, match="read-only"), reader.transaction():
        pass
    reader.close()


def test_a_transaction_inside_a_transaction_is_a_mistake_that_shows(path: Path) -> None:
    store = open_store(url_of(path))
    with pytest.raises(RuntimeError, match="already open"), store.transaction(), store.transaction():
        pass
    fill(store, 1)
    store.close()


def test_a_foreign_lock_on_the_file_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY", 0.01)
    store = open_store(url_of(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked; close it"):
        fill(store, 1)
    other.close()
    fill(store, 1)
    store.close()


# Files that can't be had


def test_reading_a_store_that_is_not_there_says_what_makes_it(path: Path) -> None:
    assert "listener run" in refusal(path, read_only=True)
    assert not path.exists()


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("time,count\n" * 1000)
    before = path.read_bytes()
    assert "not a listener store" in refusal(path)
    assert "not a listener store" in refusal(path, read_only=True)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    before = path.read_bytes()
    assert "another program's" in refusal(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_with_words(path: Path) -> None:
    open_store(url_of(path)).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 999")
    db.close()
    assert "schema 999" in refusal(path)
    assert "upgrade" in refusal(path, read_only=True)


def test_an_older_schema_is_only_read_after_a_writer_has_migrated_it(path: Path) -> None:
    path.touch()
    assert "listener run" in refusal(path, read_only=True)
    open_store(url_of(path)).close()
    open_store(url_of(path), read_only=True).close()


def test_a_folder_that_is_a_file_and_a_file_that_is_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "choose another path" in refusal(tmp_path / "file" / "listener.db")
    assert "choose another path" in refusal(tmp_path)


def test_a_read_only_folder_is_refused(path: Path) -> None:
    """Root may write anywhere but into the kernel's own folders."""
    folder = path.parent
    if os.geteuid() == 0:
        assert "check the permissions" in refusal(Path("/proc/sys/listener.db"))
        return
    folder.chmod(0o500)
    assert "check the permissions" in refusal(path)
    folder.chmod(0o700)


def test_a_corrupt_store_is_named_so_when_it_is_read_and_by_verify(path: Path) -> None:
    store = open_store(url_of(path))
    fill(store, 500)
    store.close()
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole[:half] + os.urandom(len(whole) - half))

    store = open_store(url_of(path), read_only=True)
    assert store.verify()
    with pytest.raises(StoreError, match="restore` the last good backup"):
        store.mentions()
    store.close()


def test_verify_finds_rows_that_contradict_each_other(path: Path) -> None:
    store = open_store(url_of(path))
    fill(store, 3)
    store.close()
    db = sqlite3.connect(path)
    db.execute("DELETE FROM mentions WHERE id = 'test:1'")
    db.execute("UPDATE mentions SET body = '[]' WHERE id = 'test:2'")
    db.commit()
    db.close()
    store = open_store(url_of(path), read_only=True)
    findings = "\n".join(store.verify())
    assert "1 service entries without their mention" in findings
    assert "can't be read" in findings
    store.close()


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """The nearest thing to a full disk that needs no rights: the system refuses to make a file larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_when_the_disk_refuses_nothing_is_lost_and_writing_goes_on_when_it_can(path: Path) -> None:
    store = open_store(url_of(path))
    fill(store, 100)

    def fill_the_disk() -> None:
        for batch in range(1, 50):
            fill(store, 100, first=batch * 100)

    with no_file_grows_beyond(600_000), pytest.raises(StoreError, match="check its free space"):
        fill_the_disk()
    kept = int(store.cursor("test") or 0)
    assert 100 <= kept < 4_900
    assert len(store.mentions(limit=10_000)) == kept
    fill(store, 100, first=kept)
    assert store.verify() == []
    store.close()


def test_no_room_for_the_index_of_the_log_is_a_full_disk_that_passes() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_SHMSIZE, "SQLITE_IOERR_SHMSIZE"
    with pytest.raises(StoreAway, match="the disk is full; free some space"), sqlite_file.explained("store.db"):
        raise error


def test_a_disk_that_refuses_a_new_store_is_named(path: Path) -> None:
    with no_file_grows_beyond(20_000):
        assert "free some space" in refusal(path)
    open_store(url_of(path)).close()


# What is on the disk


def test_the_log_is_moved_into_the_file_now_and_then_and_when_closing(path: Path) -> None:
    store = open_store(url_of(path))
    for batch in range(250):
        fill(store, 2, first=2 * batch)
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size < 100 * 2 * 60_000
    assert path.stat().st_size > 100_000
    store.close()
    assert not log.exists()


def test_an_erased_text_is_in_none_of_the_files(path: Path) -> None:
    store = open_store(url_of(path))
    with store.transaction() as writer:  # every second one, so that what is erased and what stays share pages
        for n in range(1200):
            author, text = ("secret-hash", "gizli-metin") if n % 2 else ("", "instagram çöktü")
            writer.add_mentions([mention(f"{text} {n} " + "uzun " * (n % 90), id=f"test:{n}", author=author)])
    with store.transaction() as writer:
        assert len(writer.erase(Delete("test", at(1), author="secret-hash"))) == 600
    everything = b"".join(p.read_bytes() for p in path.parent.iterdir())
    assert everything.count(b"gizli-metin") == 0
    assert everything.count(b"secret-hash") == 0
    store.close()


def test_a_reader_of_an_older_moment_only_puts_off_the_cleaning(path: Path) -> None:
    store = open_store(url_of(path))
    with store.transaction() as writer:
        writer.add_mentions([mention("gizli-metin", id="test:x")])
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM mentions").fetchone()
    with store.transaction() as writer:
        writer.erase(Delete("test", at(1), "test:x"))
    reader.close()
    fill(store, 1)
    assert b"gizli-metin" not in b"".join(p.read_bytes() for p in path.parent.iterdir())
    store.close()


def test_the_migrations_are_numbered_without_a_gap_and_are_in_the_wheel() -> None:
    numbers = [number for number, _ in sqlite_file.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    shipped = {included.distribution_path for included in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "listener/store/migrations/0001_first.sql" in shipped


# Rows


@given(text=st.text(), created=INSTANTS, received=INSTANTS, probabilities=st.lists(FLOATS, min_size=9, max_size=9))
def test_any_mention_survives_its_row(
    text: str, created: datetime, received: datetime, probabilities: list[float]
) -> None:
    base = mention(text, created_at=created, received_at=received)
    assert codec.mention_of(codec.mention_row(1, base)) == base
    assert codec.instant(codec.micros(created)) == created


def test_an_instant_of_another_zone_is_kept_as_utc_and_one_of_no_zone_is_refused() -> None:
    istanbul = timezone(timedelta(hours=3))
    assert codec.instant(codec.micros(datetime(2026, 3, 2, 15, tzinfo=istanbul))) == at(0)
    with pytest.raises(TypeError):
        codec.micros(datetime(2026, 3, 2, 15))  # noqa: DTZ001 - this is the mistake


def test_a_number_that_json_cannot_hold_is_refused_when_it_is_written_not_when_it_is_read(path: Path) -> None:
    store = open_store(url_of(path))
    with pytest.raises(ValueError, match="float"), store.transaction() as writer:
        writer.add_mentions([mention(weight=float("nan"))])
    assert store.mentions() == []
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as writer:
        writer.put_points([point(0, 1), replace(point(1), observed=float("nan"))])
    assert store.points() == []
    store.close()
