"""Where a document lives: redirects that prove permanent are learnt, and a document that is gone is given up in the end.

A redirect that calls itself permanent is often a captive portal's or a mistake, so it is followed every time and believed only
when it has held for two days and twenty answers. What is given up is not forgotten: the daemon asks for it once a day.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

import msgspec

from listener.errors import SourceError
from listener.sources._dates import EPOCH, iso
from listener.sources._instead import NOT_FEEDS
from listener.sources._net import Response
from listener.sources._refusal import RefusedError

HELD, ANSWERS = timedelta(hours=48), 20  # how long and how often a permanent redirect must have been seen
GONE_AFTER = timedelta(hours=1)  # a 410 is believed the second time
DEAD_AFTER, DEAD_TIMES = timedelta(hours=24), 5  # so is a 404, after so long and so often

_NOT_THERE = frozenset({404, 410})
_LYING = frozenset({"youtube.com"})  # answers 404 for feeds that are well, in waves of hours to days


class Move(msgspec.Struct, frozen=True):
    """A permanent redirect that is being watched."""

    to: str
    since: str
    answers: int = 1


class Absence(msgspec.Struct, frozen=True):
    """That the document is said not to be there."""

    status: int
    since: str
    times: int = 1


class Address(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one document's address; for a cursor."""

    url: str = ""  # as the operator has it
    home: str = ""  # where it has moved for good
    is_doubted: bool = False  # the home failed: the operator's address is asked instead
    move: Move | None = None
    absence: Absence | None = None

    @property
    def now_at(self) -> str:
        return self.home if self.home and not self.is_doubted else self.url


def answered(address: Address, response: Response, now: datetime) -> Address:
    """After an answer that could be read, or that nothing has changed."""
    asked = address.now_at
    home = address.home if asked == address.home else ""
    if not response.moved or response.url == address.home:
        return Address(address.url, response.url if response.moved else home)
    move = address.move
    if move is None or move.to != response.url:
        return Address(address.url, home, move=Move(response.url, now.isoformat(timespec="seconds")))
    move = msgspec.structs.replace(move, answers=move.answers + 1)
    if move.answers >= ANSWERS and now - (iso(move.since) or now) >= HELD:
        return Address(address.url, home=move.to)
    return Address(address.url, home, move=move)


def failed(address: Address, error: SourceError, now: datetime) -> tuple[Address, SourceError]:
    """After a failure: what to remember of it, and the error to raise, which is final when the document is given up.

    A home that is not there, or not a feed any more, is doubted: the operator's own address may know better by now. When that
    one fails in turn, the home is tried again.
    """
    asked, told = address.now_at, error
    status = error.status if isinstance(error, RefusedError) else 0
    is_lost = status in _NOT_THERE or error.reason in NOT_FEEDS
    if status in _NOT_THERE and (urlsplit(asked).hostname or "").removeprefix("www.") not in _LYING:
        absence = address.absence
        if absence is None or absence.status != status:
            absence = Absence(status, now.isoformat(timespec="seconds"))
        else:
            absence = msgspec.structs.replace(absence, times=absence.times + 1)
        address = msgspec.structs.replace(address, absence=absence)
        told = _judged(asked, absence, error, now)
    if address.home and (address.is_doubted or is_lost):
        address = msgspec.structs.replace(address, is_doubted=not address.is_doubted)
    return address, told


def _judged(url: str, absence: Absence, error: SourceError, now: datetime) -> SourceError:
    held = now - (iso(absence.since) or EPOCH)
    if absence.status == 410 and absence.times > 1:
        if held >= GONE_AFTER:
            return SourceError(f"{url}: gone for good, and said so again after an hour", reason="gone", permanent=True)
        wait = (GONE_AFTER - held).total_seconds()  # a restart came in between
        return SourceError(f"{url}: gone, it says", reason=error.reason, retry_after=wait)
    if absence.status == 404 and absence.times >= DEAD_TIMES and held >= DEAD_AFTER:
        return SourceError(
            f"{url}: not there, {absence.times} times since {absence.since}", reason="dead", permanent=True
        )
    return error
