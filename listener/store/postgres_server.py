"""The server of a PostgreSQL store: reading its URL, connecting, migrating, and saying in words what is wrong.

A password comes from the URL, `PGPASSWORD`, `~/.pgpass` or a service file, as libpq finds it. It stands in no message.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import StrDumper, StrDumperUnknown, TextBinaryLoader, TextLoader

from listener.errors import ConfigError, StoreAway, StoreError

Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA = "listener"  # when the URL names none
OLDEST_SERVER = 130_000  # PostgreSQL 13; nothing older is meant to work
CONNECT = 10  # seconds until a server that does not answer counts as away
STUCK = 60  # seconds after which the server gives up a transaction whose client is silent, or a wait for a lock
WAIT_FOR_HOLDER = 5  # seconds in which the server may notice that the daemon before us has died

_MIGRATIONS = Path(__file__).parent / "migrations" / "postgres"

# What the server says that passes: it goes down or comes up, has no room for one more, or ended a wait or a deadlock.
_PASSING = ("08", "57P", "40", "53300", "55P03", "25P03", "57014")
_ADVICE = {
    "53": "the server has not enough of something",
    "58": "the server's machine fails it; see its log",
    "XX": "the server met an error of its own; see its log",
    "53100": "the server's disk is full; free some space, what was stored before is safe",
    "53200": "the server is out of memory",
    "25006": "the server only lets us read: it is a standby, or its database is set so",
    "42501": "the user may not do this; give it its own schema, or CREATE on the database",
    "XX001": "the database is corrupt; stop the daemon and restore a backup",
    "XX002": "an index of the database is corrupt; REINDEX it, or restore a backup",
}


@dataclass(frozen=True)
class Server:
    """Where a store is: what libpq needs to connect, the schema, and how to name it without its password."""

    parameters: dict[str, Any]
    schema: str
    where: str

    def lock(self, purpose: str) -> int:
        """The number of this store's advisory lock for a purpose."""
        digest = blake2b(f"listener/{self.schema}/{purpose}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, signed=True)


def server_of(url: str) -> Server:
    """Read `postgresql://USER@HOST:PORT/DATABASE?schema=NAME`; every other part is libpq's.

    >>> server_of("postgresql://ana:secret@db.example.org/outages?schema=live").where
    'postgresql://ana@db.example.org/outages?schema=live'
    """
    address, _, query = url.partition("?")
    parts = [part for part in query.split("&") if part]
    schemas = [part.partition("=")[2] for part in parts if part.startswith("schema=")]
    schema = schemas[-1] if schemas else SCHEMA
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) or schema.startswith("pg_"):
        raise ConfigError("store: ?schema= takes lower-case letters, digits and _, and does not begin with pg_")
    rest = "&".join(part for part in parts if not part.startswith("schema="))
    try:
        found = conninfo_to_dict(f"{address}?{rest}" if rest else address)
    except psycopg.ProgrammingError:
        found = {}
    # A password with a bare / or ? in it ends up as another part. What libpq says then would quote it.
    if not found or not re.fullmatch(r"[0-9,]*", str(found.get("port", ""))) or "@" in str(found.get("dbname", "")):
        raise ConfigError(
            "store: not a PostgreSQL URL; write postgresql://USER@HOST/DATABASE?schema=NAME, with special characters as %XX"
        )
    user = f"{found['user']}@" if found.get("user") else ""
    port = f":{found['port']}" if found.get("port") else ""
    where = f"postgresql://{user}{found.get('host', '')}{port}/{found.get('dbname', '')}?schema={schema}"
    return Server({"connect_timeout": CONNECT, **found}, schema, where)


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what the world did into a `StoreError`, `StoreAway` when it passes; a mistake in our own SQL stays what it is."""
    try:
        yield
    except psycopg.Error as error:
        said = " ".join(str(error).split())[:300]
        code = error.sqlstate or ""
        if code.startswith(_PASSING) or (not code and isinstance(error, psycopg.OperationalError)):
            raise StoreAway(f"{where}: the server is away or refuses for now ({said})") from error
        if advice := _ADVICE.get(code) or _ADVICE.get(code[:2]):
            raise StoreError(f"{where}: {advice} ({said})") from error
        raise


def connect(server: Server, *, read_only: bool) -> Connection:
    """A connection in autocommit mode whose tables are the store's. Raises what psycopg raises."""
    target = {} if read_only else {"target_session_attrs": "read-write"}
    db = psycopg.connect(
        **{
            "fallback_application_name": f"listener {socket.gethostname()} pid {os.getpid()}",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": STUCK * 1000,
            **target,
            **server.parameters,
            "client_encoding": "utf8",
        },
        autocommit=True,
    )
    try:
        _set_up(db, server, read_only=read_only)
    except BaseException:
        db.close()
        raise
    return db


def _set_up(db: Connection, server: Server, *, read_only: bool) -> None:
    if db.info.server_version < OLDEST_SERVER:
        raise StoreError(f"{server.where}: PostgreSQL 13 or newer is needed")
    db.adapters.register_dumper(str, _TextDumper)
    db.adapters.register_dumper(str, _Dumper)
    db.adapters.register_loader("text", _TextLoader)
    db.adapters.register_loader("text", _TextBinaryLoader)
    settings = {
        "search_path": f'"{server.schema}"',
        "default_transaction_read_only": "on" if read_only else "off",
        "default_transaction_isolation": "read committed",
        "jit": "off",  # it takes longer than our questions
        # Each of our questions follows keys from few rows to few. Without statistics, as of a partition that was just made,
        # PostgreSQL would rather read whole tables.
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "random_page_cost": "1.1",
        "lock_timeout": f"{STUCK}s",
        "idle_in_transaction_session_timeout": f"{STUCK}s",
        "tcp_keepalives_idle": "30",  # a client that fell off the net does not hold its locks for hours
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    }
    pairs = [value for pair in settings.items() for value in pair]
    ask(db, f"SELECT {', '.join(['set_config(%s, %s, false)'] * len(settings))}", pairs)
    # What was acknowledged survives a power cut, also when the server is set to be quicker than that.
    ask(
        db,
        "SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting = 'off'",
    )


def ask(db: Connection, query: str, values: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a question. They come in binary, so that fractions arrive as they are stored."""
    return db.execute(as_query(query), values, binary=True).fetchall()


def as_query(sql: str) -> bytes:
    """psycopg's types ask for literals; ours are put together from parts, none of which comes from outside."""
    return sql.encode()


def migrate(db: Connection, server: Server) -> None:
    """Bring a new or older store to this program's schema, one transaction a step, one program at a time."""
    (encoding,) = ask(db, "SHOW server_encoding")[0]
    if encoding != "UTF8":
        raise StoreError(
            f"{server.where}: the database's encoding is {encoding}; posts need one made with ENCODING 'UTF8'"
        )
    ask(db, "SELECT pg_advisory_lock(%s)", (server.lock("migrate"),))
    try:
        version = version_of(db, server)
        if version == 0 and not ask(db, "SELECT FROM pg_namespace WHERE nspname = %s", (server.schema,)):
            db.execute(as_query(f'CREATE SCHEMA "{server.schema}"'))
        for number, script in migrations():
            if number > version:
                with db.transaction():
                    db.execute("CREATE TABLE IF NOT EXISTS migrations (number integer NOT NULL PRIMARY KEY)")
                    db.execute(as_query(script))
                    db.execute("INSERT INTO migrations (number) VALUES (%s)", (number,))
    finally:
        if not db.closed:
            ask(db, "SELECT pg_advisory_unlock(%s)", (server.lock("migrate"),))


def check(db: Connection, server: Server) -> None:
    """Raises `StoreError` when a store that is only read is not there or has not this program's schema."""
    version, newest = version_of(db, server), newest_version()
    if version == 0:
        raise StoreError(f"{server.where}: there is no store yet; `listener run` makes it")
    if version < newest:
        raise StoreError(
            f"{server.where}: the store has schema {version}, this listener reads {newest}; "
            "start `listener run` once to bring it up to date"
        )


def version_of(db: Connection, server: Server) -> int:
    """The schema's number, 0 for an empty one. Raises `StoreError` for a schema that is not ours or is too new."""
    tables = {
        name for (name,) in ask(db, "SELECT tablename::text FROM pg_tables WHERE schemaname = %s", (server.schema,))
    }
    if not tables:
        return 0
    if not tables >= {"migrations", "mentions"}:
        raise StoreError(f"{server.where}: the schema holds another program's tables; choose another with ?schema=")
    (version,) = ask(db, "SELECT max(number) FROM migrations")[0]
    if version > newest_version():
        raise StoreError(
            f"{server.where}: the store was written by a newer listener (schema {version}, this one knows "
            f"{newest_version()}); upgrade listener, or choose another schema"
        )
    return int(version)


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every step, in order."""
    files = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    return [(int(file.name.partition("_")[0]), file.read_text(encoding="utf-8")) for file in files]


def newest_version() -> int:
    return max(number for number, _ in migrations())


# PostgreSQL's text can hold any character but NUL. That one is kept as two: DLE, @; and DLE itself as DLE, =.


class _TextDumper(StrDumper):
    def dump(self, obj: str) -> bytes:
        return dumped(obj)


class _Dumper(StrDumperUnknown):
    def dump(self, obj: str) -> bytes:
        return dumped(obj)


def dumped(text: str) -> bytes:
    made = text.encode()
    if b"\x00" in made or b"\x10" in made:
        return made.replace(b"\x10", b"\x10=").replace(b"\x00", b"\x10@")
    return made


def plain_rows(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether no text of the rows needs that."""
    text = "".join([value for row in rows for value in row if value.__class__ is str])
    return "\x00" not in text and "\x10" not in text


def loaded(text: str) -> str:
    return text.replace("\x10@", "\x00").replace("\x10=", "\x10") if "\x10" in text else text


class _TextLoader(TextLoader):
    def load(self, data: Any) -> str:
        return loaded(str(data, "utf-8"))


class _TextBinaryLoader(TextBinaryLoader):
    def load(self, data: Any) -> str:
        return loaded(str(data, "utf-8"))
