"""Commands for who keeps a store for years: check it, copy it while the daemon runs, put a copy back."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption
from listener.errors import InputError, ListenerError

StoreOption = Annotated[str | None, typer.Option("--store", metavar="URL", help="Store; default: the config's.")]


def register(app: typer.Typer) -> None:
    app.command()(verify)
    app.command()(backup)
    app.command()(restore)


def verify(config: ConfigOption = None, store: StoreOption = None) -> None:
    """Read the whole store and say what is wrong with it, a line a finding; exit code 1 when there is anything.

    The daemon may run meanwhile. Such as: listener verify --store sqlite:////var/lib/listener/listener.db
    """
    from listener.store import open_store

    url = _url(config, store)
    with closing(open_store(url, read_only=True)) as opened:
        findings = opened.verify()
    for finding in findings:
        print(finding)
    if findings:
        raise ListenerError(
            f"{show.counted(len(findings), 'finding')}: stop the daemon, keep the store aside and"
            " `listener restore` the last good backup"
        )
    print("ok")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to make; it must not exist yet.")],
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Copy the SQLite store to FILE as it is at this moment; the daemon may go on writing.

    What was erased is not in it; what is erased later is, until FILE is removed. The key of the author hashes is not in it
    either: keep that somewhere else. Such as: listener backup /backups/listener-$(date +%F).db
    """
    from listener.store.sqlite_backup import back_up

    path = _path(_url(config, store), "pg_dump --schema NAME DATABASE > FILE")
    back_up(path, file)
    print(f"{file}: {file.stat().st_size:,} bytes", file=sys.stderr)
    key = path.with_suffix(".key")
    if key.exists():
        print(f"not in it: {key}, without which authors can't be forgotten by name after a restore", file=sys.stderr)


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A copy that `listener backup` made.")],
    config: ConfigOption = None,
    store: StoreOption = None,
) -> None:
    """Make FILE the SQLite store. It is checked first; the store that was there stays beside it. The daemon must not run.

    What sources still show of the time since is read again, as after any stop. Deletions that were asked for since the backup
    are not known to it. Such as: systemctl stop listener && listener restore /backups/listener-2026-03-01.db
    """
    from listener.store.sqlite_backup import put_back

    path = _path(_url(config, store), "psql DATABASE < FILE")
    aside = put_back(file, path, f"before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    print(f"{path}: restored", file=sys.stderr)
    if aside is not None:
        print(f"the store before is {aside}; it holds texts, remove it when it is not needed", file=sys.stderr)


def _url(config: Path | None, store: str | None) -> str:
    return store or wiring.read(config)[0].store_url()


def _path(url: str, instead: str) -> Path:
    from listener.store import sqlite_file

    if url.startswith(("postgresql:", "postgres:")):
        raise InputError(f"this is for SQLite stores; PostgreSQL brings its own: {instead}")
    path = sqlite_file.path_of(url)
    if path is None:
        raise InputError("a store in memory can't be copied")
    return path
