"""The columns of each frame that `Db` gives, and how the nouns become rows of them."""

from __future__ import annotations

from collections.abc import Iterator

from listener.causes import CAUSES
from listener.frames import Columns, Row
from listener.types import Incident, Mention, Transition
from listener.web.shapes import post_out, transition_out

SIGNAL: Columns = {
    "time": "time",
    "observed": "number",
    "expected": "number",
    "upperbound": "number",
    "exposure": "number",
    "posts": "count",
    "authors": "count",
    "recovered": "number",
    "state": "text",
    "service": "text",
    "region": "text",
}
INCIDENTS: Columns = {
    "incident": "text",
    "service": "text",
    "regions": "texts",
    "state": "text",
    "started_at": "time",
    "updated_at": "time",
    "resolved_at": "time",
    "cause": "text",
    **{f"p_{cause}": "number" for cause in CAUSES},
    "observed": "number",
    "expected": "number",
    "authors": "count",
    "posts": "count",
    "evidence": "texts",
    "model": "text",
}
ONSETS: Columns = {
    "incident": "text",
    "service": "text",
    "region": "text",
    "state": "text",
    "onset_at": "time",
    "onset_low_at": "time",
    "onset_high_at": "time",
    "observed": "number",
    "expected": "number",
    "score": "number",
}
TRANSITIONS: Columns = {
    "at": "time",
    "incident": "text",
    "service": "text",
    "from_state": "text",
    "to_state": "text",
    "regions": "texts",
    "observed": "number",
    "expected": "number",
    "authors": "count",
}
SERIES: Columns = {"service": "text", "region": "text", "state": "text", "chatter_24h": "number"}
SOURCES: Columns = {
    "source": "text",
    "kind": "text",
    "region": "text",
    "last_success_at": "time",
    "last_item_at": "time",
    "lag_seconds": "number",
    "errors_in_a_row": "count",
    "reason": "text",
    "next_try_at": "time",
    "posts": "count",
}
POSTS: Columns = {
    "at": "time",
    "source": "text",
    "label": "text",
    "chatter": "number",
    "symptom": "text",
    "services": "texts",
    "language": "text",
    "tier": "text",
    "region": "text",
    "regions": "weights",
}
TEXTS: Columns = {"id": "text", "text": "text", "url": "text"}  # what leads to whoever wrote it


def incident_row(incident: Incident) -> Row:
    """A row of `Db.incidents`."""
    cause = incident.cause
    return {
        **{name: getattr(incident, name) for name in INCIDENTS if hasattr(incident, name)},
        "incident": incident.id,
        "regions": list(incident.regions),
        "state": incident.state.value,
        "cause": max(cause, key=cause.__getitem__) if cause else None,
        "evidence": list(incident.cause_evidence),
        **{f"p_{name}": cause.get(name) for name in CAUSES},
    }


def onset_rows(incident: Incident) -> Iterator[Row]:
    """Rows of `Db.onsets`, in order of onset."""
    for part in incident.parts:
        own = {name: getattr(part, name) for name in ONSETS if hasattr(part, name)}
        yield {"incident": incident.id, "service": incident.service, **own, "state": part.state.value}


def transition_row(transition: Transition) -> Row:
    """A row of `Db.transitions`."""
    incident = transition.incident
    return {**transition_out(transition).model_dump(), "incident": incident.id, "service": incident.service}


def post_row(mention: Mention) -> Row:
    """A row of `Db.posts`, the text included."""
    made = post_out(mention).model_dump()
    weights = [{"region": r["region"], "weight": r["weight"]} for r in made["regions"]]
    likeliest = max(weights, key=lambda r: float(r["weight"]), default={"region": None})
    return {**made, "region": likeliest["region"], "regions": weights}
