"""The write side of the SQLite store: what can be done inside one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

from listener.store import codec
from listener.store import sqlite_queries as queries
from listener.types import (
    Delete,
    Expected,
    Hearing,
    Incident,
    Mention,
    Notification,
    Point,
    SourceHealth,
    Tally,
    Transition,
)


def _insert(table: str, columns: Sequence[str], verb: str = "INSERT") -> str:
    return f"{verb} INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_AT = codec.MENTION.index("at")
_ERASE = "UPDATE mentions SET text = '', author = '', url = '', place = '', matches = '[]', erased_at = ? WHERE n = ?"


class SqliteWriter:
    """Implements `listener.store.Writer` on a connection whose transaction is open."""

    def __init__(self, db: sqlite3.Connection, on_erase: Callable[[], None]) -> None:
        self._db = db
        self._on_erase = on_erase

    def add_mentions(self, mentions: Sequence[Mention]) -> list[Mention]:
        ids = codec.listed([m.post.id for m in mentions])
        known: dict[str, tuple[str, int | None]] = {
            id: (text, erased_at)
            for id, text, erased_at in self._db.execute(
                "SELECT id, text, erased_at FROM mentions WHERE id IN (SELECT value FROM json_each(?))", (ids,)
            )
        }
        replaced = []
        fresh: dict[str, Mention] = {}
        for mention in mentions:
            id = mention.post.id
            text, erased_at = known.get(id, (None, None))
            # What was erased stays erased, even when its source delivers it again.
            if erased_at is not None or text == mention.post.text:
                continue
            if text is not None and id not in fresh:
                replaced.append(id)
            known[id] = (mention.post.text, None)
            fresh[id] = mention
        if replaced:
            self._remove(replaced)
        self._insert_mentions(list(fresh.values()))
        return list(fresh.values())

    def _remove(self, ids: Sequence[str]) -> None:
        for row in self._db.execute(queries.MENTIONS_BY_ID, (codec.listed(ids),)).fetchall():
            n, at, mention = row[0], row[_AT], codec.mention_of(row)
            services = [(service, at, n) for service in set(mention.services)]
            regions = [(region.region, at, n) for region in mention.regions]
            self._db.executemany("DELETE FROM mention_services WHERE service = ? AND at = ? AND n = ?", services)
            self._db.executemany("DELETE FROM mention_regions WHERE region = ? AND at = ? AND n = ?", regions)
            self._db.execute("DELETE FROM mentions WHERE n = ?", (n,))

    def _insert_mentions(self, mentions: Sequence[Mention]) -> None:
        (last,) = self._db.execute("SELECT coalesce(max(n), 0) FROM mentions").fetchone()
        rows = [codec.mention_row(n, mention) for n, mention in enumerate(mentions, last + 1)]
        self._db.executemany(_insert("mentions", codec.MENTION), rows)
        self._db.executemany(
            "INSERT INTO mention_services (service, at, n) VALUES (?, ?, ?)",
            [(s, row[_AT], row[0]) for m, row in zip(mentions, rows, strict=True) for s in sorted(set(m.services))],
        )
        self._db.executemany(
            "INSERT INTO mention_regions (region, at, n) VALUES (?, ?, ?)",
            [
                (region, row[_AT], row[0])
                for m, row in zip(mentions, rows, strict=True)
                for region in sorted({r.region for r in m.regions})
            ],
        )

    def mentions_between(self, services: Sequence[str], since: datetime, until: datetime) -> list[Mention]:
        values = (codec.listed(services), codec.micros(since), codec.micros(until))
        found = self._db.execute(queries.MENTIONS_BETWEEN, values)
        return [codec.mention_of(row) for row in found]

    def mark(self, name: str) -> str | None:
        row = self._db.execute(queries.MARK, (name,)).fetchone()
        return str(row[0]) if row else None

    def mentions_of(self, post_ids: Sequence[str]) -> list[Mention]:
        found = self._db.execute(queries.MENTIONS_BY_ID, (codec.listed(post_ids),))
        return [codec.mention_of(row) for row in found]

    def erase(self, delete: Delete) -> list[Mention]:
        if delete.post_id:
            return self._erase("id", (delete.post_id,), delete.at)
        if delete.author:
            return self._erase("author", (delete.author, delete.source), delete.at)
        return []

    def forget(self, now: datetime, texts_before: datetime, limit: int) -> int:
        """Erase up to `limit` mentions received before then; give back how many."""
        return len(self._erase("age", (codec.micros(texts_before), limit), now))

    def _erase(self, by: str, values: tuple[str | int, ...], at: datetime) -> list[Mention]:
        rows = self._db.execute(queries.MENTIONS_TO_ERASE[by], values).fetchall()
        self._db.executemany(_ERASE, [(codec.micros(at), row[0]) for row in rows])
        if rows:
            self._on_erase()
        return sorted((codec.mention_of(row) for row in rows), key=lambda m: (m.at, m.post.id))

    def put_points(self, points: Sequence[Point]) -> None:
        last = {(point.key, point.at): point for point in points}.values()
        self._db.executemany(
            _insert("points", codec.POINT, "INSERT OR REPLACE"), [codec.point_row(p) for p in last if p.posts]
        )
        self._db.executemany(
            "DELETE FROM points WHERE service = ? AND region = ? AND at = ?",
            [(p.key.service, p.key.region, codec.micros(p.at)) for p in last if not p.posts],
        )

    def put_expected(self, expected: Sequence[Expected]) -> None:
        self._db.executemany(
            _insert("expected", codec.EXPECTED, "INSERT OR REPLACE"), [codec.expected_row(e) for e in expected]
        )

    def add_hearing(self, hearing: Sequence[Hearing]) -> None:
        self._db.executemany(
            "INSERT INTO hearing (source, at, posts, up) VALUES (?, ?, ?, ?) ON CONFLICT (at, source)"
            " DO UPDATE SET posts = posts + excluded.posts, up = max(up, excluded.up)",
            [(h.source, codec.micros(h.at), h.posts, int(h.up)) for h in hearing],
        )

    def add_dropped(self, source: str, day: str, reasons: dict[str, int]) -> None:
        self._db.executemany(
            "INSERT INTO dropped (source, day, reason, posts) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (day, source, reason) DO UPDATE SET posts = posts + excluded.posts",
            [(source, day, str(reason), posts) for reason, posts in reasons.items()],
        )

    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        self._db.executemany(
            _insert("tallies", codec.TALLY) + " ON CONFLICT DO UPDATE SET count = count + excluded.count",
            [codec.tally_row(tally) for tally in tallies],
        )

    def drop_tallies(self, before: str) -> None:
        self._db.execute("DELETE FROM tallies WHERE day < ?", (before,))

    def put_transitions(self, transitions: Sequence[Transition]) -> None:
        for transition in transitions:
            added = self._db.execute(
                _insert("transitions", codec.TRANSITION) + " ON CONFLICT (id) DO NOTHING",
                codec.transition_row(transition),
            )
            if added.rowcount:
                self.put_incidents([transition.incident])

    def put_incidents(self, incidents: Sequence[Incident]) -> None:
        self._db.executemany(
            _insert("incidents", codec.INCIDENT, "INSERT OR REPLACE"), [codec.incident_row(i) for i in incidents]
        )

    def add_notification(self, notification: Notification) -> None:
        self._db.execute(_insert("notifications", codec.NOTIFICATION), codec.notification_row(notification))

    def set_cursor(self, source: str, cursor: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO cursors (source, cursor) VALUES (?, ?)", (source, cursor))

    def put_health(self, health: Sequence[SourceHealth]) -> None:
        self._db.executemany(
            _insert("health", codec.HEALTH, "INSERT OR REPLACE"), [codec.health_row(h) for h in health]
        )

    def set_mark(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO marks (name, value) VALUES (?, ?)", (name, value))
