"""The shapes of what `/api/v1` gives out, and how they are made of the nouns."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from listener.types import Incident, Mention, SourceHealth, Transition


class SignalPoint(BaseModel):
    time: datetime
    observed: float
    expected: float | None
    recovered: float
    posts: int
    authors: int


class SeriesOut(BaseModel):
    service: str
    region: str
    state: str
    chatter_24h: float


class VisibleOut(BaseModel):
    service: str
    region: str
    authors: int | None
    at: datetime


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
    model: str
    config: str


class TransitionOut(BaseModel):
    transition: str
    at: datetime
    from_state: str | None
    to_state: str
    regions: list[str]
    observed: float
    expected: float
    authors: int


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
    tier: str
    regions: list[RegionOut]


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
        model=incident.model,
        config=incident.config,
    )


def transition_out(transition: Transition) -> TransitionOut:
    incident = transition.incident
    return TransitionOut(
        transition=transition.id,
        at=transition.at,
        from_state=transition.from_state,
        to_state=transition.to_state,
        regions=list(incident.regions),
        observed=incident.observed,
        expected=incident.expected,
        authors=incident.authors,
    )


def source_out(health: SourceHealth) -> SourceOut:
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


def post_out(mention: Mention, *, texts: bool = True) -> PostOut:
    """Without `texts` nothing of it is the author's own words, nor leads to them."""
    return PostOut(
        id=mention.post.id if texts else "",
        source=mention.post.source,
        at=mention.at,
        text=mention.post.text if texts else "",
        url=mention.post.url if texts else "",
        services=list(mention.services),
        label=mention.score.label,
        chatter=round(mention.score.chatter, 4),
        symptom=mention.score.symptom or None,
        language=mention.language.code,
        tier=mention.post.tier,
        regions=[RegionOut(region=r.region, weight=r.weight, evidence=list(r.evidence)) for r in mention.regions],
    )
