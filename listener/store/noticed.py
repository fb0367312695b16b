"""The smallest outage that could be noticed now, by series: how the watcher keeps it in a mark, and how others read it."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta

import msgspec

from listener.store import Store

NOTICED = "noticed"  # the mark that holds it (JSON), by service
HEARING_NOW = "hearing_now"  # the mark that holds, by region, the share of the usual that is heard (JSON)
HOLDS = timedelta(hours=2)  # each is worked out once an hour; what is older says nothing about now
ALREADY = 0  # authors: what was written before raises an alarm without another word


class Figure(msgspec.Struct, frozen=True, array_like=True):
    """How many authors within a quarter of an hour would raise an alarm, None when nobody could, and what was heard then."""

    authors: int | None
    heard: float


class Kept(msgspec.Struct, frozen=True):
    """What was worked out of one service at a minute, by region."""

    at: datetime
    regions: dict[str, Figure]


class Noticed(msgspec.Struct, frozen=True):
    """What holds of a series now. `authors` is as in `Figure`."""

    service: str
    region: str
    authors: int | None
    at: datetime


def encoded(kept: dict[str, Kept]) -> str:
    return msgspec.json.encode(kept).decode()


def kept(store: Store) -> dict[str, Kept]:
    """By service, as it was worked out last."""
    mark = store.mark(NOTICED)
    return msgspec.json.decode(mark, type=dict[str, Kept]) if mark else {}


def hearing(store: Store) -> dict[str, float]:
    """How much of the usual is heard of each region, as the watcher last wrote it down."""
    mark = store.mark(HEARING_NOW)
    made: dict[str, float] = json.loads(mark) if mark else {}
    return made


def noticed(store: Store, now: datetime, *, service: str = "", region: str = "") -> list[Noticed]:
    """What holds now, by service and region. A region that was deaf and is heard again is left out until the next time."""
    heard = hearing(store)
    return [
        Noticed(id, code, _now(figure, heard.get(code, figure.heard)), one.at)
        for id, one in sorted(kept(store).items())
        if service in ("", id) and now - one.at <= HOLDS
        for code, figure in sorted(one.regions.items())
        if region in ("", code) and not (figure.heard <= 0 < heard.get(code, 0.0))
    ]


def _now(figure: Figure, heard: float) -> int | None:
    """Where less is heard than then, it takes as many times more people at most."""
    if figure.authors is None or heard <= 0:
        return None
    return math.ceil(figure.authors * max(1.0, figure.heard / heard))
