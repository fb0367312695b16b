"""The default store: one SQLite file in WAL mode. `sqlite:///:memory:` is for tests and short replays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec

from listener.errors import ConfigError
from listener.store import codec, sqlite_file, sqlite_queries
from listener.store.reading import Reading
from listener.store.sqlite_connections import Connections
from listener.store.sqlite_writer import SqliteWriter

FORGET_BATCH = 2_000  # mentions a transaction: a month's worth must not hold up the posts that arrive


class SqliteStore(Reading):
    """Implements `listener.store.Store`."""

    _queries = sqlite_queries

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> SqliteStore:
        """Open `sqlite:///PATH`; make or migrate it unless it is only read. Raises `StoreError` when it can't be had."""
        path = sqlite_file.path_of(url)
        if path is None and read_only:
            raise ConfigError(f"store {url!r}: a store in memory starts empty, it can't be opened read-only")
        return cls(Connections.open(path, read_only=read_only))

    @contextmanager
    def transaction(self) -> Iterator[SqliteWriter]:
        with self._connections.writing() as db:
            yield SqliteWriter(db, on_erase=self._connections.erased)

    def trouble(self) -> str:
        return self._connections.trouble

    def lead(self, role: str) -> bool:
        return True  # nobody else can write

    def close(self) -> None:
        self._connections.close()

    def forget(self, now: datetime, texts_before: datetime) -> int:
        total = 0
        while True:
            with self.transaction() as writer:
                erased = writer.forget(now, texts_before, FORGET_BATCH)
            total += erased
            if erased < FORGET_BATCH:
                return total

    def verify(self) -> list[str]:
        with self._connections.reading() as db:
            try:
                findings = [line for (line,) in db.execute("PRAGMA integrity_check(20)") if line != "ok"]
                for what, question in sqlite_queries.CONTRADICTIONS.items():
                    (count,) = db.execute(question).fetchone()
                    if count:
                        findings.append(f"{count} {what}")
                for row in db.execute(sqlite_queries.MENTIONS):
                    codec.mention_of(row)
            except (sqlite3.DatabaseError, msgspec.DecodeError, ValueError) as error:
                findings = [*findings, f"can't be read on: {error}"]
        return findings

    def _all(self, query: str, values: Any) -> list[codec.Row]:
        with self._connections.reading() as db:
            return db.execute(query, values).fetchall()

    def _set(self, values: Sequence[str]) -> str:
        return codec.listed(values)
