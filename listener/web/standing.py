"""What the daemon wrote down about itself: the model in force, and the sources whose posts it no longer knows well."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from listener.store import Store
from listener.types import Drift

MODEL, DRIFT, LANE = "model", "drift", "lane"
WATCHED_WITHIN = timedelta(minutes=5)  # later than so much behind, nobody watches


class Model(msgspec.Struct, frozen=True):
    """The model in force, since when, how good it was on posts not seen, and why another one in its folder is refused."""

    digest: str
    since: datetime
    refused: str = ""
    figures: Mapping[str, float] = {}


class _Verdict(msgspec.Struct, frozen=True):
    model: str
    found: tuple[Drift, ...]


def model(store: Store) -> Model | None:
    """None until a daemon that says so has run on this store."""
    mark = store.mark(MODEL)
    return msgspec.json.decode(mark, type=Model) if mark else None


class _Lane(msgspec.Struct, frozen=True):
    paced: bool = False
    watched: datetime | None = None


def unwatched_since(store: Store, now: datetime) -> datetime | None:
    """The last minute that was watched, when processes share the work and none of them has watched lately."""
    mark = store.mark(LANE)
    lane = msgspec.json.decode(mark, type=_Lane) if mark else _Lane()
    if lane.paced or lane.watched is None or now - lane.watched <= WATCHED_WITHIN:
        return None
    return lane.watched


def labels_wanted(store: Store) -> list[Drift]:
    """What has drifted so far that labels are wanted, the farthest first, for the model in force only."""
    mark = store.mark(DRIFT)
    if not mark:
        return []
    verdict, in_force = msgspec.json.decode(mark, type=_Verdict), model(store)
    if in_force is not None and in_force.digest != verdict.model:
        return []
    return sorted((one for one in verdict.found if one.wanted), key=lambda one: (-one.strength, one.source))
