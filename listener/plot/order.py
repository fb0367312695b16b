"""What both ways of drawing need to know of the rows: groups, their order, the length of a bin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from listener.frames import Row


def by_group(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Rows by what stands under `key`, in the order in which each first comes."""
    made: dict[str, list[Row]] = {}
    for row in rows:
        made.setdefault(str(row[key]), []).append(row)
    return made


def regions_in_order(rows: Sequence[Row], onsets: Sequence[Row] = ()) -> list[str]:
    """Regions by onset, the others after them by how much was said."""
    total = {name: sum(row["observed"] or 0.0 for row in here) for name, here in by_group(rows, "region").items()}
    first = [row["region"] for row in sorted(onsets, key=lambda row: row["onset_at"]) if row["region"] in total]
    return list(dict.fromkeys([*first, *sorted(total, key=lambda name: -total[name])]))


def bin_text(rows: Sequence[Row]) -> str:
    """The length of a bin in words."""
    length: timedelta = rows[0]["end"] - rows[0]["time"]
    return f"{length.total_seconds() / 60:g} min"
