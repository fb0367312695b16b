"""Pages for people, rendered on the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from listener.store import Store
from listener.types import Incident, IncidentState, State

if TYPE_CHECKING:
    from listener.web.app import Settings

DAY = timedelta(days=1)
BARS = 96  # of a quarter of an hour
ROWS = 25
POSTS = 8
_ORDER = (State.PROBLEMS, State.POSSIBLE, State.RECOVERING, State.QUIET)


@dataclass
class Row:
    """One series on the front page: its state and its last day as a sparkline."""

    service: str
    service_name: str
    region: str
    region_name: str
    state: State
    total: float = 0.0
    bars: list[float] = field(default_factory=lambda: [0.0] * BARS)  # chatter per quarter of an hour
    top: float = 0.0  # the highest of them

    @property
    def line(self) -> str:
        """Points of an SVG polyline in a box of 96 by 20."""
        return " ".join(f"{i},{20 - 18 * value / max(self.top, 3.0):.1f}" for i, value in enumerate(self.bars))


def environment() -> Environment:
    """Templates in which everything is escaped, and a missing name is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["clock"] = lambda at: f"{at:%H:%M}"
    made.filters["stamp"] = lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")
    made.filters["day"] = lambda at: f"{at:%d %b %Y %H:%M}"
    return made


def router(store: Store, settings: Settings) -> APIRouter:
    """The pages over one store."""
    routes = APIRouter()
    templates = environment()

    @routes.get("/", include_in_schema=False)
    def front(request: Request) -> Response:
        now = settings.clock()
        incidents = store.incidents(since=now - 7 * DAY, limit=200)
        health = store.health()
        page = templates.get_template("front.html").render(
            root=request.scope.get("root_path", ""),
            settings=settings,
            now=now,
            ongoing=[_told(store, i) for i in incidents if i.state is not IncidentState.RESOLVED],
            past=[_told(store, i) for i in incidents if i.state is IncidentState.RESOLVED],
            rows=_rows(store, settings, incidents, now),
            health=sorted(health, key=lambda h: (-h.errors_in_a_row, h.source)),
            well=sum(1 for h in health if h.last_success_at and not h.errors_in_a_row),
        )
        return Response(page, media_type="text/html; charset=utf-8")

    return routes


def _told(store: Store, incident: Incident) -> tuple[Incident, list[object]]:
    """An incident with the posts it rests on, the surest first, one of each text."""
    until = incident.resolved_at or incident.updated_at
    found = store.mentions(
        service=incident.service, since=incident.started_at - timedelta(minutes=15), until=until, limit=400
    )
    surest = sorted(found, key=lambda m: (-m.score.chatter, m.at))
    seen: set[str] = set()
    kept: list[object] = []
    for mention in surest:
        if mention.post.text and mention.post.text not in seen and len(kept) < POSTS:
            seen.add(mention.post.text)
            kept.append(mention)
    return incident, kept


def _rows(store: Store, settings: Settings, incidents: list[Incident], now: datetime) -> list[Row]:
    states = {
        (i.service, part.region): part.state
        for i in incidents
        if i.state is not IncidentState.RESOLVED
        for part in i.parts
    }
    start = now - DAY
    rows: dict[tuple[str, str], Row] = {}
    for point in store.points(since=start, until=now):
        key = (point.key.service, point.key.region)
        row = rows.get(key)
        if row is None:
            service, region = key
            row = rows[key] = Row(
                service=service,
                service_name=settings.services.get(service, service),
                region=region,
                region_name=settings.regions.get(region, region),
                state=states.get(key, State.QUIET),
            )
        bar = min(BARS - 1, int((point.at - start) / DAY * BARS))
        row.bars[bar] += point.observed
        row.top = max(row.top, row.bars[bar])
        row.total += point.observed
    loudest = sorted(rows.values(), key=lambda r: (_ORDER.index(r.state), -r.total, r.service, r.region))
    return [row for row in loudest if row.total >= 0.5][:ROWS]
