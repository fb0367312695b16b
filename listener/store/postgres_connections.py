"""The connections to a PostgreSQL store: one that writes, and readers that never wait for it.

Transactions that write take turns, also those of other processes, by an advisory lock that ends with the transaction. So
two workers never work out the same point from half of its mentions, and nothing can deadlock. A connection that was lost
is made anew; what it held (the daemon's place, the lead) is taken anew too, or the caller hears that it is gone.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from listener.errors import StoreAway, StoreError
from listener.store import postgres_server as servers
from listener.store.postgres_server import Connection, Server, ask, explained

MOST_READERS = 8
BEGIN = "BEGIN"
# Our turn, and the mark by which the transaction can be looked up: there if and only if it was committed.
TURN = """INSERT INTO commits (writer, number) SELECT %s, %s FROM (SELECT pg_advisory_xact_lock(%s)) AS turn
ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at"""
FORGOTTEN = "DELETE FROM commits WHERE at < now() - interval '1 day'"  # nobody is in doubt for so long
DOUBT = [0.05, 0.1, 0.2, 0.5, *[1.0] * 60]  # seconds between tries to learn whether a commit arrived

_HOLDER = """SELECT coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'this machine')
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (l.classid::bigint << 32) | l.objid::bigint = %s"""


class Connections:
    """Any thread may ask for any of them."""

    def __init__(self, server: Server, *, read_only: bool, exclusive: bool) -> None:
        self.server = server
        self.where = server.where
        self.weeks: set[int] = set()  # partitions that were there before the open transaction
        self._read_only = read_only
        self._exclusive = exclusive
        self._writer: Connection | None = None
        self._turn = threading.RLock()  # whose holder may use the writer's connection
        self._leads: set[str] = set()
        self._name = secrets.token_hex(8)  # what our transactions are marked with, and the number of the last one
        self._begun_so_far = 0
        self._idle: list[Connection] = []  # readers nobody uses now
        self._slots = threading.BoundedSemaphore(MOST_READERS)
        self._closed = threading.Event()

    @classmethod
    def open(cls, server: Server, *, read_only: bool, exclusive: bool) -> Connections:
        """Raises `StoreError` when the store can't be had: unreachable, held, foreign, or too new."""
        connections = cls(server, read_only=read_only, exclusive=exclusive)
        try:
            with explained(server.where):
                if read_only:
                    db = servers.connect(server, read_only=True)
                    connections._idle.append(db)
                    servers.check(db, server)
                else:
                    connections._writer = connections._new_writer(is_first=True)
        except BaseException:
            connections.close()
            raise
        return connections

    # --- writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction at a time: others that want to write wait, in other processes too. An exception rolls back."""
        if self._read_only:
            raise StoreError(f"{self.where}: the store was opened read-only")
        with self._turn, explained(self.where):
            db = self._begun()
            try:
                yield db
            except BaseException:
                self.weeks.clear()
                with suppress(psycopg.OperationalError):  # a connection that is gone has rolled back by itself
                    db.rollback()
                raise
            self._commit(db)

    def _begun(self) -> Connection:
        """The writer with a transaction open. A lost connection is made anew once."""
        self._refuse_when_closed()
        db = self._ready()
        if db.info.transaction_status is not TransactionStatus.IDLE:
            raise RuntimeError("a transaction is already open in this thread")
        try:
            self._take_turn(db)
        except psycopg.OperationalError:
            if not db.closed:
                raise
            db = self._ready()
            self._take_turn(db)
        return db

    def _take_turn(self, db: Connection) -> None:
        self._begun_so_far += 1
        db.execute(BEGIN)
        try:
            db.execute(TURN, (self._name, self._begun_so_far, self.server.lock("write")))
        except psycopg.Error:
            if not db.closed:
                db.rollback()
            raise

    def _commit(self, db: Connection) -> None:
        try:
            db.execute("COMMIT")
        except psycopg.Error:
            self.weeks.clear()
            if not db.closed:
                raise
            if not self._arrived():
                raise

    def _arrived(self) -> bool:
        """Whether a commit whose answer was lost took place: the server is asked as soon as it is back.

        Doing the transaction again instead could count posts twice. When nobody can tell, `StoreError` (not `StoreAway`):
        whoever starts afresh reads the cursor and knows.
        """
        for wait in DOUBT:
            with suppress(psycopg.OperationalError):
                with servers.connect(self.server, read_only=False) as db:  # a standby may not know yet
                    ask(db, "SELECT pg_advisory_lock(%s)", (self.server.lock("write"),))  # once it has ended
                    ((number,),) = ask(db, "SELECT max(number) FROM commits WHERE writer = %s", (self._name,))
                return bool(number == self._begun_so_far)
            if self._closed.wait(wait):
                break
        raise StoreError(f"{self.where}: the server went away during a commit and has not come back; start again")

    def lead(self, role: str) -> bool:
        """Whether this connection holds the lead of a role, or could take it now."""
        if self._read_only:
            raise StoreError(f"{self.where}: the store was opened read-only")
        with self._turn, explained(self.where):
            self._refuse_when_closed()
            if self._writer is not None and not self._writer.closed:
                with suppress(psycopg.OperationalError):  # lost: then the lead is too, and may be had again below
                    return self._led(self._writer, role)
            self._leads.clear()
            return self._led(self._ready(), role)

    def _led(self, db: Connection, role: str) -> bool:
        if role in self._leads:
            ask(db, "SELECT 1")
        elif ask(db, "SELECT WHERE pg_try_advisory_lock(%s)", (self.server.lock(f"lead {role}"),)):
            self._leads.add(role)
        return role in self._leads

    def _ready(self) -> Connection:
        """The writer's connection, made anew when it was lost. Raises `StoreAway` when a lead was lost with it."""
        if self._writer is None or self._writer.closed:
            if self._leads:
                self._leads.clear()
                raise StoreAway(f"{self.where}: the connection was lost, and the lead with it")
            self._writer = self._new_writer()
        return self._writer

    def _new_writer(self, *, is_first: bool = False) -> Connection:
        db = servers.connect(self.server, read_only=False)
        try:
            servers.version_of(db, self.server)  # before anything is changed in a schema that may not be ours
            self._take_place(db)
            if is_first:
                servers.migrate(db, self.server)
            db.execute(FORGOTTEN)
            db.execute("CREATE TEMP TABLE taken_points (LIKE points) ON COMMIT DELETE ROWS")
        except BaseException:
            db.close()
            raise
        return db

    def _take_place(self, db: Connection) -> None:
        """A daemon on its own keeps everybody else out; workers keep only such a daemon out. Held by the connection."""
        lock = self.server.lock("daemon")
        take = "pg_advisory_lock" if self._exclusive else "pg_advisory_lock_shared"
        ask(db, "SELECT set_config('lock_timeout', %s, false)", (f"{servers.WAIT_FOR_HOLDER}s",))
        try:
            ask(db, f"SELECT {take}(%s)", (lock,))
        except psycopg.errors.LockNotAvailable:
            holders = [f"{name or 'a program'} at {address}" for name, address in ask(db, _HOLDER, (lock,))]
            by = f" ({', '.join(holders)})" if holders else ""
            raise StoreAway(f"{self.where}: another listener is writing to it{by}; stop that one first") from None
        ask(db, "SELECT set_config('lock_timeout', %s, false)", (f"{servers.STUCK}s",))

    # --- reading ------------------------------------------------------------------------------------------------

    def fetch(self, query: str, values: Any) -> list[tuple[Any, ...]]:
        """Ask on some reader; one whose connection was lost meanwhile is replaced."""
        self._refuse_when_closed()
        with self._slots, explained(self.where):
            while (db := self._popped()) is not None:
                try:
                    return ask(db, query, values)
                except psycopg.OperationalError:
                    if not db.closed:
                        raise
                finally:
                    self._put_back(db)
            with self._new_reader() as db:
                return ask(db, query, values)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection of its own that sees one moment until it is left."""
        self._refuse_when_closed()
        with explained(self.where), servers.connect(self.server, read_only=True) as db:
            db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            db.execute("SET LOCAL enable_hashjoin = on")  # who wants a moment to last reads everything
            yield db

    @contextmanager
    def _new_reader(self) -> Iterator[Connection]:
        db = servers.connect(self.server, read_only=True)
        try:
            yield db
        finally:
            self._put_back(db)

    def _popped(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _put_back(self, db: Connection) -> None:
        if db.closed:
            return
        self._idle.append(db)
        if self._closed.is_set():  # while we were reading
            self._close_idle()

    def _close_idle(self) -> None:
        while (db := self._popped()) is not None:
            db.close()

    # --- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of every connection. Closing twice is fine."""
        self._closed.set()
        with self._turn:
            self._close_idle()
            if self._writer is not None:
                with suppress(psycopg.Error):  # the next one need not wait until the server notices that we are gone
                    self._writer.execute("SELECT pg_advisory_unlock_all()")
                self._writer.close()

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise StoreError(f"{self.where}: the store is closed")
