"""The store that many machines share: a schema of a PostgreSQL database, `postgresql://USER@HOST/DATABASE?schema=NAME`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from listener.errors import StoreAway
from listener.store import codec, postgres_queries, postgres_server
from listener.store.postgres_connections import Connections
from listener.store.postgres_server import as_query, ask
from listener.store.postgres_writer import PostgresWriter
from listener.store.reading import Reading

FORGET_BATCH = 2_000  # mentions a transaction: a month's worth must not hold up the posts that arrive
READ_AT_ONCE = 2_000  # rows that `verify` holds in memory


class PostgresStore(Reading):
    """Implements `listener.store.Store`."""

    _queries = postgres_queries

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    @classmethod
    def open(cls, url: str, *, read_only: bool = False, exclusive: bool = True) -> PostgresStore:
        """Open the store of a URL; make or migrate it unless it is only read. Raises `StoreError` when it can't be had."""
        server = postgres_server.server_of(url)
        return cls(Connections.open(server, read_only=read_only, exclusive=exclusive))

    @contextmanager
    def transaction(self) -> Iterator[PostgresWriter]:
        with self._connections.writing() as db:
            yield PostgresWriter(db, self._connections.weeks)

    def lead(self, role: str) -> bool:
        return self._connections.lead(role)

    def close(self) -> None:
        self._connections.close()

    def forget(self, now: datetime, texts_before: datetime) -> int:
        total = 0
        while (dropped := self._drop_week_before(texts_before)) is not None:
            total += dropped
        while True:
            with self.transaction() as writer:
                erased = writer.forget(texts_before, FORGET_BATCH)
            total += erased
            if erased < FORGET_BATCH:
                return total

    def _drop_week_before(self, texts_before: datetime) -> int | None:
        """None when there is none left, or somebody reads it for so long that its rows are better erased one by one."""
        try:
            with self.transaction() as writer:
                return writer.drop_week_before(texts_before)
        except StoreAway as away:
            if isinstance(away.__cause__, psycopg.errors.LockNotAvailable):
                return None
            raise

    def verify(self) -> list[str]:
        findings = []
        with self._connections.snapshot() as db:
            try:
                for what, question in postgres_queries.CONTRADICTIONS.items():
                    ((count,),) = ask(db, question)
                    if count:
                        findings.append(f"{count} {what}")
                with db.cursor(name="mentions", binary=True) as rows:
                    rows.itersize = READ_AT_ONCE
                    for row in rows.execute(as_query(postgres_queries.MENTIONS)):
                        codec.mention_of(row)
            except (psycopg.DataError, msgspec.DecodeError, ValueError) as error:
                findings.append(f"can't be read on: {error}")
        return findings

    def _all(self, query: str, values: Any) -> list[codec.Row]:
        return self._connections.fetch(query, values)

    def _set(self, values: Sequence[str]) -> list[str]:
        return list(values)
