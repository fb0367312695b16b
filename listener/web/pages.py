"""Pages for people, rendered on the server in their language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from listener import words
from listener.store import Store
from listener.store.noticed import hearing
from listener.types import UNKNOWN_REGION, UNNAMED, Incident, IncidentState, SeriesKey
from listener.web import live, standing, views
from listener.web.subpath import within

if TYPE_CHECKING:
    from listener.web.app import Settings

SIGNS = {
    **dict.fromkeys(("problems", "firing"), "▲"),
    **dict.fromkeys(("possible", "pending"), "◆"),
    "recovering": "▽",
    **dict.fromkeys(("quiet", "resolved"), "●"),
    "no_data": "○",
}


class Page(Protocol):
    """Renders a template for whoever asks, in their language."""

    def __call__(self, request: Request, template: str, values: dict[str, Any], status: int = 200) -> Response: ...


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
    made.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    made.filters["figure"] = lambda value: f"{value:.0f}" if value >= 10 else f"{value:.1f}"
    made.globals["sign"] = lambda state: SIGNS.get(str(state), "●")
    made.globals["likeliest"] = views.likeliest
    return made


def spoken(request: Request, known: Mapping[str, words.Words]) -> words.Words:
    """The language of whoever asks."""
    return words.chosen(
        known,
        request.query_params.get("lang", ""),
        request.cookies.get(words.COOKIE, ""),
        request.headers.get("accept-language", ""),
    )


def renderer(store: Store, settings: Settings) -> Page:
    """What all pages share."""
    templates = environment()

    def page(request: Request, template: str, values: dict[str, Any], status: int = 200) -> Response:
        said = spoken(request, settings.words)
        now = settings.clock()
        health = store.health()
        body = templates.get_template(template).render(
            root=request.scope.get("root_path", ""),
            path=within(request.scope),
            settings=settings,
            words=said,
            languages=settings.words,
            now=now,
            version=live.version(store),
            sources=len(health),
            well=sum(1 for h in health if h.last_success_at and not h.errors_in_a_row),
            name=lambda service: settings.services.get(service, service),
            place=lambda code: (
                said.of("regions", code) if code in said.tables["regions"] else settings.regions.get(code, code)
            ),
            **values,
        )
        headers = {"Cache-Control": "no-cache", "Vary": "Accept-Language, Cookie"}
        response = Response(body, status, headers, "text/html; charset=utf-8")
        if request.query_params.get("lang") == said.code:
            response.set_cookie(words.COOKIE, said.code, max_age=365 * 86400, samesite="lax", httponly=True)
        return response

    return page


def router(store: Store, settings: Settings, page: Page) -> APIRouter:
    """The pages over one store."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def front(request: Request) -> Response:
        now = settings.clock()
        incidents = store.incidents(since=now - timedelta(days=7), limit=200)
        return page(
            request,
            "front.html",
            {
                **_incidents(incidents),
                "map": views.outlines(),
                "places": views.places(store, incidents, _codes(settings)),
                "rows": views.rows(store, incidents, now),
                "wanted": len({one.source for one in standing.labels_wanted(store)}),
            },
        )

    @routes.get("/incidents/{id}")
    def incident(request: Request, id: str) -> Response:
        found = store.incident(id[:200])
        if found is None:
            return page(request, "missing.html", {}, 404)
        return page(request, "incident.html", {"story": views.story(store, found, settings.clock()), "incident": found})

    @routes.get("/services/{id}")
    def service(request: Request, id: str) -> Response:
        if id not in settings.services:
            return page(request, "missing.html", {}, 404)
        incidents = store.incidents(service=id, since=settings.clock() - timedelta(days=90), limit=200)
        return page(request, "series.html", _series(store, settings, incidents, service=id))

    @routes.get("/regions/{code}")
    def region(request: Request, code: str) -> Response:
        if code not in settings.regions:
            return page(request, "missing.html", {}, 404)
        known = store.incidents(since=settings.clock() - timedelta(days=90), limit=500)
        incidents = [incident for incident in known if code in incident.regions]
        return page(request, "series.html", _series(store, settings, incidents, region=code))

    @routes.get("/sources")
    def sources(request: Request) -> Response:
        now = settings.clock()
        health = sorted(store.health(), key=lambda h: (-h.errors_in_a_row, h.last_success_at is not None, h.source))
        values = {"health": health, "dropped": _dropped(store, now)}
        told = {"model": standing.model(store), "wanted": standing.labels_wanted(store)}
        return page(request, "sources.html", {**values, **told})

    @routes.get("/methodology")
    def methodology(request: Request) -> Response:
        model = standing.model(store)
        audit = model.figures if model and model.figures else settings.audit
        return page(request, "methodology.html", {"audit": audit, "model": model})

    return routes


def _codes(settings: Settings) -> list[str]:
    """Regions in the order they are listed, the unknown one last."""
    return sorted(settings.regions, key=lambda code: (code == UNKNOWN_REGION, code))


def _series(
    store: Store, settings: Settings, incidents: list[Incident], *, service: str = "", region: str = ""
) -> dict[str, Any]:
    """What the page of a service, or of a region, needs: what is talked about most comes first."""
    now = settings.clock()
    rows = views.rows(store, incidents, now, service=service, region=region)
    loudest = {row.key: n for n, row in enumerate(rows)}
    noticed = views.noticeable(store, incidents, now, service=service, region=region)
    noticed.sort(key=lambda one: (loudest.get(SeriesKey(one.service, one.region), len(rows)), one.service, one.region))
    if region:
        noticed = [one for one in noticed if one.service != UNNAMED][: views.SERVICES]
    return {
        **_incidents(incidents),
        "rows": rows,
        "noticed": noticed,
        "of": service,
        "code": region,
        "share": hearing(store).get(region),
    }


def _incidents(incidents: list[Incident]) -> dict[str, list[Incident]]:
    return {
        "ongoing": [i for i in incidents if i.state is not IncidentState.RESOLVED],
        "past": [i for i in incidents if i.state is IncidentState.RESOLVED],
    }


def _dropped(store: Store, now: datetime) -> list[tuple[str, int]]:
    """Posts dropped today and yesterday, by reason, most first."""
    sums: dict[str, int] = {}
    for (_, reason), posts in store.dropped(now - timedelta(days=1)).items():
        sums[reason] = sums.get(reason, 0) + posts
    return sorted(sums.items(), key=lambda pair: -pair[1])
