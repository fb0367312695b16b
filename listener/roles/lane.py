"""How far the one sequence of batches has got, and what travels in a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from listener.recorder import Batch
from listener.store import Store, Writer
from listener.types import Delete, DropReason, Hearing, Point, Post, SourceHealth

LANE = "lane"  # the mark that holds it (JSON)


class Lane(msgspec.Struct, frozen=True, omit_defaults=True):
    """Kept in the store and changed only within a transaction, which no other can overlap."""

    epoch: int = 0  # of the ingest that numbers batches: one that takes over begins a new one at 1
    done: int = 0  # number of the last batch stored
    until: datetime | None = None  # every post received before is stored
    paced: bool = False  # an archive: nothing more is stored before all minutes up to `until` were watched
    watched: datetime | None = None  # the last minute watched
    changed: datetime | None = None  # the earliest point that others changed since then
    beside: int = 0  # how often something was stored or erased out of turn

    def waits_for_watch(self) -> bool:
        return self.paced and self.until is not None and (self.watched is None or self.watched < self.until)

    def changed_by(self, points: Sequence[Point]) -> Lane:
        """With new points, which the watch is to read again."""
        changed = min((at for at in (self.changed, *(point.at for point in points)) if at), default=None)
        return msgspec.structs.replace(self, changed=changed)


class Parcel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch on its way. Names of authors are hashed before: they never reach the bus."""

    posts: list[Post] = []
    deletes: list[Delete] = []
    cursors: dict[str, str] = {}
    hearing: list[Hearing] = []
    health: list[SourceHealth] = []
    dropped: list[tuple[str, str]] = []
    silent: list[tuple[str, str, int]] = []
    until: datetime | None = None  # every post received before is in this parcel or an earlier one

    def batch(self) -> Batch:
        silent = Counter({(source, reason): count for source, reason, count in self.silent})
        return Batch([*self.posts, *self.deletes], self.cursors, self.hearing, self.health, self.dropped, silent)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Parcel)


def lane_of(store: Store | Writer) -> Lane:
    """As it was last committed; who is about to change it asks its own transaction, which no other can overlap."""
    mark = store.mark(LANE)
    return msgspec.json.decode(mark, type=Lane) if mark else Lane()


def put_lane(tx: Writer, lane: Lane) -> None:
    tx.set_mark(LANE, msgspec.json.encode(lane).decode())


def name_of(epoch: int, number: int, copy: int) -> str:
    """What a parcel is published under; a copy of one that got lost needs another name, or the bus would refuse it."""
    return f"{epoch}-{number}-{copy}"


def place_of(name: str) -> tuple[int, int] | None:
    """Epoch and number of a parcel; None for what we did not publish."""
    parts = name.split("-")
    return (int(parts[0]), int(parts[1])) if len(parts) == 3 and all(p.isdecimal() for p in parts) else None


def opened(body: bytes) -> Parcel:
    """Raises `msgspec.MsgspecError` or `UnicodeError` for what is no parcel."""
    return _decoder.decode(body)


def packed(batch: Batch, until: datetime | None, largest: int) -> Iterator[bytes]:
    """The bodies of a batch, each no larger than the bus takes. A post larger than that is dropped, and counted."""
    posts = [item for item in batch.items if isinstance(item, Post)]
    deletes = [item for item in batch.items if isinstance(item, Delete)]
    silent = [(source, reason, count) for (source, reason), count in batch.silent.items()]
    whole = Parcel(posts, deletes, batch.cursors, batch.hearing, batch.health, batch.dropped, silent, until)
    body = _encoder.encode(whole)
    if len(body) <= largest or len(batch.items) == 0:
        yield body
    elif len(batch.items) == 1:
        lost = [(post.source, str(DropReason.TOO_LARGE)) for post in posts]
        yield from packed(replace(batch, items=[], dropped=[*batch.dropped, *lost]), until, largest)
    else:  # the cursors stand behind the last post
        half = len(batch.items) // 2
        yield from packed(Batch(batch.items[:half]), None, largest)
        yield from packed(replace(batch, items=batch.items[half:]), until, largest)


def packed_post(post: Post) -> bytes:
    """A single post, as dead letters hold it."""
    return _encoder.encode(Parcel([post]))
