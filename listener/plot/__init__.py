"""Plots for notebooks, from the frames that `listener.Db`, `listener.replay`, `listener.train` and so on give.

Each takes a frame of pandas or polars, or a list of mappings, and gives a `Picture`: an interactive Altair chart and a still
Matplotlib image of the same. `backend="altair"` or `"matplotlib"` makes only one of them; None makes those that are
installed. Every function raises `InputError` for a frame that lacks a column or has no rows, or when nothing to draw with is
installed. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from listener.errors import InputError
from listener.frames import Row, rows_of
from listener.plot import interactive, static
from listener.plot.picture import Backend, Picture, picture

__all__ = ["Picture", "compare", "curve", "incidents", "regions", "signal"]


def signal(frame: Any, *, backend: Backend = None) -> Picture:
    """What people reported over time, before the usual range and coloured by state: a frame of `Db.signal`.

    A frame of several regions gives a panel each, those most was said in first. Reads `time`, `observed` and `upperbound`
    (people a bin), `state`, `service` and `region`. Raises `InputError` for a frame without these, or without rows.

    >>> import listener
    >>> frame = listener.sample().signal("instagram", "TR", since="2026-03-12T13:00:00Z", until="2026-03-12T17:00:00Z")
    >>> listener.plot.signal(frame)
    <listener.plot.Picture altair, matplotlib>
    """
    rows = _binned(_rows(frame, "time", "observed", "upperbound", "state", "service", "region"))
    return picture(lambda: interactive.signal(rows), lambda: static.signal(rows), backend)


def incidents(frame: Any, *, backend: Backend = None) -> Picture:
    """A bar an incident, from start to end, coloured by likeliest cause: a frame of `Db.incidents` or `listener.replay`.

    One that is still open ends where it was last changed. Reads `service`, `regions`, `started_at`, `updated_at`,
    `resolved_at` and `cause`. Raises `InputError` for a frame without these, or without rows.

    >>> import listener
    >>> listener.plot.incidents(listener.sample().incidents(), backend="matplotlib").figure.axes[0].get_title(loc="left")
    'incidents'
    """
    rows = [
        {**row, "ended_at": row["resolved_at"] or row["updated_at"], "places": " ".join(row["regions"])}
        for row in _rows(frame, "service", "regions", "started_at", "updated_at", "resolved_at", "cause")
    ]
    return picture(lambda: interactive.incidents(rows), lambda: static.incidents(rows), backend)


def regions(frame: Any, onsets: Any = None, *, backend: Backend = None) -> Picture:
    """How trouble spreads: a row a region, darker where more people report; a frame of `Db.signal` of several regions.

    `onsets`, a frame of `Db.onsets`, marks where it began in each, and puts the regions in that order. Reads `time`,
    `observed` (people a bin), `service` and `region`, and of the onsets `region` and `onset_at`. Raises `InputError` for a frame
    without these, or without rows.

    >>> import listener
    >>> db = listener.sample()
    >>> frame = db.signal("instagram", since="2026-03-12T13:30:00Z", until="2026-03-12T16:30:00Z")
    >>> chart = listener.plot.regions(frame, db.onsets(service="instagram")).chart
    >>> chart.to_dict()["layer"][0]["encoding"]["y"]["sort"][:3]
    ['TR', 'BG', 'GR']
    """
    rows = _binned(_rows(frame, "time", "observed", "service", "region"))
    began = [] if onsets is None else _rows(onsets, "region", "onset_at")
    first, last = min(row["time"] for row in rows), max(row["end"] for row in rows)
    marked = [row for row in began if first <= row["onset_at"] < last]
    return picture(lambda: interactive.regions(rows, marked), lambda: static.regions(rows, marked), backend)


def compare(
    frame: Any,
    value: str = "f1",
    name: str = "part",
    by: str = "",
    bounds: tuple[str, str] | None = None,
    *,
    backend: Backend = None,
) -> Picture:
    """A dot a row: `value` along, one line for each `name`, coloured by `by`; `bounds` names the columns of an interval.

    Made for frames of `listener.train` and `listener.evaluate`, and any other with a number and a name. Raises `InputError`
    for a frame without the columns named, or without rows.

    >>> import listener
    >>> figures = [{"part": "tr", "f1": 0.91, "model": "A"}, {"part": "tr", "f1": 0.93, "model": "B"}]
    >>> listener.plot.compare(figures, by="model")
    <listener.plot.Picture altair, matplotlib>
    """
    rows = _rows(frame, *(column for column in (value, name, by, *(bounds or ())) if column))
    return picture(
        lambda: interactive.compare(rows, value, name, by, bounds),
        lambda: static.compare(rows, value, name, by, bounds),
        backend,
    )


def curve(
    frame: Any,
    x: str = "labels",
    y: str = "f1",
    by: str = "",
    bounds: tuple[str, str] | None = None,
    *,
    backend: Backend = None,
) -> Picture:
    """A line over `x` for each group `by`, such as F1 against how many posts were labelled; `bounds` are those of its band.

    `x` and `y` name columns of numbers in any unit; rows may come in any order. Raises `InputError` for a frame without the
    columns named, or without rows.

    >>> import listener
    >>> listener.plot.curve([{"labels": 10, "f1": 0.4}, {"labels": 20, "f1": 0.6}], backend="altair")
    <listener.plot.Picture altair>
    """
    rows = _rows(frame, *(column for column in (x, y, by, *(bounds or ())) if column))
    return picture(
        lambda: interactive.curve(rows, x, y, by, bounds), lambda: static.curve(rows, x, y, by, bounds), backend
    )


def _rows(frame: Any, *columns: str) -> list[Row]:
    rows = rows_of(frame)
    if not rows:
        raise InputError("nothing to plot: the frame has no rows")
    if missing := [name for name in columns if name not in rows[0]]:
        raise InputError(f"nothing to plot: the frame has no column {missing[0]!r} (has: {', '.join(rows[0])})")
    return rows


def _binned(rows: Sequence[Row]) -> list[Row]:
    """With the `end` of each bin."""
    times = sorted({row["time"] for row in rows})
    length = min((b - a for a, b in pairwise(times)), default=timedelta(minutes=5))
    return [{**row, "end": row["time"] + length} for row in rows]
