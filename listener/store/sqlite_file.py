"""The file of a SQLite store: finding, making, checking and migrating it, and saying in words what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from listener.errors import ConfigError, StoreAway, StoreError

APPLICATION_ID = 0x4C53544E  # "LSTN" in the file's header: tells our files from other programs'
MEMORY = ":memory:"
BUSY = 10.0  # seconds to wait for another program that holds the file

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space, what was stored before is safe",
    sqlite3.SQLITE_IOERR: "the disk refuses to read or write; check its free space, quota and health",
    sqlite3.SQLITE_CORRUPT: "the store is corrupt; stop the daemon, keep the store aside and"
    " `listener restore` the last good backup",
    sqlite3.SQLITE_NOTADB: "this file is not a listener store; choose another path, or move the file away",
    sqlite3.SQLITE_READONLY: "SQLite may not write here, which even reading needs; check the permissions of the file and folder",
    sqlite3.SQLITE_CANTOPEN: "the store can't be opened; check the permissions and free space of its folder",
    sqlite3.SQLITE_PERM: "the store can't be opened; check the permissions of the file and its folder",
    sqlite3.SQLITE_BUSY: "another program keeps the store locked; close it and try again",
    sqlite3.SQLITE_LOCKED: "another program keeps the store locked; close it and try again",
    sqlite3.SQLITE_PROTOCOL: "another program keeps the store locked; close it and try again",
    sqlite3.SQLITE_NOMEM: "there is not enough memory to read the store",
    sqlite3.SQLITE_TOOBIG: "a value is too large to be stored",
}
# These pass, by themselves or when somebody makes room: nothing was written, and it is tried again.
_PASSING = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM}
)


@contextmanager
def explained(where: str, *, was_open: bool = False) -> Iterator[None]:
    """Turn what the world did to the file into a `StoreError`; a mistake in our own SQL stays the error it is.

    What passes is a `StoreAway`. With `was_open`, so is a file that can't be opened: it could be before, and whoever runs out
    of file descriptors gets some back.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = _code(error)
        advice = _ADVICE.get(code)
        if advice is None:
            raise
        passes = code in _PASSING or (was_open and code == sqlite3.SQLITE_CANTOPEN)
        raise (StoreAway if passes else StoreError)(f"{where}: {advice} ({error}, {_name(error)})") from error


def _code(error: sqlite3.Error) -> int:
    """Its primary code; 0 for the module's own errors. The index of the log that finds no room is a full disk as well."""
    extended: int = getattr(error, "sqlite_errorcode", 0)
    return sqlite3.SQLITE_FULL if extended == sqlite3.SQLITE_IOERR_SHMSIZE else extended & 0xFF


def _name(error: sqlite3.Error) -> str:
    """What SQLite calls it, such as SQLITE_IOERR_WRITE: its words alone say less."""
    return str(getattr(error, "sqlite_errorname", "no code"))


def path_of(url: str) -> Path | None:
    """The file of `sqlite:///PATH`, or None for `sqlite:///:memory:`.

    >>> path_of("sqlite:////var/lib/listener/listener.db")
    PosixPath('/var/lib/listener/listener.db')
    """
    scheme, found, rest = url.partition(":///")
    if scheme != "sqlite" or not found or not rest or "\0" in rest:
        raise ConfigError(f"store {url!r}: write sqlite:///PATH, with four slashes for an absolute path")
    # Resolved, so that two ways to name a file (a symbolic link) meet at one lock.
    return None if rest == MEMORY else Path(rest).expanduser().resolve()


def prepare(path: Path) -> None:
    """Make the file and the folders above it, for their owner only. Raises `StoreError` when that can't be."""
    prepare_folder(path)
    with writable(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def prepare_folder(path: Path) -> None:
    """Make the folders above a file, for their owner only. Raises `StoreError` when that can't be."""
    with writable(path):
        for folder in reversed([p for p in path.parents if not p.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: the store can't be made or written here ({error.strerror}); "
            "choose another path or check the permissions and free space of its folder"
        ) from error


def connect(path: Path | None, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode that any thread may use, one at a time."""
    if path is None:
        return sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
    mode = "ro" if read_only else "rw"
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY, isolation_level=None, check_same_thread=False
    )


def set_up_writer(db: sqlite3.Connection) -> None:
    """The settings of the one connection that writes.

    SQLite before 3.51.3 can corrupt a WAL when two connections write and checkpoint at once. Only this connection does
    either, and at moments we choose: hence no automatic checkpoints.
    """
    (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode not in ("wal", "memory"):
        raise StoreError(f"the file system can't hold SQLite's write-ahead log (it offers {mode!r}); use a local disk")
    db.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    db.execute("PRAGMA cache_size = -32000")  # 32 MB: the indexes' hot pages at millions of points
    db.execute("PRAGMA secure_delete = ON")  # an erased text is overwritten, not just unlinked


def migrate(db: sqlite3.Connection, where: str) -> None:
    """Bring a new or older store to this program's schema, one transaction a step."""
    version = version_of(db, where)
    for number, script in migrations():
        if number > version:
            try:
                db.executescript(
                    f"BEGIN IMMEDIATE;\n{script}\n;"
                    f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;"
                )
            except sqlite3.Error:
                db.rollback()
                raise


def check(db: sqlite3.Connection, where: str) -> None:
    """Raises `StoreError` when a store that is only read has not this program's schema."""
    version, newest = version_of(db, where), newest_version()
    if version < newest:
        raise StoreError(
            f"{where}: the store has schema {version}, this listener reads {newest}; "
            "start `listener run` once to bring it up to date"
        )


def version_of(db: sqlite3.Connection, where: str) -> int:
    """The schema's number, 0 for an empty file. Raises `StoreError` for a file that is not ours or is too new."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreError(f"{where}: this is another program's SQLite database; choose another path")
    if version > newest_version():
        raise StoreError(
            f"{where}: the store was written by a newer listener (schema {version}, this one knows {newest_version()}); "
            "upgrade listener, or choose another path"
        )
    return int(version)


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every step, in order."""
    files = sorted((Path(__file__).parent / "migrations").glob("[0-9]*.sql"))
    return [(int(file.name.partition("_")[0]), file.read_text(encoding="utf-8")) for file in files]


def newest_version() -> int:
    return max(number for number, _ in migrations())
