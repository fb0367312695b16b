"""Copies of a SQLite store: one made while a daemon writes to it, and one put back in its place.

A copy is one file, as the store was at one moment: a reader's snapshot, for which nobody has to stop. It is made under another
name and only takes its own when it is whole and on the disk.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from listener.errors import InputError, StoreError
from listener.store import sqlite_file
from listener.store.lock import Lock
from listener.store.sqlite import SqliteStore

_BESIDE = ("", "-wal", "-shm")  # the files of one store


def back_up(store: Path, copy: Path) -> None:
    """Copy a store, also one that a daemon writes to.

    Raises `InputError` when `copy` exists, `StoreError` when it can't be written or the store is corrupt: a copy of that would
    only push out a good one.
    """
    if copy.exists():
        raise InputError(f"{copy}: there is a file already; name another one")
    if not store.is_file():
        raise StoreError(f"{store}: there is no store yet; `listener run` makes it")
    part = copy.with_name(copy.name + ".part")
    try:
        _copied(store, part)
        _sound(part, store)
        part.replace(copy)
        _flush(copy.parent)
    except OSError as error:
        raise StoreError(f"{copy}: the copy can't be written ({error.strerror})") from error
    finally:
        _remove(part)


def put_back(copy: Path, store: Path, set_aside: str) -> Path | None:
    """Make a copy the store. What was there stays beside it as `<store>.<set_aside>`, which is given back.

    The copy is brought to this program's schema and read from end to end first; nothing is changed when it is not whole. Raises
    `StoreError` then, and when a daemon holds the store.
    """
    if not copy.is_file():
        raise InputError(f"{copy}: No such file")
    sqlite_file.prepare_folder(store)
    part = store.with_name(store.name + ".part")
    with sqlite_file.writable(store):
        lock = Lock.take(store)
        try:
            _copied(copy, part)
            _whole(part, copy)
            old = _set_aside(store, store.with_name(f"{store.name}.{set_aside}"))
            part.replace(store)
            _flush(store.parent)
            return old
        finally:
            _remove(part)
            lock.release()


def _copied(source: Path, target: Path) -> None:
    _remove(target)
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # texts of people are in it
    with (
        sqlite_file.explained(str(source)),
        closing(sqlite_file.connect(source, read_only=True)) as db,
        closing(sqlite3.connect(target)) as made,
    ):
        if not sqlite_file.version_of(db, str(source)):
            raise StoreError(f"{source}: there is nothing in it")
        db.backup(made)  # in one step: a writer who commits meanwhile does not make it begin again
    _flush(target)


def _sound(part: Path, store: Path) -> None:
    with closing(sqlite_file.connect(part, read_only=True)) as db:
        try:
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            said = str(error)
    if said != "ok":
        raise StoreError(
            f"{store}: the store is corrupt, no copy was made; `listener verify` tells more ({said[:200]!r})"
        )


def _whole(part: Path, copy: Path) -> None:
    with closing(SqliteStore.open(f"sqlite:///{part}")) as opened:
        findings = opened.verify()
    if findings:
        raise StoreError(f"{copy}: the copy is not whole, nothing was changed: {findings[0]}")


def _set_aside(store: Path, aside: Path) -> Path | None:
    if not store.exists() or not store.stat().st_size:
        return None
    for ending in _BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{store}{ending}").replace(f"{aside}{ending}")
    return aside


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    for ending in (*_BESIDE, ".lock"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
