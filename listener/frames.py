"""Rows of plain values as pandas or polars frames, and back. Neither library is imported before somebody asks for a frame."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from listener.errors import InputError

Frame: TypeAlias = (
    Any  # a pandas.DataFrame or a polars.DataFrame, as `as_` says; typed by neither, for both are optional
)
As: TypeAlias = Literal["pandas", "polars"]
Kind: TypeAlias = Literal["time", "number", "count", "text", "flag", "texts", "weights"]
Columns: TypeAlias = Mapping[str, Kind]
Row: TypeAlias = dict[str, Any]

EXTRA = "outage-listener[notebooks]"
_PANDAS = {
    "number": "float64",
    "count": "int64",
    "text": "string",
    "flag": "bool",
    "texts": "object",
    "weights": "object",
}


def library(name: str, what: str) -> Any:
    """An optional library. Raises `InputError` that names the extra when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        root = name.partition(".")[0]
        raise InputError(f"{what} needs {root}, which is not installed: pip install '{EXTRA}'") from error


def frame(columns: Columns, rows: Iterable[Mapping[str, Any]], as_: str, index: str = "") -> Frame:
    """Rows as a frame with exactly these columns, typed the same when there are no rows.

    Times are UTC. In pandas the column `index` becomes the index; polars has none and keeps it as the first column.
    Raises `InputError` for an `as_` that is neither, or that is not installed.
    """
    if as_ not in ("pandas", "polars"):
        raise InputError(f"as_={as_!r}: have 'pandas' and 'polars'")
    cells: dict[str, list[Any]] = {name: [] for name in columns}
    for row in rows:
        for name, values in cells.items():
            values.append(row[name])
    return _polars(columns, cells) if as_ == "polars" else _pandas(columns, cells, index)


def _pandas(columns: Columns, cells: Mapping[str, list[Any]], index: str) -> Frame:
    pandas = library("pandas", "a pandas frame")
    series = {
        name: pandas.Series(pandas.to_datetime(values, utc=True)).dt.as_unit("us")
        if columns[name] == "time"
        else pandas.Series(values, dtype=_PANDAS[columns[name]])
        for name, values in cells.items()
    }
    made = pandas.DataFrame(series)
    return made.set_index(index) if index else made


def _polars(columns: Columns, cells: Mapping[str, list[Any]]) -> Frame:
    polars = library("polars", "a polars frame")
    types = {
        "time": polars.Datetime("us", "UTC"),
        "number": polars.Float64,
        "count": polars.Int64,
        "text": polars.String,
        "flag": polars.Boolean,
        "texts": polars.List(polars.String),
        "weights": polars.List(polars.Struct({"region": polars.String, "weight": polars.Float64})),
    }
    return polars.DataFrame(dict(cells), schema={name: types[kind] for name, kind in columns.items()})


def library_of(thing: object) -> str:
    """`pandas`, `polars` or an empty string."""
    root = type(thing).__module__.partition(".")[0]
    return root if root in ("pandas", "polars") else ""


def rows_of(thing: Any) -> list[Row]:
    """The rows of a frame of either library (a named index is a column like others), or of a sequence of mappings.

    Missing values are None. Raises `InputError` for anything else.
    """
    made: list[Row]
    if library_of(thing) == "pandas":
        if not hasattr(thing, "columns"):
            thing = thing.to_frame(thing.name or "count")
        if thing.index.name is not None or not _is_counted(thing.index):
            thing = thing.reset_index(names=thing.index.name or "time")
        made = thing.astype(object).where(thing.notna(), None).to_dict("records")
    elif library_of(thing) == "polars" and hasattr(thing, "to_dicts"):
        made = thing.to_dicts()
    elif isinstance(thing, Sequence) and all(isinstance(row, Mapping) for row in thing):
        made = [dict(row) for row in thing]
    else:
        raise InputError(f"expected a pandas or polars frame, not {type(thing).__name__}")
    return [{str(name): _plain(value) for name, value in row.items()} for row in made]


def _is_counted(index: Any) -> bool:
    """Whether an index is only row numbers."""
    return type(index).__name__ == "RangeIndex"


def _plain(value: Any) -> Any:
    """Instants in UTC, numbers as Python's own, not-a-number as None."""
    if isinstance(value, datetime):
        plain = value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
        return plain.replace(tzinfo=UTC) if plain.tzinfo is None else plain.astimezone(UTC)
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - so is NaN
