"""Turns: batches are stored one after the other in the order of their numbers, whichever worker has them.

Each leaves behind what it touched, so that a worker that keeps sums of the last hour in memory knows which of them hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from listener.roles.lane import Lane, lane_of, put_lane
from listener.store import Writer
from listener.types import Point

TOUCHED = "touched"  # the mark that holds it (JSON)
REMEMBERED = 32  # batches: a worker whose last one is longer ago reads everything again


class OutOfTurnError(Exception):
    """Somebody else stored the batch, or an ingest began anew: nothing of ours may be stored."""


class Touched(msgspec.Struct, frozen=True):
    """What the last batches touched: of each, which services' mentions, and from when on."""

    epoch: int = 0
    beside: int = 0  # of the lane: what is stored out of turn makes all of this void
    first: int = 1  # number of the first batch in the list
    batches: list[dict[str, datetime]] = []

    @property
    def last(self) -> int:
        return self.first + len(self.batches) - 1

    def since(self, number: int) -> dict[str, datetime] | None:
        """What was touched after a batch; None when that is not known any more."""
        if number + 1 < self.first:
            return None
        first: dict[str, datetime] = {}
        for batch in self.batches[number + 1 - self.first :]:
            for service, at in batch.items():
                first[service] = min(at, first.get(service, at))
        return first

    def and_then(self, batch: Mapping[str, datetime]) -> Touched:
        """With one more batch, and no more than are to be remembered."""
        batches = [*self.batches, dict(batch)][-REMEMBERED:]
        return Touched(self.epoch, self.beside, self.last + 2 - len(batches), batches)


class Turns:
    """Those of one worker."""

    def __init__(self) -> None:
        # Epoch, beside and number of the last batch of which we know what it touched.
        self._known: tuple[int, int, int] | None = None

    def turn(self, epoch: int, number: int, until: datetime | None) -> OneTurn:
        """That of a batch; once it is stored, every post received before `until` is."""
        return OneTurn(self, epoch, number, until)

    def touched(self, tx: Writer, lane: Lane) -> tuple[Touched, Mapping[str, datetime] | None]:
        """What the last batches touched, and what those after the last turn of ours did."""
        mark = tx.mark(TOUCHED)
        touched = msgspec.json.decode(mark, type=Touched) if mark else Touched()
        if (touched.epoch, touched.beside, touched.last) != (lane.epoch, lane.beside, lane.done):
            touched = Touched(lane.epoch, lane.beside, lane.done + 1)
        if self._known is None or self._known[:2] != (lane.epoch, lane.beside):
            return touched, None
        return touched, touched.since(self._known[2])

    def had(self, lane: Lane) -> None:
        """A turn of ours ended with this lane; should the commit fail, who keeps sums forgets them all."""
        self._known = lane.epoch, lane.beside, lane.done


class OneTurn:
    """A batch's, as the recorder asks for it. It refuses with `OutOfTurnError` when it is another batch's."""

    def __init__(self, turns: Turns, epoch: int, number: int, until: datetime | None) -> None:
        self._turns = turns
        self._place = epoch, number
        self._until = until
        self._lane = Lane()
        self._touched = Touched()

    def begin(self, tx: Writer) -> Mapping[str, datetime] | None:
        """See `recorder.Turn`."""
        self._lane = lane = lane_of(tx)
        epoch, number = self._place
        if (lane.epoch, lane.done) != (epoch, number - 1) or lane.waits_for_watch():
            raise OutOfTurnError
        self._touched, since = self._turns.touched(tx, lane)
        return since

    def end(self, tx: Writer, points: Sequence[Point], touched: Mapping[str, datetime]) -> None:
        """See `recorder.Turn`."""
        lane = self._lane.changed_by(points)  # nobody else writes during our transaction
        until = max((at for at in (lane.until, self._until) if at), default=None)
        lane = msgspec.structs.replace(lane, done=lane.done + 1, until=until)
        put_lane(tx, lane)
        tx.set_mark(TOUCHED, msgspec.json.encode(self._touched.and_then(touched)).decode())
        self._turns.had(lane)


class Beside:
    """The turn of what is stored or erased at any time, out of the batches' order: nobody's sums hold after it."""

    def begin(self, tx: Writer) -> None:
        """See `recorder.Turn`."""

    def end(self, tx: Writer, points: Sequence[Point], touched: Mapping[str, datetime]) -> None:
        """See `recorder.Turn`."""
        lane = lane_of(tx).changed_by(points)
        put_lane(tx, msgspec.structs.replace(lane, beside=lane.beside + 1))
