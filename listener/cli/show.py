"""How things look in a terminal: tables, times, numbers. Machine output goes to stdout, everything else to stderr."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

STATES = {"no_data": "dim", "quiet": "green", "possible": "yellow", "problems": "red", "recovering": "cyan"}


def console(*, stderr: bool = False) -> Console:
    """A console that keeps to the terminal's width, and to 80 columns where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else int(os.get_terminal_size().columns) if _has_size() else 100
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=not stream.isatty())


def _has_size() -> bool:
    try:
        os.get_terminal_size()
    except OSError:
        return False
    return True


def line(record: Mapping[str, Any]) -> str:
    """One object of JSON Lines, keys in the order given."""
    return msgspec.json.encode(record).decode()


def when(at: datetime | None) -> str:
    """RFC 3339 in UTC to the second, or an empty string."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def ago(at: datetime | None, now: datetime) -> str:
    """How long ago, in one short word.

    >>> ago(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 3, tzinfo=UTC))
    '3m ago'
    """
    return "never" if at is None else f"{short(now - at)} ago"


def short(length: timedelta) -> str:
    """The largest unit of a length of time."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> Table:
    """A table of plain text; what comes from outside is escaped, so that no post can paint the terminal."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, no_wrap=name in ("source", "service", "region"), overflow="ellipsis")
    count = 0
    for row in rows:
        made.add_row(*(safe(cell) for cell in row))
        count += 1
    if not count:
        made.add_row(safe(empty), *[""] * (len(columns) - 1))
    return made


def safe(text: str) -> str:
    """Without control characters and without markup."""
    return escape("".join(c for c in text if c.isprintable()))


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while something long runs; nothing at all when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
