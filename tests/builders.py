"""Small builders with defaults, so that a test names only what it is about. Every text here is invented."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from listener.types import (
    LABELS,
    Hearing,
    Language,
    Mention,
    Point,
    Post,
    RegionWeight,
    Score,
    SeriesKey,
    Signal,
)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
MINUTE = timedelta(minutes=1)


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def post(text: str = "instagram çöktü mü", *, id: str = "test:1", minutes: float = 0, **changes: Any) -> Post:
    return Post(
        **{
            "id": id,
            "source": id.partition(":")[0],
            "text": text,
            "created_at": at(minutes),
            "received_at": at(minutes),
            "author": f"author-of-{id}",
            **changes,
        }
    )


def score(chatter: float = 0.9, label: str = "report", symptom: str = "", model: str = "test-model") -> Score:
    """A score whose chatter probability is all on `label` when it is a chatter label, else the rest on `other`."""
    probabilities = dict.fromkeys(LABELS, 0.0)
    if label in LABELS[:4]:
        probabilities[label] = chatter
        probabilities["other"] = 1 - chatter
    else:
        probabilities[label] = 1 - chatter
        probabilities["report"] = chatter
    return Score(tuple(probabilities.values()), symptom, model)


def mention(
    text: str = "instagram çöktü mü",
    *,
    id: str = "test:1",
    minutes: float = 0,
    service: str = "instagram",
    region: str = "TR",
    weight: float = 0.9,
    chatter: float = 0.9,
    label: str = "report",
    symptom: str = "",
    cluster: str | None = None,
    **changes: Any,
) -> Mention:
    rest = (RegionWeight("ZZ", 1 - weight),) if weight < 1 else ()
    return Mention(
        post=post(text, id=id, minutes=minutes, **changes),
        services=(service,) if service else (),
        score=score(chatter, label, symptom),
        language=Language("tr", 0.99),
        regions=(RegionWeight(region, weight, ("language",)), *rest),
        matches=("instagram", "coktu"),
        cluster=f"cluster-of-{id}" if cluster is None else cluster,
    )


def point(minutes: float = 0, observed: float = 1.0, *, service: str = "instagram", region: str = "TR") -> Point:
    return Point(
        SeriesKey(service, region),
        at(minutes),
        observed,
        posts=round(observed) or 1,
        authors=round(observed) or 1,
    )


def hearing(minutes: float = 0, posts: int = 10, *, source: str = "test", up: bool = True) -> Hearing:
    return Hearing(source, at(minutes), posts, up)


def signal(
    counts: list[float],
    *,
    service: str = "instagram",
    region: str = "TR",
    exposure: list[float] | None = None,
    recovered: list[float] | None = None,
    bin: timedelta = MINUTE,
    start_at: datetime = NOON,
) -> Signal:
    observed = np.asarray(counts, dtype=np.float64)
    return Signal(
        key=SeriesKey(service, region),
        start_at=start_at,
        bin=bin,
        observed=observed,
        exposure=np.ones_like(observed) if exposure is None else np.asarray(exposure, dtype=np.float64),
        recovered=np.zeros_like(observed) if recovered is None else np.asarray(recovered, dtype=np.float64),
        posts=np.ceil(observed),
        authors=np.ceil(observed),
    )
