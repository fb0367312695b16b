"""Official status pages of Statuspage.io (which incident.io's pages imitate) and of Instatus: what the company itself says.

An update of an incident or of a maintenance is a post that states what it means. While no incident is open, so is a component
whose status changes. A page is read as it stands, so what was opened and resolved between two polls is heard as well;
Instatus lists open incidents only, and one that is gone from its list is resolved.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from listener.errors import SourceError
from listener.kinds import option
from listener.sources import MalformedError
from listener.sources import _instatus as instatus
from listener.sources._conditional import Validators, ask
from listener.sources._dates import feed_date, iso
from listener.sources._feed import digest
from listener.sources._json import converted, cursor_of, decoded, encoded
from listener.sources._net import Net
from listener.sources._text import collapse, from_html
from listener.types import Delete, Post, Tier

CORROBORATES = True  # its silence is no deafness
T = TypeVar("T")

LOOK_BACK = timedelta(days=1)  # before the last poll; an update may carry an earlier time than that of its publication
LONGEST_TEXT = 4_000

STATED = {
    **dict.fromkeys(("investigating", "identified", "monitoring"), "relay"),
    **dict.fromkeys(("degraded_performance", "partial_outage", "minor_outage", "major_outage", "full_outage"), "relay"),
    "has_issues": "relay",
    **dict.fromkeys(("resolved", "postmortem", "operational"), "recovered"),
    **dict.fromkeys(("scheduled", "in_progress", "verifying", "completed", "under_maintenance"), "not_now"),
}
_OVER = frozenset({"resolved", "postmortem", "completed"})
_PLACEHOLDER = re.compile(r"\s*visit\b.*\bfor more information", re.IGNORECASE)  # a component that is a sentence


@dataclass(frozen=True)
class Options:
    server: str = option("", "address of the status page, such as https://www.githubstatus.com")
    format: Literal["statuspage", "instatus"] = option("statuspage", "who serves it: statuspage or instatus")
    service: str = option("", "the service the page is about, as in data/services")
    services: tuple[str, ...] = option((), "the same for a page about several services")
    components: tuple[str, ...] = option(
        (), "only what touches components with one of these in their name or their group's; empty = everything"
    )
    every: timedelta = option(timedelta(minutes=2), "how often to ask")


@dataclass(frozen=True, slots=True)
class Raw:
    """An update and the incident it belongs to, as the page has them; for a component, itself and an empty incident."""

    update: dict[str, Any]
    incident: dict[str, Any]
    page: str
    host: str
    services: tuple[str, ...] = ()
    part: str = ""  # the service, where others share the page


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    only: tuple[str, ...] = ()  # the components that were asked for
    validators: dict[str, Validators] = {}
    read_at: str = ""
    seen: dict[str, dict[str, str]] = {}  # document -> update -> digest of its text
    watched: tuple[str, ...] = ()  # ids of those components
    told: dict[str, str] = {}  # component -> its status, unless operational
    open: dict[str, str] = {}  # incident -> its name


class _Update(msgspec.Struct):
    id: str
    status: str | None = ""
    body: str | None = ""
    created_at: str | None = None
    display_at: str | None = None
    updated_at: str | None = None
    name: str | None = ""  # of a component


class _Incident(msgspec.Struct):
    name: str | None = ""
    impact: str | None = ""
    shortlink: str | None = ""


async def posts(options: Options, cursor: str | None, net: Net) -> AsyncGenerator[tuple[Raw | None, str | None], None]:
    """Updates that are new or whose text changed, oldest first; then, once a poll, a heartbeat with the new cursor."""
    state = cursor_of(cursor, Cursor)
    if state.only != options.components:  # what was passed over may be asked for now
        state = replace(state, only=options.components, validators={})
    read = _instatus if options.format == "instatus" else _statuspage
    while True:
        made = await read(options, state, net)
        raws, state = _told(options, state, made, net.now())
        for raw in raws:
            yield raw, None
        yield None, encoded(state)
        await net.sleep(net.spread(options.every))


def parse(raw: Raw, received_at: datetime) -> Post | Delete | None:
    """A post of an update: the incident's name, how it stands, and what is said."""
    update = converted(raw.update, _Update, "update")
    incident = converted(raw.incident, _Incident, "incident")
    status = (update.status or "").strip().lower()
    dates = (update.created_at, update.display_at, update.updated_at)
    said = (feed_date(date) for date in dates if date)
    created_at = next((date for date in said if date is not None), received_at)
    subject = collapse(incident.name or update.name or "")[:500]
    head = f"{raw.page}: {subject} ({status.replace('_', ' ')})" if status else f"{raw.page}: {subject}"
    link = incident.shortlink or ""
    place = f"{raw.host}/{raw.part}" if raw.part else raw.host
    return Post(
        id=f"statuspage:{place}:{update.id}",
        source="statuspage",
        text=f"{head[:1_000]}\n{from_html(update.body or '')[:LONGEST_TEXT]}".strip(),
        created_at=min(created_at, received_at),
        received_at=received_at,
        author=raw.host,
        url=link if link.startswith(("http://", "https://")) else f"https://{raw.host}",
        tier=Tier.OFFICIAL,
        services=raw.services,
        stated="not_now" if incident.impact == "maintenance" else STATED.get(status, ""),
    )


class _Page(msgspec.Struct):
    name: str | None = ""


class _Summary(msgspec.Struct):
    page: _Page
    components: list[dict[str, Any]] | None = None
    scheduled_maintenances: list[dict[str, Any]] | None = None


class _Incidents(msgspec.Struct):
    page: _Page
    incidents: list[dict[str, Any]] | None


@dataclass
class _Documents:
    """What a page has now; None is what has not changed. `validators` are for the next time."""

    validators: dict[str, Validators]
    summary: _Summary | None = None
    incidents: _Incidents | None = None


async def _statuspage(options: Options, state: Cursor, net: Net) -> _Documents:
    """The summary has components and maintenances, the other document the last fifty incidents, resolved ones among them."""
    made = _Documents(dict(state.validators))
    made.summary = await _document("api/v2/summary.json", _Summary, options, made.validators, net)
    made.incidents = await _document("api/v2/incidents.json", _Incidents, options, made.validators, net)
    return made


async def _instatus(options: Options, state: Cursor, net: Net) -> _Documents:
    made = _Documents(dict(state.validators))
    summary = await _document("summary.json", instatus.Summary, options, made.validators, net)
    if summary is not None:
        page = _Page(summary.page.name)
        made.summary = _Summary(page, [instatus.component(summary)], instatus.maintenances(summary))
        made.incidents = _Incidents(page, instatus.incidents(summary, state.open))
    return made


async def _document(
    path: str, into: type[T], options: Options, validators: dict[str, Validators], net: Net
) -> T | None:
    """A document of the page, None when it is the one known; `validators` are brought up to date."""
    answer, validators[path] = await ask(
        f"{options.server.rstrip('/')}/{path}", validators.get(path, Validators()), net
    )
    try:
        return None if answer is None else decoded(answer.body, into, answer.url)
    except MalformedError as error:
        raise SourceError(f"could not check, this is no status page: {error}", reason="not_statuspage") from error


def _told(options: Options, before: Cursor, made: _Documents, now: datetime) -> tuple[list[Raw], Cursor]:
    """What of the documents is new, and the cursor after them."""
    state, raws, components, maintenances = before, [], [], []
    since = (iso(before.read_at) or now) - LOOK_BACK
    if summary := made.summary:
        components, maintenances = _watched(summary, options.components), summary.scheduled_maintenances or []
        state = replace(state, watched=tuple(str(c.get("id")) for c in components) if options.components else ())
        fresh, state = _news(maintenances, state, "maintenances", since)
        raws += [_raw(options, summary.page, update, {**of, "impact": "maintenance"}) for update, of in fresh]
    if listed := made.incidents:
        incidents = [i for i in listed.incidents or [] if _touches(i, state)]
        fresh, state = _news(incidents, state, "incidents", since)
        raws += [_raw(options, listed.page, update, of) for update, of in fresh]
        state = replace(state, open={_key(i): str(i.get("name")) for i in incidents if not _is_over(i)})
    if summary and not state.open:
        is_maintained = any(m.get("status") != "scheduled" for m in maintenances)
        changes, state = _changes(components, state, is_maintained=is_maintained)
        raws += [_raw(options, summary.page, change, {}) for change in changes]
    elif before.open and not state.open:
        made.validators.clear()  # what is still down was explained by an incident until now: it is to be read again
    return raws, replace(state, validators=made.validators, read_at=now.isoformat(timespec="seconds"))


def _raw(options: Options, page: _Page, update: dict[str, Any], incident: dict[str, Any]) -> Raw:
    host = urlsplit(options.server).hostname or ""
    services = (options.service, *options.services) if options.service else options.services
    part = services[0] if options.components and services else ""
    return Raw(update, incident, collapse(page.name or host)[:200], host, services, part)


def _news(
    incidents: list[dict[str, Any]], state: Cursor, document: str, since: datetime
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], Cursor]:
    """Updates not passed on yet, each with its incident, oldest first. Of what is over, those before `since` are history."""
    before, now, fresh = state.seen.get(document, {}), {}, []
    for incident in reversed(incidents):
        is_over = _is_over(incident)
        for update in reversed(_updates(incident)):
            written_at = feed_date(str(update.get("created_at")))
            if is_over and written_at and written_at < since:
                continue
            key, mark = _key(update), digest(str(update.get("status")), str(update.get("body")))[:8]
            now[key] = mark
            if before.get(key) != mark:
                fresh.append((update, incident))
    return fresh, replace(state, seen=state.seen | {document: now})


def _updates(incident: dict[str, Any]) -> list[dict[str, Any]]:
    """The updates of an incident, newest first; one that has none yet stands for itself."""
    updates = incident.get("incident_updates")
    if not isinstance(updates, list) or not updates:
        return [{key: incident.get(key) for key in ("id", "status", "created_at")}]
    return [update if isinstance(update, dict) else {} for update in updates]  # an empty one is malformed


def _watched(summary: _Summary, words: tuple[str, ...]) -> list[dict[str, Any]]:
    """Components that are neither groups nor sentences, and that are asked for by their name or their group's."""
    components = summary.components or []
    groups = {str(c.get("id")): str(c.get("name")) for c in components if c.get("group")}
    own = [c for c in components if not c.get("group") and not _PLACEHOLDER.match(str(c.get("name"))[:300])]
    return [c for c in own if _has(f"{c.get('name')} {groups.get(str(c.get('group_id')), '')}", words)]


def _touches(incident: dict[str, Any], state: Cursor) -> bool:
    """An incident that names no component touches them all."""
    lists = [incident.get("components"), *(u.get("affected_components") for u in _updates(incident))]
    named = [c for found in lists if isinstance(found, list) for c in found if isinstance(c, dict)]
    ids = {str(c.get("id") or c.get("code")) for c in named}
    return (
        not named or bool(ids.intersection(state.watched)) or any(_has(str(c.get("name")), state.only) for c in named)
    )


def _has(name: str, words: tuple[str, ...]) -> bool:
    return not words or any(word.casefold() in name.casefold() for word in words)


def _changes(
    components: list[dict[str, Any]], state: Cursor, *, is_maintained: bool
) -> tuple[list[dict[str, Any]], Cursor]:
    """Components whose status is another than the one told last; what an announced maintenance explains is not told."""
    told, changes = {}, []
    for component in components:
        key, status = _key(component), str(component.get("status"))
        before = state.told.get(key, "operational")
        if status == "under_maintenance" and is_maintained:
            status = before
        elif status != before:
            at = component.get("updated_at") or state.read_at
            changes.append(
                {**component, "id": f"component:{key}:{status}:{at}", "created_at": component.get("updated_at")}
            )
        if status != "operational":
            told[key] = status
    return changes, replace(state, told=told)


def _is_over(incident: dict[str, Any]) -> bool:
    return str(incident.get("status")) in _OVER


def _key(of: dict[str, Any]) -> str:
    return str(of.get("id") or digest(repr(of)))
