"""The connections to a SQLite store: one that writes and checkpoints, and readers that never block it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from listener.errors import StoreAway, StoreError
from listener.store import sqlite_file
from listener.store.lock import Lock
from listener.store.sqlite_file import explained

CHECKPOINT_COMMITS = 100  # move the log into the file after so many transactions ...
CHECKPOINT_ROWS = 20_000  # ... or so many rows, so that the log stays at tens of megabytes


class Connections:
    """Any thread may ask for any of them. A store in memory has one connection only, and readers wait for it."""

    def __init__(self, path: Path | None, writer: sqlite3.Connection | None, lock: Lock | None) -> None:
        self.path = path
        self.where = str(path or sqlite_file.MEMORY)
        self._writer = writer
        self._lock = lock
        self._turn = threading.RLock()  # whose holder may use the writer's connection
        self._idle: list[sqlite3.Connection] = []  # readers nobody uses now
        self._closed = False
        self._commits = 0
        self._rows_moved = 0
        self._traces = False  # the log may still hold what was erased
        self.trouble = ""  # why the last transaction could not be written, as long as none could since

    @classmethod
    def open(cls, path: Path | None, *, read_only: bool) -> Connections:
        """Raises `StoreError` when the file can't be had: it is held, foreign, too new, or the disk says no."""
        if path is None:
            return cls._open_writer(None, None)
        if read_only:
            return cls._open_readers(path)
        sqlite_file.prepare(path)
        with sqlite_file.writable(path):
            lock = Lock.take(path)
        try:
            return cls._open_writer(path, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open_writer(cls, path: Path | None, lock: Lock | None) -> Connections:
        where = str(path or sqlite_file.MEMORY)
        with explained(where):
            db = sqlite_file.connect(path, read_only=False)
            try:
                sqlite_file.version_of(db, where)  # before anything is changed in a file that may not be ours
                sqlite_file.set_up_writer(db)
                sqlite_file.migrate(db, where)
            except BaseException:
                db.close()
                raise
        return cls(path, db, lock)

    @classmethod
    def _open_readers(cls, path: Path) -> Connections:
        if not path.is_file():
            raise StoreError(f"{path}: there is no store yet; `listener run` makes it")
        connections = cls(path, None, None)
        try:
            with connections.reading() as db:
                sqlite_file.check(db, str(path))
        except BaseException:
            connections.close()
            raise
        return connections

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction at a time: others that want to write wait. An exception rolls back."""
        if self._writer is None:
            raise StoreError(f"{self.where}: the store was opened read-only")
        db = self._writer
        with self._turn, self._troubled(), explained(self.where, was_open=True):
            self._refuse_when_closed()
            if db.in_transaction:
                raise RuntimeError("a transaction is already open in this thread")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                # After some errors SQLite has rolled back by itself: this COMMIT then fails, as it should.
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise
            self._commits += 1
            # What was committed is safe in the log. A disk that is full now only puts the checkpoint off.
            with suppress(sqlite3.OperationalError):
                self._checkpoint(db)

    @contextmanager
    def _troubled(self) -> Iterator[None]:
        try:
            yield
        except StoreAway as away:
            self.trouble = str(away)
            raise
        self.trouble = ""

    def erased(self) -> None:
        """Tell, inside a transaction, that a text was erased: its last traces are to go with the next checkpoint."""
        self._traces = True

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        due = self._commits >= CHECKPOINT_COMMITS or db.total_changes - self._rows_moved >= CHECKPOINT_ROWS
        if self.path is None or not (due or self._traces):
            return
        if self._traces:
            # Only a truncated log has no trace of an erased text. That waits for readers of older snapshots, which must
            # not hold up the writer: a moment now, else after the next commit.
            db.execute("PRAGMA busy_timeout = 50")
            try:
                busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                db.execute(f"PRAGMA busy_timeout = {int(sqlite_file.BUSY * 1000)}")
            self._traces = bool(busy)
        else:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._commits, self._rows_moved = 0, db.total_changes

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that is ours for one query, which sees what was committed when it began."""
        with explained(self.where, was_open=True):
            self._refuse_when_closed()
            if self.path is None:
                assert self._writer is not None
                with self._turn:
                    yield self._writer
                return
            try:
                db = self._idle.pop()
            except IndexError:
                db = sqlite_file.connect(self.path, read_only=True)
            try:
                yield db
            finally:
                self._idle.append(db)
                if self._closed:  # while we were reading
                    self._close_idle()

    def close(self) -> None:
        """Move the log into the file and let go of it. Closing twice is fine."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self._close_idle()
            if self._writer is not None:
                # A full disk leaves the log where it is, whole, for the next start.
                with suppress(sqlite3.OperationalError):
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._writer.close()
            if self._lock is not None:
                self._lock.release()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self.where}: the store is closed")
