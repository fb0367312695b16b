"""Texts into posts, and what is said of them into the rows of `listener.score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from listener.catalog import Catalog
from listener.config import Config
from listener.datafile import bytes_of, digest_of
from listener.errors import InputError
from listener.frames import Columns, Row
from listener.pipeline import Pipeline
from listener.records import score_record
from listener.sources.jsonl import parse_line
from listener.types import LABELS, Post

SCORES: Columns = {
    "label": "text",
    "chatter": "number",
    **dict.fromkeys(LABELS, "number"),
    "symptom": "text",
    "services": "texts",
    "language": "text",
    "language_confidence": "number",
    "region": "text",
    "region_weight": "number",
    "regions": "weights",
    "matches": "texts",
    "dropped": "text",
}
BATCH = 512
KEPT = 4  # pipelines
WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)  # when nobody says: the score does not depend on it

_loaded: dict[tuple[str, ...], Pipeline] = {}


def pipeline(config: Config, catalog: Catalog, model: Path) -> Pipeline:
    """A pipeline, loaded once for the same config, data and model files."""
    key = (repr(config), catalog.digest, str(catalog.root), str(model), digest_of(bytes_of(model / "meta.json")))
    if key not in _loaded:
        made = Pipeline.load(catalog, model, config)
        while len(_loaded) >= KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = made
    return _loaded[key]


def posts_of(texts: Iterable[str | Mapping[str, Any]]) -> list[Post]:
    """Texts, or posts as `listener score` reads them. Raises `InputError` that says which one is wrong."""
    if isinstance(texts, str | Mapping):
        raise InputError("expected several texts; put a single one into a list")
    made = []
    for number, one in enumerate(texts):
        row = {"text": one} if isinstance(one, str) else one
        if not isinstance(row, Mapping):
            raise InputError(f"texts[{number}]: expected a text or a post, not {type(one).__name__}")
        try:
            made.append(parse_line(msgspec.json.encode(dict(row)), number, WRITTEN_AT))
        except (ValueError, TypeError) as error:
            raise InputError(f"texts[{number}]: {error}") from error
    return made


def rows(posts: Sequence[Post], with_: Pipeline) -> Iterable[Row]:
    """A row of `SCORES` for each post, in order."""
    for start in range(0, len(posts), BATCH):
        part = posts[start : start + BATCH]
        for post, answer in zip(part, with_.understand(part), strict=True):
            yield _row(score_record(post, answer, with_.classifier.digest))


def _row(said: Mapping[str, Any]) -> Row:
    language = said["language"] or {"code": None, "confidence": None}
    weights = [{"region": r["region"], "weight": r["weight"]} for r in said["regions"]]
    likeliest = max(weights, key=lambda r: float(r["weight"]), default={"region": None, "weight": None})
    return {
        **{name: said[name] for name in ("label", "chatter", "symptom", "services", "matches")},
        **said["probabilities"],
        "language": language["code"],
        "language_confidence": language["confidence"],
        "region": likeliest["region"],
        "region_weight": likeliest["weight"],
        "regions": weights,
        "dropped": said.get("dropped"),
    }
