"""An archive of posts through the live code path, in event time: what would have been noticed, and when.

The clock is the archive's own: a minute is watched once every post received before its end has been taken. Lines are
visited in order of arrival whatever their order in the files, so the same posts give the same transitions, with one process
or many. With a store on disk a replay that was killed goes on where it stopped.
"""

from __future__ import annotations

import heapq
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from listener.archives import Line, lines, post_of, some
from listener.backfill import Alone, Crew, ahead
from listener.errors import InputError
from listener.recorder import Recorder
from listener.signals import bins
from listener.sources._dates import iso
from listener.store import Store
from listener.types import Post, Transition

MOST_IN_BATCH = 2000
CURSOR = "replay"
QUIET_AFTER = timedelta(hours=2)  # minutes watched after the last post, so that what it started can end
RUN = 100_000  # lines of a file out of order that are sorted in memory; the rest waits on disk
TOLD_EVERY = 10_000  # lines, while an archive is looked through


class Archive:
    """Files of posts, one a line, in order of arrival. Bad lines go to `bad`, never end the run.

    Nothing of a line is kept but whether it is bad: files are read again, each in its own order, and merged. Only a file
    whose lines are out of order is sorted into a temporary folder, in runs that fit into memory.
    """

    def __init__(
        self,
        files: Sequence[Path],
        bad: Callable[[str], None],
        progress: Callable[[int], None] = lambda lines: None,
    ) -> None:
        """Looks through all files once. `progress` is told how many lines it has seen."""
        self.files = list(files)
        self._bad: set[tuple[int, int]] = set()  # file and line
        self._jumbled: dict[int, list[Path]] = {}  # file -> its sorted runs, once they are written
        self._folder: Path | None = None  # removed with this object
        self._posts_in_all = 0
        digest = blake2b(digest_size=12)
        seen = 0
        for file, path in enumerate(self.files):
            latest = datetime.min.replace(tzinfo=UTC)
            for number, line in enumerate(lines(path), 1):
                seen += 1
                if seen % TOLD_EVERY == 0:
                    progress(seen)
                if not line.strip():
                    continue
                try:
                    at = post_of(line, number).received_at
                except ValueError as error:
                    self._bad.add((file, number))
                    bad(f"{path}:{number}: {error}")
                    continue
                self._posts_in_all += 1
                digest.update(f"{file}:{number}:{len(line)}:{at.timestamp()}".encode())
                if at < latest:
                    self._jumbled[file] = []
                latest = at
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return self._posts_in_all

    def first_minute(self) -> datetime | None:
        """The minute of the earliest post; None when there is none."""
        return next((bins.floor(at) for at, _ in self.arrivals()), None)

    def posts(self, skip: int = 0) -> Iterator[Post]:
        """In order of arrival, leaving out the first `skip`."""
        return (post_of(line.raw, line.number) for _, line in self.arrivals(skip))

    def arrivals(self, skip: int = 0) -> Iterator[tuple[datetime, Any]]:
        """The same, not parsed yet, each with the time it arrived."""
        merged = heapq.merge(*(self._in_order(file) for file in range(len(self.files))), key=lambda one: one[0])
        return islice(merged, skip, None)

    def _in_order(self, file: int) -> Iterator[tuple[datetime, Line]]:
        if file not in self._jumbled:
            return self._as_it_is(file)
        if not self._jumbled[file]:
            self._sort(file)
        return heapq.merge(*map(_run, self._jumbled[file]), key=lambda one: one[0])

    def _as_it_is(self, file: int) -> Iterator[tuple[datetime, Line]]:
        for number, raw in enumerate(lines(self.files[file]), 1):
            if raw.strip() and (file, number) not in self._bad:
                yield _arrival(raw), Line(raw, number)

    def _sort(self, file: int) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="listener-replay-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        for part in some(self._as_it_is(file), RUN):
            part.sort(key=lambda one: one[0])
            path = self._folder / f"{file}-{len(self._jumbled[file])}"
            with zstandard.open(path, "wb", cctx=zstandard.ZstdCompressor(level=1)) as run:
                for at, line in part:
                    body = msgspec.msgpack.encode((at, line.number, line.raw))
                    run.write(len(body).to_bytes(4, "big") + body)
            self._jumbled[file].append(path)


def replay(
    archive: Archive,
    recorder: Recorder,
    store: Store,
    *,
    until: datetime | None = None,
    progress: Callable[[int], None] = lambda done: None,
    crew: Crew | None = None,
) -> Iterator[Transition]:
    """Yield transitions in order; first those that an earlier, interrupted run of the same archive stored.

    With a `crew` its processes read and judge posts ahead, and only what they found is measured and stored here.
    """
    done = _resume(archive, store)
    yield from store.transitions(limit=1_000_000)
    minute = recorder.watched() or archive.first_minute()
    if minute is None:
        return
    progress(done)
    steps = _steps(archive.arrivals(done), minute, until)
    for step in ahead(steps, recorder, crew or Alone(recorder.pipeline)):
        if isinstance(step, datetime):
            yield from recorder.tick(step)
            continue
        done += step.lines
        step.understood.batch.cursors[CURSOR] = f"{archive.digest}:{done}"
        recorder.keep(step.understood)
        progress(done)


def _steps(
    arrivals: Iterator[tuple[datetime, Any]], minute: datetime, until: datetime | None
) -> Iterator[list[Any] | datetime]:
    """Lines to be taken together, and minutes to be watched when all before has been taken."""
    batch: list[Any] = []
    for at, line in arrivals:
        if until is not None and at >= until:
            break
        if batch and (at >= minute + bins.BIN or len(batch) >= MOST_IN_BATCH):
            yield batch
            batch = []
        while at >= minute + bins.BIN:
            minute += bins.BIN
            yield minute
        batch.append(line)
    if batch:
        yield batch
    end = until or minute + QUIET_AFTER
    while minute + bins.BIN <= end:
        minute += bins.BIN
        yield minute


def _resume(archive: Archive, store: Store) -> int:
    """How many posts of this archive the store already holds."""
    cursor = store.cursor(CURSOR)
    if cursor is None:
        return 0
    digest, _, done = cursor.partition(":")
    if digest != archive.digest:
        raise InputError("this store holds the replay of another archive; give --store a new path")
    return int(done)


class _Times(msgspec.Struct):
    created_at: str | None = None
    received_at: str | None = None


_times = msgspec.json.Decoder(_Times)


def _arrival(raw: bytes) -> datetime:
    """When the post of a good line arrived, without making the post."""
    said = _times.decode(raw.removeprefix(b"\xef\xbb\xbf"))
    at = iso(said.received_at or said.created_at or "")
    if at is None:
        raise AssertionError("a line that was good is not")
    return at


def _run(path: Path) -> Iterator[tuple[datetime, Line]]:
    decode = msgspec.msgpack.Decoder(tuple[datetime, int, bytes]).decode
    with zstandard.open(path, "rb") as run:
        while size := run.read(4):
            at, number, raw = decode(run.read(int.from_bytes(size, "big")))
            yield at, Line(raw, number)
