"""`/badge/SERVICE/REGION.svg`: one series' state as a small picture that may stand in other people's pages."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from fastapi import APIRouter, Response

from listener.store import Store
from listener.store.noticed import hearing
from listener.types import IncidentState, SeriesKey, State
from listener.web.views import DEAF, states

COLOURS = {
    State.QUIET: "#2e6b45",
    State.POSSIBLE: "#8a5300",
    State.PROBLEMS: "#a3154a",
    State.RECOVERING: "#0b57a4",
    State.NO_DATA: "#66727e",
}
_LETTER = 6.6  # pixels, about, in an 11-pixel font


def router(store: Store, services: Mapping[str, str], regions: Mapping[str, str]) -> APIRouter:
    """The route over one store."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/badge/{service}/{region}.svg")
    def badge(service: str, region: str) -> Response:
        if service not in services or region not in regions:
            return Response("no such service or region\n", 404, media_type="text/plain; charset=utf-8")
        ongoing = store.incidents(states=(IncidentState.PENDING, IncidentState.FIRING), service=service)
        state = states(ongoing).get(SeriesKey(service, region), State.QUIET)
        if state is State.QUIET and hearing(store).get(region, 1.0) < DEAF:
            state = State.NO_DATA
        picture = _picture(f"{services[service]} · {region}", state.replace("_", " "), COLOURS[state])
        return Response(picture, media_type="image/svg+xml", headers={"Cache-Control": "max-age=60"})

    return routes


def _picture(name: str, said: str, colour: str) -> str:
    left, right = (round(_LETTER * len(text)) + 16 for text in (name, said))
    name, said = escape(name), escape(said)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}: {said}">'
        f"<title>{name}: {said}</title>"
        f'<rect width="{left}" height="20" fill="#333c46"/><rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2}" y="14">{name}</text><text x="{left + right / 2}" y="14">{said}</text></g></svg>'
    )
