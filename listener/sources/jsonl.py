"""Posts as JSON Lines from a file, a folder of `*.jsonl` files or the standard input, once or followed as they grow.

A line is an object with `text`, and optionally `id`, `source`, `author`, `created_at`, `received_at`, `lang`, `place`,
`region`, `url` and `kind`; other keys are ignored.
"""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import os
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import MalformedError
from listener.sources._dates import iso
from listener.sources._json import cursor_of, decoded, encoded
from listener.sources._net import Net
from listener.sources._text import primary_languages
from listener.types import Delete, Post, PostKind

LONGEST_LINE = 2**20
BATCH = 500  # lines read at a time
_KINDS = {kind.value: kind for kind in PostKind}  # other words, of other programs, mean a plain post


@dataclass(frozen=True)
class Options:
    path: str = option("-", "a file, a folder whose *.jsonl files are read in order of name, or - for standard input")
    follow: bool = option(False, "go on waiting for new lines and files; else end with the last line")
    every: timedelta = option(timedelta(seconds=1), "how often to look for new lines when following")


@dataclass(frozen=True, slots=True)
class Raw:
    """A line without its end, its number in its file (from 1), and the file's name."""

    line: bytes
    number: int
    name: str = ""


class Place(msgspec.Struct, frozen=True):
    """How far a file has been read, and the name it had then."""

    name: str
    offset: int = 0
    lines: int = 0


class Cursor(msgspec.Struct, frozen=True):
    files: dict[str, Place] = {}  # by identity, see `_identity`


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """One raw a line. The standard input can't be read twice: its lines carry no cursor."""
    if options.path == "-":
        async for raw in _stdin():
            yield raw, None
        return
    known = cursor_of(cursor, Cursor).files
    while True:
        files = await asyncio.to_thread(_files, Path(options.path), known)
        known = {identity: place for _, identity, place in files}
        for path, identity, _ in files:
            while batch := await asyncio.to_thread(_batch, path, identity, known[identity], not options.follow):
                for raw, place in batch:
                    known[identity] = place
                    if raw.line:
                        yield raw, encoded(Cursor(known))
        if not options.follow:
            return
        yield None, None
        await net.sleep(options.every.total_seconds())


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    return parse_line(raw.line, raw.number, received_at, raw.name)


class _Line(msgspec.Struct):
    text: str
    id: str | int | None = None
    source: str | None = None
    author: str | None = None
    created_at: str | None = None
    received_at: str | None = None
    lang: str | list[str] | None = None
    place: str | None = None
    region: str | None = None
    url: str | None = None
    kind: str | None = None


def parse_line(line: bytes, number: int, received_at: datetime, name: str = "") -> Post:
    """The post of a line. Raises `MalformedError` naming the line.

    A line without an id gets one of its place (file `name`, number) and content, so that reading it again is harmless.
    """
    if len(line) > LONGEST_LINE:
        raise MalformedError(f"line {number}: longer than {LONGEST_LINE} bytes")
    row = decoded(line.removeprefix(codecs.BOM_UTF8), _Line, f"line {number}")
    source = row.source or "jsonl"
    own = str(row.id) if row.id not in (None, "") else _digest(name, number, line)
    arrived_at = _instant(row.received_at, "received_at", number) or received_at
    return Post(
        id=own if own.startswith(f"{source}:") else f"{source}:{own}",
        source=source,
        text=row.text,
        created_at=_instant(row.created_at, "created_at", number) or arrived_at,
        received_at=arrived_at,
        author=row.author or "",
        kind=_KINDS.get(row.kind or "", PostKind.POST),
        languages=primary_languages([row.lang] if isinstance(row.lang, str) else row.lang or []),
        place=row.place or "",
        region=row.region or "",
        url=row.url or "",
    )


def _instant(text: str | None, key: str, number: int) -> datetime | None:
    if text is None:
        return None
    when = iso(text)
    if when is None:
        raise MalformedError(f"line {number}: {key} {text[:40]!r} is not a time; write 2026-11-20T13:10:00Z")
    return when


def _digest(name: str, number: int, line: bytes) -> str:
    content = name.encode("utf-8", "surrogateescape") + b"\0" + line.strip()
    return f"{number}-{hashlib.sha256(content).hexdigest()[:16]}"


def _files(path: Path, known: dict[str, Place]) -> list[tuple[Path, str, Place]]:
    """The files to read, with how far each has been read; first those that were renamed (rotated) while being read."""
    try:
        folder, wanted = (path, sorted(path.glob("*.jsonl"))) if path.is_dir() else (path.parent, [path])
        inodes = {identity.partition("-")[0] for identity in known}
        renamed = sorted(Path(e) for e in os.scandir(folder) if str(e.inode()) in inodes and Path(e) not in wanted)
        identities = {file: _identity(file) for file in [*renamed, *wanted]}
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}", reason="unreadable") from error
    return [
        (file, identity, known.get(identity, Place(file.name)))
        for file, identity in identities.items()
        if identity and (file in wanted or identity in known)
    ]


def _identity(path: Path) -> str:
    """Inode and first line: stays when a file grows or is renamed, changes when it is replaced or emptied."""
    with path.open("rb") as file:
        first = file.readline(LONGEST_LINE)
        return f"{os.fstat(file.fileno()).st_ino}-{hashlib.sha256(first).hexdigest()[:16]}" if first else ""


def _batch(path: Path, identity: str, place: Place, is_final: bool) -> list[tuple[Raw, Place]]:
    """The next lines. One without an end is left for later, unless it is the last there will ever be."""
    made: list[tuple[Raw, Place]] = []
    with path.open("rb") as file:
        if identity.partition("-")[0] != str(os.fstat(file.fileno()).st_ino):
            return made  # replaced a moment ago; the next look will tell
        file.seek(place.offset)
        for _ in range(BATCH):
            line = file.readline(LONGEST_LINE + 1)
            end = line
            while len(line) > LONGEST_LINE and end and not end.endswith(b"\n"):
                end = file.readline(LONGEST_LINE)
            if not line or not (is_final or end.endswith(b"\n")):
                break
            place = Place(place.name, file.tell(), place.lines + 1)
            made.append((Raw(line.strip(), place.lines, place.name), place))
    return made


async def _stdin() -> AsyncIterator[Raw]:
    """A thread reads, since a pipe that nobody writes to must not hold up the end of the program."""
    loop, slots = asyncio.get_running_loop(), threading.Semaphore(16)
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    source = sys.stdin.fileno()

    def pump() -> None:
        chunk = b" "
        while chunk:
            slots.acquire()
            chunk = os.read(source, 2**16)
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:  # the loop has ended, and with it the interest
                return

    threading.Thread(target=pump, daemon=True, name="stdin").start()
    number, rest = 0, b""
    while chunk := await chunks.get():
        slots.release()
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[: LONGEST_LINE + 1]
        for line in lines:
            number += 1
            if line.strip():
                yield Raw(line.strip(), number)
    if rest.strip():
        yield Raw(rest.strip(), number + 1)
