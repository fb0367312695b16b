"""`listener verify`, `backup` and `restore`: a store can be checked, copied while it is written to, and put back."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from listener.cli import copies
from listener.errors import InputError, ListenerError, StoreError
from listener.store import open_store, sqlite_file
from listener.store.sqlite_backup import back_up, put_back
from listener.types import Delete
from tests.builders import at
from tests.test_sqlite import fill, url_of

COPIES = int(os.environ.get("LISTENER_TEST_COPIES", "4"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "listener.db"


def content(path: Path) -> list[tuple[object, ...]]:
    """Every row of every table."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return [(table, *row) for table in tables for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]


@contextmanager
def busy(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes to the store as fast as it can, and tells each cursor that it committed."""
    command = [sys.executable, "-m", "tests.servers.store_writer", url_of(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None
        forker.stdin.write("next\n")
        writer = int(forker.stdout.readline())
        try:
            yield forker
        finally:
            os.kill(writer, signal.SIGKILL)
            forker.stdin.close()
            forker.stdout.read()


def test_copies_made_while_a_daemon_writes_are_each_the_store_at_one_moment(path: Path, tmp_path: Path) -> None:
    seen = []
    with busy(path) as writer:
        assert writer.stdout is not None
        for n in range(COPIES):
            committed = int(writer.stdout.readline())
            back_up(path, tmp_path / f"{n}.db")
            seen.append(committed)
    for n, committed in enumerate(seen):
        store = tmp_path / "elsewhere" / f"{n}.db"
        put_back(tmp_path / f"{n}.db", store, "before")
        with closing(open_store(url_of(store), read_only=True)) as opened:
            stored = {mention.post.id for mention in opened.mentions(limit=10**6)}
            cursor = int(opened.cursor("test") or 0)
            assert opened.verify() == []
        assert stored == {f"test:{i}" for i in range(cursor)}, "what came with the cursor, and no more"
        assert cursor >= committed, "what was committed before the copy was asked for is in it"


def test_a_copy_put_back_has_every_row_and_the_store_before_is_kept(path: Path, tmp_path: Path) -> None:
    with closing(open_store(url_of(path))) as store:
        fill(store, 300)
    before = content(path)
    back_up(path, tmp_path / "copy.db")
    with closing(open_store(url_of(path))) as store:
        fill(store, 50, first=300)
    aside = put_back(tmp_path / "copy.db", path, "before")
    assert content(path) == before
    assert aside is not None
    assert len([row for row in content(aside) if row[0] == "mentions"]) == 350
    with closing(open_store(url_of(path))) as store:
        fill(store, 50, first=300)
        assert store.verify() == []
    left = {p.name for p in tmp_path.iterdir() if not p.name.endswith(("-wal", "-shm"))}  # a look leaves these
    assert left == {"listener.db", "listener.db.lock", "listener.db.before", "copy.db"}


def test_a_copy_is_for_its_owner_only_and_has_no_erased_text(path: Path, tmp_path: Path) -> None:
    with closing(open_store(url_of(path))) as store:
        fill(store, 20, text="gizli-metin")
        with store.transaction() as writer:
            writer.erase(Delete("test", at(1), "test:3"))
        back_up(path, tmp_path / "copy.db")
        assert (tmp_path / "copy.db").read_bytes().count(b"gizli-metin") == 19
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600


def test_the_log_of_a_daemon_that_was_killed_is_in_the_copy(path: Path, tmp_path: Path) -> None:
    with busy(path) as writer:
        assert writer.stdout is not None
        committed = [int(writer.stdout.readline()) for _ in range(5)][-1]
    assert path.with_name("listener.db-wal").stat().st_size > 0
    back_up(path, tmp_path / "copy.db")
    with closing(open_store(url_of(tmp_path / "copy.db"), read_only=True)) as copy:
        assert int(copy.cursor("test") or 0) >= committed


def test_what_can_not_be_put_back_changes_nothing(path: Path, tmp_path: Path) -> None:
    with closing(open_store(url_of(path))) as store:
        fill(store, 500)
        back_up(path, tmp_path / "copy.db")
        with pytest.raises(StoreError, match="another listener is writing"):
            put_back(tmp_path / "copy.db", path, "before")
    before = content(path)
    whole = (tmp_path / "copy.db").read_bytes()
    (tmp_path / "half.db").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "foreign.db").write_text("time,count\n" * 1000)
    (tmp_path / "empty.db").touch()
    for name, said in (
        ("half.db", "corrupt|not whole"),
        ("foreign.db", "not a listener store"),
        ("empty.db", "nothing in it"),
    ):
        with pytest.raises(StoreError, match=said):
            put_back(tmp_path / name, path, "before")
    with pytest.raises(InputError, match="No such file"):
        put_back(tmp_path / "none.db", path, "before")
    with pytest.raises(InputError, match="name another"):
        back_up(path, tmp_path / "copy.db")
    assert content(path) == before
    assert not list(tmp_path.glob("*.part*"))


def test_a_corrupt_store_is_not_copied_over_good_copies(path: Path, tmp_path: Path) -> None:
    with closing(open_store(url_of(path))) as store:
        fill(store, 500)
    spoil(path, random.Random(3))
    with pytest.raises(StoreError, match=r"no copy was made|the store is corrupt"):
        back_up(path, tmp_path / "copy.db")
    assert [p.name for p in tmp_path.glob("copy*")] == []


def spoil(path: Path, rng: random.Random) -> None:
    """A few pages after the first are overwritten, as a dying disk does."""
    whole = bytearray(path.read_bytes())
    pages = len(whole) // 4096
    for page in rng.sample(range(2, pages), pages // 4):
        whole[page * 4096 : (page + 1) * 4096] = rng.randbytes(4096)
    path.write_bytes(whole)


def test_an_older_copy_is_brought_to_the_schema_of_today(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with closing(sqlite3.connect(old)) as db:
        number, script = sqlite_file.migrations()[0]
        db.executescript(f"{script};PRAGMA application_id={sqlite_file.APPLICATION_ID};PRAGMA user_version={number};")
    put_back(old, path, "before")
    with closing(open_store(url_of(path), read_only=True)) as store:
        assert store.verify() == []


def test_the_commands_say_what_is_the_matter_and_what_to_do(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.with_suffix(".key").write_bytes(b"k" * 32)
    with closing(open_store(url_of(path))) as store:
        fill(store, 300)
        copies.backup(tmp_path / "copy.db", store=url_of(path))
        copies.verify(store=url_of(path))
    told = capsys.readouterr()
    assert told.out == "ok\n"
    assert "copy.db: " in told.err
    assert "listener.key" in told.err
    spoil(path, random.Random(4))
    with pytest.raises(ListenerError, match="`listener restore` the last good backup"):
        copies.verify(store=url_of(path))
    copies.restore(tmp_path / "copy.db", store=url_of(path))
    assert "listener.db.before-" in capsys.readouterr().err
    copies.verify(store=url_of(path))
    assert capsys.readouterr().out == "ok\n"
    with pytest.raises(InputError, match="pg_dump"):
        copies.backup(tmp_path / "x.db", store="postgresql://db/outages")
