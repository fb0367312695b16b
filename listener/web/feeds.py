"""Incidents as feeds: `/incidents.atom` (RFC 4287) and `/incidents.json` (JSON Feed 1.1), one entry per incident."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote
from xml.etree import ElementTree as ET

from fastapi import APIRouter, Request, Response

from listener.store import Store
from listener.types import Incident

ATOM = "http://www.w3.org/2005/Atom"


def router(store: Store, clock: Callable[[], datetime], url: str = "") -> APIRouter:
    """The routes over one store. `url` is where others reach the dashboard; without it, wherever they ask for it."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/incidents.atom")
    def incidents(request: Request) -> Response:
        base = url or str(request.base_url).rstrip("/")
        found = store.incidents(limit=100)
        body = _feed(base, found, max((i.updated_at for i in found), default=clock()))
        return Response(body, media_type="application/atom+xml; charset=utf-8")

    @routes.get("/incidents.json", include_in_schema=False)
    def json_feed(request: Request) -> Response:
        base = url or str(request.base_url).rstrip("/")
        items = [
            {
                "id": f"tag:listener,2026:{incident.id}",
                "url": _page(base, incident),
                "title": _title(incident),
                "content_text": _summary(incident),
                "date_published": incident.started_at.isoformat(),
                "date_modified": incident.updated_at.isoformat(),
                "tags": [incident.service, *incident.regions, str(incident.state)],
            }
            for incident in store.incidents(limit=100)
        ]
        feed = {
            "version": "https://jsonfeed.org/version/1.1",
            "title": "listener: incidents",
            "home_page_url": f"{base}/",
            "feed_url": f"{base}/incidents.json",
            "items": items,
        }
        return Response(json.dumps(feed, ensure_ascii=False), media_type="application/feed+json; charset=utf-8")

    return routes


def _page(base: str, incident: Incident) -> str:
    return f"{base}/incidents/{quote(incident.id, safe='')}"


def _title(incident: Incident) -> str:
    return f"{incident.service} in {', '.join(incident.regions)}: {incident.state}"


def _feed(base: str, found: list[Incident], updated: datetime) -> bytes:
    ET.register_namespace("", ATOM)
    feed = ET.Element(f"{{{ATOM}}}feed")
    _add(feed, "id", f"{base}/incidents.atom")
    _add(feed, "title", "listener: incidents")
    _add(feed, "updated", updated.isoformat())
    ET.SubElement(feed, f"{{{ATOM}}}link", rel="self", href=f"{base}/incidents.atom")
    for incident in found:
        entry = ET.SubElement(feed, f"{{{ATOM}}}entry")
        _add(entry, "id", f"tag:listener,2026:{incident.id}")
        _add(entry, "title", _title(incident))
        _add(entry, "updated", incident.updated_at.isoformat())
        _add(entry, "published", incident.started_at.isoformat())
        ET.SubElement(entry, f"{{{ATOM}}}link", rel="alternate", href=_page(base, incident))
        author = ET.SubElement(entry, f"{{{ATOM}}}author")
        _add(author, "name", "listener")
        _add(entry, "summary", _summary(incident))
    body: bytes = ET.tostring(feed, encoding="utf-8", xml_declaration=True)
    return body


def _summary(incident: Incident) -> str:
    likely = max(incident.cause, key=incident.cause.__getitem__) if incident.cause else "unknown"
    return (
        f"{incident.authors} people since {incident.started_at:%Y-%m-%d %H:%M} UTC;"
        f" observed {incident.observed:.1f}, expected {incident.expected:.1f}; looks like: {likely}."
    )


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, f"{{{ATOM}}}{name}").text = text
