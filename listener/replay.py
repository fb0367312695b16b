"""An archive of posts through the live code path, in event time: what would have been noticed, and when.

The clock is the archive's own: a minute is watched once every post received before its end has been taken. Lines are
visited in order of arrival whatever their order in the files, so the same posts give the same transitions. With a store on
disk a replay that was killed goes on where it stopped.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path

from listener.errors import InputError
from listener.recorder import Batch, Recorder
from listener.signals import bins
from listener.sources.jsonl import parse_line
from listener.store import Store
from listener.types import Post, Transition

MOST_IN_BATCH = 2000
CURSOR = "replay"
QUIET_AFTER = timedelta(hours=2)  # minutes watched after the last post, so that what it started can end


@dataclass(frozen=True)
class Place:
    """One line of an archive: file number, byte offset, length, line number."""

    file: int
    offset: int
    length: int
    number: int


class Archive:
    """Files of posts, one JSON object a line, indexed by time of arrival. Bad lines go to `bad`, never end the run."""

    def __init__(self, files: Sequence[Path], bad: Callable[[str], None]) -> None:
        self.files = list(files)
        self._places: list[Place] = []
        times = array("q")
        for number, path in enumerate(self.files):
            for place, post in self._read(number, path, bad):
                self._places.append(place)
                times.append(int(post.received_at.timestamp() * 1e6))
        self._order = sorted(range(len(times)), key=times.__getitem__)
        digest = blake2b(digest_size=12)
        for place in self._places:
            digest.update(f"{place.file}:{place.offset}:{place.length}".encode())
        digest.update(times.tobytes())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._order)

    def first_minute(self) -> datetime | None:
        """The minute of the earliest post; None when there is none."""
        return next((bins.floor(post.received_at) for post in self.posts()), None)

    def posts(self, skip: int = 0) -> Iterator[Post]:
        """In order of arrival, leaving out the first `skip`."""
        handles = [path.open("rb") for path in self.files]
        try:
            for i in self._order[skip:]:
                place = self._places[i]
                handles[place.file].seek(place.offset)
                yield _post(handles[place.file].read(place.length), place.number)
        finally:
            for handle in handles:
                handle.close()

    @staticmethod
    def _read(number: int, path: Path, bad: Callable[[str], None]) -> Iterator[tuple[Place, Post]]:
        try:
            handle = path.open("rb")
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        with handle:
            offset = 0
            for line_number, line in enumerate(handle, 1):
                place = Place(number, offset, len(line), line_number)
                offset += len(line)
                if not line.strip():
                    continue
                try:
                    yield place, _post(line, line_number)
                except ValueError as error:
                    bad(f"{path}:{line_number}: {error}")


def replay(
    archive: Archive,
    recorder: Recorder,
    store: Store,
    *,
    until: datetime | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Iterator[Transition]:
    """Yield transitions in order; first those that an earlier, interrupted run of the same archive stored."""
    done = _resume(archive, store)
    yield from store.transitions(limit=1_000_000)
    minute = recorder.watched() or archive.first_minute()
    if minute is None:
        return
    batch: list[Post] = []
    for post in archive.posts(done):
        if until is not None and post.received_at >= until:
            break
        if post.received_at >= minute + bins.BIN or len(batch) >= MOST_IN_BATCH:
            done = _take(recorder, batch, archive, done)
            progress(done)
            batch = []
            while post.received_at >= minute + bins.BIN:
                minute += bins.BIN
                yield from recorder.tick(minute)
        batch.append(post)
    done = _take(recorder, batch, archive, done)
    progress(done)
    end = until or minute + QUIET_AFTER
    while minute + bins.BIN <= end:
        minute += bins.BIN
        yield from recorder.tick(minute)


def _resume(archive: Archive, store: Store) -> int:
    """How many posts of this archive the store already holds."""
    cursor = store.cursor(CURSOR)
    if cursor is None:
        return 0
    digest, _, done = cursor.partition(":")
    if digest != archive.digest:
        raise InputError("this store holds the replay of another archive; give --store a new path")
    return int(done)


def _take(recorder: Recorder, posts: Sequence[Post], archive: Archive, done: int) -> int:
    if posts:
        done += len(posts)
        recorder.take(Batch(items=list(posts), cursors={CURSOR: f"{archive.digest}:{done}"}))
    return done


def _post(line: bytes, number: int) -> Post:
    """A post of an archive: when nothing says when it arrived, it arrived when it was written."""
    never = datetime.max.replace(tzinfo=UTC)
    post = parse_line(line, number, never)
    if post.received_at == never:
        if post.created_at == never:
            raise ValueError("an archived post needs created_at or received_at")
        post = replace(post, received_at=post.created_at)
    return post
