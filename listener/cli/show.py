"""How things look in a terminal: tables, times, numbers. Machine output goes to stdout, everything else to stderr."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

GAP = 2  # spaces between two columns
STATES = {"no_data": "dim", "quiet": "green", "possible": "yellow", "problems": "red", "recovering": "cyan"}


@dataclass(frozen=True)
class Column:
    """A column whose cells stay on one line. Where the terminal is narrow it shrinks to `least`, then the highest `drop` goes."""

    name: str
    least: int = 0  # 0 = it keeps its width
    drop: int = 0  # 0 = it always stays
    right: bool = False
    is_name: bool = False  # names are often told apart by their ends: they are cut in the middle


def console(*, stderr: bool = False) -> Console:
    """A console as wide as the terminal or `COLUMNS`, and 80 columns where there is neither."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, soft_wrap=not stream.isatty())


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


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int, *, empty: str) -> Table | Text:
    """A table of one line a row that is never wider than `width`: columns shrink, then drop, as they say themselves.

    A column in which nothing stands is left out.
    """
    if not rows:
        return Text(empty, style="dim")
    texts = [[Text(printable(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
    longest = [max(row[i].cell_len for row in texts) for i in range(len(columns))]
    natural = {i: max(cell_len(columns[i].name), length) for i, length in enumerate(longest) if length}
    made = Table(box=None, pad_edge=False, header_style="bold")
    widths = _widths(columns, natural, width)
    for i, share in widths.items():
        column = columns[i]
        justify: JustifyMethod = "right" if column.right else "left"
        made.add_column(column.name, width=share, no_wrap=True, overflow="ellipsis", justify=justify)
    for row in texts:
        made.add_row(*(Text(cut(row[i].plain, share)) if columns[i].is_name else row[i] for i, share in widths.items()))
    return made


def cut(name: str, width: int) -> str:
    """A name no wider than that, its middle left out.

    >>> cut("evening-news-of-the-town-17", 16)
    'evening-…town-17'
    """
    if cell_len(name) <= width:
        return name
    tail = set_cell_size(name[::-1], (width - 1) // 2)[::-1].strip()
    return set_cell_size(name, width - 1 - cell_len(tail)).strip() + "…" + tail


def _widths(columns: Sequence[Column], natural: Mapping[int, int], available: int) -> dict[int, int]:
    """The width of each column that stays, by its place."""
    kept = {i: min(length, columns[i].least or length) for i, length in natural.items()}
    while (spare := available - sum(kept.values()) - GAP * (len(kept) - 1)) < 0:
        goes = max(kept, key=lambda i: columns[i].drop)
        if not columns[goes].drop:
            break
        del kept[goes]
    while spare > 0 and (short := [i for i in kept if kept[i] < natural[i]]):
        for i in short[:spare]:
            kept[i] += 1
        spare -= len(short)
    return kept


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "source"), counted(2, "source")
    ('1 source', '2 sources')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def safe(text: str) -> str:
    """Without control characters and without markup."""
    return escape(printable(text))


def printable(text: str) -> str:
    """Without what would move the cursor, ring a bell or turn the writing round."""
    return "".join(c for c in text if c.isprintable())


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def records(found: Sequence[Mapping[str, Any]], *, as_csv: bool) -> None:
    """Print records of the same keys for other programs: a JSON object a line, or CSV."""
    if not as_csv:
        for record in found:
            print(line(record))
    elif found:
        sys.stdout.write(csv_of(list(found[0]), [list(record.values()) for record in found]))


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on stderr while something long runs; nothing at all when stderr is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
