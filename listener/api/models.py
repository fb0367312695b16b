"""Training and measuring from Python: the figures of `listener train` and `listener evaluate` as rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from listener.frames import Columns, Row, rows_of

FIGURES: Columns = {
    "part": "text",
    "posts": "count",
    "chatter": "count",
    "precision": "number",
    "recall": "number",
    "f1": "number",
    "f1_low": "number",
    "f1_high": "number",
    "ap": "number",
    "ece": "number",
}


def figure_rows(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    """A row of `FIGURES` for each part."""
    for name, figures in parts.items():
        low, high = figures["f1_interval"]
        yield {
            "part": name,
            **{key: figures[key] for key in FIGURES if key in figures},
            "f1_low": low,
            "f1_high": high,
        }


def trained(scores: Mapping[str, Any]) -> Iterator[Row]:
    """Rows for all posts and for each language, from what `training.train.train` gives back."""
    return figure_rows({"all": scores["all"], **scores["languages"]})


def measured(scores: Mapping[str, Any]) -> Iterator[Row]:
    """Rows behind the gate, for all posts if all were judged, and for each language, from what `evaluate` gives back."""
    return figure_rows({"live": scores["live"], "judged": scores["judged"], **scores["languages"]})


@contextmanager
def as_file(posts: Any) -> Iterator[Path]:
    """Labelled posts as a file: the one named, or one that holds the rows of a frame while the `with` lasts."""
    if isinstance(posts, str | Path):
        yield Path(posts)
        return
    with tempfile.TemporaryDirectory(prefix="listener-") as folder:
        path = Path(folder) / "und.jsonl"  # the language of rows that do not say theirs
        path.write_bytes(b"".join(msgspec.json.encode(_said(row)) + b"\n" for row in rows_of(posts)))
        yield path


def _said(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}
