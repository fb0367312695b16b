"""`/api/v1`: signals, incidents, sources and posts, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import AfterValidator, BaseModel

from listener.store import Store
from listener.types import Expected, Incident, IncidentState, Point
from listener.web.shapes import (
    IncidentOut,
    PostOut,
    SignalOut,
    SignalPoint,
    SourceOut,
    TransitionOut,
    incident_out,
    post_out,
    source_out,
    transition_out,
)

LONGEST = timedelta(days=92)
HOUR = timedelta(hours=1)
EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


def _utc(at: datetime | None) -> datetime | None:
    """Without an offset it is UTC; outside of 1970 to 2200 it is a mistake."""
    if at is None:
        return None
    try:
        made = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("not between 1970 and 2200") from None
    if not EARLIEST <= made <= LATEST:
        raise ValueError("not between 1970 and 2200")
    return made


Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many on a page.")]
Page = Annotated[int, Query(ge=1, le=100, description="Which page, from 1.")]
Instant = Annotated[datetime | None, AfterValidator(_utc)]
Since = Annotated[Instant, Query(description="From this instant on (RFC 3339).")]
Until = Annotated[Instant, Query(description="Before this instant (RFC 3339).")]
Service = Annotated[str, Query(max_length=80, pattern="^[a-z0-9-]*$", description="Service id, such as instagram.")]
Region = Annotated[str, Query(max_length=2, pattern="^[A-Z]{0,2}$", description="Region code, such as TR.")]
Bin = Annotated[int, Query(ge=60, le=86400, multiple_of=60, description="Length of a bin in seconds.")]
As = Annotated[Format, Query(alias="format", description="JSON, or CSV with a header line.")]

T = TypeVar("T", bound=BaseModel)

_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


def router(store: Store, clock: Callable[[], datetime]) -> APIRouter:
    """The routes over one store."""
    routes = APIRouter()

    @routes.get("/signals", response_model=SignalOut, responses=_CSV)
    def signals(
        service: Annotated[str, Query(min_length=1, max_length=80, pattern="^[a-z0-9-]+$")],
        region: Annotated[str, Query(pattern="^[A-Z]{2}$")],
        since: Since = None,
        until: Until = None,
        bin_seconds: Bin = 300,
        format_: As = Format.JSON,
    ) -> SignalOut | Response:
        """The outage-chatter signal of one service in one region; bins in which nobody reported anything are left out."""
        end = until or clock()
        start = since or end - timedelta(days=1)
        if end - start > LONGEST:
            raise HTTPException(422, f"ask for at most {LONGEST.days} days at once")
        usual = store.expected(service=service, region=region, since=start - HOUR, until=end)
        found = store.points(service=service, region=region, since=start, until=end)
        points = _binned(found, usual, bin_seconds)
        if format_ is Format.CSV:
            return _csv(SignalPoint, points)
        return SignalOut(service=service, region=region, bin_seconds=bin_seconds, points=points)

    @routes.get("/incidents", response_model=list[IncidentOut], responses=_CSV)
    def incidents(
        response: Response,
        service: Service = "",
        region: Region = "",
        state: IncidentState | None = None,
        since: Since = None,
        limit: Limit = 100,
        page: Page = 1,
        format_: As = Format.JSON,
    ) -> list[IncidentOut] | Response:
        """Incidents, the newest first."""
        states = (state,) if state else ()
        wanted = limit * page + 1 if not region else 100_000
        found = store.incidents(states=states, service=service, since=since, limit=wanted)
        kept = [incident for incident in found if not region or region in incident.regions]
        return _paged(IncidentOut, [incident_out(one) for one in kept], limit, page, format_, response)

    @routes.get("/incidents/{incident}", responses={404: {"description": "Nobody knows it."}})
    def one_incident(incident: str) -> IncidentOut:
        """One incident as it is now."""
        return incident_out(_known(store, incident))

    @routes.get("/incidents/{incident}/transitions", responses={404: {"description": "Nobody knows it."}})
    def transitions(incident: str) -> list[TransitionOut]:
        """How it came to be so, the first change first."""
        return [transition_out(one) for one in store.transitions(incident=_known(store, incident).id)]

    @routes.get("/sources", response_model=list[SourceOut], responses=_CSV)
    def sources(format_: As = Format.JSON) -> list[SourceOut] | Response:
        """How each source is doing."""
        found = [source_out(health) for health in store.health()]
        return _csv(SourceOut, found) if format_ is Format.CSV else found

    @routes.get("/posts", response_model=list[PostOut], responses=_CSV)
    def posts(
        response: Response,
        service: Service = "",
        region: Region = "",
        since: Since = None,
        until: Until = None,
        limit: Limit = 100,
        page: Page = 1,
        format_: As = Format.JSON,
    ) -> list[PostOut] | Response:
        """Judged posts, the newest first. Authors are never given out; erased texts are empty."""
        found = store.mentions(service=service, region=region, since=since, until=until, limit=limit * page + 1)
        return _paged(PostOut, [post_out(mention) for mention in found], limit, page, format_, response)

    return routes


def _known(store: Store, id: str) -> Incident:
    found = store.incident(id[:200])
    if found is None:
        raise HTTPException(404, "no such incident")
    return found


def _binned(points: Iterable[Point], usual: Sequence[Expected], bin_seconds: int) -> list[SignalPoint]:
    hours = {int(row.at.timestamp()): row for row in usual}
    rows: dict[int, SignalPoint] = {}
    for point in points:
        second = int(point.at.timestamp()) // bin_seconds * bin_seconds
        row = rows.get(second)
        if row is None:
            at = datetime.fromtimestamp(second, UTC)
            row = rows[second] = SignalPoint.model_construct(
                time=at, observed=0.0, expected=_usual(hours, second, bin_seconds), recovered=0.0, posts=0, authors=0
            )
        row.observed = round(row.observed + point.observed, 4)
        row.recovered = round(row.recovered + point.recovered, 4)
        row.posts += point.posts
        row.authors += point.authors
    return [rows[at] for at in sorted(rows)]


def _usual(hours: dict[int, Expected], second: int, bin_seconds: int) -> float | None:
    """What was expected of a bin: the shares of the hours it lies in; None when nobody worked one of them out."""
    first = second // 3600 * 3600
    found = [hours.get(hour) for hour in range(first, second + bin_seconds, 3600)]
    if None in found:
        return None
    total = sum(row.mean for row in found if row is not None)
    return round(total * (bin_seconds / 3600 if len(found) == 1 else 1.0), 4)


def _paged(
    shape: type[T], found: list[T], limit: int, page: int, format_: Format, response: Response
) -> list[T] | Response:
    """One page; `X-Next-Page` names the next when there is one."""
    kept = found[limit * (page - 1) : limit * page]
    answer = _csv(shape, kept) if format_ is Format.CSV else response
    if len(found) > limit * page and page < 100:
        answer.headers["X-Next-Page"] = str(page + 1)
    return answer if format_ is Format.CSV else kept


def _csv(shape: type[BaseModel], rows: Iterable[BaseModel]) -> Response:
    """Plain columns as they are, nested ones as JSON; cells that a spreadsheet would run as a formula are quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(shape.model_fields)
    for row in rows:
        writer.writerow([_cell(value) for value in row.model_dump(mode="json").values()])
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value
