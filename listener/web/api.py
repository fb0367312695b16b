"""`/api/v1`: signals, incidents, sources and posts as JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel

from listener.store import Store
from listener.types import Incident, IncidentState, Mention, SourceHealth

Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Since = Annotated[datetime | None, Query(description="From this instant on (RFC 3339).")]
Until = Annotated[datetime | None, Query(description="Before this instant (RFC 3339).")]
Service = Annotated[str, Query(max_length=80, description="Service id, such as instagram.")]
Region = Annotated[str, Query(max_length=2, description="Region code, such as TR.")]
Bin = Annotated[int, Query(ge=60, le=86400, multiple_of=60, description="Length of a bin in seconds.")]
LONGEST = timedelta(days=92)


class SignalPoint(BaseModel):
    time: datetime
    observed: float
    recovered: float
    posts: int
    authors: int


class SignalOut(BaseModel):
    service: str
    region: str
    bin_seconds: int
    points: list[SignalPoint]


class Part(BaseModel):
    region: str
    state: str
    onset_at: datetime
    onset_low_at: datetime
    onset_high_at: datetime
    observed: float
    expected: float
    score: float


class IncidentOut(BaseModel):
    incident: str
    service: str
    regions: list[str]
    state: str
    started_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    cause: dict[str, float]
    evidence: list[str]
    observed: float
    expected: float
    authors: int
    posts: int
    parts: list[Part]


class SourceOut(BaseModel):
    source: str
    kind: str
    region: str | None
    last_success_at: datetime | None
    last_item_at: datetime | None
    lag_seconds: float | None
    errors_in_a_row: int
    reason: str | None
    next_try_at: datetime | None
    posts: int


class RegionOut(BaseModel):
    region: str
    weight: float
    evidence: list[str]


class PostOut(BaseModel):
    id: str
    source: str
    at: datetime
    text: str
    url: str
    services: list[str]
    label: str
    chatter: float
    symptom: str | None
    language: str
    regions: list[RegionOut]


def router(store: Store, clock: Callable[[], datetime]) -> APIRouter:
    """The routes over one store."""
    routes = APIRouter()

    @routes.get("/signals")
    def signals(
        service: Service, region: Region, since: Since = None, until: Until = None, bin_seconds: Bin = 300
    ) -> SignalOut:
        """The outage-chatter signal of one service in one region; bins in which nobody reported anything are left out."""
        end = _utc(until) or clock()
        start = _utc(since) or end - timedelta(days=1)
        if end - start > LONGEST:
            raise HTTPException(422, f"ask for at most {LONGEST.days} days at once")
        rows: dict[datetime, SignalPoint] = {}
        for point in store.points(service=service, region=region, since=start, until=end):
            at = datetime.fromtimestamp(point.at.timestamp() // bin_seconds * bin_seconds, UTC)
            row = rows.setdefault(at, SignalPoint(time=at, observed=0, recovered=0, posts=0, authors=0))
            row.observed = round(row.observed + point.observed, 4)
            row.recovered = round(row.recovered + point.recovered, 4)
            row.posts += point.posts
            row.authors += point.authors
        return SignalOut(
            service=service, region=region, bin_seconds=bin_seconds, points=[rows[at] for at in sorted(rows)]
        )

    @routes.get("/incidents")
    def incidents(
        service: Service = "", state: IncidentState | None = None, since: Since = None, limit: Limit = 100
    ) -> list[IncidentOut]:
        """Incidents, the newest first."""
        states = (state,) if state else ()
        found = store.incidents(states=states, service=service, since=_utc(since), limit=limit)
        return [incident_out(incident) for incident in found]

    @routes.get("/sources")
    def sources() -> list[SourceOut]:
        """How each source is doing."""
        return [_source(health) for health in store.health()]

    @routes.get("/posts")
    def posts(
        service: Service = "", region: Region = "", since: Since = None, until: Until = None, limit: Limit = 100
    ) -> list[PostOut]:
        """Judged posts, the newest first. Authors are never given out; erased texts are empty."""
        found = store.mentions(service=service, region=region, since=_utc(since), until=_utc(until), limit=limit)
        return [_post(mention) for mention in found]

    return routes


def incident_out(incident: Incident) -> IncidentOut:
    return IncidentOut(
        incident=incident.id,
        service=incident.service,
        regions=list(incident.regions),
        state=incident.state,
        started_at=incident.started_at,
        updated_at=incident.updated_at,
        resolved_at=incident.resolved_at,
        cause=incident.cause,
        evidence=list(incident.cause_evidence),
        observed=incident.observed,
        expected=incident.expected,
        authors=incident.authors,
        posts=incident.posts,
        parts=[Part(**{name: getattr(part, name) for name in Part.model_fields}) for part in incident.parts],
    )


def _source(health: SourceHealth) -> SourceOut:
    return SourceOut(
        source=health.source,
        kind=health.kind,
        region=health.region or None,
        last_success_at=health.last_success_at,
        last_item_at=health.last_item_at,
        lag_seconds=health.lag.total_seconds() if health.lag is not None else None,
        errors_in_a_row=health.errors_in_a_row,
        reason=health.reason or None,
        next_try_at=health.next_try_at,
        posts=health.posts,
    )


def _post(mention: Mention) -> PostOut:
    return PostOut(
        id=mention.post.id,
        source=mention.post.source,
        at=mention.at,
        text=mention.post.text,
        url=mention.post.url,
        services=list(mention.services),
        label=mention.score.label,
        chatter=round(mention.score.chatter, 4),
        symptom=mention.score.symptom or None,
        language=mention.language.code,
        regions=[RegionOut(region=r.region, weight=r.weight, evidence=list(r.evidence)) for r in mention.regions],
    )


def _utc(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
