"""A series of counts from a frame, judged row by row as `listener detect` judges it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from listener.errors import InputError
from listener.frames import Columns, Row, rows_of
from listener.instants import moment
from listener.signals.online import Online

VERDICTS: Columns = {
    "time": "time",
    "observed": "number",
    "expected": "number",
    "upperbound": "number",
    "score": "number",
    "alarm": "flag",
}


class Count(NamedTuple):
    """One bin: its start, what was counted (None = nothing could be heard), and how much could be heard."""

    at: datetime
    number: float | None
    exposure: float


def counts_of(thing: Any) -> list[Count]:
    """The rows of a frame or series. Raises `InputError` that says what is missing or which row is wrong."""
    rows = rows_of(thing)
    if not rows:
        return []
    counted: str | None = next((name for name in ("count", "observed") if name in rows[0]), None)
    if counted is None and len(rows[0]) == 2 and "time" in rows[0]:  # a series has a name of its own
        counted = next(name for name in rows[0] if name != "time")
    if counted is None or "time" not in rows[0]:
        raise InputError("expected a `time` (column or index) and a column `count` or `observed`")
    if len({(row.get("service"), row.get("region")) for row in rows}) > 1:
        raise InputError("several series in one frame: judge them one by one")
    return [_count(number, row, counted) for number, row in enumerate(rows)]


def _count(number: int, row: Row, counted: str) -> Count:
    at, count, exposure = row["time"], row[counted], row.get("exposure", 1.0)
    if not isinstance(at, str | datetime):
        raise InputError(f"row {number}: time {at!r} is not an instant")
    try:
        heard = 0.0 if exposure is None or count is None else float(exposure)
        return Count(moment(at), None if count is None else float(count), heard)
    except (TypeError, ValueError) as error:
        raise InputError(f"row {number}: {error}") from error


def verdicts(counts: Sequence[Count], runner: Online) -> Iterator[Row]:
    """A row of `VERDICTS` for each count, each made before the next is looked at."""
    for count in counts:
        said = runner.step(*count)
        yield {
            "time": said.at,
            "observed": said.observed,
            "expected": said.expected,
            "upperbound": said.upperbound,
            "score": said.score,
            "alarm": said.alarm,
        }
