"""The write side of the PostgreSQL store: what can be done inside one transaction.

Many rows go in by COPY. Rows that replace others are copied to a temporary table first and merged from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from hashlib import blake2b

from psycopg.types.string import StrDumper

from listener.store import codec
from listener.store import postgres_queries as queries
from listener.store.postgres_server import Connection, as_query, ask, plain_rows
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

MOST_WEEKS = 260  # partitions we make by ourselves; an archive of odd instants must not make thousands
OTHER_WEEKS = 0  # the partition of what came after that
DROP_WAIT = "5s"  # how long a partition that is read may hold us up

_AT = codec.MENTION.index("at")
_TEXTS = [codec.MENTION.index(column) for column in queries.TEXTS]
_KEPT = [codec.MENTION.index(column) for column in queries.KEPT]


def key_of(post_id: str) -> bytes:
    """What a post is found by: its id may be longer than an index entry may be."""
    return blake2b(post_id.encode(), digest_size=16).digest()


def week_of(at: datetime) -> int:
    """The week a text arrived in, as the ordinal of its Monday."""
    day = at.toordinal()
    return day - (day - 1) % 7


def table_of(week: int) -> str:
    """The name of a week's partition.

    >>> table_of(date(2026, 3, 2).toordinal())
    'texts_20260302'
    """
    return f"texts_{date.fromordinal(week).isoformat().replace('-', '')}"


def _columns(columns: Sequence[str]) -> str:
    return f"({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"


def _replacing(table: str, columns: Sequence[str], keys: int) -> str:
    """`INSERT` of one row that replaces the one with the same first `keys` columns."""
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns[keys:])
    key = ", ".join(columns[:keys])
    return f"INSERT INTO {table} {_columns(columns)} ON CONFLICT ({key}) DO UPDATE SET {changed}"


_POINT_CHANGES = ", ".join(f"{column} = excluded.{column}" for column in codec.POINT[3:])
_MERGE_POINTS = f"""WITH taken AS (DELETE FROM taken_points RETURNING {", ".join(codec.POINT)})
INSERT INTO points ({", ".join(codec.POINT)}) SELECT * FROM taken
ON CONFLICT (service, region, at) DO UPDATE SET {_POINT_CHANGES}"""  # noqa: S608 - our own names


class PostgresWriter:
    """Implements `listener.store.Writer` on a connection whose transaction is open and whose turn it is."""

    def __init__(self, db: Connection, weeks: set[int]) -> None:
        self._db = db
        self._weeks = weeks

    # --- mentions -----------------------------------------------------------------------------------------------

    def add_mentions(self, mentions: Sequence[Mention]) -> list[Mention]:
        if not mentions:
            return []
        keys = list({key_of(m.post.id) for m in mentions})
        known: dict[str, str | None] = dict(ask(self._db, queries.KNOWN, (keys,)))
        replaced = []
        fresh: dict[str, Mention] = {}
        for mention in mentions:
            id = mention.post.id
            if id in known:
                # What was erased stays erased, even when its source delivers it again.
                if known[id] is None or known[id] == mention.post.text:
                    continue
                if id not in fresh:
                    replaced.append(id)
            known[id] = mention.post.text
            fresh[id] = mention
        if replaced:
            self._remove(replaced)
        if fresh:
            self._insert_mentions(list(fresh.values()))
        return list(fresh.values())

    def _remove(self, ids: Sequence[str]) -> None:
        for row in ask(self._db, queries.MENTIONS_BY_KEY, ([key_of(id) for id in ids],)):
            n, at, mention = row[0], row[_AT], codec.mention_of(row)
            services, regions = list(mention.services), [region.region for region in mention.regions]
            self._erase([n])
            for table, column, entries in (("services", "service", services), ("regions", "region", regions)):
                query = f"DELETE FROM mention_{table} WHERE {column} = ANY (%s) AND at = %s AND n = %s"  # noqa: S608 - named here
                self._db.execute(as_query(query), (entries, at, n))
            self._db.execute("DELETE FROM mentions WHERE n = %s", (n,))

    def _insert_mentions(self, mentions: Sequence[Mention]) -> None:
        numbers = ask(self._db, "SELECT nextval('mentions_n') FROM generate_series(1, %s)", (len(mentions),))
        rows = [codec.mention_row(n, mention) for (n,), mention in zip(numbers, mentions, strict=True)]
        weeks = self._partitions([week_of(m.post.received_at) for m in mentions])
        keys = [key_of(m.post.id) for m in mentions]
        self._copy(
            "mentions",
            ("key", "week", *queries.KEPT),
            [(key, week, *[row[i] for i in _KEPT]) for key, week, row in zip(keys, weeks, rows, strict=True)],
        )
        received = codec.MENTION.index("received_at")
        self._copy(
            "texts",
            ("week", "n", "received_at", *queries.TEXTS),
            [(week, row[0], row[received], *[row[i] for i in _TEXTS]) for week, row in zip(weeks, rows, strict=True)],
        )
        both = list(zip(mentions, rows, strict=True))
        self._copy(
            "mention_services",
            ("service", "at", "n"),
            [(service, row[_AT], row[0]) for m, row in both for service in sorted(set(m.services))],
        )
        self._copy(
            "mention_regions",
            ("region", "at", "n"),
            [(region, row[_AT], row[0]) for m, row in both for region in sorted({r.region for r in m.regions})],
        )

    def _partitions(self, weeks: Sequence[int]) -> list[int]:
        """The partition of each week, made when it is not there."""
        if set(weeks) <= self._weeks:
            return list(weeks)
        there = {week for (week,) in ask(self._db, queries.PARTITIONS)}
        for week in sorted(set(weeks) - there):
            if len(there) < MOST_WEEKS:
                # Attached, not made in place: that waits for nobody who reads, such as a dump that takes its time.
                self._db.execute(as_query(f"CREATE TABLE {table_of(week)} (LIKE texts INCLUDING ALL)"))
                self._db.execute(
                    as_query(f"ALTER TABLE texts ATTACH PARTITION {table_of(week)} FOR VALUES IN ({week})")
                )
                there.add(week)
        self._weeks |= there
        return [week if week in there else OTHER_WEEKS for week in weeks]

    def _copy(self, table: str, columns: Sequence[str], rows: Sequence[codec.Row]) -> None:
        cursor = self._db.cursor()
        if plain_rows(rows):
            cursor.adapters.register_dumper(str, StrDumper)  # psycopg's own, in C: it halves what a copy costs us
        with cursor.copy(as_query(f"COPY {table} ({', '.join(columns)}) FROM STDIN")) as copy:
            for row in rows:
                copy.write_row(row)

    def mentions_between(self, services: Sequence[str], since: datetime, until: datetime) -> list[Mention]:
        values = (list(services), codec.micros(since), codec.micros(until))
        return [codec.mention_of(row) for row in ask(self._db, queries.MENTIONS_BETWEEN, values)]

    def mark(self, name: str) -> str | None:
        rows = ask(self._db, queries.MARK, (name,))
        return str(rows[0][0]) if rows else None

    def mentions_of(self, post_ids: Sequence[str]) -> list[Mention]:
        keys = [key_of(id) for id in post_ids]
        return [codec.mention_of(row) for row in ask(self._db, queries.MENTIONS_BY_KEY, (keys,))]

    def erase(self, delete: Delete) -> list[Mention]:
        if delete.post_id:
            rows = ask(self._db, queries.MENTIONS_TO_ERASE["id"], (key_of(delete.post_id),))
        elif delete.author:
            rows = ask(self._db, queries.MENTIONS_TO_ERASE["author"], (delete.author, delete.source))
        else:
            return []
        self._erase([row[0] for row in rows])
        return sorted((codec.mention_of(row) for row in rows), key=lambda m: (m.at, m.post.id))

    def _erase(self, numbers: Sequence[int]) -> None:
        self._db.execute(
            "DELETE FROM texts t USING mentions m WHERE m.n = ANY (%s) AND t.week = m.week AND t.n = m.n",
            (list(numbers),),
        )

    def forget(self, texts_before: datetime, limit: int) -> int:
        """Erase up to `limit` mentions received before then; give back how many."""
        return self._db.execute(as_query(queries.FORGET), (codec.micros(texts_before), limit)).rowcount

    def drop_week_before(self, texts_before: datetime) -> int | None:
        """Drop the partition of a week that was over before then; give back how many texts it had, None when there is none."""
        last = week_of(texts_before) - timedelta(weeks=1).days
        for (week,) in ask(self._db, queries.PARTITIONS):
            if OTHER_WEEKS < week <= last:
                ask(self._db, "SELECT set_config('lock_timeout', %s, true)", (DROP_WAIT,))
                ((count,),) = ask(self._db, f"SELECT count(*) FROM {table_of(week)}")  # noqa: S608 - our own name
                self._db.execute(as_query(f"DROP TABLE {table_of(week)}"))
                self._weeks.discard(week)
                return int(count)
        return None

    # --- points and what was heard ------------------------------------------------------------------------------

    def put_points(self, points: Sequence[Point]) -> None:
        last = {(point.key, point.at): point for point in points}.values()
        rows = [codec.point_row(point) for point in last if point.posts]
        if rows:
            self._copy("taken_points", codec.POINT, rows)
            self._db.execute(as_query(_MERGE_POINTS))
        if gone := [(p.key.service, p.key.region, codec.micros(p.at)) for p in last if not p.posts]:
            self._db.cursor().executemany("DELETE FROM points WHERE service = %s AND region = %s AND at = %s", gone)

    def put_expected(self, expected: Sequence[Expected]) -> None:
        self._put("expected", codec.EXPECTED, 3, [codec.expected_row(e) for e in expected])

    def add_hearing(self, hearing: Sequence[Hearing]) -> None:
        self._many(
            "INSERT INTO hearing (source, at, posts, up) VALUES (%s, %s, %s, %s) ON CONFLICT (at, source)"
            " DO UPDATE SET posts = hearing.posts + excluded.posts, up = hearing.up OR excluded.up",
            [(h.source, codec.micros(h.at), h.posts, h.up) for h in hearing],
        )

    def add_dropped(self, source: str, day: str, reasons: dict[str, int]) -> None:
        self._many(
            "INSERT INTO dropped (source, day, reason, posts) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (day, source, reason) DO UPDATE SET posts = dropped.posts + excluded.posts",
            [(source, day, str(reason), posts) for reason, posts in reasons.items()],
        )

    def add_tallies(self, tallies: Sequence[Tally]) -> None:
        self._many(
            f"INSERT INTO tallies {_columns(codec.TALLY)} ON CONFLICT (day, source, model, measure, bucket)"
            " DO UPDATE SET count = tallies.count + excluded.count",
            [codec.tally_row(tally) for tally in tallies],
        )

    def drop_tallies(self, before: str) -> None:
        self._db.execute("DELETE FROM tallies WHERE day < %s", (before,))

    # --- incidents and those who are told -----------------------------------------------------------------------

    def put_transitions(self, transitions: Sequence[Transition]) -> None:
        insert = f"INSERT INTO transitions {_columns(codec.TRANSITION)} ON CONFLICT (id) DO NOTHING"
        for transition in transitions:
            if self._db.execute(as_query(insert), codec.transition_row(transition)).rowcount:
                self.put_incidents([transition.incident])

    def put_incidents(self, incidents: Sequence[Incident]) -> None:
        self._put("incidents", codec.INCIDENT, 1, [codec.incident_row(i) for i in incidents])

    def add_notification(self, notification: Notification) -> None:
        insert = f"INSERT INTO notifications {_columns(codec.NOTIFICATION)}"
        self._db.execute(as_query(insert), codec.notification_row(notification))

    # --- small things -------------------------------------------------------------------------------------------

    def set_cursor(self, source: str, cursor: str) -> None:
        self._put("cursors", ("source", "cursor"), 1, [(source, cursor)])

    def put_health(self, health: Sequence[SourceHealth]) -> None:
        self._put("health", codec.HEALTH, 1, [codec.health_row(h) for h in health])

    def set_mark(self, name: str, value: str) -> None:
        self._put("marks", ("name", "value"), 1, [(name, value)])

    def _put(self, table: str, columns: Sequence[str], keys: int, rows: Sequence[codec.Row]) -> None:
        self._many(_replacing(table, columns, keys), rows)

    def _many(self, query: str, rows: Sequence[codec.Row]) -> None:
        if len(rows) == 1:
            self._db.execute(as_query(query), rows[0])
        elif rows:
            self._db.cursor().executemany(as_query(query), rows)
