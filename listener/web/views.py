"""What a page shows, worked out from the store: plain values for templates."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from listener.store import Store
from listener.store.noticed import ALREADY, Noticed, hearing, noticed
from listener.types import (
    CHATTER,
    CORROBORATING,
    UNKNOWN_REGION,
    Incident,
    IncidentState,
    Mention,
    SeriesKey,
    State,
    Tier,
    Transition,
)
from listener.web.charts import Moment, Spark, shares, spark

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY, HOUR, FIVE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=5)
BAR = timedelta(minutes=15)
ROWS = 40
SERVICES = 12  # that a region's page names
POSTS = 12
MENTIONS = 2_000  # of an incident that are read for its page
DEAF = 0.2  # less of the usual than this is as good as nothing
LOUDEST = (State.PROBLEMS, State.POSSIBLE, State.RECOVERING, State.NO_DATA, State.QUIET)
CALM = LOUDEST.index(State.NO_DATA)  # from here on nothing stands out


@dataclass(frozen=True)
class Row:
    """One series: its state and its last day."""

    key: SeriesKey
    state: State
    total: float
    spark: Spark


@dataclass(frozen=True)
class Place:
    """A region on the map, with the services that stand out there."""

    code: str
    state: State
    services: tuple[str, ...]
    hearing: float | None  # share of the usual that is heard, None when nobody said


@cache
def outlines() -> dict[str, Any]:
    """`map.json`: Natural Earth's country outlines, projected and simplified."""
    made: dict[str, Any] = json.loads((Path(__file__).parent / "map.json").read_text(encoding="utf-8"))
    return made


def states(incidents: Iterable[Incident]) -> dict[SeriesKey, State]:
    """What open incidents say of each series."""
    return {
        SeriesKey(incident.service, part.region): part.state
        for incident in incidents
        if incident.state is not IncidentState.RESOLVED
        for part in incident.parts
    }


def places(store: Store, incidents: Sequence[Incident], regions: Iterable[str]) -> list[Place]:
    """Every region with its worst state. One that can hardly be heard has no data where nobody says anything."""
    found = states(incidents)
    heard = hearing(store)
    made = []
    for code in regions:
        here = {key.service: state for key, state in found.items() if key.region == code}
        worst = min(here.values(), key=LOUDEST.index, default=State.QUIET)
        share = heard.get(code)
        if worst is State.QUIET and share is not None and share < DEAF:
            worst = State.NO_DATA
        made.append(Place(code, worst, tuple(sorted(here)), share))
    return made


def rows(
    store: Store, incidents: Sequence[Incident], now: datetime, *, service: str = "", region: str = "", most: int = ROWS
) -> list[Row]:
    """The series that say anything, those in trouble first, then by how much was said in a day."""
    end = now + (EPOCH - now) % BAR
    start = end - DAY
    made = []
    for key, state, total in totals(store, incidents, now, service=service, region=region)[:most]:
        points = store.binned(BAR, service=key.service, region=key.region, since=start, until=now)
        usual = store.expected(service=key.service, region=key.region, since=start - HOUR, until=now)
        made.append(Row(key, state, total, spark(points, usual, start, end, DAY // BAR)))
    return made


def totals(
    store: Store, incidents: Sequence[Incident], now: datetime, *, service: str = "", region: str = ""
) -> list[tuple[SeriesKey, State, float]]:
    """What was said in a day, by series that said anything, in the order of `rows`. Where nobody is heard, no data."""
    known = states(incidents)
    deaf = {code for code, share in hearing(store).items() if share < DEAF}
    said: dict[SeriesKey, float] = defaultdict(float)
    for day in store.binned(DAY, service=service, region=region, since=now - DAY, until=now):
        said[day.key] += day.observed
    found = []
    for key, total in said.items():
        calm = State.NO_DATA if key.region in deaf else State.QUIET
        if total >= 0.5 or key in known:
            found.append((key, known.get(key, calm), total))
    return sorted(found, key=lambda one: (min(LOUDEST.index(one[1]), CALM), -one[2], one[0]))


def noticeable(
    store: Store, incidents: Sequence[Incident], now: datetime, *, service: str = "", region: str = ""
) -> list[Noticed]:
    """The smallest outage that could be noticed now, by series; what is in trouble already stands out already."""
    trouble = {key for key, state in states(incidents).items() if LOUDEST.index(state) < CALM}
    return [
        replace(one, authors=ALREADY) if SeriesKey(one.service, one.region) in trouble else one
        for one in noticed(store, now, service=service, region=region)
    ]


@dataclass(frozen=True)
class Rung:
    """One step of the ladder of who says so."""

    name: str  # a key of the words
    first_at: datetime | None
    posts: int


@dataclass(frozen=True)
class Story:
    """An incident with everything that speaks for and against it."""

    incident: Incident
    history: Sequence[Transition]
    moment: Moment
    spark: Spark
    symptoms: Sequence[tuple[str, float]]
    labels: Sequence[tuple[str, float]]
    ladder: Sequence[Rung]
    counted: Sequence[Mention]
    excluded: Sequence[tuple[str, int]]
    spoke: Sequence[tuple[str, int]]
    silent: Sequence[str]
    open_questions: Sequence[str] = field(default_factory=tuple)


def story(store: Store, incident: Incident, now: datetime) -> Story:
    """Everything an incident's page needs."""
    start = incident.started_at - 2 * HOUR
    start -= timedelta(minutes=start.minute % 5)
    end = min(now, (incident.resolved_at or incident.updated_at) + HOUR)
    points = [
        point
        for point in store.points(service=incident.service, since=start, until=end)
        if point.key.region in incident.regions
    ]
    usual = [
        row
        for row in store.expected(service=incident.service, since=start - HOUR, until=end)
        if row.key.region in incident.regions
    ]
    within = [point for point in points if point.at >= incident.started_at - timedelta(minutes=5)]
    said = Counter[str]()
    excluded = Counter[str]()
    for point in within:
        said.update(dict(point.labels))
        excluded.update(dict(point.excluded))
    mentions = _mentions(store, incident, end)
    spoke = Counter(mention.post.source for mention in mentions)
    bars = max(2, math.ceil((end - start) / FIVE))
    end = start + bars * FIVE
    return Story(
        incident=incident,
        history=store.transitions(incident=incident.id),
        moment=Moment(start, end),
        spark=spark(points, usual, start, end, bars),
        symptoms=shares(said, "symptom:"),
        labels=shares({name: value for name, value in said.items() if ":" not in name}, ""),
        ladder=_ladder(mentions),
        counted=_surest(mentions),
        excluded=excluded.most_common(),
        spoke=spoke.most_common(),
        silent=[h.source for h in store.health() if h.source not in spoke],
        open_questions=_open_questions(incident, mentions),
    )


def _mentions(store: Store, incident: Incident, end: datetime) -> list[Mention]:
    """In order of time; of very many the newest, and those of the first half hour, which say who spoke first."""
    since = incident.started_at - timedelta(minutes=15)
    found = store.mentions(service=incident.service, since=since, until=end, limit=MENTIONS)
    if len(found) == MENTIONS:
        first = incident.started_at + timedelta(minutes=30)
        found += store.mentions(service=incident.service, since=since, until=min(first, found[-1].at), limit=MENTIONS)
    return found[::-1]


def _ladder(mentions: Sequence[Mention]) -> list[Rung]:
    """Who said so first: people it happens to, people who pass it on, the press, the company, instruments."""
    steps: dict[str, list[Mention]] = {name: [] for name in ("first_hand", "relayed", "press", "official", "measured")}
    for mention in mentions:
        if mention.score.label not in CHATTER:
            continue
        if mention.post.tier is Tier.PERSON:
            steps["relayed" if mention.score.label == "relay" else "first_hand"].append(mention)
        else:
            steps[mention.post.tier.value].append(mention)
    return [Rung(name, of[0].at if of else None, len(of)) for name, of in steps.items()]


def _surest(mentions: Sequence[Mention]) -> list[Mention]:
    """One of each text, the surest first."""
    seen: set[str] = set()
    kept: list[Mention] = []
    for mention in sorted(mentions, key=lambda m: (-m.score.chatter, m.at, m.post.id)):
        if mention.post.text and mention.post.text not in seen and mention.post.tier not in CORROBORATING:
            seen.add(mention.post.text)
            kept.append(mention)
        if len(kept) == POSTS:
            break
    return kept


def _open_questions(incident: Incident, mentions: Sequence[Mention]) -> list[str]:
    """What can't be told, as keys of the words."""
    asked = []
    if not any(mention.post.tier is Tier.OFFICIAL for mention in mentions):
        asked.append("cannot_company")
    if UNKNOWN_REGION in incident.regions:
        asked.append("cannot_region")
    if incident.authors < 10:
        asked.append("cannot_few")
    if incident.cause and max(incident.cause.values()) < 0.6:
        asked.append("cannot_cause")
    if incident.state is not IncidentState.RESOLVED:
        asked.append("cannot_end")
    return asked


def likeliest(cause: Mapping[str, float]) -> list[tuple[str, float]]:
    """Causes worth naming, the likeliest first."""
    return sorted(((name, p) for name, p in cause.items() if p >= 0.05), key=lambda pair: -pair[1])
