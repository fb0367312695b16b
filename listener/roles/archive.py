"""An archive fed to the roles in its own time: the same minutes, and the same end, as `replay` has in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from listener.errors import InputError
from listener.intake import MOST_IN_BATCH
from listener.recorder import Batch
from listener.replay import CURSOR, QUIET_AFTER, Archive
from listener.signals import bins
from listener.types import Post


class Paced:
    """Cuts an archive into batches, none of which reaches over the end of a minute."""

    name = CURSOR

    def __init__(
        self, archive: Archive, until: datetime | None = None, progress: Callable[[int], None] = lambda done: None
    ) -> None:
        self._archive = archive
        self._until = until
        self._progress = progress

    def batches(self, cursor: str | None) -> Iterator[tuple[Batch, datetime | None]]:
        """What stands behind the cursor, each batch with the time until which all is told when it is stored.

        Raises `InputError` for the cursor of another archive.
        """
        digest, _, read = (cursor or "").partition(":")
        if cursor and digest != self._archive.digest:
            raise InputError("this store holds the replay of another archive; give --store a new schema")
        done = int(read or 0)
        batch: list[Post] = []
        minute: datetime | None = None  # of the posts in the batch
        for post in self._archive.posts(done):
            if self._until is not None and post.received_at >= self._until:
                break
            arrived = bins.floor(post.received_at)
            if minute is not None and (arrived > minute or len(batch) >= MOST_IN_BATCH):
                done += len(batch)
                yield self._batch(batch, done), arrived if arrived > minute else None
                batch = []
            minute = arrived
            batch.append(post)
        yield self._batch(batch, done + len(batch)), self._end()

    def _batch(self, posts: list[Post], done: int) -> Batch:
        self._progress(done)
        return Batch(list(posts), {CURSOR: f"{self._archive.digest}:{done}"} if posts else {})

    def _end(self) -> datetime | None:
        if self._until is not None:
            return bins.floor(self._until)
        last = next(self._archive.posts(max(0, len(self._archive) - 1)), None)
        return bins.floor(last.received_at) + QUIET_AFTER if last else None
