"""`/api/v1`: signals, incidents, sources and posts, as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, WithJsonSchema

from listener.store import Store
from listener.store.usual import mean_of_bin
from listener.types import Expected, Incident, IncidentState, Point
from listener.web import views
from listener.web.shapes import (
    IncidentOut,
    PostOut,
    SeriesOut,
    SignalOut,
    SignalPoint,
    SourceOut,
    TransitionOut,
    VisibleOut,
    incident_out,
    post_out,
    source_out,
    transition_out,
)

FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet takes for the beginning of one (OWASP, CSV injection)
LONGEST = timedelta(days=92)
HOUR = timedelta(hours=1)
EARLIEST, LATEST = datetime(1969, 12, 31, tzinfo=UTC), datetime(2200, 1, 2, tzinfo=UTC)  # 1970 to 2199 anywhere
BEGINS = "^(19[7-9][0-9]|2[01][0-9]{2})-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:"
INSTANT = {"type": "string", "format": "date-time", "pattern": BEGINS}


class Format(StrEnum):
    JSON = "json"
    CSV = "csv"


def _written(value: object) -> object:
    """Pydantic reads numbers and days as well; what they mean to whom is anybody's guess."""
    if isinstance(value, str) and not re.match(BEGINS, value):
        raise ValueError("not an instant between 1970 and 2199, written as 2026-03-02T12:00:00Z")
    return value


def _utc(at: datetime | None) -> datetime | None:
    """Without an offset it is UTC; outside of 1970 to 2199 it is a mistake."""
    if at is None:
        return None
    try:
        made = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("not between 1970 and 2199") from None
    if not EARLIEST <= made <= LATEST:
        raise ValueError("not between 1970 and 2199")
    return made


Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many on a page.")]
Page = Annotated[int, Query(ge=1, le=100, description="Which page, from 1.")]
Instant = Annotated[
    datetime | None,
    BeforeValidator(_written),
    AfterValidator(_utc),
    WithJsonSchema({"anyOf": [INSTANT, {"type": "null"}]}),
]
Since = Annotated[Instant, Query(description="From this instant on (RFC 3339).")]
Until = Annotated[Instant, Query(description="Before this instant (RFC 3339).")]
Service = Annotated[str, Query(max_length=80, pattern="^[a-z0-9-]*$", description="Service id, such as instagram.")]
Region = Annotated[str, Query(max_length=2, pattern="^[A-Z]{0,2}$", description="Region code, such as TR.")]
Bin = Annotated[int, Query(ge=60, le=86400, multiple_of=60, description="Length of a bin in seconds.")]
Texts = Annotated[bool, Query(description="With the text and the address of each post.")]
As = Annotated[Format, Query(alias="format", description="JSON, or CSV with a header line.")]

T = TypeVar("T", bound=BaseModel)

_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


def router(store: Store, clock: Callable[[], datetime]) -> APIRouter:
    """The routes over one store."""
    routes = APIRouter()
    _measured(routes, store, clock)
    _told(routes, store)
    return routes


def _measured(routes: APIRouter, store: Store, clock: Callable[[], datetime]) -> None:
    @routes.get("/signals", response_model=SignalOut, responses=_CSV)
    def signals(
        service: Annotated[str, Query(min_length=1, max_length=80, pattern="^[a-z0-9-]+$")],
        region: Annotated[str, Query(pattern="^[A-Z]{2}$")],
        since: Since = None,
        until: Until = None,
        bin_seconds: Bin = 300,
        format_: As = Format.JSON,
    ) -> Response:
        """The outage-chatter signal of one service in one region; bins in which nobody reported anything are left out."""
        end = until or clock()
        start = since or end - timedelta(days=1)
        if end - start > LONGEST:
            why = f"ask for at most {LONGEST.days} days at once"
            raise RequestValidationError([{"type": "too_long", "loc": ("query", "since"), "msg": why, "input": start}])
        usual = store.expected(service=service, region=region, since=start - HOUR, until=end)
        found = store.binned(timedelta(seconds=bin_seconds), service=service, region=region, since=start, until=end)
        points = _points(found, usual, bin_seconds)
        if format_ is Format.CSV:
            return _csv(SignalPoint, (SignalPoint(**point) for point in points))
        made = {"service": service, "region": region, "bin_seconds": bin_seconds, "points": points}
        return Response(msgspec.json.encode(made), media_type="application/json")  # thousands: pydantic is slow at it

    @routes.get("/series", response_model=list[SeriesOut], responses=_CSV)
    def series(service: Service = "", region: Region = "", format_: As = Format.JSON) -> list[SeriesOut] | Response:
        """Every series that said anything in the last 24 hours, those in trouble first."""
        open_ones = store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING), service=service, limit=1000)
        totals = views.totals(store, open_ones, clock(), service=service, region=region)
        found = [
            SeriesOut(service=key.service, region=key.region, state=state, chatter_24h=round(total, 4))
            for key, state, total in totals
        ]
        return _csv(SeriesOut, found) if format_ is Format.CSV else found

    @routes.get("/visible", response_model=list[VisibleOut], responses=_CSV)
    def visible(service: Service = "", region: Region = "", format_: As = Format.JSON) -> list[VisibleOut] | Response:
        """The smallest outage that could be noticed now: from how many authors within a quarter of an hour.

        `authors` is null where nothing could be noticed, and 0 where something stands out already. Services that nobody
        has spoken of for a day and a half are left out. `at` is when it was worked out.
        """
        ongoing = store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING), service=service, limit=1000)
        told = views.noticeable(store, ongoing, clock(), service=service, region=region)
        found = [VisibleOut(service=one.service, region=one.region, authors=one.authors, at=one.at) for one in told]
        return _csv(VisibleOut, found) if format_ is Format.CSV else found


def _told(routes: APIRouter, store: Store) -> None:
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
        texts: Texts = False,
        format_: As = Format.JSON,
    ) -> list[PostOut] | Response:
        """Judged posts, the newest first. Never with authors; with id, text and address when `texts` asks for them."""
        found = store.mentions(service=service, region=region, since=since, until=until, limit=limit * page + 1)
        return _paged(PostOut, [post_out(mention, texts=texts) for mention in found], limit, page, format_, response)


def _known(store: Store, id: str) -> Incident:
    found = store.incident(id[:200])
    if found is None:
        raise HTTPException(404, "no such incident")
    return found


def _points(found: Iterable[Point], usual: Sequence[Expected], bin_seconds: int) -> list[dict[str, Any]]:
    """The keys are those of `SignalPoint`."""
    hours = {int(row.at.timestamp()): row for row in usual}
    return [
        {
            "time": point.at,
            "observed": round(point.observed, 4),
            "expected": mean_of_bin(hours, int(point.at.timestamp()), bin_seconds),
            "recovered": round(point.recovered, 4),
            "posts": point.posts,
            "authors": point.authors,
        }
        for point in found
    ]


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
    writer = csv.writer(
        text, lineterminator="\r\n"
    )  # RFC 4180; only what stands here is quoted in cells, a lone CR too
    writer.writerow(shape.model_fields)
    for row in rows:
        writer.writerow([_cell(value) for value in row.model_dump(mode="json").values()])
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value
